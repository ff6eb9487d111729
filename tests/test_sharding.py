"""Parts of a run: together they are the whole, and nothing twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.errors import UsageError
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Sample
from weave_async.sharding import Shard
from weave_async.sources.jsonl import JsonlSource

ENDPOINTS = [Endpoint("one", "simulated", "a"), Endpoint("two", "simulated", "b")]


def samples_of(path: Path, shard: Shard | None, num_samples: int | None, n: int) -> list[Sample]:
    recipe: dict[str, Any] = {
        "prompts": {
            "source": str(path),
            "template": "{{ text }} {{ tone }}",
            "attributes": {"tone": {"choice": ["calm", "cross"]}},
            "examples": {
                "num": 1,
                "draw": "cover",
                "user": "{{ text }}",
                "assistant": "{{ text }}",
            },
        },
        "generate": {
            "n": n,
            "mix": [{"endpoint": "one", "model": "a"}, {"endpoint": "two", "model": "b"}],
        },
    }
    plan = Plan(
        Recipe.model_validate(recipe),
        JsonlSource(path),
        ENDPOINTS,
        num_samples=num_samples,
        shard=shard,
    )
    samples = list(plan.samples())
    assert [sample.ordinal for sample in samples] == list(range(plan.num_samples))
    assert [sample.sample_id for sample in samples] == list(plan.sample_ids())
    return samples


def told(sample: Sample) -> tuple[Any, ...]:
    """All but its place."""
    return (sample.sample_id, sample.prompt, sample.request, sample.endpoint, sample.seed)


@given(
    texts=st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=20),
    of=st.integers(1, 6),
    num_samples=st.none() | st.integers(1, 50),
    n=st.integers(1, 3),
)
def test_shards_are_the_whole_and_each_sample_is_as_it_would_be_there(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[str],
    of: int,
    num_samples: int | None,
    n: int,
) -> None:
    if len(set(texts)) < 2:
        texts += ["x", "y"]
    path = tmp_path_factory.mktemp("shards") / "seeds.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    whole = samples_of(path, None, num_samples, n)
    shards = [samples_of(path, Shard(k, of), num_samples, n) for k in range(1, of + 1)]
    places = {told(sample)[0]: number for number, sample in enumerate(whole)}
    for shard in shards:
        own = [places[sample.sample_id] for sample in shard]
        assert own == sorted(own)
    together = sorted(
        (each for shard in shards for each in shard), key=lambda s: places[s.sample_id]
    )
    assert list(map(told, together)) == list(map(told, whole))


def test_equal_rows_meet_in_one_shard(tmp_path: Path) -> None:
    path = tmp_path / "seeds.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in "abcabcabc"))
    for number in range(1, 5):
        texts = [s.prompt.columns["text"] for s in samples_of(path, Shard(number, 4), None, 1)]
        assert all(texts.count(text) == 3 for text in texts)


@pytest.mark.parametrize("named", ["0/4", "5/4", "1", "1/0", "a/b", "1/4/4", "-1/4", "1/9999999"])
def test_what_is_no_shard_is_told(named: str) -> None:
    with pytest.raises(UsageError, match="a shard is K/N"):
        Shard.parse(named)


def test_names_are_in_the_order_of_the_numbers() -> None:
    names = [Shard.parse(f"{number}/12").folder_name for number in range(1, 13)]
    assert names == sorted(names)
    assert names[1] == "0002-of-0012"
