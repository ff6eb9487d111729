"""What a plan draws by: the recipe's own weights, or those that were decided for a round.

Rounds are counted by ordinals and never by time, so that the same recipe, seed and answers make the
same dataset at any concurrency, and after any interruption. A round is decided by what came of the
rounds before the last one: while that is still being answered, the endpoint has work.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from weave_async.controller.decisions import Decision
from weave_async.controller.dimensions import Dimension


@dataclass(slots=True)
class Steering:
    """The decisions so far, and how they move what is drawn.

    ``round_size`` samples are a round, whole groups. What came of round r is heeded from round
    r + 1 + ``lag`` on; the rounds before that are drawn as the recipe says.
    """

    round_size: int
    lag: int
    dimensions: Mapping[str, Dimension]
    _decided: list[Mapping[str, list[float]]] = field(default_factory=list, repr=False)
    """Cumulative weights by dimension, from round 1 + ``lag`` on."""

    @property
    def num_free_rounds(self) -> int:
        """Rounds that nothing can be known about: they are drawn as the recipe says."""
        return 1 + self.lag

    @property
    def num_decided_rounds(self) -> int:
        return self.num_free_rounds + len(self._decided)

    @property
    def num_decided(self) -> int:
        """Samples whose round is decided: prompts before this ordinal can be drawn."""
        return self.num_decided_rounds * self.round_size

    @property
    def shape(self) -> dict[str, Any]:
        """What decisions depend on: those of another shape say nothing about these rounds.

        What arms are called is no part of it: where one model takes the place of another, answers
        of the others are still those to what was asked.
        """
        arms = {name: len(dimension.labels) for name, dimension in self.dimensions.items()}
        return {"round": self.round_size, "lag": self.lag, "dimensions": arms}

    def is_decided(self, ordinal: int) -> bool:
        return ordinal < self.num_decided

    def take(self, decisions: Iterable[Decision]) -> None:
        """Draw by these, from the next round on, one after the other."""
        for decision in decisions:
            if decision.round != self.num_decided_rounds:
                raise ValueError(f"{decision} does not follow round {self.num_decided_rounds - 1}")
            self._decided.append(
                {name: list(accumulate(decision.weights[name])) for name in self.dimensions}
            )

    def fraction(self, name: str, fraction: float, ordinal: int) -> float:
        """Where a fraction drawn for this dimension lands for the sample at ``ordinal``."""
        dimension = self.dimensions.get(name)
        if dimension is None or (cumulative := self._cumulative(name, ordinal)) is None:
            return fraction
        return dimension.moved(fraction, cumulative)

    def arm(self, name: str, fraction: float, ordinal: int) -> int:
        """The arm that this fraction has drawn there."""
        return self.dimensions[name].arm_at(fraction, self._cumulative(name, ordinal))

    def weights(self, round_number: int) -> Mapping[str, Sequence[float]]:
        """What a round is drawn by, dimension by dimension."""
        number = round_number - self.num_free_rounds
        return {
            name: dimension.prior if number < 0 else _apart(self._decided[number][name])
            for name, dimension in self.dimensions.items()
        }

    def _cumulative(self, name: str, ordinal: int) -> list[float] | None:
        number = ordinal // self.round_size - self.num_free_rounds
        if number < 0:
            return None
        if number >= len(self._decided):
            raise RuntimeError(f"sample {ordinal} is drawn before its round is decided")
        return self._decided[number][name]


def _apart(cumulative: Sequence[float]) -> list[float]:
    return [after - before for before, after in zip([0.0, *cumulative], cumulative, strict=False)]
