"""Fine-tuning data from the models you have: prompts in, a validated and varied dataset out.

The names below are the public API. They are imported when first used, so that ``import
weave_async`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weave_async.errors import ProviderError, WeaveError
    from weave_async.interfaces import Noise, Provider, Selector, Sink, Source, Validator
    from weave_async.recipe import Recipe
    from weave_async.records import Sample, Verdict
    from weave_async.run import Run
    from weave_async.settings import Settings
    from weave_async.summary import RunSummary

_HOME = {
    "Noise": "interfaces",
    "Provider": "interfaces",
    "ProviderError": "errors",
    "Recipe": "recipe",
    "Run": "run",
    "RunSummary": "summary",
    "Sample": "records",
    "Selector": "interfaces",
    "Settings": "settings",
    "Sink": "interfaces",
    "Source": "interfaces",
    "Validator": "interfaces",
    "Verdict": "records",
    "WeaveError": "errors",
}

__all__ = [
    "Noise",
    "Provider",
    "ProviderError",
    "Recipe",
    "Run",
    "RunSummary",
    "Sample",
    "Selector",
    "Settings",
    "Sink",
    "Source",
    "Validator",
    "Verdict",
    "WeaveError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'weave_async' has no attribute {name!r}")
    return getattr(import_module(f"weave_async.{_HOME[name]}"), name)
