"""A request body, read field by field: types, ranges, and refusals that name the field."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import orjson

from .errors import InvalidRequest

INT64 = 2**63


def load(body: bytes) -> dict[str, Any]:
    try:
        loaded = orjson.loads(body)  # refuses NaN, bad UTF-8, and nesting deeper than 1024
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(f"the body is not valid JSON: {exc}", code="invalid_json") from exc
    if not isinstance(loaded, dict):
        raise InvalidRequest(
            f"the body must be a JSON object, not {_kind(loaded)}", code="invalid_json"
        )
    return loaded


class Fields:
    """The fields of a body, taken one by one; `null` is the same as absent."""

    def __init__(self, body: dict[str, Any], *, within: str | None = None) -> None:
        """`within`: the field that holds this object, to be named in front of its own."""
        self._rest = dict(body)
        self._prefix = f"{within}." if within else ""

    def take(self, name: str) -> Any:
        return self._rest.pop(name, None)

    def take_model(self) -> str:
        model = self.take("model")
        if not isinstance(model, str) or not model:
            raise wrong("model", model, "the name of the model, see /v1/models")
        return model

    def take_bool(self, name: str) -> bool:
        value = self.take(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise wrong(self._prefix + name, value, "true or false")

    def take_int(self, name: str, low: int, high: int) -> int | None:
        value = self.take(name)
        if value is None or (type(value) is int and low <= value <= high):
            return value
        raise wrong(self._prefix + name, value, f"a whole number from {low} to {high}")

    def take_float(
        self, name: str, low: float, high: float, *, default: float, above_low: bool = False
    ) -> float:
        value = self.take(name)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and low <= value <= high and not (above_low and value == low):
            return float(value)
        wanted = f"a number from {low} {'(not itself) ' * above_low}to {high}"
        raise wrong(self._prefix + name, value, wanted)

    def refuse_rest(
        self, ignored: Collection[str], neutral_values: Mapping[str, Sequence[Any]]
    ) -> None:
        """Raise for the first field left that asks for something we do not do.

        What `ignored` names may have any value, what `neutral_values` names only one of those.
        """
        for name, value in self._rest.items():
            if value is None or name in ignored:
                continue
            if name not in neutral_values:
                raise unsupported(name, value, "this parameter is not known here; leave it out")
            neutral = neutral_values[name]
            if not any(_same(value, one) for one in neutral):
                allowed = " or ".join(orjson.dumps(one).decode() for one in neutral)
                raise unsupported(name, value, f"leave it out{allowed and ' or send '}{allowed}")


def _same(value: Any, other: Any) -> bool:
    """Equal as JSON: 0 and 0.0 are, 0 and false are not."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def wrong(name: str, value: Any, wanted: str) -> InvalidRequest:
    """The error for a field with a value it cannot have. `name` may lead into the field."""
    return InvalidRequest(
        f"{shortened(name)!r} must be {wanted}, not {_show(value)}", param=_field(name)
    )


def unsupported(name: str, value: Any, way_out: str) -> InvalidRequest:
    """The error for what other servers may do, and we do not."""
    return InvalidRequest(
        f"{shortened(name)!r} is not supported with the value {_show(value)}: {way_out}",
        param=_field(name),
        code="unsupported_parameter",
    )


def _field(name: str) -> str:
    """The field of the body that holds what has this name: all that `param` can say."""
    return shortened(re.split(r"[.\[]", name, maxsplit=1)[0])


def _show(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # it reads 1024 levels deep but writes only 254
        return "a deeply nested value"
    return shortened(text)


def shortened(text: str) -> str:
    """For messages: a client's own megabytes are not sent back to it."""
    return text if len(text) <= 80 else f"{text[:80]}… ({len(text)} characters)"


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
