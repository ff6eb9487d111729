"""What other rules would make of the answers that a run has bought. Nothing is asked or written.

The answers come from the journal, as they would in a run; what became of their samples before, the
outputs tell. Of each earlier row 16 bytes are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import orjson

from weave_async.errors import (
    InputError,
    RunFolderError,
)
from weave_async.recipe import Recipe
from weave_async.records import Sample
from weave_async.replay import replaying
from weave_async.rundir import RunFolder, open_regular

BATCH = 128
MAX_EXAMPLES = 3
NEW = "new"
State = Literal["written", "rejected"]
_STEMS: dict[str, State] = {"samples": "written", "rejected": "rejected"}


@dataclass(frozen=True, slots=True)
class Change:
    """A sample that would end otherwise than it has, as an example of others."""

    sample_id: str
    before: str
    after: str
    completion: str


@dataclass(slots=True)
class Revalidation:
    """What would change. ``changes`` counts by how a sample has ended and how it would:
    ``written``, or the rule and the reason of its rejection; ``new`` for one that was not there.
    ``reworded`` samples would be written as before, with other texts.
    """

    num_answers: int = 0
    written_before: int = 0
    written: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    changes: Counter[tuple[str, str]] = field(default_factory=Counter)
    reworded: int = 0
    gone: int = 0
    """Samples that there would no longer be, as copies."""
    undecided: int = 0
    """Samples on which nobody can decide without asking a model."""
    examples: list[Change] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        changes = [
            {"before": before, "after": after, "samples": count}
            for (before, after), count in self.changes.most_common()
        ]
        told = {each.name: getattr(self, each.name) for each in fields(self)}
        return {**told, "rejected": dict(self.rejected.most_common()), "changes": changes}


async def revalidate(path: Path, changed: Recipe | None = None) -> Revalidation:
    """Judge the answers of the run in ``path`` anew, by the stages of its recipe, or of another.

    Raises ``RunLockedError`` while the run goes on, and ``RecipeError`` where its prompts cannot be
    made again, as those from standard input.
    """
    async with replaying(path, changed) as replay:
        found, recipe = Revalidation(), replay.recipe
        before = _ends_before(replay.folder)
        found.written_before = sum(end == "written" for end, _ in before.values())
        async for batch, samples in replay.batches():
            found.num_answers += len(batch)
            undecided = {sample.sample_id for sample in batch}
            undecided.difference_update(sample.answer_id for sample in samples)
            found.undecided += len(undecided)
            _leave_out(before, undecided, most_copies=replay.most_copies)
            for sample in await replay.selected(samples):
                if recipe.accept is None or found.written < recipe.accept:
                    _compare(found, before, sample)
        for sample in await replay.held():
            _compare(found, before, sample)
        found.gone = len(before)
    return found


def _leave_out(
    before: dict[int, tuple[str, int]], undecided: Iterable[str], most_copies: int
) -> None:
    """Samples, and their copies, of which nobody can say what would become of them."""
    for name in undecided:
        for each in (name, *(f"{name}~{copy}" for copy in range(1, most_copies))):
            before.pop(hash(each), None)


def _ends_before(folder: RunFolder) -> dict[int, tuple[str, int]]:
    """How each sample has ended, and a digest of its texts, by a digest of its name."""
    ends = {}
    for stem, state in _STEMS.items():
        for where, row in _rows(folder.path / f"{stem}.jsonl"):
            try:
                end = state if state == "written" else f"{row['rule']}: {row['reason']}"
                ends[hash(row["sample_id"])] = end, _digest(row["messages"])
            except (KeyError, TypeError) as error:
                raise InputError(f"{where} is no row of ours: {error!r}; try `verify`") from error
    if not ends:
        raise RunFolderError(f"{folder.path} has no rows yet: run it to its end first")
    return ends


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not path.exists():
        return
    with open_regular(path) as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield f"{path}:{number}", orjson.loads(line)
            except ValueError as error:
                raise InputError(f"{path}:{number} is no row of ours: {error}") from error


def _digest(messages: Sequence[Any]) -> int:
    return hash(orjson.dumps(messages))


def _compare(found: Revalidation, before: dict[int, tuple[str, int]], sample: Sample) -> None:
    """Count what has become of a sample, beside what had; ``before`` loses its entry."""
    rejection = sample.rejection
    after = "written" if rejection is None else f"{rejection.rule}: {rejection.reason}"
    if rejection is None:
        found.written += 1
    else:
        found.rejected[after] += 1
    was, digest = before.pop(hash(sample.sample_id), (NEW, 0))
    if was == after:
        found.reworded += rejection is None and digest != _digest(sample.messages)
        return
    found.changes[was, after] += 1
    if found.changes[was, after] <= MAX_EXAMPLES:
        found.examples.append(Change(sample.sample_id, was, after, sample.completion))
