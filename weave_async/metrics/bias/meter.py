"""The figures of bias of a run, as ``metrics.json`` holds them.

Representation is counted over all rows; the words of texts are looked at in a seeded subset of
``MAX_ROWS`` of them, whose size is told. Nothing here is a verdict: a figure says where to look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from weave_async.metrics.bias import gender, intervals, lengths, regions, sentiment
from weave_async.metrics.bias.observed import RowFacts, facts_of, text_and_label
from weave_async.metrics.bias.polarity import installed_scorer
from weave_async.metrics.bias.representation import Representation
from weave_async.metrics.bias.subset import SeededSubset
from weave_async.records import Sample, as_category

MAX_ROWS = 2000
"""Rows whose words are looked at; a share is then known to ± 2 points."""
_MAX_GROUPINGS = 12
_MAX_CHARS = 80
_MODEL = "model"


class BiasMeter:
    """Counts samples as they are written. Memory is bounded, whatever their number.

    ``targets`` are weights of values, by the name of the attribute, ``model``, or the label.
    ``label`` is the name of an attribute, of a column of the source, or of a key where answers are
    JSON objects. Samples are to be told apart by their ids; their order does not matter.
    """

    def __init__(
        self,
        seed: int,
        *,
        targets: Mapping[str, Mapping[str, float]] | None = None,
        label: str | None = None,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self._seed, self._label = seed, label
        self._scorer = installed_scorer()
        self._subset: SeededSubset[RowFacts] = SeededSubset(seed, max_rows)
        self._shares = {name: Representation(target) for name, target in (targets or {}).items()}
        self._num_rows = 0

    def __repr__(self) -> str:
        return f"<BiasMeter {self._num_rows} rows, {len(self._subset)} looked at>"

    def count(self, samples: Sequence[Sample]) -> None:
        """Take rows of the dataset; those that were rejected or have failed are left out."""
        for sample in samples:
            if sample.rejection is not None or sample.failure is not None:
                continue
            prompt, label = sample.prompt, self._label
            groups = dict(prompt.attributes)
            if label is not None and label not in groups and label in prompt.columns:
                groups[label] = prompt.columns[label]
            self.count_row(sample.sample_id, sample.completion, groups, sample.request.model)

    def count_row(
        self, sample_id: str, completion: str, attributes: Mapping[str, Any], model: str | None
    ) -> None:
        """Take one row by what the figures need of it."""
        self._num_rows += 1
        text, label = text_and_label(completion, self._label)
        given = {**attributes, _MODEL: model} if model else dict(attributes)
        if label is not None and self._label is not None:
            given.setdefault(self._label, label)
        groups = {
            name: category
            for name, value in given.items()
            if (category := _category_of(value)) is not None
        }
        for name, value in groups.items():
            shares = self._shares.get(name)
            if shares is None:
                shares = self._shares[name] = Representation()
            shares.count(value)
        self._subset.offer(sample_id, lambda: facts_of(text, groups, self._scorer))

    def figures(self) -> dict[str, Any]:
        """All figures with their 95 % intervals; a ``note`` where there is nothing to tell."""
        if not self._num_rows:
            return {"rows": 0, "note": "no rows yet"}
        rows = self._subset.rows()
        english = [row for row in rows if row.is_english]
        groupings = self._groupings()
        of_label = [self._label] if self._label is not None else groupings
        return {
            "rows": self._num_rows,
            "rows_looked_at": len(rows),
            "english_rows": len(english),
            **_note_on(len(rows), len(english)),
            "representation": {
                name: shares.figures(intervals.rng_of(self._seed, "representation", name))
                for name, shares in sorted(self._shares.items())
            },
            "gender": gender.figures(english, groupings),
            "regions": regions.figures(english),
            "length": {
                name: lengths.figures(rows, name, intervals.rng_of(self._seed, "length", name))
                for name in of_label
            },
            "sentiment": {
                "measured_with": self._scorer.name,
                **sentiment.figures(english, groupings, intervals.rng_of(self._seed, "sentiment")),
            },
        }

    def _groupings(self) -> list[str]:
        """What rows are grouped by: the label first."""
        named = sorted(self._shares, key=lambda name: (name != self._label, name))
        return named[:_MAX_GROUPINGS]


def _note_on(num_rows: int, num_english: int) -> dict[str, str]:
    if num_rows == 1:
        return {"note": "a single row: its figures say nothing of others"}
    if num_english < num_rows:
        return {
            "note": f"{num_rows - num_english} of {num_rows} rows do not look English: gender, "
            "regions and sentiment leave them out"
        }
    return {}


def _category_of(value: Any) -> str | None:
    """A value as one of several; numbers with fractions and lists are none."""
    value = as_category(value)
    return str(value)[:_MAX_CHARS] if isinstance(value, bool | int | str) else None
