"""The table of metrics in docs/metrics.md:
``python -m weave_async.metrics.catalogue_page docs/metrics.md``

It stands between two markers; what is around it is written by hand.
"""

from __future__ import annotations

import sys
from pathlib import Path

from weave_async.metrics.catalogue import CATALOGUE, Metric

BEGIN, END = "<!-- metrics: made by `make docs` -->", "<!-- end of metrics -->"
_HEAD = ("Metric", "Definition", "More diverse is", "With more rows", "Needs", "Source")
_WITH_ROWS = {"up": "grows", "down": "falls", "no": "steady"}


def table() -> str:
    """Markdown, a row for each metric of the catalogue."""
    rows = [_HEAD, ("---",) * len(_HEAD), *map(_cells, CATALOGUE.values())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def with_table(page: str) -> str:
    """The page with its table made anew."""
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page needs a line {BEGIN} and, after it, a line {END}")
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _cells(metric: Metric) -> tuple[str, ...]:
    return (
        f"`{metric.name}`",
        metric.definition,
        "higher" if metric.higher_is_more_diverse else "lower",
        _WITH_ROWS[metric.grows_with_rows],
        ", ".join(metric.needs) or "texts",
        metric.source,
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text()))
