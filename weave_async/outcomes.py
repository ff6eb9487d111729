"""What has become of a run's samples, from the files in its folder, or what a file of rows holds.

One pass over the rows: counts and sums of all of them, and the texts of a seeded subset.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel, Field, ValidationError

from weave_async.errors import InputError, RunFolderError
from weave_async.metrics.bias.intervals import PerAccepted
from weave_async.metrics.bias.subset import SeededSubset
from weave_async.rundir import OUTPUTS, RunFolder, open_regular

MIN_ROWS = 2
"""One row has no interval."""


class MixEntry(BaseModel):
    """Whom a run has asked, and for which share."""

    model: str
    weight: float = Field(1.0, ge=0, allow_inf_nan=False)


class Consulted(BaseModel):
    asked: int = 0


class Manifest(BaseModel):
    """What is read here of the manifest that a run has published."""

    mix: list[MixEntry] = []
    pending: int = 0
    recalled: int = 0
    consultations: Consulted = Consulted()
    cost_usd: float | None = Field(None, allow_inf_nan=False)
    elapsed_s: float | None = Field(None, allow_inf_nan=False)


@dataclass(frozen=True, slots=True)
class KeptRow:
    """One row of the dataset: what a model wrote, and in which circumstances."""

    row_id: str
    text: str
    attributes: Mapping[str, Any]
    model: str | None

    def __post_init__(self) -> None:
        if not isinstance(self.attributes, Mapping):
            raise TypeError("its attributes are no object")


@dataclass(slots=True)
class Outcomes:
    """``manifest`` is ``None`` for a file of rows, of which nothing but the texts is known.

    ``refused_by`` counts rejections by stage and rule; ``scores`` are those that judges gave to
    rows of the dataset, by rule. ``input_tokens`` and ``output_tokens`` are of the answers alone,
    over all sessions of the run; ``rows_without_tokens`` had answers of which nobody counted them.
    """

    path: Path
    rows: SeededSubset[KeptRow]
    manifest: Manifest | None = None
    num_ended: Counter[str] = field(default_factory=Counter)
    refused_by: Counter[tuple[str, str]] = field(default_factory=Counter)
    scores: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    num_repaired: int = 0
    num_regenerated: int = 0
    input_tokens: PerAccepted = field(default_factory=PerAccepted)
    output_tokens: PerAccepted = field(default_factory=PerAccepted)
    rows_without_tokens: int = 0

    @property
    def name(self) -> str:
        """The path, as it can be printed."""
        return os.fsencode(self.path).decode(errors="replace")

    @property
    def num_written(self) -> int:
        return self.num_ended["samples"]

    @property
    def num_judged(self) -> int:
        return self.num_ended["samples"] + self.num_ended["rejected"]


def read_outcomes(path: Path, *, seed: int, max_rows: int) -> Outcomes:
    """Of a run folder, or of a .jsonl file. Raises ``RunFolderError`` where there is no run, or one
    that goes on, and ``InputError`` where there are too few rows to compare.
    """
    rows: SeededSubset[KeptRow] = SeededSubset(seed, max_rows)
    found = Outcomes(path, rows)
    if path.is_file():
        _read_file(path, found)
    else:
        _read_folder(RunFolder(path), found)
    if found.num_written < MIN_ROWS:
        held = "one row" if found.num_written else "no rows"
        raise InputError(
            f"{path} has {held}: to compare, each side needs {MIN_ROWS} rows or more"
            + _why_so_few(found)
        )
    return found


def _why_so_few(found: Outcomes) -> str:
    if not found.refused_by:
        return ""
    (stage, rule), count = found.refused_by.most_common(1)[0]
    return f"; {stage} '{rule}' has rejected {count} of {found.num_judged} answers"


def _read_folder(folder: RunFolder, found: Outcomes) -> None:
    folder.require_run()
    if unfinished := folder.unfinished():
        raise RunFolderError(
            f"{folder.path} is still being written, or was cut short: see {unfinished[0].name}. "
            "Let it come to its end, or run the same command again"
        )
    manifest = folder.read_manifest()
    if manifest is None:
        raise RunFolderError(f"{folder.path} has published no rows: run it to its end first")
    try:
        found.manifest = Manifest.model_validate(manifest)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise InputError(f"{folder.manifest} is not a manifest: its {where} is odd") from None
    if not (folder.path / "samples.jsonl").exists():
        raise InputError(f"{folder.path} has no samples.jsonl, which is what is compared")
    for stem in OUTPUTS:
        for where, row in _rows_in(folder.path / f"{stem}.jsonl"):
            try:
                _count(found, stem, row)
            except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
                raise InputError(f"{where} is no row of ours: {error!r}; try `verify`") from error


def _read_file(path: Path, found: Outcomes) -> None:
    for where, row in _rows_in(path):
        try:
            lineage = row.get("lineage") or {}
            kept = KeptRow(
                str(row.get("sample_id", where)),
                _text_of(row),
                lineage.get("attributes") or {},
                lineage.get("model"),
            )
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise InputError(
                f"{where} has no text to compare: a row has `messages`, `completion` or `text`"
            ) from error
        found.num_ended["samples"] += 1
        found.rows.offer(kept.row_id, partial(_same, kept))


def _same(row: KeptRow) -> KeptRow:
    return row


def _text_of(row: Mapping[str, Any]) -> str:
    if "messages" in row:
        text = row["messages"][-1]["content"]
    else:
        text = row["completion"] if "completion" in row else row["text"]
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text")
    return text


def _rows_in(path: Path) -> Iterator[tuple[str, Any]]:
    if not path.exists():
        return
    with open_regular(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except ValueError as error:
                raise InputError(f"{path}:{number} is not JSON: {error}") from error
            yield f"{path}:{number}", row


def _count(found: Outcomes, stem: str, row: Mapping[str, Any]) -> None:
    sample_id, lineage = row["sample_id"], row["lineage"]
    is_accepted = stem == "samples"
    found.num_ended[stem] += 1
    if stem == "rejected":
        found.refused_by[str(row["stage"]), str(row["rule"])] += 1
    if stem != "failed":
        found.num_repaired += lineage["repairs"] > 0
        found.num_regenerated += (lineage["regenerations"] or 0) > 0
    _count_tokens(found, lineage, is_copy="~" in sample_id, is_accepted=is_accepted)
    if is_accepted:
        for verdict in lineage["verdicts"]:
            score = orjson.loads(verdict["evidence"]).get("score")
            if isinstance(score, int | float):
                found.scores[str(verdict["rule"])].append(score)
        text, attributes, model = _text_of(row), lineage["attributes"], lineage["model"]
        found.rows.offer(sample_id, lambda: KeptRow(sample_id, text, attributes, model))


def _count_tokens(
    found: Outcomes, lineage: Mapping[str, Any], *, is_copy: bool, is_accepted: bool
) -> None:
    """Copies that noise has made are of an answer that another row has counted."""
    given, got = (_num_tokens(lineage[name]) for name in ("input_tokens", "output_tokens"))
    if not is_copy and given is None and got is None:
        found.rows_without_tokens += lineage["finish_reason"] is not None
    found.input_tokens.add(0 if is_copy else given or 0, is_accepted=is_accepted)
    found.output_tokens.add(0 if is_copy else got or 0, is_accepted=is_accepted)


def _num_tokens(value: Any) -> int | None:
    if value is not None and not (isinstance(value, int) and 0 <= value < 2**53):
        raise ValueError(f"{value!r} is no number of tokens")
    return value
