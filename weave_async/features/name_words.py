"""Names of people and places that are English words as well."""

from __future__ import annotations

COMMON_WORDS = frozenset(
    """
    all april august ball banks bass bean best bill bird bishop black blue bond bridges brook
    brown buck bush case chance chase christian church clay cook cross day dawn dean drew duke
    english faith field fields fish flowers ford fox frank french friend frost fry gene german
    gold good grace grant gray green grey guy hall hand hart heath hill holiday hood hope horn
    house hunt iris ivy jack jade jewel joy june justice kent key king knight lamb lane law lily
    little long love low major man marine mark marsh mason may mercy miles mills moon moss ocean
    old olive page park parks patience pearl penny pope potter power price prince queen rain
    rankin ray reed rice rich rivers rose ruby rush sharp short silver small snow stark stone
    strong summer swan sweet van violet wall ware water waters weeks west white wild will winter
    wise wolf wood woods worth york young
    """.split()  # noqa: SIM905 - read as words
)
"""Without another name or a title beside them, they are rather the word."""
