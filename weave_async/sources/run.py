"""The accepted rows of an earlier run: to rewrite them, to answer them, to learn from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from weave_async.descent import GENERATION, PARENT
from weave_async.errors import InputError
from weave_async.records import BadRow, Row
from weave_async.rundir import RunFolder
from weave_async.sources.files import open_bytes


@dataclass(frozen=True, slots=True)
class RunSource:
    """Columns are ``prompt`` (the last user turn), ``completion``, ``model``, the attributes by
    name, ``sample_id``, and ``generation``: how many runs, one on the rows of the other, a sample
    made of this row would stand behind.
    """

    path: Path

    def rows(self) -> Iterator[Row | BadRow]:
        folder = RunFolder(self.path)
        if not folder.holds_a_run():
            raise InputError(
                f"{self.path} is a folder and holds no run: name a file of rows, or a run's folder"
            )
        if folder.read_manifest() is None:
            raise InputError(
                f"{self.path} has published nothing yet: let it come to its end first, with "
                "`weave-async run`"
            )
        path = self.path / "samples.jsonl"
        if not path.exists():
            raise InputError(
                f"{path} is not there: write JSON Lines in that run, output.to: [jsonl]"
            )
        with open_bytes(path) as lines:
            for number, line in enumerate(lines, start=1):
                origin = f"{path}:{number}"
                try:
                    yield Row(_columns(orjson.loads(line)), origin)
                except (ValueError, KeyError, TypeError, StopIteration) as error:
                    yield BadRow(origin, f"no row of a run: {error!r}")


def _columns(row: Mapping[str, Any]) -> dict[str, Any]:
    messages, lineage = row["messages"], row["lineage"]
    asked = next(each["content"] for each in reversed(messages) if each["role"] == "user")
    return {
        **lineage["attributes"],
        "prompt": asked,
        "completion": messages[-1]["content"],
        "model": lineage["model"],
        PARENT: row["sample_id"],
        GENERATION: 1 + lineage.get(GENERATION, 0),
    }
