"""What a sample is counted under: a value of its prompt, or who has answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from weave_async.records import Sample, as_category

WHO_ANSWERED = ("endpoint", "model")
"""Names that mean no column or attribute, but the endpoint or the model of the answer."""
BETWEEN = " / "
"""What stands between the values of a combination."""


def columns_of(names: Sequence[str]) -> list[str]:
    """Those of the names that are columns or attributes."""
    return [name for name in names if name not in WHO_ANSWERED]


def value_of(sample: Sample, name: str) -> str:
    """As text; ``null`` where the prompt has no such column."""
    if name == "endpoint":
        return sample.endpoint
    if name == "model":
        return sample.request.model
    try:
        value: Any = as_category(sample.prompt.value_of(name))
    except KeyError:
        value = None
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def values_of(sample: Sample, names: Sequence[str]) -> str:
    """The combination of values: ``card lost / angry``."""
    return BETWEEN.join(value_of(sample, name) for name in names)
