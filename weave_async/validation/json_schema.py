"""The schema of answers: checked when the recipe is read, and then every answer by it.

References stay inside the schema: nothing is ever fetched. ``format`` is an annotation, as the
specification has it, and refuses nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import regex  # type: ignore[import-untyped]
from jsonschema import Draft202012Validator, FormatChecker, validators
from jsonschema.exceptions import SchemaError, ValidationError, best_match
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from weave_async.records import ACCEPTED, Verdict
from weave_async.validation.json_answer import NotJsonError, TooLargeError, parse
from weave_async.validation.json_keywords import Patterns, PatternTooSlow

MAX_SCHEMA_BYTES, MAX_SCHEMA_NODES, MAX_SCHEMA_DEPTH = 128 * 1024, 10_000, 40
MAX_PROBLEMS, MAX_MESSAGE_CHARS, MAX_PATH_CHARS = 5, 300, 200
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_DATA = ("const", "enum", "default", "examples")
"""Keywords whose values are no schemas, whatever they look like."""
_PROBES: tuple[Any, ...] = (None, {}, [], "", 0)


class BadSchemaError(ValueError):
    """Why something cannot be the schema of answers."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an answer, and where: ``$.items[2].name``."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with an answer: a short code for it, and the first few problems."""

    reason: str
    problems: tuple[Problem, ...]

    def verdict(self) -> Verdict:
        first, *more = self.problems
        evidence: dict[str, Any] = {"path": first.path, "message": first.message}
        if more:
            evidence["also"] = [str(problem) for problem in more]
        return Verdict(False, self.reason, evidence)


class AnswerSchema:
    """A JSON Schema, compiled once. Raises ``BadSchemaError`` where it is none, or not a safe one.

    Any draft from 4 on; without a ``$schema``, it is 2020-12.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self.schema = dict(schema)
        self._patterns = Patterns()
        self._validator = self._compiled()

    def __repr__(self) -> str:
        return f"<AnswerSchema {self.schema.get('title', self.schema.get('type', 'of any type'))}>"

    def finding(self, text: str) -> Finding | None:
        """What is wrong with an answer; ``None`` if nothing is."""
        try:
            value = parse(text)
        except NotJsonError as error:
            return _finding("not_json", str(error))
        except TooLargeError as error:
            return _finding("too_large", str(error))
        self._patterns.begin()
        try:
            problems = tuple(
                map(_problem, islice(self._validator.iter_errors(value), MAX_PROBLEMS))
            )
        except PatternTooSlow as error:
            return _finding("too_slow", f"the pattern {error} takes too long to match")
        except RecursionError:
            return _finding("too_large", "it is nested too deep for its schema")
        return Finding("schema_mismatch", problems) if problems else None

    def __call__(self, text: str) -> Verdict:
        finding = self.finding(text)
        return ACCEPTED if finding is None else finding.verdict()

    def _compiled(self) -> Any:
        _refuse_size(self.schema)
        draft = _draft_of(self.schema)
        try:
            # Patterns are compiled below, by the library that will match them.
            draft.check_schema(self.schema, format_checker=FormatChecker(formats=()))
        except SchemaError as error:
            raise BadSchemaError(f"{error.json_path}: {_bounded(error.message)}") from error
        # A schema that names its draft would bring the library's own keywords back with it.
        schema = {key: value for key, value in self.schema.items() if key != "$schema"}
        resource: Resource[Any] = Resource.from_contents(
            self.schema, default_specification=DRAFT202012
        )
        base = resource.id() or ""
        registry: Registry[Any] = Registry().with_resource(base, resource)
        self._look_through(schema, registry.resolver(base))
        safe = validators.extend(draft, self._patterns.keywords())  # type: ignore[no-untyped-call]
        validator = safe(schema, registry=registry)
        try:
            for probe in _PROBES:
                next(validator.iter_errors(probe), None)
        except RecursionError:
            raise BadSchemaError("a reference leads back to itself without end") from None
        return validator

    def _look_through(self, schema: Mapping[str, Any], resolver: Any) -> None:
        """Refuse what would be looked for elsewhere, and what has no bound on its cost."""
        has_unevaluated = has_pattern_properties = False
        for place, key, value in _keywords(schema):
            if key in _REFERENCES and isinstance(value, str):
                _require_inside(place, value, resolver)
            elif key in ("$schema", "$id", "id") and place and isinstance(value, str):
                raise BadSchemaError(f"${place}.{key}: only the schema as a whole can have it")
            elif key == "pattern" and isinstance(value, str):
                self._compile(place, value)
            elif key == "patternProperties" and isinstance(value, dict):
                has_pattern_properties = True
                for pattern in value:
                    self._compile(place, pattern)
            has_unevaluated |= key == "unevaluatedProperties"
        if has_unevaluated and has_pattern_properties:
            raise BadSchemaError(
                "unevaluatedProperties beside patternProperties is not supported: "
                "use additionalProperties"
            )

    def _compile(self, place: str, pattern: str) -> None:
        try:
            self._patterns.compile(pattern)
        except regex.error as error:
            raise BadSchemaError(f"${place}: {pattern!r} is no pattern: {error}") from error


