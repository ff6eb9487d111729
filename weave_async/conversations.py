"""Rows that hold a conversation: turns of ``{role, content}`` in the column ``messages``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from weave_async.records import Message, Role

COLUMN = "messages"
_ROLES: Mapping[Any, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def is_conversation(values: Mapping[str, Any]) -> bool:
    """Whether a row is asked by its turns: a column of its own for the prompt goes first."""
    return COLUMN in values and "prompt" not in values and "text" not in values


def conversation_of(values: Mapping[str, Any]) -> list[Message]:
    """The turns. Raises ``ValueError`` for what is no conversation that waits for an answer."""
    turns = values[COLUMN]
    if not isinstance(turns, list) or not turns:
        raise ValueError(f"'{COLUMN}' is no list of turns: {_shown(turns)}")
    messages = [_message(number, turn) for number, turn in enumerate(turns, start=1)]
    last = messages[-1].role
    if last == "assistant":
        raise ValueError(
            f"the conversation in '{COLUMN}' ends with an assistant turn, so it is answered "
            "already: take that turn out, or write a template that asks something, such as "
            f"{{{{ {COLUMN}[0].content }}}}"
        )
    if last != "user":
        raise ValueError(f"the conversation in '{COLUMN}' ends with a {last} turn, not a user's")
    return messages


def _message(number: int, turn: Any) -> Message:
    if not isinstance(turn, dict):
        raise ValueError(f"turn {number} of '{COLUMN}' is no role and content: {_shown(turn)}")
    role = turn.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        known = ", ".join(_ROLES)
        raise ValueError(f"turn {number} of '{COLUMN}' has the role {_shown(role)}, not {known}")
    if _ROLES[role] == "system" and number > 1:
        raise ValueError(f"turn {number} of '{COLUMN}' is a system turn, which comes first")
    return Message(_ROLES[role], _text(number, turn.get("content")))


def _text(number: int, content: Any) -> str:
    """Text, or the text of OpenAI's content blocks, one below the other."""
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts: list[str] = [block["text"] for block in blocks if _is_text_block(block)]
    if not blocks or len(texts) < len(blocks):
        told = _shown(content)
        raise ValueError(f"turn {number} of '{COLUMN}' has a content that is no text: {told}")
    return "\n".join(texts)


def _is_text_block(block: Any) -> bool:
    if not isinstance(block, dict):
        return False
    return block.get("type") == "text" and isinstance(block.get("text"), str)


def _shown(value: Any) -> str:
    told = repr(value)
    return told if len(told) <= 60 else f"{told[:60]}…"
