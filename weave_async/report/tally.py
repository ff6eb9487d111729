"""Everything that the report counts over all rows of a run, in one pass and flat memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from weave_async.report.row import Ending, ReportRow

MAX_KINDS = 500
"""Of anything that is counted by name: what comes later counts as ``OTHERS``."""
OTHERS = "others"
MAX_VALUES = 200
"""An attribute with more is no category, but a name or a text: it is left out."""
MAX_WORDS = 4_096
"""Longer answers count as this long."""


class BoundedCounter(Counter[tuple[str, ...]]):
    """Counts by names of strangers, of which there may be any number."""

    def add(self, *names: str) -> None:
        if names not in self and len(self) >= MAX_KINDS:
            names = (OTHERS,) * len(names)
        self[names] += 1


@dataclass(slots=True)
class Tally:
    """``whys`` counts rejections by stage, rule and reason; ``errors`` failures by their error.

    ``by_model``, ``by_finish_reason`` and ``by_attribute`` count endings. ``num_words`` has a
    histogram of the answers' words for each ending.
    """

    num_ended: Counter[Ending] = field(default_factory=Counter)
    whys: BoundedCounter = field(default_factory=BoundedCounter)
    errors: BoundedCounter = field(default_factory=BoundedCounter)
    error_examples: dict[str, str] = field(default_factory=dict)
    by_model: BoundedCounter = field(default_factory=BoundedCounter)
    by_finish_reason: BoundedCounter = field(default_factory=BoundedCounter)
    by_attribute: dict[str, Counter[tuple[str, Ending]]] = field(default_factory=dict)
    varied_attributes: set[str] = field(default_factory=set)
    """Those with too many values to tell."""
    num_words: dict[Ending, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.num_ended.total()

    @property
    def num_judged(self) -> int:
        return self.num_ended["written"] + self.num_ended["rejected"]

    def count(self, row: ReportRow) -> None:
        ending = row.ending
        self.num_ended[ending] += 1
        self.by_model.add(row.model, ending)
        self.by_finish_reason.add(row.finish_reason, ending)
        if ending == "rejected":
            self.whys.add(*row.why)
        elif ending == "failed":
            self.errors.add(*row.why)
            if len(self.error_examples) < MAX_KINDS:
                self.error_examples.setdefault(row.why[0], str(row.row["message"]))
        for name, value in row.attributes.items():
            self._count_attribute(name, value, ending)
        if ending != "failed":
            words = self.num_words.get(ending)
            if words is None:
                words = self.num_words[ending] = np.zeros(MAX_WORDS + 1, np.int64)
            words[min(row.num_words, MAX_WORDS)] += 1

    def _count_attribute(self, name: str, value: str, ending: Ending) -> None:
        if name in self.varied_attributes:
            return
        counts = self.by_attribute.get(name)
        if counts is None:
            if len(self.by_attribute) >= MAX_KINDS:
                return
            counts = self.by_attribute[name] = Counter()
        counts[value, ending] += 1
        if len(counts) > 3 * MAX_VALUES:
            self.varied_attributes.add(name)
            del self.by_attribute[name]

    def quantile_of_words(self, ending: Ending, share: float) -> int | None:
        """The fewest words that at least this share of the answers does not exceed."""
        words = self.num_words.get(ending)
        if words is None:
            return None
        up_to = np.cumsum(words)
        return int(np.searchsorted(up_to, share * up_to[-1]))
