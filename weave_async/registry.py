"""Names in a recipe → parts. Entry points, or ``package.module:Name`` to try an idea.

A part is a dataclass: its fields are its options, checked by pydantic when it is built. Presets are
no parts but data: each entry point of theirs maps many names.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from weave_async.errors import RecipeError
from weave_async.records import Preset

GROUPS = {
    "provider": "weave_async.providers",
    "source": "weave_async.sources",
    "noise": "weave_async.noise",
    "validator": "weave_async.validators",
    "selector": "weave_async.selectors",
    "sink": "weave_async.sinks",
    "server": "weave_async.servers",
    "preset": "weave_async.presets",
}
"""What a part is called, and the entry-point group where it registers."""
LISTED_UNDER = {"noise": "noise", "validator": "validation", "selector": "selection"}
"""Where a recipe lists the parts that it lists."""


def load(kind: str, name: str, *, also_known: Sequence[str] = ()) -> Any:
    """The object that ``name`` stands for, be it an installed part or ``module:Name``.

    ``also_known`` are names that the caller deals with, and that may be meant.
    """
    if ":" in name:
        if not EntryPoint.pattern.fullmatch(name):
            raise RecipeError(f"{kind} '{name}' cannot be loaded: expected package.module:Name")
        return _load_entry(kind, EntryPoint(name, name, GROUPS[kind]))
    try:
        entry = _entries(kind)[name]
    except KeyError:
        for other, key in LISTED_UNDER.items():
            if kind in LISTED_UNDER and name in _entries(other):
                mistake = f"unknown {kind} '{name}': it is a {other}, list it under '{key}'"
                raise RecipeError(mistake) from None
        also = sorted(presets()) if kind == "provider" else []
        raise RecipeError(unknown(kind, name, [*installed(kind), *also, *also_known])) from None
    return _load_entry(kind, entry)


def preset(name: str) -> Preset | None:
    """The preset of that name. A provider's own name is never one: it means the provider."""
    if ":" in name or name in _entries("provider"):
        return None
    return presets().get(name)


@cache
def presets() -> Mapping[str, Preset]:
    """All presets by name. An entry point of their group is a mapping of many."""
    found: dict[str, Preset] = {}
    for entry in _entries("preset").values():
        rows = _load_entry("preset", entry)
        if not isinstance(rows, Mapping) or not all(isinstance(r, Preset) for r in rows.values()):
            raise RecipeError(f"presets '{entry.name}' must map names to weave_async's Preset")
        for name in found.keys() & rows.keys():
            raise RecipeError(f"preset '{name}' of '{entry.name}' is there already, by that name")
        found |= rows
    return found


def build(
    kind: str, name: str, options: Mapping[str, Any], *, also_known: Sequence[str] = ()
) -> Any:
    """A part with its options. A scalar option set is spelled ``{"": value}``: the first field.

    A class or function that is no dataclass will do, as long as it gets no options. ``also_known``
    are options that the caller deals with, to be named among the known ones.
    """
    part = load(kind, name)
    if not is_dataclass(part):
        if options:
            raise RecipeError(
                f"{kind} '{name}' takes no options: make it a @dataclass, with fields"
            )
        return _made(kind, name, part) if isinstance(part, type) else part
    known = [field.name for field in fields(part) if field.init]
    if "" in options and not known:
        raise RecipeError(f"{kind} '{name}' takes no options, got {options['']!r}")
    named = {known[0] if key == "" else key: value for key, value in options.items()}
    for key in named:
        if key not in known:
            raise RecipeError(
                f"{kind} '{name}': " + unknown("option", str(key), [*known, *also_known])
            )
    return _made(kind, name, lambda: TypeAdapter(part).validate_python(named))


