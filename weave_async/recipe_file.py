"""A YAML file checked against a model, with errors that name file, line, key and the way out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from weave_async import registry
from weave_async.errors import RecipeError

MAX_CHARS = 1_000_000
MAX_NODES = 100_000


class _Loader(yaml.SafeLoader):
    """Reads ``on``, ``off``, ``yes`` and ``no`` as texts, as YAML 1.2 does: a selector has an
    option ``on``, a choice may be between yes and no, and ``no`` is Norwegian. Days are texts, too.
    """


_BOOL, _DAY = "tag:yaml.org,2002:bool", "tag:yaml.org,2002:timestamp"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in (_BOOL, _DAY)]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z"), "tTfF")


def read(text: str, where: str) -> tuple[Any, yaml.Node]:
    """The data, and its nodes, which know their lines. Plain YAML only, and not too much of it."""
    if len(text) > MAX_CHARS:
        raise RecipeError(f"{where} has {len(text)} characters, more than {MAX_CHARS}")
    try:
        root = yaml.compose(text, Loader=_Loader)
        if not isinstance(root, yaml.MappingNode):
            raise RecipeError(f"{where}: a recipe is a mapping of keys; try `weave-async new`")
        for count, node in enumerate(_walk(root)):
            if count > MAX_NODES:
                raise RecipeError(f"{where}: more than {MAX_NODES} values; are anchors nested?")
            _refuse_repeated_keys(node, where)
        return storable(_Loader(text).get_single_data()), root
    except yaml.MarkedYAMLError as error:
        raise RecipeError(_explain_yaml(error, text, where)) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise RecipeError(f"{where}: {error}") from error


def storable(value: Any) -> Any:
    """``value`` as JSON can hold it. YAML can say more, and what is asked must fit the journal."""
    if isinstance(value, dict):
        return {str(key): storable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [storable(inner) for inner in value]
    if isinstance(value, str):  # YAML that was JSON may spell an emoji as two halves
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a number to work with")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} has more than 64 bits")
    if value is None or isinstance(value, int | float):
        return value
    raise ValueError(f"{value!r} is no text, number, list or mapping; put it in quotes")


def _explain_yaml(error: yaml.MarkedYAMLError, text: str, where: str) -> str:
    if error.problem_mark is None:
        return f"{where}: not YAML: {error.problem}"
    number = error.problem_mark.line
    lines = text.splitlines()
    line = lines[number].strip() if number < len(lines) else ""
    advice = ""
    if "\t" in text:
        advice = " (indent with spaces, not tabs)"
    elif "{{" in line or ": " in line:
        advice = ' (text that holds "{{" or ": " needs quotes)'
    return f"{where}:{number + 1}: not YAML: {error.problem}, at: {line[:80]}{advice}"


def _walk(root: yaml.Node) -> Iterator[yaml.Node]:
    """Every node as often as it is used, so that nested anchors show their true size."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _refuse_repeated_keys(node: yaml.Node, where: str) -> None:
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, _ in node.value:
        if key.value in seen and isinstance(key, yaml.ScalarNode):
            raise RecipeError(f"{where}:{key.start_mark.line + 1}: key '{key.value}' stands twice")
        seen.add(str(key.value))


def explain(error: ValidationError, root: yaml.Node, where: str, model: type[BaseModel]) -> str:
    """The first thing that is wrong, with its line; a union's complaints are told as one."""
    problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    steps = [step for step in problem["loc"] if not _is_union_tag(step)]
    line = _line_of(root, steps)
    place = f"{where}:{line}"
    if problem["type"] == "extra_forbidden":
        *parents, key = steps
        known = sorted(_known_keys(model, parents))
        inside = ".".join(map(str, parents))
        where = f" in {inside}" if inside else ""
        return f"{place}: " + registry.unknown("key", str(key), known, where=where)
    name = ".".join(map(str, steps)) or "recipe"
    if problem["type"] == "union_tag_invalid":
        return f"{place}: {name}: expected a shape, as {{choice: […]}}: see docs/prompts.md"
    if problem["type"] == "missing":
        return f"{place}: '{name}' is missing"
    message = _PLAINLY.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "float_type" and isinstance(problem["input"], list):
        message = f"did you mean {{uniform: {problem['input']}}}?"
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        return f"{place}: {name}: {message}"  # a rule among several keys, which it names
    if _KEY in problem["loc"]:
        return f"{place}: {name}: {message}"  # the key is what is wrong, and is named
    return f"{place}: {name}: {message}, got {problem['input']!r}"


_PLAINLY = {
    "model_type": "expected a mapping of keys",
    "model_attributes_type": "expected a mapping of keys",
    "list_type": 'expected a list; put "- " before each of its entries',
    "string_pattern_mismatch": "a name has letters, digits, '-', '_' and '.'",
}
"""What pydantic says in its own terms, in those of a recipe."""


_KEY = "[key]"
"""Behind a key, where pydantic means the key itself."""


def _is_union_tag(step: int | str) -> bool:
    return step == _KEY or str(step).startswith(("<", "function-"))


def _line_of(node: yaml.Node, steps: list[int | str]) -> int:
    line = node.start_mark.line + 1
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            pair = next((pair for pair in node.value if pair[0].value == str(step)), None)
            if pair is None:
                return line
            line, node = pair[0].start_mark.line + 1, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            if step >= len(node.value):
                return line
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def _known_keys(model: type[BaseModel], steps: list[int | str]) -> Mapping[str, FieldInfo]:
    """The fields of the model that ``steps`` lead to from ``model``."""
    for step in steps:
        if isinstance(step, int) or step not in model.model_fields:
            continue
        inner = _model_in(model.model_fields[step].annotation)
        if inner is None:
            return {}
        model = inner
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    arguments = getattr(annotation, "__args__", ())
    return next((found for argument in arguments if (found := _model_in(argument))), None)
