"""What the stages cost on one core: texts per second of the rules, and of the noisers.

    python benchmarks/stages.py validation [--datatrove-python PATH] [--repeats 5] [--json]
    python benchmarks/stages.py noise [--peers-python PATH] [--gate] [--repeats 5] [--json]

Each part is a module of its own, ``stages_validation.py`` and its like; see its ``--help``.
"""

from __future__ import annotations

import argparse
from importlib import import_module
from importlib.util import find_spec

PARTS = ("validation", "noise")
"""Each a module ``stages_…`` with ``add_arguments(parser)`` and ``main(arguments)``."""


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(required=True, metavar="PART")
    for name in PARTS:
        if find_spec(f"stages_{name}") is None:
            continue
        part = import_module(f"stages_{name}")
        of_part = parts.add_parser(
            name, description=part.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        part.add_arguments(of_part)
        of_part.set_defaults(main=part.main)
    given = parser.parse_args()
    given.main(given)


if __name__ == "__main__":
    main()
