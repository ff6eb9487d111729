"""Shards → the run that one machine would have made of them.

Their journals become one, and the dataset is derived from it as after any interruption: all answers
are recalled, none is asked for. So rows, their order and their lineage are those of one run,
samples are compared across shards, and the merged folder is a run like any other: it can be
verified, explained, validated anew, and continued.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from weave_async.errors import RunFolderError, UsageError
from weave_async.journal.adoption import adopt
from weave_async.recipe import Recipe
from weave_async.run import Run
from weave_async.rundir import RunFolder, storage_errors
from weave_async.settings import Settings
from weave_async.sharding import Shard
from weave_async.summary import RunSummary

MOST_NAMED = 8


@dataclass(frozen=True, slots=True)
class ShardRun:
    """The folder of one shard. ``has_all``: it has come to its end, and nothing is pending."""

    folder: RunFolder
    shard: Shard
    num_of_all_shards: int
    has_all: bool

    @property
    def told(self) -> str:
        return f"shard {self.shard} of {self.num_of_all_shards} samples"

    @classmethod
    def at(cls, path: Path) -> ShardRun:
        """Raises ``RunFolderError`` where there is no shard."""
        folder = RunFolder(path)
        folder.require_run()
        told = folder.read_shard()
        shard = Shard.told(told)
        if told is None or shard is None:
            raise RunFolderError(
                f"{path} is no shard of a run: those are made by `weave-async run --shard K/N`"
            )
        manifest = folder.read_manifest()
        has_all = manifest is not None and not manifest.get("pending")
        return cls(folder, shard, told["of_samples"], has_all)


@contextmanager
def merging(
    paths: Sequence[Path],
    output_dir: Path,
    *,
    allow_missing: bool = False,
    recipe: Recipe | None = None,
    settings: Settings | None = None,
    allow_network_fs: bool = False,
) -> Iterator[Run]:
    """The merged run, to be brought to its end. ``output_dir`` must not hold a run, but for a merge
    that was cut short, which begins anew.

    ``recipe`` may say otherwise than the shards' own how the merge is to work, not what was asked.

    Raises ``RunFolderError`` where shards are missing, unless that is allowed, are of other runs,
    or are being written.
    """
    shards = sorted((ShardRun.at(path) for path in paths), key=lambda each: each.shard.number)
    _require_one_run(shards)
    if not allow_missing:
        _require_all(shards)
    output = RunFolder(output_dir)
    if output.holds_a_run() and not output.merging.exists():
        raise RunFolderError(
            f"{output_dir} holds a run already: choose another folder with -o, or delete it, as "
            "all that a merge makes can be made of the shards again"
        )
    output_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with storage_errors(output.merging):
        output.merging.touch(mode=0o600)
    with ExitStack() as stack:
        for each in shards:
            each.folder.take()
            stack.callback(each.folder.close)
        consulted = [each.folder.consultations for each in shards]
        if consulted := [folder for folder in consulted if folder.is_dir()]:
            adopt(consulted, output.consultations)
        adopt([each.folder.journal for each in shards], output.journal)
    yield Run(
        recipe or Recipe.load(shards[0].folder.recipe),
        output_dir=output_dir,
        samples=shards[0].num_of_all_shards,
        settings=settings,
        allow_network_fs=allow_network_fs,
        only_recalls=True,
    )
    output.merging.unlink()


async def merge(
    paths: Sequence[Path], output_dir: Path, *, allow_missing: bool = False
) -> RunSummary:
    """See ``merging``."""
    with merging(paths, output_dir, allow_missing=allow_missing) as run:
        async with run:
            return await run.finish()


def _require_one_run(shards: Sequence[ShardRun]) -> None:
    if not shards:
        raise UsageError("name the folders of the shards")
    first = shards[0]
    whole = first.shard.of, first.num_of_all_shards
    for each in shards[1:]:
        if (each.shard.of, each.num_of_all_shards) != whole:
            told = [f"{one.folder.path} is {one.told}" for one in (each, first)]
            raise RunFolderError(f"{' and '.join(told)}: they are of different runs")
        if differences := _differences(_recipe_of(first), _recipe_of(each)):
            raise RunFolderError(
                f"{each.folder.path} and {first.folder.path} are of different recipes: "
                f"{', '.join(differences)}"
            )
    twice = [number for number, n in Counter(s.shard.number for s in shards).items() if n > 1]
    if twice:
        raise UsageError(f"shard {twice[0]} is named twice")


def _require_all(shards: Sequence[ShardRun]) -> None:
    of = shards[0].shard.of
    missing = [str(n) for n in sorted({*range(1, of + 1)} - {s.shard.number for s in shards})]
    unfinished = [str(each.folder.path) for each in shards if not each.has_all]
    why = []
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        why.append(f"{len(missing)} of {of} shards {verb} not there: {_few(missing)}")
    if unfinished:
        why.append(f"not all is answered in {_few(unfinished)}")
    if why:
        raise RunFolderError(
            f"{'; '.join(why)}. Run them, or leave those samples pending with --allow-missing"
        )


def _recipe_of(shard: ShardRun) -> dict[str, Any]:
    return Recipe.load(shard.folder.recipe).resolved()


def _differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Names of what differs, at the top."""
    return [name for name in one if one[name] != other.get(name)]


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"{', '.join(names[:MOST_NAMED])}{more}"
