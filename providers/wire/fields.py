"""The fields that a whole answer and a chunk of one have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weave_async.records import FinishReason, Usage

from .text import string

FINISH_REASONS: Mapping[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",  # Together
    "eos_token": "stop",  # TGI
    "stop_sequence": "stop",  # TGI, Anthropic
    "end_turn": "stop",
    "complete": "stop",  # Cohere
    "length": "length",
    "max_tokens": "length",
    "max_output_tokens": "length",
    "model_length": "length",  # Mistral
    "model_context_window_exceeded": "length",  # Anthropic
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",  # Gemini, and the two below
    "recitation": "content_filter",
    "prohibited_content": "content_filter",
    "sensitive": "content_filter",  # Zhipu
    "refusal": "content_filter",
    "error": "error",  # Mistral, OpenRouter
    "abort": "error",  # vLLM
    "insufficient_system_resource": "error",  # DeepSeek
    "network_error": "error",  # Zhipu
}


def finish_reason_of(raw: str | None) -> FinishReason:
    """Our word for the endpoint's; "unknown" when it gave none, or one we have never met."""
    return FINISH_REASONS.get(raw.lower(), "unknown") if raw else "unknown"


def raw_finish_reason(choice: Mapping[str, Any]) -> str | None:
    """The endpoint's own word, ``None`` when it is absent, null or of the wrong type."""
    raw = choice.get("finish_reason")
    return string(raw) if isinstance(raw, str) else None


def first_choice(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """We ask for one choice; Azure's filter report and the usage chunk hold none."""
    choices = document.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def whole_choices(document: Mapping[str, Any], num_choices: int) -> list[Mapping[str, Any]]:
    """The first ``num_choices`` by index that did not break down; where all did, the first.

    Only for a document that has a ``first_choice``.
    """
    choices: list[Mapping[str, Any]] = [c for c in document["choices"] if isinstance(c, dict)]
    choices.sort(key=choice_index)
    whole = [c for c in choices if finish_reason_of(raw_finish_reason(c)) != "error"]
    return whole[:num_choices] or choices[:1]


def choice_index(choice: Mapping[str, Any]) -> int:
    """Its place among several choices; 0 where it does not say."""
    index = choice.get("index")
    return index if isinstance(index, int) else 0


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def usage_of(document: Mapping[str, Any]) -> Usage | None:
    """Token counts, or ``None`` when the endpoint did not report any.

    They stand at the top; Groq has streamed them in ``x_groq``, Moonshot in the choice.
    """
    usage = document.get("usage")
    if isinstance(usage, dict):
        return _counts(usage)
    groq = document.get("x_groq")
    place = groq if isinstance(groq, dict) else first_choice(document)
    usage = place.get("usage") if place else None
    return _counts(usage) if isinstance(usage, dict) else None


def _counts(usage: Mapping[str, Any]) -> Usage | None:
    """In OpenAI's spelling, or in Anthropic's, which is that of half of the gateways."""
    input_tokens = _count(usage.get("prompt_tokens"))
    output_tokens = _count(usage.get("completion_tokens"))
    if input_tokens is None and output_tokens is None:
        input_tokens = _count(usage.get("input_tokens"))
        output_tokens = _count(usage.get("output_tokens"))
        if input_tokens is None and output_tokens is None:
            return None
    return Usage(input_tokens, output_tokens)


def content_and_reasoning(message: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a message (or delta) and the thinking beside it, raw: surrogates not joined."""
    content = message.get("content")
    thought = ""
    for key in _REASONING_KEYS:
        if (value := message.get(key)) and (thought := _thought(value)):
            break
    if isinstance(content, str) and content:
        return content, thought
    if isinstance(content, list):
        return _blocks(content, _TEXT_KEYS), thought + _blocks(content, _THINKING_KEYS)
    refusal = message.get("refusal")
    return (refusal if isinstance(refusal, str) else ""), thought


_REASONING_KEYS = (
    "reasoning_content",  # DeepSeek, old vLLM, llama.cpp
    "reasoning",  # OpenRouter, vLLM, Groq
    "thinking",  # Ollama
    "reasoning_details",  # OpenRouter: blocks, beside the text of them all
    "thinking_blocks",  # litellm
)
_TEXT_KEYS: Mapping[str, str] = {"text": "text", "output_text": "text", "refusal": "refusal"}
_THINKING_KEYS: Mapping[str, str] = {
    "thinking": "thinking",
    "reasoning": "text",
    "reasoning.text": "text",
    "reasoning.summary": "summary",
}


def _thought(value: object) -> str:
    if isinstance(value, dict):
        value = value.get("content") or value.get("text")
    if isinstance(value, list):
        return _blocks(value, {**_THINKING_KEYS, "text": "text"})
    return value if isinstance(value, str) else ""


def _blocks(blocks: list[Any], keys: Mapping[str, str]) -> str:
    """The text in all content blocks of some types; Mistral nests lists in its thinking blocks."""
    texts = []
    for block in blocks:
        kind = block.get("type") if isinstance(block, dict) else None
        if isinstance(kind, str) and kind in keys:
            inner = block.get(keys[kind])
            text = _blocks(inner, {"text": "text"}) if isinstance(inner, list) else inner
            texts.append(text if isinstance(text, str) else "")
    return "".join(texts)


def _count(value: object) -> int | None:
    # Beyond 2**53 it is no count, and no JSON reader could be trusted with it.
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if is_count else None  # type: ignore[return-value]


THINKING_TAGS: Mapping[str, str] = {
    "<think>": "</think>",  # DeepSeek, Qwen and most others
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",  # Gemini
    "[THINK]": "[/THINK]",  # Mistral
}
THINKING_MAY_START = tuple({tag[0] for tag in THINKING_TAGS})


class ThinkSplitter:
    """Takes ``<think>…</think>`` and its like off the front of an answer, however they are cut.

    Only a tag that opens the answer counts: one inside a sentence is the sentence's own.
    """

    def __init__(self) -> None:
        self._held = ""
        self._close = ""
        self._state = "start"

    def feed(self, text: str) -> tuple[str, str]:
        """The answer and the reasoning that are certain by now."""
        if self._state == "answer":
            return text, ""
        self._held += text
        reasoning = ""
        if self._state == "start":
            self._leave_start()
        if self._state == "thinking":
            reasoning = self._take_reasoning()
        if self._state == "gap":
            self._held = self._held.lstrip()
            self._state = "answer" if self._held else "gap"
        return (self._take_held() if self._state == "answer" else ""), reasoning

    def close(self) -> tuple[str, str]:
        """What was held back in case it grew into a tag."""
        held = self._take_held()
        return ("", held) if self._state == "thinking" else (held, "")

    def _leave_start(self) -> None:
        head = self._held.lstrip()
        for tag, self._close in THINKING_TAGS.items():
            if head.startswith(tag):
                self._held = head.removeprefix(tag)
                self._state = "thinking"
                return
        if not any(tag.startswith(head) for tag in THINKING_TAGS):
            self._state = "answer"

    def _take_reasoning(self) -> str:
        reasoning, tag, rest = self._held.partition(self._close)
        if tag:
            self._state = "gap"
            self._held = rest
            return reasoning
        kept = _overlap(self._held, self._close)
        self._held = reasoning[len(reasoning) - kept :]
        return reasoning[: len(reasoning) - kept]

    def _take_held(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of ``tag``."""
    sizes = range(min(len(text), len(tag) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(tag[:size])), 0)
