"""Exports as the libraries read them that they are for; skipped where those are not installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export.made_runs import changed, make_run, row
from weave_async.export.folder import to_folder
from weave_async.export.formats import FORMATS
from weave_async.export.making import Export, To, Wanted, lines, to_file

pytestmark = pytest.mark.filterwarnings("ignore")  # they are others'
ALL_FORMATS = [*FORMATS, "preference"]
FORMULA = '=cmd|"/C calc"!A0'
Load = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Ten prompts, each with an accepted and a rejected answer, and one noisy copy."""
    rows = []
    for n in range(10):
        ask = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": f"{n}?"}]
        noisy = [ask[0], {"role": "user", "content": f"x{n}?"}]
        rows += [
            row(f"p{n}-0", f"{FORMULA}\n{n} ünï \U0001f600", ask=ask),
            row(f"p{n}-0~1", "…", ask=noisy, noise=[changed(1, 0, "", "x")]),
            row(f"p{n}-1", "No.", ask=ask, rejected=("validation", "too_short")),
        ]
    return make_run(tmp_path / "run", rows)


@pytest.fixture
def load_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """`datasets`, kept from its cache and from the network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets")
    return lambda *names, **options: datasets.load_dataset(
        *names, cache_dir=str(tmp_path / "cache"), **options
    )


def records_of(run: Path, format: str) -> list[dict[str, Any]]:
    return [record for _, record in Export(run, Wanted(format)).records()]


@pytest.mark.parametrize("format", ALL_FORMATS)
def test_pyarrow_reads_the_rows_back(run: Path, tmp_path: Path, format: str) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    export = Export(run, Wanted(format))
    to_file(export, tmp_path / "a.parquet", "parquet")
    table = parquet.read_table(tmp_path / "a.parquet")
    assert table.column_names == list(export.columns)
    assert table.to_pylist() == records_of(run, format)


@pytest.mark.parametrize("to", ["parquet", "jsonl"])
@pytest.mark.parametrize("format", ALL_FORMATS)
def test_datasets_loads_a_folder_with_its_splits(
    run: Path, tmp_path: Path, load_dataset: Load, format: str, to: To
) -> None:
    export = Export(run, Wanted(format, validation=0.3))
    export.divide()
    to_folder(export, tmp_path / "d", to)
    loaded = load_dataset(str(tmp_path / "d"))
    assert {name: len(rows) for name, rows in loaded.items()} == dict(export.num_rows)
    assert set(loaded) == {"train", "validation"}
    rows = [record for each in loaded.values() for record in each]
    by_text = {str(record): record for record in records_of(run, format)}
    assert {str(record) for record in rows} == set(by_text)


@pytest.mark.parametrize("format", ALL_FORMATS)
def test_datasets_reads_the_columns_of_a_parquet_file_as_they_were_meant(
    run: Path, tmp_path: Path, load_dataset: Load, format: str
) -> None:
    """Without its key in the metadata, types would be guessed: here they are stated."""
    datasets = pytest.importorskip("datasets")
    to_file(Export(run, Wanted(format)), tmp_path / "a.parquet", "parquet")
    schema = pytest.importorskip("pyarrow.parquet").read_schema(tmp_path / "a.parquet")
    stated = datasets.Features.from_arrow_schema(schema)
    assert b"huggingface" in schema.metadata
    assert stated == datasets.Features.from_arrow_schema(schema.remove_metadata())
    rows = load_dataset("parquet", data_files=str(tmp_path / "a.parquet"), split="train")
    assert rows.features == stated


def test_datasets_reads_a_csv_and_a_plain_text(
    run: Path, tmp_path: Path, load_dataset: Load
) -> None:
    to_file(Export(run, Wanted("alpaca")), tmp_path / "a.csv", "csv")
    rows = load_dataset("csv", data_files=str(tmp_path / "a.csv"), split="train")
    assert rows[0]["output"] == "'" + records_of(run, "alpaca")[0]["output"]
    to_file(Export(run, Wanted("text")), tmp_path / "a.txt", "txt")
    assert len(load_dataset("text", data_files=str(tmp_path / "a.txt"), split="train")) == 20


def test_the_hub_reads_the_header_of_a_card(run: Path, tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    export = Export(run, Wanted("kto", license="cc-by-4.0"))
    to_folder(export, tmp_path / "d", "jsonl")
    card = hub.DatasetCard.load(tmp_path / "d/README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.size_categories == ["n<1K"]


@pytest.mark.parametrize("format", ["messages", "prompt-completion", "kto", "preference"])
def test_trl_takes_a_row_for_what_it_is(run: Path, format: str) -> None:
    data_utils = pytest.importorskip("trl.data_utils")
    for record in records_of(run, format):
        assert data_utils.is_conversational(record)


def test_trl_unpairs_what_was_paired(run: Path) -> None:
    """Needs the columns and the types of its preference format."""
    data_utils = pytest.importorskip("trl.data_utils")
    datasets = pytest.importorskip("datasets")
    columns = ("prompt", "chosen", "rejected")
    pairs = datasets.Dataset.from_list(
        [{name: record[name] for name in columns} for record in records_of(run, "preference")]
    )
    unpaired = data_utils.maybe_unpair_preference_dataset(pairs)
    assert len(unpaired) == 2 * len(pairs)
    assert set(unpaired.column_names) == {"prompt", "completion", "label"}


def test_openai_rows_have_no_key_that_its_fine_tuning_refuses(run: Path) -> None:
    """Its reader takes ``messages`` of ``role`` and ``content``, with an answer at the end."""
    for line in lines(Export(run, Wanted("openai"))):
        assert line.startswith(b'{"messages":[{"role":"system"')
    for record in records_of(run, "openai"):
        assert set(record) == {"messages"}
        assert record["messages"][-1]["role"] == "assistant"
        assert {key for turn in record["messages"] for key in turn} == {"role", "content"}
