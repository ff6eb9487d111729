"""What a token costs, by the list that genai-prices carries. Nothing is looked up on the network.

The list is large and slow to load: it is imported by the first question, not by this module.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per token. Where a price depends on the length of the input, it is the highest."""

    input_usd: float
    output_usd: float

    def usd(self, *, input_tokens: int, output_tokens: int) -> float:
        return input_tokens * self.input_usd + output_tokens * self.output_usd


def price_of(
    model: str, *, provider: str | None = None, base_url: str | None = None
) -> Price | None:
    """The price of a model, ``None`` where it is not known (which is not to say that it is free).

    ``provider`` is a hint, of which the list has its own names; ``base_url`` settles whose model it
    is. An address that the list does not know has prices that it does not know either. Resolve it
    once per endpoint: a call takes some 0.1 ms.
    """
    from genai_prices import Usage, calc_price  # loads the whole list

    try:
        one_each = Usage(input_tokens=1, output_tokens=1)
        if base_url is not None:
            found = calc_price(one_each, model, provider_api_url=base_url)
        else:
            found = calc_price(one_each, model, provider_id=provider)
    except LookupError:
        return None
    prices = found.model_price
    per_input = _usd_per_token(getattr(prices, "input_mtok", None))
    per_output = _usd_per_token(getattr(prices, "output_mtok", None))
    if per_input is None or per_output is None:
        return None
    return Price(per_input, per_output)


def _usd_per_token(per_million: Any) -> float | None:
    """A price may be a number, or a base with tiers above it."""
    if per_million is None:
        return None
    tiers = getattr(per_million, "tiers", ())
    prices = [getattr(per_million, "base", per_million), *(tier.price for tier in tiers)]
    return float(max(prices)) / 1e6
