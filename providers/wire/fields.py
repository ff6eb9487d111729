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
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",  # Mistral
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
    "error": "error",  # Mistral, OpenRouter
    "abort": "error",  # vLLM
    "insufficient_system_resource": "error",  # DeepSeek
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


def mapping(value: object) -> Mapping[str, Any]:
    """``value`` if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def usage_of(document: Mapping[str, Any]) -> Usage | None:
    """Token counts, or ``None`` when the endpoint did not report any."""
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return None
    return Usage(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")))


def content_and_reasoning(message: Mapping[str, Any]) -> tuple[str, str]:
    """The text of a message (or delta) and the thinking beside it, raw: surrogates not joined."""
    content = message.get("content")
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    thought = reasoning if isinstance(reasoning, str) else ""
    if isinstance(content, str):
        return content, thought
    if isinstance(content, list):
        return _blocks(content, "text"), thought + _blocks(content, "thinking")
    refusal = message.get("refusal")
    return (refusal if isinstance(refusal, str) else ""), thought


def _blocks(blocks: list[Any], kind: str) -> str:
    """The text in all content blocks of one kind; Mistral nests lists in its thinking blocks."""
    texts = []
    for block in blocks:
        if isinstance(block, dict) and block.get("type") == kind:
            inner = block.get(kind)
            text = _blocks(inner, "text") if isinstance(inner, list) else inner
            texts.append(text if isinstance(text, str) else "")
    return "".join(texts)


def _count(value: object) -> int | None:
    # Beyond 2**53 it is no count, and no JSON reader could be trusted with it.
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53
    return value if is_count else None  # type: ignore[return-value]


class ThinkSplitter:
    """Takes ``<think>…</think>`` off the front of an answer, however the tags are cut.

    Only a tag that opens the answer counts: one inside a sentence is the sentence's own.
    """

    OPEN = "<think>"
    CLOSE = "</think>"

    def __init__(self) -> None:
        self._held = ""
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
        if head.startswith(self.OPEN):
            self._held = head.removeprefix(self.OPEN)
            self._state = "thinking"
        elif not self.OPEN.startswith(head):
            self._state = "answer"

    def _take_reasoning(self) -> str:
        reasoning, tag, rest = self._held.partition(self.CLOSE)
        if tag:
            self._state = "gap"
            self._held = rest
            return reasoning
        kept = _overlap(self._held, self.CLOSE)
        self._held = reasoning[len(reasoning) - kept :]
        return reasoning[: len(reasoning) - kept]

    def _take_held(self) -> str:
        held, self._held = self._held, ""
        return held


def _overlap(text: str, tag: str) -> int:
    """How many characters at the end of ``text`` may be the beginning of ``tag``."""
    sizes = range(min(len(text), len(tag) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(tag[:size])), 0)
