"""``weave-async export`` of a run that people have reviewed."""

from __future__ import annotations

import json
from pathlib import Path

from reviews_said import say

from .conftest import Program


def made(weave_async: Program, recipe_file: Path) -> tuple[list[str], list[str]]:
    """The ids of a run's written and rejected rows."""
    told = weave_async("run", str(recipe_file), "-n", "12", "-o", "out")
    assert told.exit_code == 0, told.err
    written, rejected = (
        [json.loads(line)["sample_id"] for line in Path(path).read_text().splitlines()]
        for path in ("out/samples.jsonl", "out/rejected.jsonl")
    )
    assert len(written) >= 3
    assert rejected
    return written, rejected


def test_an_export_follows_the_people_who_reviewed_the_run(
    weave_async: Program, recipe_file: Path
) -> None:
    written, rejected = made(weave_async, recipe_file)
    run = Path("out")
    say(run, "ana", {written[0]: "reject", written[1]: "My own words.", rejected[0]: "accept"})
    say(run, "ben", {written[2]: "reject"}, sha="0" * 64)
    told = weave_async("export", "out", "--format", "messages", "-o", "data", "--to", "jsonl")
    assert told.exit_code == 0, told.err
    assert (
        "3 rows reviewed by 1 person: 1 removed, 1 restored that rules had rejected, 1 edited; "
        "1 verdict is on a row that "
        "changed since, and not applied"
    ) in " ".join(told.err.split())
    (shard,) = Path("data/data").iterdir()
    rows = {
        row["sample_id"]: row["messages"] for row in map(json.loads, shard.read_text().splitlines())
    }
    assert set(rows) == {*written[1:], rejected[0]}
    assert rows[written[1]][-1]["content"] == "My own words."
    assert "People: 3 rows reviewed by 1 person" in Path("data/README.md").read_text()
    assert json.loads(Path("data/export.json").read_text())["reviews"]["removed"] == 1
    assert weave_async("verify", "out").exit_code == 0


def test_reviews_can_be_ignored_or_be_all_that_counts(
    weave_async: Program, recipe_file: Path
) -> None:
    written, rejected = made(weave_async, recipe_file)
    say(Path("out"), "ana", {written[0]: "reject", rejected[0]: "accept", written[1]: "accept"})
    export = ("export", "out", "--format", "messages", "--reviews")
    ids = {
        reviews: {json.loads(line)["sample_id"] for line in told.out.splitlines()}
        for reviews in ("follow", "ignore", "only")
        if (told := weave_async(*export, reviews)).exit_code == 0
    }
    assert ids == {
        "follow": {*written[1:], rejected[0]},
        "ignore": set(written),
        "only": {written[1], rejected[0]},
    }
    assert "3 rows reviewed" in weave_async(*export, "follow").err
    assert weave_async(*export, "ignore").err == ""


def test_formats_that_are_of_no_dataset_take_no_reviews(
    weave_async: Program, recipe_file: Path
) -> None:
    made(weave_async, recipe_file)
    for format in ("openai-batch", "noise-pairs"):
        told = weave_async("export", "out", "--format", format, "--reviews", "only")
        assert told.exit_code == 2
        assert "leave --reviews" in told.err
