"""The places of a text where a noise could do something, and which of them it takes."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from weave_async.noise.edits import num_edits

Site = TypeVar("Site")


def taken(sites: Sequence[Site], rate: float, rng: Random) -> list[Site]:
    """A ``rate`` of the sites, each as likely as the others; at least one, if there is one."""
    return rng.sample(sites, num_edits(rate, len(sites), rng))


def check_rate(rate: float, most: float = 1.0) -> None:
    """Raises ``ValueError`` for what is no share of sites."""
    if not 0 <= rate <= most:
        raise ValueError(f"rate must be between 0 and {most:g}: the share of its sites to change")


def with_case_of(before: str, after: str) -> str:
    """``after`` in capitals, or with a first capital, where ``before`` is so."""
    if before[:1].isupper():
        if len(before) > 1 and before.isupper():
            return after.upper()
        return after[:1].upper() + after[1:]
    return after
