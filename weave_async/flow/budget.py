"""What a run may spend, in tokens and in money, over all of its endpoints.

The worst case is reserved before a request is sent and settled after it, so that at any time what
is spent and what is reserved fit the budget together. A request whose outcome nobody knows (it was
cancelled, cut or timed out) may be billed: it stays spent at its worst case.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from weave_async.errors import BudgetError

ROUNDING_USD = 1e-9
"""A sum of prices may be off by this much."""


class Cost(NamedTuple):
    """Tokens in and out, and what they cost; ``usd`` is 0 where only tokens are limited."""

    tokens: int = 0
    usd: float = 0.0


NO_COST = Cost()


class Budget:
    """Limits on tokens and on money; ``None`` is no limit. ``already_spent`` are earlier runs'."""

    def __init__(
        self,
        *,
        max_tokens: int | None = None,
        max_usd: float | None = None,
        already_spent: Cost = NO_COST,
    ) -> None:
        self.max_tokens = max_tokens
        self.max_usd = max_usd
        self.spent = already_spent
        self.reserved = NO_COST
        self._num_reserved = 0
        self._waiting: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        return f"<Budget {_of(self.spent, self)} spent, {_of(self.reserved, self)} reserved>"

    def reserve(self, cost: Cost, on_freed: Callable[[], None]) -> bool:
        """Take ``cost`` if it fits; else call ``on_freed`` when more may fit, once.

        Raises ``BudgetError`` when it does not fit and nothing is under way that could free any.
        """
        if not self.has_room_for(cost):
            if not self._num_reserved:
                raise self.refusal(cost)
            if on_freed not in self._waiting:
                self._waiting.append(on_freed)
            return False
        self.owe(cost)
        return True

    def has_room_for(self, cost: Cost) -> bool:
        """Whether ``cost`` fits beside what is spent and what is reserved."""
        tokens = self.spent.tokens + self.reserved.tokens + cost.tokens
        usd = self.spent.usd + self.reserved.usd + cost.usd
        too_many = self.max_tokens is not None and tokens > self.max_tokens
        return not (too_many or (self.max_usd is not None and usd > self.max_usd + ROUNDING_USD))

    def owe(self, cost: Cost) -> None:
        """Reserve what is out already, whether it fits or not."""
        self.reserved = Cost(self.reserved.tokens + cost.tokens, self.reserved.usd + cost.usd)
        self._num_reserved += 1

    def settle(self, reserved: Cost, spent: Cost) -> None:
        """What was reserved has cost ``spent``."""
        self._num_reserved -= 1
        rest_usd = self.reserved.usd - reserved.usd if self._num_reserved else 0.0
        self.reserved = Cost(self.reserved.tokens - reserved.tokens, rest_usd)
        self.spent = Cost(self.spent.tokens + spent.tokens, self.spent.usd + spent.usd)
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for on_freed in waiting:
                on_freed()

    def refusal(self, cost: Cost) -> BudgetError:
        """Why ``cost`` may not be spent any more."""
        limit = Cost(self.max_tokens or 0, self.max_usd or 0.0)
        spent = f"{_of(self.spent, self)} spent"
        if self._num_reserved:
            spent += f" and {_of(self.reserved, self)} set aside"
        return BudgetError(
            f"the budget of {_of(limit, self)} has {spent}, and the next "
            f"request may cost {_of(cost, self)}: raise the budget to go on where this run stopped"
        )


def _of(cost: Cost, budget: Budget) -> str:
    """Only what is limited."""
    parts = []
    if budget.max_tokens is not None:
        parts.append(f"{cost.tokens:,} tokens")
    if budget.max_usd is not None:
        parts.append(f"${cost.usd:,.4f}")
    return " and ".join(parts) or "nothing"