def read_schema(path: Path) -> dict[str, Any]:
    """The schema in a file. Raises ``BadSchemaError`` with the path in its text."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SCHEMA_BYTES + 1)
    except OSError as error:
        raise BadSchemaError(f"cannot read {path}: {error.strerror}") from error
    if len(content) > MAX_SCHEMA_BYTES:
        raise BadSchemaError(f"{path} has more than {MAX_SCHEMA_BYTES} bytes")
    try:
        schema = orjson.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise BadSchemaError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    if not isinstance(schema, dict):
        raise BadSchemaError(f"{path} holds no JSON object: a schema is {{…}}")
    return schema


def _draft_of(schema: Mapping[str, Any]) -> Any:
    named = schema.get("$schema")
    if named is None:
        return Draft202012Validator
    draft: Any = None
    if isinstance(named, str):
        draft = validators.validator_for({"$schema": named}, default=validators.Draft3Validator)
    if draft in (None, validators.Draft3Validator):
        raise BadSchemaError(f"$schema: {named!r} is no draft that is known here")
    return draft


def _refuse_size(schema: Mapping[str, Any]) -> None:
    level: list[Any] = [schema]
    num_nodes = 0
    for _ in range(MAX_SCHEMA_DEPTH):
        num_nodes += len(level)
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        if not level or num_nodes > MAX_SCHEMA_NODES:
            break
    if level or num_nodes > MAX_SCHEMA_NODES:
        raise BadSchemaError(
            f"it is nested more than {MAX_SCHEMA_DEPTH} deep, or has more than "
            f"{MAX_SCHEMA_NODES} values"
        )
    num_bytes = len(orjson.dumps(schema))
    if num_bytes > MAX_SCHEMA_BYTES:
        raise BadSchemaError(f"it has {num_bytes} bytes, more than {MAX_SCHEMA_BYTES}")


def _keywords(schema: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(place, key, value) of every mapping in the schema, but not of the data in it."""
    waiting: list[tuple[str, Any]] = [("", schema)]
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, list):
            waiting += [(f"{place}[{number}]", inner) for number, inner in enumerate(node)]
        elif isinstance(node, dict):
            for key, value in node.items():
                yield place, key, value
                if key not in _DATA or place.endswith((".properties", ".$defs")):
                    waiting.append((f"{place}.{key}", value))


def _require_inside(place: str, reference: str, resolver: Any) -> None:
    if not reference.startswith("#"):
        raise BadSchemaError(
            f"${place}: the reference {reference!r} leads outside, and nothing is fetched: put "
            "what it means under $defs"
        )
    try:
        resolver.lookup(reference)
    except Unresolvable as error:
        raise BadSchemaError(f"${place}: the reference {reference!r} leads nowhere") from error


def _problem(error: ValidationError) -> Problem:
    """Of alternatives of which none fits, the one that comes closest."""
    error = best_match([error]) or error
    return Problem(_bounded(error.json_path, MAX_PATH_CHARS), _bounded(error.message))


def _finding(reason: str, message: str) -> Finding:
    return Finding(reason, (Problem("$", _bounded(message)),))


def _bounded(text: str, most_chars: int = MAX_MESSAGE_CHARS) -> str:
    text = text if len(text) <= most_chars else f"{text[: most_chars - 1]}…"
    return text.encode(errors="replace").decode()
