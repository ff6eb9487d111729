"""Pairs of a better and a worse completion: what is paired with what, and what was not.

What is compared stands in a table on disk, so that a million rows take no more memory than a
thousand; texts are read again from the run, pair by pair.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from operator import itemgetter
from typing import IO, Any, Literal, NamedTuple

import orjson

from weave_async.errors import StorageError, UsageError
from weave_async.export.quality import why_no_worse
from weave_async.export.reviewed import ReviewedRows, Stem
from weave_async.run_rows import ExportRow, Turn
from weave_async.rundir import open_regular

PairBy = Literal["accepted", "noise", "model", "judge", "edited"]
Record = tuple[str, dict[str, Any]]
"""The id of a prompt, which decides on the split, and a row of the export."""
STEMS: tuple[Stem, ...] = ("samples", "rejected")
CACHE_KIB = 32_768


@dataclass(frozen=True, slots=True)
class Pairing:
    """How completions of one prompt are paired.

    ``prefer`` are models, the best first, for ``model``. ``judge`` is the rule whose score counts
    for ``judge``, and ``min_gap`` how far two scores must lie apart. ``most`` pairs come of a
    prompt.
    """

    by: PairBy = "accepted"
    prefer: Sequence[str] = ()
    judge: str = "judge"
    min_gap: float = 0.0
    most: int = 1

    def __post_init__(self) -> None:
        if (self.by == "model") != bool(self.prefer):
            raise UsageError(
                "--pair-by model needs --prefer, the better model first: two of them at least"
                if self.by == "model"
                else "--prefer is of --pair-by model"
            )
        if self.by == "model" and len(set(self.prefer)) < 2:
            raise UsageError("--prefer names the better model first: two of them at least")

    def score(self, row: ExportRow) -> tuple[float | None, str]:
        """What a completion is compared by, or why it is not."""
        rejection = row.rejection
        if rejection is not None and (reason := why_no_worse(rejection)):
            return None, reason
        if self.by == "accepted":
            return (0.0 if rejection else 1.0), ""
        if row.edited_from is not None:
            return None, "edited by a person"
        if self.by == "model":
            if rejection is not None:
                return None, "rejected"
            if row.model not in self.prefer:
                return None, "of a model that --prefer does not name"
            return float(len(self.prefer) - list(self.prefer).index(row.model)), ""
        score = row.score_by(self.judge)
        return score, "" if score is not None else f"without a score of the rule {self.judge}"


@dataclass(slots=True)
class Pairs:
    """The records of one export, and the counts of what became of the completions."""

    rows: ReviewedRows
    pairing: Pairing
    num_pairs: int = 0
    unpaired: Counter[str] = field(default_factory=Counter)

    def records(self) -> Iterator[Record]:
        """To be read once."""
        if self.pairing.by == "noise":
            yield from self._clean_and_noisy()
            return
        if self.pairing.by == "edited":
            yield from self._edited_and_not()
            return
        try:
            with closing(sqlite3.connect("")) as table:  # a file of its own, gone once it is closed
                self._index(table)
                yield from self._pairs(table)
        except sqlite3.Error as error:
            raise StorageError(
                f"cannot keep the table of pairs on disk: {error}; point SQLITE_TMPDIR to a folder "
                "with space"
            ) from error

    def _clean_and_noisy(self) -> Iterator[Record]:
        for row in self.rows.written():
            clean = row.clean_turns()
            if not row.noise:
                self.unpaired["without noise"] += 1
            elif clean[-1] == row.turns[-1]:
                self.unpaired["noise has left the completion as it was"] += 1
            else:
                yield row.prompt_id, self._pair(clean[:-1], (row, clean[-1]), (row, row.turns[-1]))

    def _edited_and_not(self) -> Iterator[Record]:
        for row in self.rows.written():
            if row.edited_from is None:
                self.unpaired["edited by nobody"] += 1
                continue
            before = {"role": row.turns[-1]["role"], "content": row.edited_from}
            prompt = row.clean_turns()[:-1]
            yield row.prompt_id, self._pair(prompt, (row, row.turns[-1]), (row, before))

    def _index(self, table: sqlite3.Connection) -> None:
        table.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        table.execute(
            "CREATE TABLE completions"
            " (prompt BLOB, score REAL, text BLOB, file INTEGER, place INTEGER, num_bytes INTEGER)"
        )
        told = self._completions()
        table.executemany("INSERT INTO completions VALUES (?, ?, ?, ?, ?, ?)", told)

    def _completions(self) -> Iterator[_Candidate]:
        for file, stem in enumerate(STEMS):
            for row in self.rows.rows_of(stem):
                score, reason = self.pairing.score(row)
                if score is None:
                    self.unpaired[reason] += 1
                    continue
                prompt = _digest(orjson.dumps(row.clean_turns()[:-1]))
                text = _digest(row.completion.encode())
                yield _Candidate(prompt, score, text, file, row.place, row.num_bytes)

    def _pairs(self, table: sqlite3.Connection) -> Iterator[Record]:
        found = table.execute(
            "SELECT prompt, score, text, file, place, num_bytes FROM completions"
            " ORDER BY prompt, score DESC, file, place"
        )
        with _reading(self.rows) as files:
            for _, of_prompt in groupby(map(_Candidate._make, found), key=itemgetter(0)):
                for better, worse in self._chosen(list(of_prompt)):
                    chosen, rejected = files.row_at(better), files.row_at(worse)
                    record = self._pair(
                        chosen.clean_turns()[:-1],
                        (chosen, chosen.turns[-1]),
                        (rejected, rejected.turns[-1]),
                    )
                    record["chosen_score"] = better.score
                    record["rejected_score"] = worse.score
                    yield chosen.prompt_id, record

    def _chosen(self, ranked: list[_Candidate]) -> Iterator[tuple[_Candidate, _Candidate]]:
        """The best with the worst, the second with the last but one: each in one pair at most."""
        distinct = list[_Candidate]()
        seen = set[bytes]()
        for each in ranked:
            if each.text not in seen:
                seen.add(each.text)
                distinct.append(each)
        self.unpaired["the same text as another of its prompt"] += len(ranked) - len(distinct)
        num_pairs = 0
        while num_pairs < min(self.pairing.most, len(distinct) // 2):
            better, worse = distinct[num_pairs], distinct[-1 - num_pairs]
            gap = better.score - worse.score
            if gap <= 0 or gap < self.pairing.min_gap:
                break
            num_pairs += 1
            yield better, worse
        left = len(distinct) - 2 * num_pairs
        if len(distinct) == 1:
            self.unpaired["the only completion of its prompt"] += 1
        elif num_pairs == self.pairing.most:
            self.unpaired["its prompt has enough pairs"] += left
        else:
            self.unpaired["no other of its prompt is better or worse by enough"] += left

    def _pair(
        self,
        prompt: Sequence[Turn],
        chosen: tuple[ExportRow, Turn],
        rejected: tuple[ExportRow, Turn],
    ) -> dict[str, Any]:
        self.num_pairs += 1
        return {
            "prompt": prompt,
            "chosen": [chosen[1]],
            "rejected": [rejected[1]],
            "chosen_id": chosen[0].sample_id,
            "rejected_id": rejected[0].sample_id,
            "chosen_model": chosen[0].model,
            "rejected_model": rejected[0].model,
            "chosen_score": None,
            "rejected_score": None,
        }


class _Candidate(NamedTuple):
    """A completion to be compared; ``file`` is its place in ``STEMS``."""

    prompt: bytes
    score: float
    text: bytes
    file: int
    place: int
    num_bytes: int


@dataclass(frozen=True, slots=True)
class _Files:
    rows: ReviewedRows
    open_files: Sequence[IO[bytes]]

    def row_at(self, candidate: _Candidate) -> ExportRow:
        """Read without the file's buffer, which would fetch a megabyte for each row."""
        fd = self.open_files[candidate.file].fileno()
        line = os.pread(fd, candidate.num_bytes, candidate.place)
        return self.rows.read_again(line, candidate.place)


@contextmanager
def _reading(rows: ReviewedRows) -> Iterator[_Files]:
    with (
        open_regular(rows.path_of("samples")) as samples,
        open_regular(rows.path_of("rejected")) as rejected,
    ):
        yield _Files(rows, (samples, rejected))


def _digest(text: bytes) -> bytes:
    return blake2b(text, digest_size=16).digest()
