"""The plan: which samples are asked for, under which names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from weave_async.errors import InputError
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Sample
from weave_async.sources.jsonl import JsonlSource

ENDPOINT = Endpoint("sim", "simulated", "m")


def plan_of(
    rows: list[Any], *, num_samples: int | None = None, endpoint: Endpoint = ENDPOINT, **recipe: Any
) -> Plan:
    path = Path("seeds.jsonl")
    path.write_text("".join(r if isinstance(r, str) else json.dumps(r) + "\n" for r in rows))
    prompts = {"source": str(path), **recipe.pop("prompts", {})}
    made = Recipe.model_validate({"prompts": prompts, **recipe})
    return Plan(made, JsonlSource(path), [endpoint], num_samples=num_samples)


def samples_of(rows: list[Any], **options: Any) -> list[Sample]:
    return list(plan_of(rows, **options).samples())


def test_each_round_goes_over_all_rows_before_the_next() -> None:
    samples = samples_of([{"text": "a"}, {"text": "b"}], num_samples=5)
    asked = [(s.ordinal, s.messages or s.prompt.messages[0].content) for s in samples]
    assert asked == [(0, "a"), (1, "b"), (2, "a"), (3, "b"), (4, "a")]
    assert [s.prompt.sample_index for s in samples] == [0, 0, 1, 1, 2]


def test_draws_and_candidates_say_how_many_there_are() -> None:
    rows = [{"text": "a"}, {"text": "b"}]
    assert plan_of(rows, prompts={"draws": 3}).num_samples == 6
    assert plan_of(rows, prompts={"draws": 3}, candidates=4).num_samples == 4
    assert plan_of(rows, candidates=4, num_samples=9).num_samples == 9


def test_a_request_keeps_its_name_when_rows_are_added_and_reordered() -> None:
    first = {s.request.request_id for s in samples_of([{"text": "a"}, {"text": "b"}])}
    again = {s.request.request_id for s in samples_of([{"text": c} for c in "cba"])}
    assert first < again


def test_repeated_rows_are_different_prompts() -> None:
    samples = samples_of([{"text": "a"}, {"text": "b"}, {"text": "a"}], num_samples=6)
    assert len({s.sample_id for s in samples}) == 6
    assert len({s.request.request_id for s in samples}) == 6
    assert samples[2].prompt.prompt_id == samples[0].prompt.prompt_id + ".1"


def test_equal_questions_of_different_rows_get_an_answer_each() -> None:
    rows = [{"text": "a", "id": 1}, {"text": "a", "id": 2}, {"text": "a", "id": 2}]
    samples = samples_of(rows, generate={"send_seed": False})
    assert len({s.request.request_id for s in samples}) == 3


def test_a_template_without_a_column_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    plan_of([{"text": "a"}], prompts={"template": "{text}"})
    assert "names no column" in caplog.text


def test_without_a_template_a_column_to_ask_is_needed() -> None:
    with pytest.raises(InputError, match=r"no column 'prompt' or 'text'.*\{\{ question \}\}"):
        plan_of([{"question": "a"}])


@pytest.mark.parametrize(
    "changed",
    [
        {"seed": 1},
        {"prompts": {"system": "Be brief."}},
        {"generate": {"params": {"temperature": 0.1}}},
        {"generate": {"api": "completions"}},
        {"endpoint": Endpoint("sim", "simulated", "other-model")},
        {"endpoint": Endpoint("sim", "other-provider", "m")},
    ],
)
def test_whatever_can_change_the_answer_changes_the_requests_name(changed: dict[str, Any]) -> None:
    [before], [after] = samples_of([{"text": "a"}]), samples_of([{"text": "a"}], **changed)
    assert before.request.request_id != after.request.request_id


@pytest.mark.parametrize(
    "changed",
    [
        {"endpoint": Endpoint("renamed", "simulated", "m", base_url="http://127.0.0.1:1/v1")},
        {"validation": [{"length": {"min_words": 3}}]},
        {"noise": ["typos"]},
        {"generate": {"attempts": 2}},
        {"generate": {"params": {"max_tokens": 9}}},  # the journal looks at it: see there
    ],
)
def test_what_cannot_change_the_answer_leaves_the_name(changed: dict[str, Any]) -> None:
    [before], [after] = samples_of([{"text": "a"}]), samples_of([{"text": "a"}], **changed)
    assert before.request.request_id == after.request.request_id


def test_a_new_attribute_leaves_the_draws_of_others_alone() -> None:
    tone = {"tone": {"choice": list("abcdefgh")}}
    both = {"mood": {"choice": list("xyz")}, **tone}
    rows = [{"text": str(i)} for i in range(20)]
    alone = [s.prompt.attributes["tone"] for s in samples_of(rows, prompts={"attributes": tone})]
    beside = [s.prompt.attributes["tone"] for s in samples_of(rows, prompts={"attributes": both})]
    assert alone == beside
    assert len(set(alone)) > 3


def test_each_sample_draws_its_own_parameters_and_seed() -> None:
    samples = samples_of(
        [{"text": "a"}],
        num_samples=20,
        generate={"params": {"temperature": {"uniform": [0.5, 1.5]}, "stop": ["END"]}},
    )
    assert len({s.request.params.temperature for s in samples}) > 15
    assert len({s.request.params.seed for s in samples}) == 20
    assert all(0 <= s.seed < 2**31 for s in samples)
    assert samples[0].request.params.as_dict()["stop"] == ("END",)


def test_seeds_stay_home_when_the_recipe_says_so() -> None:
    [sample] = samples_of([{"text": "a"}], generate={"send_seed": False})
    assert sample.request.params.seed is None
    assert sample.seed >= 0


def test_the_mix_follows_its_weights() -> None:
    path = Path("seeds.jsonl")
    path.write_text("".join(f'{{"text": "{i}"}}\n' for i in range(2000)))
    mix = [{"endpoint": "a", "weight": 1}, {"endpoint": "b", "weight": 3}]
    recipe = Recipe.model_validate({"prompts": {"source": str(path)}, "generate": {"mix": mix}})
    endpoints = [Endpoint("a", "simulated", "m"), Endpoint("b", "simulated", "m")]
    samples = Plan(recipe, JsonlSource(path), endpoints).samples()
    share = sum(sample.endpoint == "b" for sample in samples) / 2000
    assert share == pytest.approx(0.75, abs=0.03)


def test_a_bad_row_stops_with_its_place_or_is_skipped_and_counted() -> None:
    rows = [{"text": "a"}, "{broken\n", {"text": "b"}, "[1]\n"]
    with pytest.raises(InputError, match=r"seeds\.jsonl:2: not JSON.*--on-bad-row skip"):
        plan_of(rows)
    plan = plan_of(rows, prompts={"on_bad_row": "skip"})
    assert (plan.num_samples, plan.inspection.num_skipped) == (2, 2)
    assert [bad.origin for bad in plan.inspection.skipped] == ["seeds.jsonl:2", "seeds.jsonl:4"]


def test_a_missing_column_is_found_before_anything_is_asked() -> None:
    rows = [{"text": "a", "topic": "t"}, {"text": "b"}]
    with pytest.raises(InputError, match=r"seeds\.jsonl:2: template: 'topic' is undefined"):
        plan_of(rows, prompts={"template": "{{ text }} {{ topic }}"})


def test_a_missing_column_far_down_is_found_too() -> None:
    rows = [{"text": "a", "topic": "t"}] * 3000 + [{"text": "b"}]
    with pytest.raises(InputError, match=r"seeds\.jsonl:3001: template: 'topic' is undefined"):
        plan_of(rows, prompts={"template": "{{ text }} {{ topic }}"})


def test_samples_can_be_named_without_reading_a_row() -> None:
    rows = [{"text": "a"}, {"text": "b"}, {"text": "a"}]
    plan = plan_of(rows, num_samples=8)
    assert list(plan.sample_ids()) == [sample.sample_id for sample in plan.samples()]


def test_samples_that_are_not_wanted_leave_the_others_as_they_are() -> None:
    rows = [{"text": "a"}, {"text": "b"}, {"text": "a"}]
    plan = plan_of(rows, num_samples=8, generate={"params": {"top_p": {"uniform": [0, 1]}}})
    assert list(plan.samples(lambda ordinal: ordinal % 3 == 2)) == list(plan.samples())[2::3]


@pytest.mark.parametrize("now", ["", '{"text": "a"}\n', '{"text": "a"}\n{"text": "c"}\n', "[1]\n"])
def test_a_source_that_changes_while_the_run_goes_on_is_noticed(now: str) -> None:
    plan = plan_of([{"text": "a"}, {"text": "b"}])
    Path("seeds.jsonl").write_text(now)
    with pytest.raises(InputError, match=r"seeds\.jsonl was changed while the run went on"):
        list(plan.samples())


def test_a_source_without_rows_is_refused() -> None:
    with pytest.raises(InputError, match="no usable rows"):
        plan_of([])


# --- names that must not change, and several completions of a prompt --------------------------


def test_requests_keep_the_names_under_which_earlier_journals_hold_their_answers() -> None:
    tea, fees = {"text": "a", "topic": "tea"}, {"text": "b", "topic": "fees"}
    plain = plan_of([tea, fees, tea])
    assert [s.request.request_id for s in plain.samples()] == [
        "21bab87212d0cc488a32ff316a691242",
        "e49fefe20b4a014386945f7891fb335f",
        "41b7e8f3b35ed595f0b9c962591ba070",
    ]
    full = plan_of(
        [tea, fees, tea],
        seed=7,
        prompts={
            "system": "Be {{ tone }}.",
            "template": "{{ text }} on {{ topic }}",
            "attributes": {"tone": {"choice": ["kind", "curt"]}},
            "draws": 2,
        },
        generate={"params": {"temperature": {"uniform": [0.2, 0.9]}, "max_tokens": 50}},
    )
    assert [(s.sample_id, s.request.request_id, s.seed) for s in full.samples()] == [
        ("1d83d082b5918b03-0", "83185f818129cccd8e421921e66300cd", 327252888),
        ("f2c3099679c5d925-0", "b400fb6123d3434307b3ae637fb7fff8", 702337339),
        ("1d83d082b5918b03.1-0", "7017669c1b87c6a1e9a2765301752514", 824308692),
        ("1d83d082b5918b03-1", "2535c9ebcaaa97e6ef5a7f2cc77cffc1", 784126224),
        ("f2c3099679c5d925-1", "4d91c1bef54dba7a9028dd616ad0a370", 1638125824),
        ("1d83d082b5918b03.1-1", "3bdf6aff75786c87eff7f351a603c57a", 223094662),
    ]
    assert set(full.asks()["prompts"]) == {"system", "template", "attributes"}
    assert set(full.asks()["generate"]) == {"params", "api", "send_seed"}


def test_completions_of_one_prompt_stand_side_by_side() -> None:
    plan = plan_of([{"text": "a"}, {"text": "b"}], prompts={"draws": 4}, generate={"n": 2})
    samples = list(plan.samples())
    asked = [(s.prompt.messages[0].content, s.prompt.sample_index) for s in samples]
    pairs = [("a", 0), ("a", 1), ("b", 0), ("b", 1), ("a", 2), ("a", 3), ("b", 2), ("b", 3)]
    assert asked == pairs
    assert [s.ordinal for s in samples] == list(range(8))
    assert list(plan.sample_ids()) == [s.sample_id for s in samples]
    assert len({s.request.request_id for s in samples}) == 8


def test_completions_of_one_prompt_share_all_but_their_draw() -> None:
    plan = plan_of(
        [{"text": str(i)} for i in range(20)],
        prompts={"attributes": {"tone": {"choice": list("abcdef")}}, "template": "{{ tone }}"},
        generate={"n": 3, "params": {"temperature": {"uniform": [0, 1]}}},
    )
    samples = list(plan.samples())
    groups = [samples[i : i + 3] for i in range(0, 60, 3)]
    for group in groups:
        assert len({s.request.messages for s in group}) == 1
        assert len({s.request.params.temperature for s in group}) == 1
        assert len({s.request.params.seed for s in group}) == 3
    assert len({group[0].request.params.temperature for group in groups}) > 10


def test_the_first_of_a_group_is_asked_as_it_would_be_alone() -> None:
    rows = [{"text": str(i)} for i in range(5)]
    varied = {"temperature": {"uniform": [0, 1]}}
    alone = samples_of(rows, prompts={"draws": 4}, generate={"params": varied})
    grouped = samples_of(rows, prompts={"draws": 4}, generate={"params": varied, "n": 2})
    ids = {s.request.request_id for s in alone}
    shared = [s.prompt.sample_index for s in grouped if s.request.request_id in ids]
    assert shared == [0] * 5 + [2] * 5


def test_draws_are_as_many_as_completions_unless_said_otherwise() -> None:
    assert plan_of([{"text": "a"}], generate={"n": 5}).num_samples == 5
    assert plan_of([{"text": "a"}], generate={"n": 5}, candidates=7).num_samples == 7
    with pytest.raises(ValidationError, match=r"prompts\.draws, 4, must be a multiple of .* 3"):
        plan_of([{"text": "a"}], prompts={"draws": 4}, generate={"n": 3})


def test_wanted_samples_of_a_group_are_made_without_the_others() -> None:
    rows = [{"text": str(i)} for i in range(6)]
    options: dict[str, Any] = {"prompts": {"draws": 6}, "generate": {"n": 3}}
    every = samples_of(rows, **options)
    wanted = {1, 2, 9, 20, 35}
    assert list(plan_of(rows, **options).samples(wanted.__contains__)) == [
        every[i] for i in sorted(wanted)
    ]


def test_several_completions_are_told_to_the_journal() -> None:
    assert plan_of([{"text": "a"}], generate={"n": 2}).asks()["generate"]["n"] == 2
