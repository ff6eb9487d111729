"""The parts that are installed, one of each kind with its default options, as test parameters."""

from __future__ import annotations

from typing import Any

import pytest

from weave_async import registry
from weave_async.errors import RecipeError


def with_default_options(kind: str) -> list[Any]:
    """Those that ask no endpoint. One that cannot do without an option, or an extra, is skipped."""
    found = []
    for name in registry.installed(kind):
        try:
            part = registry.build(kind, name, {})
        except RecipeError as error:
            found.append(pytest.param(None, id=name, marks=pytest.mark.skip(reason=str(error))))
            continue
        if not hasattr(part, "consults"):
            found.append(pytest.param(part, id=name))
    return found
