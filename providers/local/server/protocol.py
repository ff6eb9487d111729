"""OpenAI request bodies → dataclasses. What is not supported is refused by name, never ignored.

A parameter that we ignore silently is a sample drawn in another way than its owner believes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import InvalidRequest
from .fields import INT64, Fields, load, unsupported, wrong
from .generation import Sampling

ROLES = ("system", "developer", "user", "assistant", "tool")
MAX_STOPS = 4
MAX_STOP_CHARS = 512
MAX_N = 8
MAX_PROMPTS = 64
MAX_BIASES = 1024
MAX_ID_DIGITS = 9
LEAST_REPETITION_PENALTY = 0.01  # logits are divided by it: by much less, they overflow
MAX_CHAT_LOGPROBS = 20
MAX_COMPLETION_LOGPROBS = 5

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
    "function_call": ("none",),
    "functions": ([],),
    "length_penalty": (1,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "prediction": (),
    "reasoning_effort": ("none",),
    "stop_token_ids": ([],),
    "suffix": ("",),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "use_beam_search": (False,),
}


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """How to generate, as asked for. `None`: the server chooses."""

    max_tokens: int | None
    sampling: Sampling  # of which `seed` and `choice` are filled in later
    seed: int | None
    stops: tuple[str, ...]
    n: int
    ignore_eos: bool
    schema: Mapping[str, Any] | bool | None  # JSON Schema of the answer


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
    fields = Fields(load(body))
    request = ChatRequest(
        model=fields.take_model(),
        messages=_messages(fields.take("messages")),
        params=_params(fields, _chat_logprobs(fields)),
        delivery=_delivery(fields),
    )
    fields.refuse_rest(IGNORED, NEUTRAL)
    return request


def parse_completion(body: bytes) -> CompletionRequest:
    fields = Fields(load(body))
    request = CompletionRequest(
        model=fields.take_model(),
        prompts=_prompts(fields.take("prompt")),
        params=_params(fields, fields.take_int("logprobs", 0, MAX_COMPLETION_LOGPROBS)),
        delivery=_delivery(fields),
    )
    fields.refuse_rest(IGNORED, NEUTRAL)
    return request


def _params(fields: Fields, num_logprobs: int | None) -> GenerationParams:
    limits = [
        fields.take_int(name, 1, INT64 - 1) for name in ("max_completion_tokens", "max_tokens")
    ]
    seed = fields.take_int("seed", -INT64, INT64 - 1)
    schema = _schema(fields.take("response_format"))
    ignore_eos = fields.take_bool("ignore_eos")
    if ignore_eos and schema is not None:
        raise wrong("ignore_eos", True, "left out beside 'response_format': its text has an end")
    return GenerationParams(
        max_tokens=next((limit for limit in limits if limit is not None), None),
        sampling=_sampling(fields, num_logprobs, seeded=seed is not None),
        seed=seed,
        stops=_stops(fields.take("stop")),
        n=fields.take_int("n", 1, MAX_N) or 1,
        ignore_eos=ignore_eos,
        schema=schema,
    )


def _sampling(fields: Fields, num_logprobs: int | None, *, seeded: bool) -> Sampling:
    top_k = fields.take_int("top_k", -1, INT64 - 1)
    return Sampling(
        temperature=fields.take_float("temperature", 0.0, 2.0, default=1.0),
        top_p=fields.take_float("top_p", 0.0, 1.0, default=1.0, above_low=True),
        top_k=max(0, top_k or 0),
        min_p=fields.take_float("min_p", 0.0, 1.0, default=0.0),
        presence_penalty=fields.take_float("presence_penalty", -2.0, 2.0, default=0.0),
        frequency_penalty=fields.take_float("frequency_penalty", -2.0, 2.0, default=0.0),
        repetition_penalty=fields.take_float(
            "repetition_penalty", LEAST_REPETITION_PENALTY, 10.0, default=1.0
        ),
        logit_bias=_logit_bias(fields.take("logit_bias")),
        num_logprobs=num_logprobs,
        seeded=seeded,
    )


def _chat_logprobs(fields: Fields) -> int | None:
    """In chats a switch and, beside it, how many; in completions one number is both."""
    asked = fields.take_bool("logprobs")
    num_likeliest = fields.take_int("top_logprobs", 0, MAX_CHAT_LOGPROBS)
    if num_likeliest and not asked:
        raise wrong("top_logprobs", num_likeliest, "left out unless 'logprobs' is true")
    return (num_likeliest or 0) if asked else None


def _logit_bias(biases: Any) -> dict[int, float]:
    if biases is None:
        return {}
    if not isinstance(biases, dict) or len(biases) > MAX_BIASES:
        raise wrong("logit_bias", biases, f"an object of at most {MAX_BIASES} token ids")
    ids_as_numbers: dict[int, float] = {}
    fields = Fields(biases, within="logit_bias")
    for name in biases:
        # int() alone would take signs, blanks, underscores and the digits of any script.
        if not (name.isascii() and name.isdigit() and len(name) <= MAX_ID_DIGITS):
            raise wrong("logit_bias", name, 'an object whose names are token ids, as in {"42": -1}')
        ids_as_numbers[int(name)] = fields.take_float(name, -100.0, 100.0, default=0.0)
    return ids_as_numbers


def _schema(response_format: Any) -> Mapping[str, Any] | bool | None:
    """None: any text. `strict` is accepted either way, as every schema here is kept to."""
    if response_format is None:
        return None
    if not isinstance(response_format, dict):
        raise wrong("response_format", response_format, "an object with a 'type'")
    fields = Fields(response_format, within="response_format")
    kind = fields.take("type")
    if kind not in ("text", "json_object", "json_schema"):
        raise wrong("response_format.type", kind, "text, json_object or json_schema")
    described = fields.take("json_schema")
    fields.refuse_rest(frozenset(), {})
    if kind != "json_schema":
        return {"type": "object"} if kind == "json_object" else None
    if not isinstance(described, dict):
        raise wrong("response_format.json_schema", described, "an object with a 'schema'")
    fields = Fields(described, within="response_format.json_schema")
    schema = fields.take("schema")
    fields.take_bool("strict")
    fields.refuse_rest(frozenset({"name", "description"}), {})
    if not isinstance(schema, dict | bool):
        raise wrong("response_format.json_schema.schema", schema, "a JSON Schema")
    return schema


def _delivery(fields: Fields) -> Delivery:
    options = fields.take("stream_options")
    if options is not None and not isinstance(options, dict):
        raise wrong("stream_options", options, "an object")
    return Delivery(
        stream=fields.take_bool("stream"),
        include_usage=Fields(options or {}, within="stream_options").take_bool("include_usage"),
    )


def _messages(messages: Any) -> tuple[dict[str, str], ...]:
    if not isinstance(messages, list) or not messages:
        raise wrong("messages", messages, "a non-empty list of messages")
    return tuple(_message(message, f"messages[{i}]") for i, message in enumerate(messages))


def _message(message: Any, where: str) -> dict[str, str]:
    if not isinstance(message, dict):
        raise wrong(where, message, "an object with 'role' and 'content'")
    role = message.get("role")
    if role not in ROLES:
        raise wrong(f"{where}.role", role, f"one of {', '.join(ROLES)}")
    if message.get("tool_calls") or message.get("function_call"):
        raise unsupported(f"{where}.tool_calls", message.get("tool_calls"), "leave it out")
    # "developer" is OpenAI's newer name of "system"; templates know only the older.
    role = "system" if role == "developer" else role
    return {"role": role, "content": _content(message.get("content"), f"{where}.content")}


def _content(content: Any, where: str) -> str:
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        raise wrong(where, content, "a string or a list of text parts")
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text":
            raise unsupported(where, part, 'only parts {"type": "text", "text": …} are read')
        if not isinstance(part.get("text"), str):
            raise wrong(where, part, "text parts with a string 'text'")
    return "".join(part["text"] for part in content)


def _prompts(prompt: Any) -> tuple[str | tuple[int, ...], ...]:
    wanted = "a string, a list of token ids, or a non-empty list of either"
    if isinstance(prompt, str):
        return (prompt,)
    if not isinstance(prompt, list) or not prompt:
        raise wrong("prompt", prompt, wanted)
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
    raise wrong("prompt", prompt, wanted)


def _are_ids(ids: list[Any]) -> bool:
    return bool(ids) and all(type(id_) is int and id_ >= 0 for id_ in ids)


def _stops(stop: Any) -> tuple[str, ...]:
    stops: Sequence[Any] = [stop] if isinstance(stop, str) else stop or []
    if not isinstance(stops, list) or not all(isinstance(s, str) and s for s in stops):
        raise wrong("stop", stop, "a non-empty string or a list of them")
    if len(stops) > MAX_STOPS or any(len(s) > MAX_STOP_CHARS for s in stops):
        raise wrong("stop", stop, f"at most {MAX_STOPS} strings of {MAX_STOP_CHARS} characters")
    return tuple(stops)
