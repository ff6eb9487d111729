"""Prices: from the list that comes with genai-prices, without the network."""

from __future__ import annotations

import subprocess
import sys

import pytest

from weave_async.pricing import Price, price_of


def test_a_known_model_has_a_price_per_token() -> None:
    price = price_of("gpt-4o", base_url="https://api.openai.com/v1")
    assert price is not None
    assert 0 < price.input_usd < price.output_usd < 1e-3
    assert price == price_of("gpt-4o", provider="openai")


@pytest.mark.parametrize(
    ("model", "where"),
    [
        ("no-such-model", {}),
        ("no-such-model", {"base_url": "https://api.openai.com/v1"}),
        ("gpt-4o", {"base_url": "http://127.0.0.1:8000/v1"}),
        ("gpt-4o", {"provider": "somebody-else"}),
    ],
)
def test_what_is_not_listed_has_no_price_rather_than_none_to_pay(
    model: str, where: dict[str, str]
) -> None:
    assert price_of(model, **where) is None


def test_the_highest_of_several_tiers_is_taken() -> None:
    price = price_of("gemini-2.5-pro", provider="google")
    assert price is not None
    assert price.input_usd == pytest.approx(2.5e-6)


def test_a_price_times_tokens_is_money() -> None:
    price = Price(input_usd=1e-6, output_usd=1e-5)
    assert price.usd(input_tokens=1000, output_tokens=10) == pytest.approx(0.0011)


def test_importing_this_module_does_not_load_the_list() -> None:
    code = "import sys, weave_async.pricing; print('genai_prices' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
