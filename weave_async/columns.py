"""Types of columns, whatever the format of the file: see ``parquet`` for what they are there."""

from __future__ import annotations

from enum import StrEnum


class Column(StrEnum):
    string = "string"
    flag = "flag"
    number = "number"
    messages = "messages"  # [{role, content}]
    conversations = "conversations"  # [{from, value}]
    history = "history"  # [[asked, answered]]
