"""Which samples were made of earlier samples: a model that learns from its own echo gets worse
(Shumailov et al., 2024), so each knows how many runs stand behind it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

GENERATION = "generation"
PARENT = "sample_id"
"""Columns of a row that is an earlier run's sample: what is made of it, and its own id."""


def generation_of(columns: Mapping[str, Any]) -> int:
    """Of what is made of a row: 0 unless that is an earlier run's."""
    if PARENT not in columns:
        return 0
    generation = columns.get(GENERATION)
    return generation if isinstance(generation, int) else 0


def descended(
    columns: Mapping[str, Any], examples: Sequence[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The columns of a prompt's row, with the generation and parent of an example that was shown
    with it, where that is further away from what people wrote.
    """
    furthest = max(examples, key=generation_of, default=columns)
    if generation_of(furthest) <= generation_of(columns):
        return columns
    return {**columns, GENERATION: furthest[GENERATION], PARENT: furthest[PARENT]}
