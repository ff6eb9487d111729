"""The outputs of a run against its manifest and its journal: bytes, counts, rows and answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from weave_async.errors import RunFolderError
from weave_async.findings import Audit, Check
from weave_async.journal import entries
from weave_async.journal.index import Index, place_of
from weave_async.journal.segments import FrameReader
from weave_async.noise.edits import undone
from weave_async.records import TextChange
from weave_async.rundir import OUTPUTS, RunFolder, open_regular

EVERY_FILE = "every file is the one that was published"
_ENDS = {"samples": "written", "rejected": "rejected", "failed": "failed"}
"""Output file → the count of it in the manifest."""


def question(sample_id: bytes, request_id: bytes) -> int:
    """The key under which an ``Index`` has the answers to this very request."""
    return hash((sample_id, request_id))


class OutputPass:
    """Every row of the outputs, and the files' bytes, against the manifest and the journal.

    ``answers`` are the places of the answers by ``question``, in the order of the journal.
    """

    def __init__(
        self,
        folder: RunFolder,
        manifest: Mapping[str, Any],
        answers: Index,
        reader: FrameReader,
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self._answers = answers
        self._reader = reader
        self._met = Index()
        self._num_rows: Counter[str] = Counter()
        self._num_answered = self._num_changed = 0
        self._files = Check(EVERY_FILE)
        self._sum = Check("written + rejected + failed + pending = asked")
        self._rows = Check("rows are as many as the manifest says")
        self._once = Check("every sample ends once")
        self._answered = Check("every written or rejected row has its answer in the journal")
        self._said = Check("every written or rejected row says what was answered")

    def read(self, found: Audit, last_epoch: int) -> None:
        """Go through all files. ``last_epoch`` is the last run of which the journal tells."""
        files = self._manifest.get("files", {})
        for name, entry in files.items():
            self._read_named(name, entry)
        for stem in OUTPUTS:
            if not any(_stem_of(name) == stem for name in files):
                self._files.fail(f"the manifest names no {stem}")
        self._files.counted = f"{len(files)} files, by SHA-256"
        self._once.counted = f"{self._met.num_keys} samples"
        self._answered.counted = self._said.counted = f"{self._num_answered} rows"
        self._judge_counts(files)
        found.checks += [self._sum, self._answered, self._said]
        if self._was_cut_short(last_epoch):
            found.is_interrupted = True
            found.notes.append("publishing was interrupted: run the same command again")
        else:
            found.checks += [self._files, self._rows, self._once]

    def _was_cut_short(self, last_epoch: int) -> bool:
        """Whether a later run has put outputs in place, and did not come to its manifest.

        Nothing but the bytes may be wrong then; rows and answers are right in old and new files.
        """
        is_later = last_epoch > self._manifest.get("epoch", last_epoch)
        return is_later and 0 < self._num_changed == self._files.num_problems

    def _judge_counts(self, files: Mapping[str, Any]) -> None:
        ends = [self._manifest.get(key, 0) for key in (*_ENDS.values(), "pending")]
        asked = self._manifest.get("asked", 0)
        self._sum.counted = f"{' + '.join(map(str, ends))} = {asked}"
        if sum(ends) != asked:
            self._sum.fail(f"the manifest's counts add up to {sum(ends)}, not to {asked}")
        self._rows.counted = ", ".join(f"{self._num_rows[name]} {name}" for name in OUTPUTS)
        for name, entry in files.items():
            end = _ENDS.get(_stem_of(name))
            said = self._manifest.get(end) if end else None
            if _is_entry(entry) and end and entry["rows"] != said:
                self._rows.fail(f"{name}: {entry['rows']} rows, but {said} {end}")

    def _read_named(self, name: str, entry: Any) -> None:
        if Path(name).name != name or "\0" in name:
            self._files.fail(f"the manifest names {name}, which is not in the folder")
        elif not _is_entry(entry):
            self._files.fail(f"the manifest does not say what {name} is: {entry!r}")
        else:
            self._read_file(self._folder.path / name, entry)

    def _read_file(self, path: Path, entry: Mapping[str, Any]) -> None:
        digest, num_rows = sha256(), 0
        stem = _stem_of(path.name)
        try:
            with open_regular(path) as file:
                for line in file:
                    digest.update(line)
                    num_rows += 1
                    if path.suffix == ".jsonl" and stem in OUTPUTS:
                        self._read_row(f"{path.name}:{num_rows}", line, stem)
        except OSError as error:
            self._files.fail(f"{path.name}: {error.strerror}")
            return
        except RunFolderError as error:
            self._files.fail(str(error))
            return
        if digest.hexdigest() != entry["sha256"]:
            self._files.fail(f"{path.name} has changed since it was published")
            self._num_changed += 1
        if path.suffix == ".jsonl":
            self._num_rows[stem] += num_rows
            if num_rows != entry["rows"]:
                self._rows.fail(f"{path.name}: {num_rows} rows, not {entry['rows']}")

    def _read_row(self, where: str, line: bytes, stem: str) -> None:
        try:
            row = orjson.loads(line)
            sample_id, lineage = row["sample_id"], row["lineage"]
            answer_id = sample_id.partition("~")[0]  # copies are of one answer
            place = question(answer_id.encode(), lineage["request_id"].encode())
            is_as_answered = stem != "failed" and not _is_mended(lineage)
            said = _answer_in(row) if is_as_answered else None
            max_tokens = lineage["params"].get("max_tokens")
            if not isinstance(max_tokens, int | None):
                raise TypeError("max_tokens is no number")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            self._files.fail(f"{where} is no row of ours: {error!r}")
            return
        if hash(sample_id.encode()) in self._met:
            self._once.fail(f"{where}: {sample_id} has ended before")
        self._met.insert(hash(sample_id.encode()), place_of(0, 0))
        if stem == "failed":
            return
        self._num_answered += 1
        try:
            answer = self._answer_to(place, answer_id, lineage["request_id"], max_tokens)
        except RunFolderError as error:
            self._answered.fail(f"{where}: {error}")
            return
        if answer is None:
            self._answered.fail(f"{where}: no answer to {sample_id} is in the journal")
        elif is_as_answered and said != answer:
            self._said.fail(f"{where}: {sample_id} was answered otherwise")

    def _answer_to(
        self, key: int, sample_id: str, request_id: str, max_tokens: int | None
    ) -> str | None:
        """The text that a run would recall, as it goes into the row."""
        for place in self._answers.get(key):
            entry = self._reader.read(place)
            if entries.fits(
                entry, sample_id=sample_id, request_id=request_id, max_tokens=max_tokens
            ):
                return str(entry["response"]["text"]).strip()
        return None


def _answer_in(row: Mapping[str, Any]) -> str | None:
    """The answer as it came: what noise has made of it is undone."""
    last = len(row["messages"]) - 1
    message = row["messages"][last]
    if message["role"] != "assistant":
        return None
    text: str = message["content"]
    for edit in reversed(row["lineage"].get("noise", ())):
        if edit["message_index"] == last:
            text = undone(text, [TextChange(**change) for change in edit["changes"]])
    return text


def _is_mended(lineage: Mapping[str, Any]) -> bool:
    """Whether a rule has changed the answer, or a model has mended it: no noise that we undo."""
    mended = any(verdict["mended"] for verdict in lineage.get("verdicts", ()))
    return mended or bool(lineage.get("repairs", 0))


def _stem_of(name: str) -> str:
    return name.partition(".")[0]


def _is_entry(entry: Any) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("rows"), int)
        and isinstance(entry.get("sha256"), str)
    )
