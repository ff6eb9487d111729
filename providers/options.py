"""A provider's own options: a dataclass, filled from what the recipe or the environment says."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from weave_async.errors import RecipeError
from weave_async.records import Endpoint

T = TypeVar("T")

LONGEST_SHOWN = 20


def options_of(endpoint: Endpoint, options_class: type[T]) -> T:
    """The endpoint's options as ``options_class``; an unknown or bad one is a ``RecipeError``."""
    shape: Any = options_class
    known = [field.name for field in fields(shape)]
    for name in endpoint.options:
        if name not in known:
            raise RecipeError(
                f"endpoint '{endpoint.name}': unknown option '{name}'. Known: {', '.join(known)}"
            )
    try:
        return TypeAdapter(options_class).validate_python(dict(endpoint.options))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        got = repr(problem["input"])
        if len(got) > LONGEST_SHOWN:  # it may hold a token
            got = type(problem["input"]).__name__
        raise RecipeError(
            f"endpoint '{endpoint.name}': option {where}: {problem['msg']}, got {got}"
        ) from None
