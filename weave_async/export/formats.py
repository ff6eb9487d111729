"""What a row looks like to the trainer that reads it: one function and its columns a format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from weave_async.columns import Column
from weave_async.run_rows import ExportRow


@dataclass(frozen=True, slots=True)
class Format:
    """Columns are in every row, in this order. ``encode`` returns ``None`` for a row that cannot be
    told so, and ``needs`` says what it lacks. ``tags`` go into the card's header.
    """

    columns: Mapping[str, Column]
    encode: Callable[[ExportRow], dict[str, Any] | None]
    needs: str = ""
    tags: tuple[str, ...] = ()
    with_rejected: bool = False


def _messages(row: ExportRow) -> dict[str, Any]:
    return {"messages": row.turns, "sample_id": row.sample_id}


def _openai(row: ExportRow) -> dict[str, Any]:
    return {"messages": row.turns}


def _prompt_completion(row: ExportRow) -> dict[str, Any]:
    return {"prompt": row.prompt, "completion": row.turns[-1:], "sample_id": row.sample_id}


def _kto(row: ExportRow) -> dict[str, Any]:
    return {
        "prompt": row.prompt,
        "completion": row.turns[-1:],
        "label": row.rejection is None,
        "sample_id": row.sample_id,
    }


def _alpaca(row: ExportRow) -> dict[str, Any] | None:
    """``input`` is empty: which part of a turn would be the input, nobody has said."""
    system = [turn["content"] for turn in row.prompt if turn["role"] == "system"]
    said = [turn["content"] for turn in row.prompt if turn["role"] != "system"]
    roles = [turn["role"] for turn in row.prompt if turn["role"] != "system"]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"]:
        return None
    return {
        "instruction": said[-1],
        "input": "",
        "output": row.completion,
        "system": "\n\n".join(system),
        "history": [said[n : n + 2] for n in range(0, len(said) - 1, 2)],
    }


_SHAREGPT_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}


def _sharegpt(row: ExportRow) -> dict[str, Any]:
    conversations = [
        {"from": _SHAREGPT_NAMES.get(turn["role"], turn["role"]), "value": turn["content"]}
        for turn in row.turns
    ]
    return {"conversations": conversations}


def _text(row: ExportRow) -> dict[str, Any]:
    return {"text": "\n\n".join(turn["content"] for turn in row.turns)}


_MESSAGES, _STRING = Column.messages, Column.string
FORMATS: Mapping[str, Format] = {
    "messages": Format({"messages": _MESSAGES, "sample_id": _STRING}, _messages),
    "prompt-completion": Format(
        {"prompt": _MESSAGES, "completion": _MESSAGES, "sample_id": _STRING}, _prompt_completion
    ),
    "kto": Format(
        {
            "prompt": _MESSAGES,
            "completion": _MESSAGES,
            "label": Column.flag,
            "sample_id": _STRING,
        },
        _kto,
        tags=("kto",),
        with_rejected=True,
    ),
    "alpaca": Format(
        {
            "instruction": _STRING,
            "input": _STRING,
            "output": _STRING,
            "system": _STRING,
            "history": Column.history,
        },
        _alpaca,
        needs="turns of user and assistant that alternate",
    ),
    "sharegpt": Format({"conversations": Column.conversations}, _sharegpt),
    "openai": Format({"messages": _MESSAGES}, _openai),
    "text": Format({"text": _STRING}, _text),
}
"""Formats of which each row is one row of the run."""

PREFERENCE_COLUMNS: Mapping[str, Column] = {
    "prompt": _MESSAGES,
    "chosen": _MESSAGES,
    "rejected": _MESSAGES,
    "chosen_id": _STRING,
    "rejected_id": _STRING,
    "chosen_model": _STRING,
    "rejected_model": _STRING,
    "chosen_score": Column.number,
    "rejected_score": Column.number,
}
"""``preference`` pairs two rows of a run: see ``preference``."""
