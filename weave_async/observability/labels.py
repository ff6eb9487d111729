"""Words of others (a recipe, a server) made fit to label figures and spans."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

LONGEST_CHARS = 100
MOST_VALUES = 50
"""Values of one label: each is a time series of its own, in every system that keeps them."""
OTHER = "other"

_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f"  # C0, DEL, C1
    r"\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line separators, bidirectional controls
    r"\ud800-\udfff]"  # surrogates, which no encoding takes
)


def label_of(text: str, *, longest_chars: int = LONGEST_CHARS) -> str:
    """One short line that can be encoded, and drives no terminal."""
    return _UNPRINTABLE.sub("�", text[:longest_chars])


def bounded(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Counts by label, in falling order; what is beyond ``MOST_VALUES`` counts as ``other``.

    Names that are the same as labels are added up: no two series may bear the same labels.
    """
    labelled: Counter[str] = Counter()
    for name, count in counts:
        labelled[label_of(name)] += count
    kept = dict(labelled.most_common(MOST_VALUES))
    rest = labelled.total() - sum(kept.values())
    if rest:
        kept[OTHER] = kept.get(OTHER, 0) + rest
    return kept
