"""k of n rows that are good and unlike each other, in bounded memory and time.

The strategies compare each row with all that are picked, in n × (k + 3 D) floats: too much for a
million rows. So more than ``MOST_PICKS`` are picked in parts, each with its share of the picks.
Rows that are near to each other share a part, as only they could repeat each other: the rows are
halved along the line between two that lie far apart, until it fits. In a part of more than
``MOST_ROWS``, as many are picked of each stretch, and among those again (Mirzasoleiman et al.,
2013).

Bounding the picks of a part has another reason: beyond D of them, no row is left that a determinant
could tell from those that are picked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal

import numpy as np

from weave_async.selection.candidates import Candidates, Numbers
from weave_async.selection.codes import Floats

Strategy = Literal["dpp", "mmr", "ssd"]
MOST_PICKS = 256
MOST_ROWS = 16_384
_LEAST_GAIN = 1e-3  # of the first: what float32 leaves of a determinant beyond is noise
_LARGEST_EXPONENT = 5.0  # of a weight in the kernel: its square is still far from float32's end


@dataclass(frozen=True, slots=True)
class Chooser:
    """How to weigh quality against diversity: 0 is quality alone."""

    strategy: Strategy
    diversity: float

    def chosen(
        self, candidates: Candidates, first: Numbers, k: int
    ) -> Iterator[tuple[Numbers, Numbers]]:
        """Candidates that share a part, and those of them that are chosen. Together the parts have
        each distinct candidate once: ``first`` is what ``first_of_equals`` says.
        """
        distinct = np.flatnonzero(first == np.arange(len(first)))
        for numbers, num_picks in self._parts(candidates, distinct, min(k, len(distinct))):
            yield numbers, self._picked(candidates, numbers, num_picks)

    def _parts(
        self, candidates: Candidates, numbers: Numbers, k: int
    ) -> Iterator[tuple[Numbers, int]]:
        if k <= MOST_PICKS or k == len(numbers) or self.diversity == 0:
            yield numbers, k
            return
        ordered = numbers[_along_longest_line(candidates, numbers).argsort(kind="stable")]
        half = len(numbers) // 2
        num_picks = k * half // len(numbers)
        yield from self._parts(candidates, np.sort(ordered[:half]), num_picks)
        yield from self._parts(candidates, np.sort(ordered[half:]), k - num_picks)

    def _picked(self, candidates: Candidates, numbers: Numbers, k: int) -> Numbers:
        if k == len(numbers):
            return numbers
        if self.diversity == 0:
            return numbers[(-candidates.qualities[numbers]).argsort(kind="stable")[:k]]
        while len(numbers) > MOST_ROWS:
            stretches = (
                numbers[start : start + MOST_ROWS] for start in range(0, len(numbers), MOST_ROWS)
            )
            picked = [self._pick(candidates, each, min(k, len(each))) for each in stretches]
            numbers = np.sort(np.concatenate(picked))
        return self._pick(candidates, numbers, k)

    def _pick(self, candidates: Candidates, numbers: Numbers, k: int) -> Numbers:
        """In rounds, each among what the ones before have left, where the strategy sees no more
        difference between those.
        """
        rounds: list[Numbers] = []
        most = k
        while k > 0:
            places = self._picked_at_once(candidates, numbers, min(k, most))
            rounds.append(numbers[places])
            numbers = np.delete(numbers, places)
            most = len(places)
            k -= most
        return np.concatenate(rounds)

    def _picked_at_once(self, candidates: Candidates, numbers: Numbers, k: int) -> Numbers:
        """Places in ``numbers``: k of them, or fewer."""
        import pyversity  # an extra, whose presence ``ChooseSelector`` has checked

        qualities = _spread(candidates.qualities[numbers])  # (n,)
        options = {}
        if self.strategy == "dpp":
            options["scale"] = _LARGEST_EXPONENT / max(_LARGEST_EXPONENT, _largest_z(qualities))
        rows = candidates.unit_rows(numbers)  # (n, D)
        with np.errstate(over="ignore", invalid="ignore"):  # past what is taken of it below
            result = pyversity.diversify(
                rows, qualities, k, self.strategy, self.diversity, **options
            )
        picked: Numbers = result.indices.astype(np.intp)
        if self.strategy == "dpp":
            gains = result.selection_scores  # (k,)
            is_gain = np.logical_and.accumulate(gains > _LEAST_GAIN * gains[0])
            picked = picked[: max(1, int(is_gain.sum()))]
        return picked


def first_of_equals(candidates: Candidates) -> Numbers:  # (N,)
    """For each candidate, the one that stands for all with its vector: the best, or the first of
    the best.
    """
    best: dict[bytes, int] = {}
    keys = []
    qualities = candidates.qualities
    for number in range(len(candidates)):
        code = candidates.codes(np.array([number], np.intp))
        keys.append(key := blake2b(code.tobytes(), digest_size=8).digest())
        if qualities[number] > qualities[best.setdefault(key, number)]:
            best[key] = number
    return np.array([best[key] for key in keys], np.intp)


def _along_longest_line(candidates: Candidates, numbers: Numbers) -> Floats:  # (n,)
    """Where each row stands on the line between two rows that lie far apart."""
    start = candidates.unit_rows(numbers[:1])[0]  # (D,)
    one = candidates.unit_rows(numbers[[_dots(candidates, numbers, start).argmin()]])[0]
    other = candidates.unit_rows(numbers[[_dots(candidates, numbers, one).argmin()]])[0]
    return _dots(candidates, numbers, one - other)


def _dots(candidates: Candidates, numbers: Numbers, vector: Floats) -> Floats:  # (n,)
    return np.concatenate([block @ vector for block in candidates.blocks(numbers)])


def _spread(qualities: Floats) -> Floats:
    """From 0 to 1, whatever scale they were on."""
    lowest, highest = qualities.min(), qualities.max()
    if lowest == highest:
        return np.zeros_like(qualities)
    spread: Floats = (qualities - lowest) / (highest - lowest)
    return spread


def _largest_z(qualities: Floats) -> float:
    deviation = float(qualities.std())
    return float(np.abs(qualities - qualities.mean()).max()) / deviation if deviation else 0.0
