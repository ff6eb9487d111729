"""From what came of each arm to the weights of the next round.

Arms are compared by their yield, what they bring for a token. It moves as the dataset fills, and
what is measured of it is noisy. So:

- evidence is discounted from round to round (Garivier and Moulines, 2011, for bandits whose arms
  change): an arm that has dried out loses its lead, and one that was given up is tried again;
- differences are shrunk towards the mean of all arms by how much of them can be noise (empirical
  Bayes; between-arm variance by DerSimonian and Laird, 1986): equal arms stay at the recipe's
  weights, and so do arms of which little is known;
- weights are the recipe's times a power of the shrunken yield, mixed with a floor of exploration,
  as in Exp3 (Auer et al., 2002), and a round goes only a part of the way there.

There is no chance in it: with outcomes that were drawn by seed, it needs none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GREED = 3.0
"""The power of the yield: an arm that brings half as much as another is asked an eighth as often,
before the floor. With 1, an arm of which half is wasted would keep a third of the budget; far above
it, small differences would decide. ``benchmarks/controller.py`` shows what it brings."""
DECIMALS = 6
"""Of a weight that is decided, so that processors that add in another order decide the same."""


@dataclass(slots=True)
class ArmEvidence:
    """What came of one arm, with w the discount of each sample, rho its reward and t its tokens,
    both relative to the mean of its round.

    ``num`` is the sum of w, ``accepted`` that of samples that brought something, ``rewards`` is the
    sum of w·rho, ``tokens`` of w·t; the others are sums of w² and of w² times a product, for
    variances.
    """

    num: float = 0.0
    accepted: float = 0.0
    num_squares: float = 0.0
    rewards: float = 0.0
    tokens: float = 0.0
    rewards_squared: float = 0.0
    rewards_tokens: float = 0.0
    tokens_squared: float = 0.0

    def add(self, reward: float, tokens: float) -> None:
        self.num += 1
        self.accepted += reward > 0
        self.num_squares += 1
        self.rewards += reward
        self.tokens += tokens
        self.rewards_squared += reward * reward
        self.rewards_tokens += reward * tokens
        self.tokens_squared += tokens * tokens

    def discount(self, by: float) -> None:
        for name in ("num", "accepted", "rewards", "tokens"):
            setattr(self, name, getattr(self, name) * by)
        for name in ("num_squares", "rewards_squared", "rewards_tokens", "tokens_squared"):
            setattr(self, name, getattr(self, name) * by * by)

    @property
    def relative_yield(self) -> float:
        """1 for what is usual; 0 where nothing is known."""
        return self.rewards / self.tokens if self.tokens > 0 else 0.0

    @property
    def residual(self) -> float:
        """Squared distance of its samples from what their tokens would bring at its yield."""
        y = self.relative_yield
        squares = self.rewards_squared - 2 * y * self.rewards_tokens + y * y * self.tokens_squared
        return max(squares, 0.0)


def shrunken_yields(arms: Sequence[ArmEvidence]) -> list[float]:
    """The arms' yields, as far from their mean as cannot be noise; the mean, where nothing is
    known of an arm.

    The variance of a yield is that of a ratio of sums (delta method), with that of single samples
    pooled over all arms: of one that has been drawn twice, nobody knows its own.
    """
    known = [arm for arm in arms if arm.tokens > 0]
    pooled = sum(arm.residual for arm in known) / (sum(arm.num_squares for arm in known) or 1.0)
    if len(known) < 2 or pooled <= 0:
        return [arm.relative_yield if arm.tokens > 0 else 1.0 for arm in arms]
    variances = [pooled * arm.num_squares / arm.tokens**2 for arm in known]
    precisions = [1 / variance for variance in variances]
    total = sum(precisions)
    yields = [arm.relative_yield for arm in known]
    mean = sum(p * y for p, y in zip(precisions, yields, strict=True)) / total
    spread = sum(p * (y - mean) ** 2 for p, y in zip(precisions, yields, strict=True))
    spare = total - sum(p * p for p in precisions) / total
    between = max(0.0, (spread - (len(known) - 1)) / spare)
    shrunken = iter(
        mean + between / (between + variance) * (y - mean)
        for y, variance in zip(yields, variances, strict=True)
    )
    return [next(shrunken) if arm.tokens > 0 else mean for arm in arms]


def next_weights(
    prior: Sequence[float],
    before: Sequence[float],
    arms: Sequence[ArmEvidence],
    *,
    floor: float,
    step: float,
) -> list[float]:
    """Weights that sum to 1. Each arm keeps ``floor`` of its ``prior`` at least, and they go
    ``step`` of the way from those ``before``.
    """
    wanted = [
        weight * max(brings, 0.0) ** GREED
        for weight, brings in zip(prior, shrunken_yields(arms), strict=True)
    ]
    total = sum(wanted)
    if total <= 0:  # nothing was accepted of anything: nothing tells arms apart
        return list(before)
    mixed = [
        floor * p + (1 - floor) * weight / total for p, weight in zip(prior, wanted, strict=True)
    ]
    moved = [old + step * (new - old) for old, new in zip(before, mixed, strict=True)]
    return [round(weight / sum(moved), DECIMALS) for weight in moved]
