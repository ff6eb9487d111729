"""Where samples end, in every format of the dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from weave_async.errors import RecipeError
from weave_async.records import Failure, Rejection, Sample
from weave_async.rundir import RunFolder
from weave_async.sinks.jsonl import JsonlSink
from weave_async.sinks.outputs import Outputs
from weave_async.sinks.parquet import ParquetSink

MakeSample = Callable[..., Sample]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    path = tmp_path / "run"
    path.mkdir()
    return RunFolder(path)


def counts(written: int, rejected: int = 0, failed: int = 0) -> dict[str, int]:
    return {"samples": written, "rejected": rejected, "failed": failed}


def parquet_rows(folder: RunFolder) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    return [
        row
        for path in sorted(folder.path.glob("*.parquet"))
        for row in parquet.read_table(path).to_pylist()
    ]


def test_each_sample_is_in_one_file_and_in_one_of_each_format(
    folder: RunFolder, make_sample: MakeSample
) -> None:
    outputs = Outputs(folder, [JsonlSink(), ParquetSink(rows_per_shard=3)])
    for number in range(7):
        outputs.write(make_sample(f"Tea {number}."))
    outputs.write(replace(make_sample("No."), rejection=Rejection("validation", "x", "y", {})))
    outputs.write(replace(make_sample(""), failure=Failure("ServerError", "down", 3)))
    entries = outputs.publish(counts(7, 1, 1))
    assert {name: entry["rows"] for name, entry in entries.items()} == {
        "samples.jsonl": 7,
        "samples-00000.parquet": 3,
        "samples-00001.parquet": 3,
        "samples-00002.parquet": 1,
        "rejected.jsonl": 1,
        "failed.jsonl": 1,
    }
    lines = list(map(json.loads, (folder.path / "samples.jsonl").read_text().splitlines()))
    rows = parquet_rows(folder)
    assert [row["messages"] for row in rows] == [line["messages"] for line in lines]
    assert [json.loads(row["lineage"]) for row in rows] == [line["lineage"] for line in lines]


def test_a_dataset_of_no_rows_has_its_columns(folder: RunFolder) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    Outputs(folder, [ParquetSink()]).publish(counts(0))
    table = parquet.read_table(folder.path / "samples-00000.parquet")
    assert table.column_names == ["messages", "sample_id", "lineage"]


def test_shards_of_a_longer_run_before_do_not_stay(
    folder: RunFolder, make_sample: MakeSample
) -> None:
    for num in (5, 2):
        outputs = Outputs(folder, [ParquetSink(rows_per_shard=2)])
        for number in range(num):
            outputs.write(make_sample(f"Tea {number}."))
        (folder.path / "samples-00009.parquet.part").touch()  # of one that was killed
        outputs.publish(counts(num))
        outputs.remove_stale()
    assert [path.name for path in folder.path.glob("samples-*")] == ["samples-00000.parquet"]
    assert len(parquet_rows(folder)) == 2


def test_nothing_is_in_place_before_it_is_published(
    folder: RunFolder, make_sample: MakeSample
) -> None:
    outputs = Outputs(folder, [JsonlSink(), ParquetSink(rows_per_shard=1)])
    outputs.write(make_sample("Tea."))
    outputs.write(make_sample("More tea."))
    assert {path.suffix for path in folder.path.iterdir()} == {".part"}
    outputs.discard()
    assert list(folder.path.iterdir()) == []


def test_rows_that_were_counted_otherwise_are_a_bug(
    folder: RunFolder, make_sample: MakeSample
) -> None:
    pytest.importorskip("pyarrow")
    outputs = Outputs(folder, [ParquetSink()])
    outputs.write(make_sample("Tea."))
    with (
        closing(outputs),
        pytest.raises(AssertionError, match=r"written otherwise than counted: {'samples': 1}"),
    ):
        outputs.publish(counts(2))


@dataclass
class BrokenSink:
    suffix: ClassVar[str] = ".odd"
    rows_per_shard: int = 10

    def open(self, write: Callable[[bytes], object]) -> BrokenSink:
        return self

    def write(self, sample: Sample) -> None:
        if sample.completion == "bad":
            raise KeyError("column")

    def finish(self) -> None:
        raise OSError("no end")

    def abandon(self) -> None:
        return None


def test_a_strangers_sink_that_raises_is_named(folder: RunFolder, make_sample: MakeSample) -> None:
    outputs = Outputs(folder, [BrokenSink()])
    outputs.write(make_sample("good"))
    with pytest.raises(RecipeError, match=r"sink BrokenSink raised on .*-0: KeyError"):
        outputs.write(make_sample("bad"))
    with (
        closing(outputs),
        pytest.raises(RecipeError, match="sink BrokenSink raised on the end of a file: OSError"),
    ):
        outputs.publish(counts(1))
