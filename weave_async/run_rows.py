"""The rows that a run has published: one after another, checked against its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson

from weave_async.errors import InputError, RunFolderError
from weave_async.noise.edits import undone
from weave_async.records import TextChange
from weave_async.rundir import RunFolder, open_regular

Turn = Mapping[str, str]
ROW_ERRORS = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading a row raises when it is none of ours."""


@dataclass(frozen=True, slots=True)
class ExportRow:
    """A row of ``samples`` or ``rejected``. ``turns`` are what a trainer sees, the completion last.

    ``rejection`` is the stage, rule, reason and evidence of a rejected one. Its line
    begins at ``place`` in the file, and has ``num_bytes``. ``edited_from`` is the model's
    completion, where a person's stands in its place.
    """

    sample_id: str
    prompt_id: str
    parent: str | None
    model: str
    turns: Sequence[Turn]
    noise: Sequence[Mapping[str, Any]]
    verdicts: Sequence[Mapping[str, Any]]
    lineage: Mapping[str, Any]
    rejection: Mapping[str, Any] | None = None
    place: int = 0
    num_bytes: int = 0
    edited_from: str | None = None

    @classmethod
    def of(cls, line: bytes, place: int) -> ExportRow:
        """Raises one of ``ROW_ERRORS`` where the row is not as a run writes them."""
        row = orjson.loads(line)
        lineage, turns = row["lineage"], row["messages"]
        for turn in turns:
            if not isinstance(turn["role"], str) or not isinstance(turn["content"], str):
                raise TypeError("a turn has a role and a content")
        names = [row["sample_id"], lineage["prompt_id"], lineage["model"]]
        names += [lineage["parent"]] if "parent" in lineage else []
        rejection = None
        if "stage" in row:
            rejection = {name: row[name] for name in ("stage", "rule", "reason", "evidence")}
            names += [rejection["stage"], rejection["rule"], rejection["reason"]]
        for name in names:
            if not isinstance(name, str):
                raise TypeError(f"{name!r} is no name")
        return cls(
            sample_id=row["sample_id"],
            prompt_id=lineage["prompt_id"],
            parent=lineage.get("parent"),
            model=lineage["model"],
            turns=turns,
            noise=lineage.get("noise", ()),
            verdicts=lineage.get("verdicts", ()),
            lineage=lineage,
            rejection=rejection,
            place=place,
            num_bytes=len(line),
        )

    @property
    def text_sha256(self) -> str:
        """Of the turns, which is what people judge: not of what rules have said of them."""
        turns = [(turn["role"], turn["content"]) for turn in self.turns]
        return sha256(orjson.dumps(turns)).hexdigest()

    @property
    def is_answered(self) -> bool:
        return len(self.turns) > 1 and self.turns[-1]["role"] == "assistant"

    @property
    def prompt(self) -> Sequence[Turn]:
        return self.turns[:-1]

    @property
    def completion(self) -> str:
        return self.turns[-1]["content"]

    def clean_turns(self) -> list[Turn]:
        """The turns as they were before noise. One that a rule has mended since stays as it is:
        what noise had replaced in it is not known any more.
        """
        try:
            return self._undone()
        except ROW_ERRORS as error:
            raise not_ours(f"sample {self.sample_id}", error) from error

    def _undone(self) -> list[Turn]:
        turns = list(self.turns)
        for edit in reversed(self.noise):
            if edit["changes"]:
                turn = turns[edit["message_index"]]
                changes = [TextChange(**change) for change in edit["changes"]]
                content = undone(turn["content"], changes)
                turns[edit["message_index"]] = {"role": turn["role"], "content": content}
        return turns

    def score_by(self, rule: str) -> float | None:
        """The score in a rule's evidence: in its verdict, or in its rejection."""
        try:
            evidence: Any = None
            if self.rejection is not None and self.rejection["rule"] == rule:
                evidence = self.rejection["evidence"]
            for verdict in self.verdicts if evidence is None else ():
                if verdict["rule"] == rule:
                    evidence = orjson.loads(verdict["evidence"])
            score = evidence["score"] if isinstance(evidence, dict) else None
        except ROW_ERRORS:  # a rule of another kind
            return None
        if isinstance(score, bool) or not isinstance(score, int | float):
            return None
        return float(score)


class RunRows:
    """What a run has published. Raises ``WeaveError`` where it is no run, or has not published."""

    def __init__(self, run: Path) -> None:
        self.folder = RunFolder(run)
        self.folder.require_run()
        manifest = self.folder.read_manifest()
        if manifest is None:
            raise RunFolderError(
                f"{run} has published nothing yet: let it come to its end first, with "
                "`weave-async run`"
            )
        self.manifest: Mapping[str, Any] = manifest

    def __repr__(self) -> str:
        return f"<RunRows {self.folder.path}, {self.manifest.get('written')} written>"

    @property
    def seed(self) -> int:
        """Of the run; 0 where its manifest does not say."""
        seed = self.manifest.get("seed")
        return seed if isinstance(seed, int) else 0

    def path_of(self, stem: str) -> Path:
        return self.folder.path / f"{stem}.jsonl"

    def written(self) -> Iterator[ExportRow]:
        return self._rows("samples")

    def rejected(self) -> Iterator[ExportRow]:
        """Those with an answer; one that was rejected before it had any teaches nothing."""
        return (row for row in self._rows("rejected") if row.is_answered)

    def _rows(self, stem: str) -> Iterator[ExportRow]:
        """Whoever reads to the end knows that the file is the one that was published."""
        path, digest, place = self.path_of(stem), sha256(), 0
        if not path.exists():
            raise RunFolderError(f"{path} is not there: try `weave-async verify`")
        with open_regular(path) as lines:
            for number, line in enumerate(lines, 1):
                digest.update(line)
                try:
                    row = ExportRow.of(line, place)
                except ROW_ERRORS as error:
                    raise not_ours(f"{path}:{number}", error) from error
                if stem == "samples" and not row.is_answered:
                    raise not_ours(f"{path}:{number}", ValueError("no answer in it"))
                yield row
                place += len(line)
        published = self.manifest.get("files", {}).get(path.name)
        if published is None:
            return  # a manifest of an early version
        if not isinstance(published, dict) or published.get("sha256") != digest.hexdigest():
            raise InputError(
                f"{path} is not what the run has published: it was damaged, or changed by hand; "
                "try `weave-async verify`"
            )


def rows_in(path: Path) -> Iterator[tuple[str, Any]]:
    """Each line's JSON, with its place as ``file:line``; none where the file is not there."""
    if not path.exists():
        return
    with open_regular(path) as rows:
        for number, line in enumerate(rows, 1):
            where = f"{path}:{number}"
            try:
                row = orjson.loads(line)
            except ValueError as error:
                raise not_ours(where, error) from error
            yield where, row


def not_ours(where: str, error: Exception) -> InputError:
    return InputError(f"{where} is no row of ours: {error!r}; try `weave-async verify`")
