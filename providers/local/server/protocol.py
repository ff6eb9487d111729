"""OpenAI request bodies → dataclasses. What is not supported is refused by name, never ignored.

A parameter that we ignore silently is a sample drawn in another way than its owner believes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from .errors import InvalidRequest

ROLES = ("system", "developer", "user", "assistant", "tool")
MAX_STOPS = 4
MAX_STOP_CHARS = 512
MAX_N = 8
MAX_PROMPTS = 64
INT64 = 2**63

# Accepted and without effect on the text, whatever their value.
IGNORED = frozenset(
    {
        "metadata",
        "parallel_tool_calls",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
# Not supported: accepted only with a value that asks for nothing. None always does.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "add_generation_prompt": (True,),
    "audio": (),
    "best_of": (1,),
    "continue_final_message": (False,),
    "echo": (False,),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "length_penalty": (1,),
    "logit_bias": ({},),
    "logprobs": (False,),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": ("none",),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "stop_token_ids": ([],),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "use_beam_search": (False,),
}


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """How to generate, as asked for. `None`: the server chooses."""

    max_tokens: int | None
    temperature: float
    top_p: float
    top_k: int  # 0: all
    seed: int | None
    stops: tuple[str, ...]
    n: int
    ignore_eos: bool


@dataclass(frozen=True, slots=True)
class Delivery:
    stream: bool
    include_usage: bool


@dataclass(frozen=True, slots=True)
class ChatRequest:
    model: str
    messages: tuple[dict[str, str], ...]
    params: GenerationParams
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class CompletionRequest:
    model: str
    prompts: tuple[str | tuple[int, ...], ...]
    params: GenerationParams
    delivery: Delivery


def parse_chat(body: bytes) -> ChatRequest:
    fields = _Fields(_load(body))
    request = ChatRequest(
        model=fields.take_model(),
        messages=_messages(fields.take("messages")),
        params=_params(fields),
        delivery=_delivery(fields),
    )
    fields.refuse_rest()
    return request


def parse_completion(body: bytes) -> CompletionRequest:
    fields = _Fields(_load(body))
    request = CompletionRequest(
        model=fields.take_model(),
        prompts=_prompts(fields.take("prompt")),
        params=_params(fields),
        delivery=_delivery(fields),
    )
    fields.refuse_rest()
    return request


def _load(body: bytes) -> dict[str, Any]:
    try:
        loaded = orjson.loads(body)  # refuses NaN, bad UTF-8, and nesting deeper than 1024
    except orjson.JSONDecodeError as exc:
        raise InvalidRequest(f"the body is not valid JSON: {exc}", code="invalid_json") from exc
    if not isinstance(loaded, dict):
        raise InvalidRequest(
            f"the body must be a JSON object, not {_kind(loaded)}", code="invalid_json"
        )
    return loaded


def _params(fields: _Fields) -> GenerationParams:
    limits = [
        fields.take_int(name, 1, INT64 - 1) for name in ("max_completion_tokens", "max_tokens")
    ]
    top_k = fields.take_int("top_k", -1, INT64 - 1)
    return GenerationParams(
        max_tokens=next((limit for limit in limits if limit is not None), None),
        temperature=fields.take_float("temperature", 0.0, 2.0, default=1.0),
        top_p=fields.take_float("top_p", 0.0, 1.0, default=1.0, above_low=True),
        top_k=max(0, top_k or 0),
        seed=fields.take_int("seed", -INT64, INT64 - 1),
        stops=_stops(fields.take("stop")),
        n=fields.take_int("n", 1, MAX_N) or 1,
        ignore_eos=fields.take_bool("ignore_eos"),
    )


def _delivery(fields: _Fields) -> Delivery:
    options = fields.take("stream_options")
    if options is not None and not isinstance(options, dict):
        raise _wrong("stream_options", options, "an object")
    return Delivery(
        stream=fields.take_bool("stream"),
        include_usage=_Fields(options or {}).take_bool("include_usage"),
    )


def _messages(messages: Any) -> tuple[dict[str, str], ...]:
    if not isinstance(messages, list) or not messages:
        raise _wrong("messages", messages, "a non-empty list of messages")
    return tuple(_message(message, f"messages[{i}]") for i, message in enumerate(messages))


def _message(message: Any, where: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise _wrong(where, message, "an object with 'role' and 'content'")
    role = message.get("role")
    if role not in ROLES:
        raise _wrong(f"{where}.role", role, f"one of {', '.join(ROLES)}")
    if message.get("tool_calls") or message.get("function_call"):
        raise _unsupported(f"{where}.tool_calls", message.get("tool_calls"), "leave it out")
    # "developer" is OpenAI's newer name of "system"; templates know only the older.
    role = "system" if role == "developer" else role
    return {"role": role, "content": _content(message.get("content"), f"{where}.content")}


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise _wrong(where, content, "a string or a list of text parts")
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise _unsupported(where, part, 'only parts {"type": "text", "text": …} are read')
        if not isinstance(part.get("text"), str):
            raise _wrong(where, part, "text parts with a string 'text'")
    return "".join(part["text"] for part in content)


def _prompts(prompt: Any) -> tuple[str | tuple[int, ...], ...]:
    wanted = "a string, a list of token ids, or a non-empty list of either"
    if isinstance(prompt, str):
        return (prompt,)
    if not isinstance(prompt, list) or not prompt:
        raise _wrong("prompt", prompt, wanted)
    if _are_ids(prompt):
        return (tuple(prompt),)
    if len(prompt) > MAX_PROMPTS:
        raise InvalidRequest(
            f"'prompt' lists {len(prompt)} prompts, at most {MAX_PROMPTS} in one request; "
            "send several requests",
            param="prompt",
        )
    if all(isinstance(one, str) or (isinstance(one, list) and _are_ids(one)) for one in prompt):
        return tuple(one if isinstance(one, str) else tuple(one) for one in prompt)
    raise _wrong("prompt", prompt, wanted)


def _are_ids(ids: list[Any]) -> bool:
    return bool(ids) and all(type(id_) is int and id_ >= 0 for id_ in ids)


def _stops(stop: Any) -> tuple[str, ...]:
    stops: Sequence[Any] = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(s, str) and s for s in stops):
        raise _wrong("stop", stop, "a non-empty string or a list of them")
    if len(stops) > MAX_STOPS or any(len(s) > MAX_STOP_CHARS for s in stops):
        raise _wrong("stop", stop, f"at most {MAX_STOPS} strings of {MAX_STOP_CHARS} characters")
    return tuple(stops)


class _Fields:
    """The fields of a body, taken one by one; `null` is the same as absent."""

    def __init__(self, body: dict[str, Any]) -> None:
        self._rest = dict(body)

    def take(self, name: str) -> Any:
        return self._rest.pop(name, None)

    def take_model(self) -> str:
        model = self.take("model")
        if not isinstance(model, str) or not model:
            raise _wrong("model", model, "the name of the model, see /v1/models")
        return model

    def take_bool(self, name: str) -> bool:
        value = self.take(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise _wrong(name, value, "true or false")

    def take_int(self, name: str, low: int, high: int) -> int | None:
        value = self.take(name)
        if value is None or (type(value) is int and low <= value <= high):
            return value
        raise _wrong(name, value, f"a whole number from {low} to {high}")

    def take_float(
        self, name: str, low: float, high: float, *, default: float, above_low: bool = False
    ) -> float:
        value = self.take(name)
        if value is None:
            return default
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and low <= value <= high and not (above_low and value == low):
            return float(value)
        raise _wrong(name, value, f"a number from {low} {'(not itself) ' * above_low}to {high}")

    def refuse_rest(self) -> None:
        """Raise for the first field left that asks for something we do not do."""
        for name, value in self._rest.items():
            if value is None or name in IGNORED:
                continue
            if name not in NEUTRAL:
                raise _unsupported(name, value, "this parameter is not known here; leave it out")
            neutral = NEUTRAL[name]
            if not any(_same(value, one) for one in neutral):
                allowed = " or ".join(orjson.dumps(one).decode() for one in neutral)
                raise _unsupported(name, value, f"leave it out{allowed and ' or send '}{allowed}")


def _same(value: Any, other: Any) -> bool:
    """Equal as JSON: 0 and 0.0 are, 0 and false are not."""
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _wrong(name: str, value: Any, wanted: str) -> InvalidRequest:
    param = name.split("[")[0]
    return InvalidRequest(f"{name!r} must be {wanted}, not {_show(value)}", param=param)


def _unsupported(name: str, value: Any, way_out: str) -> InvalidRequest:
    return InvalidRequest(
        f"{name!r} is not supported with the value {_show(value)}: {way_out}",
        param=name.split("[")[0],
        code="unsupported_parameter",
    )


def _show(value: Any) -> str:
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:  # it reads 1024 levels deep but writes only 254
        return "a deeply nested value"
    return text if len(text) <= 80 else f"{text[:80]}… ({len(text)} characters)"


def _kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")
