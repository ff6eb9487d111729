"""Something that is drawn for each prompt, as arms of a bandit.

Whatever is drawn is drawn by a fraction from [0, 1): a choice lays its weights end to end, a range
goes from its lower to its upper bound. Arms are neighbouring stretches of that line, each as wide
as the recipe's weights make it. Other weights stretch some and shorten others, so that the same
fraction lands elsewhere: what is drawn then is still drawn by the recipe's own shape. Where weights
change a little, few samples change at all.
"""

from __future__ import annotations

from bisect import bisect
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

MOST_ARMS = 32
"""Of a longer list, neighbours share an arm: with fewer than some ten samples in each round, an arm
could not be told from the others."""
MOST_LABEL_CHARS = 40
_BELOW_ONE = 1 - 1e-12
"""Of the width of an arm: rounding must not lead into the next one."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """``name`` is the stage that its fractions are drawn for, as ``mix`` or ``params:top_p``.

    ``edges`` are where arms begin on the line, and 1, its end: one more than there are ``labels``.
    """

    name: str
    labels: tuple[str, ...]
    edges: tuple[float, ...]

    @property
    def short_name(self) -> str:
        """As a recipe calls it: ``mix``, ``top_p``, or an attribute by its name."""
        return self.name.partition(":")[2] or self.name

    @property
    def prior(self) -> list[float]:
        """The weights that the recipe gives to the arms."""
        return [upper - lower for lower, upper in pairwise(self.edges)]

    @property
    def can_be_steered(self) -> bool:
        """Whether there is anything to choose between."""
        return sum(weight > 0 for weight in self.prior) > 1

    def arm_at(self, fraction: float, cumulative: Sequence[float] | None) -> int:
        """The arm that a fraction means under these weights, laid end to end; ``None`` means the
        recipe's own.
        """
        if cumulative is None:
            return bisect(self.edges, fraction, hi=len(self.labels)) - 1
        return bisect(cumulative, fraction * cumulative[-1], hi=len(self.labels) - 1)

    def moved(self, fraction: float, cumulative: Sequence[float]) -> float:
        """Where the fraction lands on the recipe's own line."""
        arm = self.arm_at(fraction, cumulative)
        begin = cumulative[arm - 1] if arm else 0.0
        width = cumulative[arm] - begin
        inside = (fraction * cumulative[-1] - begin) / width if width else 0.0
        lower, upper = self.edges[arm], self.edges[arm + 1]
        return lower + min(max(inside, 0.0), _BELOW_ONE) * (upper - lower)


def of_values(
    name: str,
    values: Sequence[Any],
    weights: Sequence[float] | None,
    *,
    most_arms: int = MOST_ARMS,
) -> Dimension:
    """An arm for each value, or for each few neighbours of a long list."""
    cumulative = [0.0, *accumulate(weights or [1.0] * len(values))]
    num_arms = min(len(values), most_arms)
    starts = [len(values) * arm // num_arms for arm in range(num_arms + 1)]
    labels = [_label(values[start], values[end - 1]) for start, end in pairwise(starts)]
    edges = [cumulative[start] / cumulative[-1] for start in starts]
    return Dimension(name, _told_apart(labels), tuple(edges))


def of_range(name: str, bounds: tuple[float, float], num_bins: int) -> Dimension:
    """Equal parts of a range."""
    lower, upper = bounds
    if lower == upper:
        num_bins = 1
    places = [place / num_bins for place in range(num_bins + 1)]
    ends = [f"{lower + place * (upper - lower):g}" for place in places]
    return Dimension(name, tuple(map("-".join, pairwise(ends))), tuple(places))


def _told_apart(labels: Sequence[str]) -> tuple[str, ...]:
    """Equal ones with their number: shortened, or of one model at two endpoints."""
    seen: Counter[str] = Counter()
    apart = []
    for label in labels:
        seen[label] += 1
        apart.append(label if seen[label] == 1 else f"{label} #{seen[label]}")
    return tuple(apart)


def _label(first: Any, last: Any) -> str:
    label = str(first) if first is last else f"{first} … {last}"
    return label if len(label) <= MOST_LABEL_CHARS else f"{label[: MOST_LABEL_CHARS - 1]}…"
