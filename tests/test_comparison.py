"""What two run folders say of each other, from their files alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from weave_async.comparison import Comparison, Line, compare
from weave_async.errors import InputError, RunFolderError
from weave_async.metrics.bias.intervals import Estimate
from weave_async.outcomes import read_outcomes


def row(number: int, text: str = "It is a card.", copy: int = 0, **lineage: Any) -> dict[str, Any]:
    """A row of ``samples.jsonl``, as far as it is read."""
    told = {
        "attributes": {},
        "model": "m",
        "finish_reason": "stop",
        "input_tokens": 100,
        "output_tokens": 10,
        "regenerations": 0,
        "repairs": 0,
        "verdicts": [],
    }
    return {
        "sample_id": f"{number:04x}-0" + (f"~{copy}" if copy else ""),
        "messages": [{"role": "assistant", "content": text}],
        "lineage": {**told, **lineage},
    }


def rejected(number: int, rule: str = "length", stage: str = "validation") -> dict[str, Any]:
    return {**row(number), "stage": stage, "rule": rule, "reason": "too_short"}


def judged(number: int, score: float) -> dict[str, Any]:
    evidence = orjson.dumps({"score": score}).decode()
    return row(number, verdicts=[{"rule": "judge", "passed": True, "evidence": evidence}])


def write_run(
    name: str,
    samples: Sequence[dict[str, Any]],
    refused: Sequence[dict[str, Any]] = (),
    failed: Sequence[dict[str, Any]] = (),
    **manifest: Any,
) -> Path:
    folder = Path(name)
    (folder / "journal").mkdir(parents=True)
    for stem, rows in (("samples", samples), ("rejected", refused), ("failed", failed)):
        lines = (orjson.dumps(each, option=orjson.OPT_APPEND_NEWLINE) for each in rows)
        (folder / f"{stem}.jsonl").write_bytes(b"".join(lines))
    (folder / "manifest.json").write_bytes(orjson.dumps({"recalled": 0, **manifest}))
    return folder


def line(found: Comparison, section: str, name: str) -> Line:
    [wanted] = [each for each in found.sections[section] if each.name == name]
    return wanted


def values(found: Comparison, section: str, name: str) -> tuple[float, float]:
    wanted = line(found, section, name)
    assert isinstance(wanted.one, Estimate)
    assert isinstance(wanted.other, Estimate)
    return wanted.one.value, wanted.other.value


def test_rejections_are_told_by_stage_and_rule() -> None:
    one = write_run(
        "one", [row(i) for i in range(8)], [rejected(8), rejected(9, "exact", "selection")]
    )
    other = write_run("other", [row(i) for i in range(10)])
    found = compare(one, other)
    assert values(found, "quality", "accepted") == (0.8, 1.0)
    assert values(found, "quality", "rejected in selection") == (0.1, 0.0)
    assert values(found, "quality", "validation: length") == (0.1, 0.0)


def test_rejected_answers_make_accepted_rows_dearer() -> None:
    one = write_run("one", [row(i) for i in range(5)], [rejected(i) for i in range(5, 10)])
    other = write_run("other", [row(i) for i in range(10)])
    assert values(compare(one, other), "cost", "output tokens per accepted row") == (20, 10)


def test_the_tokens_of_an_answer_are_counted_once_for_all_its_copies() -> None:
    one = write_run("one", [row(i, copy=copy) for i in range(5) for copy in range(2)])
    other = write_run("other", [row(i) for i in range(10)])
    assert values(compare(one, other), "cost", "input tokens per accepted row") == (50, 100)


def test_tokens_that_nobody_counted_are_told_and_are_not_zero() -> None:
    unknown = [row(i, input_tokens=None, output_tokens=None) for i in range(4)]
    found = compare(write_run("one", unknown), write_run("other", [row(i) for i in range(4)]))
    assert line(found, "cost", "output tokens per accepted row").one is None
    assert any("4 answers came without counts of tokens" in note for note in found.notes)


def test_judges_scores_are_means_with_intervals_over_accepted_rows() -> None:
    one = write_run("one", [judged(i, 2 + i % 2) for i in range(40)])
    other = write_run("other", [judged(i, 4 + i % 2) for i in range(40)])
    found = compare(one, other)
    assert values(found, "quality", "score by judge") == (2.5, 4.5)
    change = line(found, "quality", "score by judge").change
    assert isinstance(change, Estimate)
    assert 1.5 < change.low < 2 < change.high < 2.5


def test_repairs_and_regenerations_appear_where_there_are_any() -> None:
    plain = write_run("one", [row(i) for i in range(4)])
    mended = write_run("other", [row(i, repairs=1) for i in range(4)])
    assert values(compare(plain, mended), "quality", "answers repaired") == (0, 1)
    names = [each.name for each in compare(plain, plain).sections["quality"]]
    assert "answers repaired" not in names


def test_a_price_and_a_time_of_several_sessions_are_not_known() -> None:
    rows = [row(i) for i in range(10)]
    one = write_run("one", rows, cost_usd=0.5, elapsed_s=20)
    other = write_run("other", rows, cost_usd=0.1, elapsed_s=1, recalled=9)
    found = compare(one, other)
    assert line(found, "cost", "price per accepted row").one == pytest.approx(0.05)
    assert line(found, "cost", "price per accepted row").other is None
    assert any("several sessions" in note for note in found.notes)


def test_models_are_compared_with_the_mix_that_was_asked() -> None:
    def rows(models: str) -> list[dict[str, Any]]:
        return [row(i, model=model) for i, model in enumerate(models * 10)]

    recipe = orjson.dumps({"prompts": {"source": "-"}})
    mix = [{"model": "a", "weight": 1}, {"model": "b", "weight": 1}]
    one, other = write_run("one", rows("abab"), mix=mix), write_run("other", rows("aaab"), mix=mix)
    for folder in (one, other):
        (folder / "recipe.yaml").write_bytes(recipe)
    assert values(compare(one, other), "bias", "model: distance from target") == (0, 0.25)


def test_both_sides_are_looked_at_in_as_many_rows() -> None:
    one = write_run("one", [row(i) for i in range(50)])
    other = write_run("other", [row(i) for i in range(20)])
    assert compare(one, other).num_rows == (20, 20)
    assert compare(one, other, allow_unequal=True).num_rows == (50, 20)


def test_the_order_of_rows_changes_no_figure() -> None:
    rows = [row(i, text="She is kind. " * (i % 7 + 1)) for i in range(60)]
    other = write_run("other", [row(i) for i in range(30)])
    one = compare(write_run("one", rows), other).as_dict()
    turned = compare(write_run("turned", rows[::-1]), other).as_dict()
    assert one["sections"] == turned["sections"]


def test_a_run_with_no_manifest_has_not_come_to_its_end() -> None:
    folder = write_run("one", [row(i) for i in range(4)])
    (folder / "manifest.json").unlink()
    with pytest.raises(RunFolderError, match="run it to its end first"):
        compare(folder, folder)


def test_samples_in_another_format_alone_are_told() -> None:
    folder = write_run("one", [row(i) for i in range(4)])
    (folder / "samples.jsonl").rename(folder / "samples.parquet")
    with pytest.raises(InputError, match=r"has no samples\.jsonl"):
        read_outcomes(folder, seed=0, max_rows=10)


@pytest.mark.parametrize(
    "lineage",
    [{"attributes": [1]}, {"output_tokens": "many"}, {"repairs": None}, {"verdicts": [5]}, None],
    ids=str,
)
def test_a_row_that_is_none_of_ours_is_told_by_its_line(lineage: dict[str, Any] | None) -> None:
    odd = row(1, **lineage) if lineage else {**row(1), "lineage": "lost"}
    folder = write_run("one", [row(0), odd, row(2)])
    with pytest.raises(InputError, match=r"one/samples\.jsonl:2 is no row of ours"):
        compare(folder, folder)


@pytest.mark.parametrize("manifest", [{"mix": "x"}, {"mix": [{"model": 5}]}, {"pending": []}])
def test_an_odd_manifest_is_refused_by_its_key(manifest: dict[str, Any]) -> None:
    folder = write_run("one", [row(i) for i in range(3)], **manifest)
    with pytest.raises(InputError, match=r"manifest\.json is not a manifest: its (mix|pending)"):
        compare(folder, folder)