def located(kind: str, name: str, options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The options with their paths absolute: relative ones start at ``folder``.

    Which options are paths, or lists of them, a part says in ``paths: ClassVar``. Of what has a
    colon behind a file's name, ``rules.py:no_links``, the file is the path; ``package.rules:name``
    is none.
    """
    paths = _path_options(kind, name, options)
    return {
        key: _absolute(value, folder) if key in paths else value for key, value in options.items()
    }


def paths_in(kind: str, name: str, options: Mapping[str, Any]) -> Iterator[str]:
    """The paths among the options, as they stand there."""
    for key in _path_options(kind, name, options):
        named = options[key] if isinstance(options[key], list) else [options[key]]
        yield from (path for path in named if isinstance(path, str))


def _path_options(kind: str, name: str, options: Mapping[str, Any]) -> list[str]:
    part = load(kind, name)
    paths = getattr(part, "paths", ())
    if not paths:
        return []
    first = next((field.name for field in fields(part) if field.init), "")
    return [key for key in options if (first if key == "" else key) in paths]


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_absolute(each, folder) for each in value]
    if not isinstance(value, str) or (":" in value and ".py:" not in value):
        return value
    return os.fsencode((folder / value).absolute()).decode(errors="replace")


def _made(kind: str, name: str, make: Callable[[], Any]) -> Any:
    """What ``make`` returns; whatever it raises is told as a mistake in the recipe."""
    try:
        return make()
    except ValidationError as error:
        first = error.errors()[0]
        steps = [str(step) for step in first["loc"] if not str(step)[:1].isupper()]
        where = f"{'.'.join(steps)}: " if steps else ""
        message = first["msg"].removeprefix("Value error, ")
        raise RecipeError(f"{kind} '{name}': {where}{message} (got {first['input']!r})") from None
    except Exception as error:  # a part of somebody else's may raise anything
        raise RecipeError(f"{kind} '{name}': {type(error).__name__}: {error}") from error


def options_schema(kind: str, name: str) -> dict[str, Any]:
    """The JSON Schema of a part's options, with what its docstring says."""
    part = load(kind, name)
    schema = TypeAdapter(part).json_schema()
    if is_dataclass(part):  # what a part keeps for itself is no option of a recipe's
        options = {field.name for field in fields(part) if field.init}
        named = schema.get("properties", {}).items()
        schema["properties"] = {name: value for name, value in named if name in options}
    inlined: dict[str, Any] = _inlined(schema, schema.pop("$defs", {}))
    return inlined


def _inlined(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """With each definition in the place of the reference to it: it will stand in a larger schema,
    where a reference would start from another root.
    """
    if isinstance(schema, list):
        return [_inlined(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if (reference := schema.get("$ref")) is not None:
        return _inlined(definitions[reference.rpartition("/")[2]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}


def installed(kind: str) -> list[str]:
    """The names of the installed parts of one kind."""
    return sorted(_entries(kind))


def unknown(thing: str, value: str, known: list[str], *, where: str = "") -> str:
    """``unknown provider 'locl'; did you mean 'local'? Known: …``: the wording used everywhere."""
    nearest = get_close_matches(value, known, n=1, cutoff=0.6)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else "."
    return f"unknown {thing} '{value}'{where}{hint} Known: {', '.join(known) or 'none'}"


@cache
def _entries(kind: str) -> dict[str, EntryPoint]:
    return {entry.name: entry for entry in entry_points(group=GROUPS[kind])}


def _load_entry(kind: str, entry: EntryPoint) -> Any:
    _refuse_foreign_providers_folder(entry)
    try:
        return entry.load()
    except Exception as error:  # a module of somebody else's may raise anything
        why = f"{type(error).__name__}: {error}"
        raise RecipeError(f"{kind} '{entry.name}' cannot be loaded: {why}") from error


def _refuse_foreign_providers_folder(entry: EntryPoint) -> None:
    """A folder ``providers`` in the working directory shadows ours under ``python -m`` (seen)."""
    if not entry.module.startswith("providers."):
        return
    try:
        package = importlib.import_module("providers")
    except Exception:  # a foreign package may raise anything; ours raises nothing
        package = None
    if not getattr(package, "WEAVE_ASYNC_PROVIDERS", False):
        spec = importlib.util.find_spec("providers")
        places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
        where = next(filter(None, places), "?")
        raise RecipeError(
            f"the package 'providers' at {where} hides the one of weave_async: "
            "run from another folder, or rename yours"
        )
