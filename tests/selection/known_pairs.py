"""Texts whose sets of character n-grams share exactly as much as is asked."""

from __future__ import annotations

from fractions import Fraction
from random import Random

FIRST_CHAR, NUM_CHARS = 0x4E00, 20_000
"""Ideographs: no case, no spaces, and so many that no n-gram comes twice by chance."""


def pair(shared: int, of_each: int, n: int, rng: Random) -> tuple[str, str, Fraction]:
    """Two texts that share ``shared`` n-grams, with ``of_each`` more of their own each."""
    chars = [
        chr(FIRST_CHAR + each) for each in rng.sample(range(NUM_CHARS), shared + n + 2 * of_each)
    ]
    start = "".join(chars[: shared + n - 1])
    one, other = chars[shared + n :][:of_each], chars[shared + n :][of_each:]
    return (
        start + "".join(one),
        start + "".join(other),
        Fraction(shared, shared + 2 * of_each),
    )
