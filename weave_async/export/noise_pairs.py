"""The texts that noise has changed, each beside what it was."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson

from weave_async.noise.edits import undone
from weave_async.records import TextChange
from weave_async.run_rows import ROW_ERRORS, not_ours, rows_in
from weave_async.rundir import RunFolder


def noise_pairs(run: Path) -> Iterator[bytes]:
    """The texts of the dataset that noise has changed, each beside what it was: a line each."""
    folder = RunFolder(run)
    folder.require_run()
    for where, row in rows_in(folder.path / "samples.jsonl"):
        try:
            yield from _pairs_of(row)
        except ROW_ERRORS as error:
            raise not_ours(where, error) from error


def _pairs_of(row: Mapping[str, Any]) -> Iterator[bytes]:
    # One without changes is in a message that a rule has blacked something out of since.
    edits = [edit for edit in row["lineage"]["noise"] if edit["changes"]]
    for index in sorted({edit["message_index"] for edit in edits}):
        message = row["messages"][index]
        text: str = message["content"]
        ours = [edit for edit in edits if edit["message_index"] == index]
        for edit in reversed(ours):
            text = undone(text, [TextChange(**change) for change in edit["changes"]])
        pair = {
            "sample_id": row["sample_id"],
            "role": message["role"],
            "clean": text,
            "noisy": message["content"],
            "edits": [{"noise": edit["noise"], "changes": edit["changes"]} for edit in ours],
        }
        yield orjson.dumps(pair, option=orjson.OPT_APPEND_NEWLINE)
