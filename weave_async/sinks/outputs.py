"""The files in which samples end: each in one, and in one of each format of the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, cast

from weave_async.errors import RecipeError, WeaveError
from weave_async.interfaces import ShardedSink, ShardWriter, Sink
from weave_async.records import Sample
from weave_async.rundir import OutputFile, RunFolder
from weave_async.sinks.rows import failed_row, rejected_row

AnySink = Sink | ShardedSink
WRITTEN, REJECTED, FAILED = "samples", "rejected", "failed"


class Outputs:
    """What a run writes. ``publish`` puts it in place of what an earlier one has published."""

    def __init__(self, folder: RunFolder, sinks: Sequence[AnySink]) -> None:
        self._datasets = [_dataset(folder, sink) for sink in sinks]
        self._rejected = folder.output(REJECTED)
        self._failed = folder.output(FAILED)

    def __repr__(self) -> str:
        return f"<Outputs {', '.join(file.path.name for file in self._files())}>"

    def write(self, sample: Sample) -> None:
        """Raises ``StorageError``; ``RecipeError`` where a sink of somebody else's raises."""
        if sample.failure is not None:
            self._failed.write(failed_row(sample))
        elif sample.rejection is not None:
            self._rejected.write(rejected_row(sample))
        else:
            for dataset in self._datasets:
                dataset.write(sample)

    def publish(self, counts: Mapping[str, int]) -> dict[str, Mapping[str, Any]]:
        """Returns the files' entries for the manifest. ``counts`` are the rows that there must be
        in each of ``samples``, ``rejected`` and ``failed``, by whoever has counted apart from us.
        """
        for dataset in self._datasets:
            dataset.finish()
        num_rows = [
            *((WRITTEN, dataset.num_rows) for dataset in self._datasets),
            (REJECTED, self._rejected.rows),
            (FAILED, self._failed.rows),
        ]
        if wrong := {name: rows for name, rows in num_rows if rows != counts[name]}:
            raise AssertionError(f"rows written otherwise than counted: {wrong}, {counts}")
        return {file.path.name: file.publish() for file in self._files()}

    def discard(self) -> None:
        """Stop writing, and delete what was written."""
        self._abandon()
        for file in self._files():
            file.discard()

    def remove_stale(self) -> None:
        """Delete shards of an earlier run that had more of them, once the manifest is ours."""
        for dataset in self._datasets:
            dataset.remove_stale()

    def close(self) -> None:
        """Stop writing; what is not published stays as it is."""
        self._abandon()
        for file in self._files():
            file.close()

    def _abandon(self) -> None:
        for dataset in self._datasets:
            dataset.abandon()

    def _files(self) -> Iterator[OutputFile]:
        for dataset in self._datasets:
            yield from dataset.files
        yield self._rejected
        yield self._failed


class _Dataset(Protocol):
    @property
    def files(self) -> Sequence[OutputFile]: ...

    @property
    def num_rows(self) -> int: ...

    def write(self, sample: Sample) -> None: ...

    def finish(self) -> None: ...

    def abandon(self) -> None: ...

    def remove_stale(self) -> None: ...


class _Rows:
    """One file, to which each sample is appended."""

    def __init__(self, folder: RunFolder, sink: Sink) -> None:
        self._sink = sink
        self._file = folder.output(WRITTEN, sink.suffix)
        self.files = (self._file,)

    @property
    def num_rows(self) -> int:
        return self._file.rows

    def write(self, sample: Sample) -> None:
        try:
            row = bytes(self._sink.encode(sample))
        except Exception as error:  # a sink of somebody else's; without it there is no dataset
            raise _broken(self._sink, sample.sample_id, error) from error
        self._file.write(row)

    def finish(self) -> None:
        """Each row is whole already."""

    def abandon(self) -> None:
        """Nothing is held."""

    def remove_stale(self) -> None:
        """There is one file, and it was replaced."""


class _Shards:
    """Files of so many rows each: ``samples-00000.parquet`` and so on; one at least."""

    def __init__(self, folder: RunFolder, sink: ShardedSink) -> None:
        self._folder = folder
        self._sink = sink
        self.files: list[OutputFile] = []
        self._writer = self._next()

    @property
    def num_rows(self) -> int:
        return sum(file.rows for file in self.files)

    def write(self, sample: Sample) -> None:
        if self.files[-1].rows == self._sink.rows_per_shard:
            self.finish()
            self._writer = self._next()
        try:
            self._writer.write(sample)
        except WeaveError:
            raise
        except Exception as error:
            raise _broken(self._sink, sample.sample_id, error) from error
        self.files[-1].rows += 1

    def finish(self) -> None:
        try:
            self._writer.finish()
        except WeaveError:
            raise
        except Exception as error:
            raise _broken(self._sink, "the end of a file", error) from error

    def abandon(self) -> None:
        self._writer.abandon()

    def remove_stale(self) -> None:
        self._folder.remove_outputs(f"{WRITTEN}-*{self._sink.suffix}", but=self.files)

    def _next(self) -> ShardWriter:
        name = f"{WRITTEN}-{len(self.files):05d}"
        self.files.append(file := self._folder.output(name, self._sink.suffix))
        return self._sink.open(lambda content: file.write(content, num_rows=0))


def _dataset(folder: RunFolder, sink: AnySink) -> _Dataset:
    if hasattr(sink, "encode"):
        return _Rows(folder, cast("Sink", sink))
    return _Shards(folder, sink)


def _broken(sink: AnySink, on: str, error: Exception) -> RecipeError:
    return RecipeError(
        f"sink {type(sink).__name__} raised on {on}: {type(error).__name__}: {error}. The answers "
        "are kept: mend it and run again"
    )
