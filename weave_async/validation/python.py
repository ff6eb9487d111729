"""A rule of the user's own, in three lines."""

from __future__ import annotations

import importlib
import inspect
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from hashlib import blake2b
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.texts import quoted, text_of
from weave_async.validation.turns import Field

_PARAMETERS = ("sample", "text")


class BadRuleError(ValueError):
    """Why something cannot be used as a rule, with the file and the line where it is one's."""


@dataclass(frozen=True, slots=True)
class PythonValidator:
    """A function of one's own: ``python: rules.py:my_rule``, beside the recipe, or
    ``python: package.module:my_rule``.

    It has one parameter. Called ``text``, it gets the text of ``field`` (the completion, the
    prompt, or both); called ``sample``, all that is known. It returns ``True`` or ``None`` where
    the sample passes, ``False`` where it does not, a short text as the reason why not, or a
    ``weave_async.Verdict`` with its evidence.
    """

    paths: ClassVar[tuple[str, ...]] = ("rule",)

    rule: str
    field: Field = "completion"
    _function: Callable[[Any], Any] = dataclass_field(init=False, repr=False, compare=False)
    _takes_text: bool = dataclass_field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        function = _function_named(self.rule)
        object.__setattr__(self, "_function", function)
        object.__setattr__(self, "_takes_text", _parameter_of(function, self.rule) == "text")

    def __call__(self, sample: Sample) -> Verdict:
        found = self._function(text_of(sample, self.field) if self._takes_text else sample)
        match found:
            case None | True:
                return ACCEPTED
            case Verdict():
                return found
            case False:
                return Verdict(False, self.rule.rpartition(":")[2])
            case str() if found.strip():
                return Verdict(False, quoted(found.strip()))
        raise TypeError(
            f"{self.rule} must return True, None, False, a reason or a Verdict, and returned "
            f"{found!r}"
        )


def _function_named(rule: str) -> Callable[[Any], Any]:
    place, colon, name = rule.rpartition(":")
    if not (place and colon and name.isidentifier()):
        raise BadRuleError(f"{rule!r} is neither file.py:function nor package.module:function")
    module = _module_in(Path(place)) if place.endswith(".py") else _module_called(place)
    function = getattr(module, name, None)
    if callable(function) and not isinstance(function, type):
        found: Callable[[Any], Any] = function
        return found
    there = [
        each
        for each, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]
    known = ", ".join(there) or "none"
    if function is None:
        raise BadRuleError(f"{place} has no function {name!r}; it has: {known}")
    raise BadRuleError(f"{name!r} in {place} is no function; functions there: {known}")


class _FreshLoader(SourceFileLoader):
    """Compiles anew each time: nothing is written beside the user's file, and no older version of
    it is taken for this one.
    """

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _module_in(path: Path) -> ModuleType:
    name = f"weave_async_rules_{blake2b(os.fsencode(path), digest_size=8).hexdigest()}"
    loader = _FreshLoader(name, str(path))
    module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    try:
        loader.get_code(name)
    except OSError as error:
        raise BadRuleError(f"cannot read {path}: {error.strerror}") from error
    except SyntaxError as error:
        raise BadRuleError(f"{path}:{error.lineno}: {error.msg}") from error
    except ValueError as error:  # a null byte
        raise BadRuleError(f"{path}: {error}") from error
    sys.modules[name] = module  # a dataclass looks its own module up there
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a file of somebody else's may raise anything
        del sys.modules[name]
        raise BadRuleError(f"{_line_of(error, path)}: {_told(error)}") from error
    return module


def _module_called(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except SyntaxError as error:
        raise BadRuleError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:  # the same
        raise BadRuleError(f"{name} cannot be imported: {_told(error)}") from error


def _parameter_of(function: Callable[[Any], Any], rule: str) -> str:
    """``sample`` or ``text``; all others must have defaults."""
    if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
        raise BadRuleError(f"{rule} must be a plain function, which returns: no async, no yield")
    parameters = inspect.signature(function).parameters.values()
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needed = [
        each.name for each in parameters if each.default is each.empty and each.kind not in kinds
    ]
    if len(needed) == 1 and needed[0] in _PARAMETERS and next(iter(parameters)).name == needed[0]:
        return needed[0]
    has = f"({', '.join(needed)})"
    raise BadRuleError(f"{rule} must have one parameter, called sample or text; it has {has}")


def _line_of(error: BaseException, path: Path) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    return f"{path}:{lines[-1]}" if lines else str(path)


def _told(error: BaseException) -> str:
    return quoted(f"{type(error).__name__}: {error}")
