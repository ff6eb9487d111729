"""The table of presets in docs/providers.md: ``python -m providers.preset_table docs/providers.md``

It stands between two markers; what is around it is written by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from pathlib import Path

from weave_async.records import Preset

from .presets import PRESETS, Service

BEGIN, END = "<!-- presets: made by `make docs` -->", "<!-- end of presets -->"
_HEAD = ("Preset", "Address", "Key", "Lacks", "Limits it states", "Beware")


def table(presets: Mapping[str, Preset] = PRESETS) -> str:
    """Markdown, a row for each preset; names for the same one share a row."""
    lines = [_row(_HEAD), _row(["---"] * len(_HEAD))]
    for _, named in groupby(presets.items(), key=lambda item: id(item[1])):
        rows = list(named)
        preset = rows[0][1]
        lines.append(
            _row(
                [
                    f"{', '.join(f'`{name}`' for name, _ in rows)} [{preset.title}]"
                    f"({preset.docs_url})",
                    f"`{preset.base_url}`" if preset.base_url else preset.address_advice,
                    f"`{preset.key_variable}`" if preset.key_variable else "none",
                    ", ".join(_lacking(preset)),
                    preset.rate_limit_headers,
                    preset.traps,
                ]
            )
        )
    return "\n".join(lines)


def with_table(page: str) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page needs a line {BEGIN} and, after it, a line {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _lacking(preset: Preset) -> Iterator[str]:
    if not isinstance(preset, Service):
        return
    takes = preset.capabilities
    if takes.max_tokens_field != "max_tokens":
        yield f"`max_tokens` (takes `{takes.max_tokens_field}`)"
    if takes.response_format == "json_object":
        yield "JSON Schema (takes JSON mode)"
    if takes.response_format == "none":
        yield "JSON mode"
    yield from (f"`{name}`" for name in sorted(takes.lacks))


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text()))
