"""Few-shot examples: which rows are drawn, and where they are shown."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from weave_async import examples
from weave_async.errors import InputError, RecipeError
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Response, Row, Sample
from weave_async.rows import digest_of
from weave_async.sources.jsonl import JsonlSource

ROWS = [{"q": f"question {i}", "a": f"answer {i}"} for i in range(30)]
PAIR = {"user": "{{ q }}", "assistant": "{{ a }}"}


def write(path: str, rows: list[Any]) -> JsonlSource:
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return JsonlSource(Path(path))


def plan_of(
    rows: list[Any] = ROWS,
    *,
    shots: dict[str, Any] | None = None,
    own: list[Any] | None = None,
    **recipe: Any,
) -> Plan:
    prompts = {"source": "seeds.jsonl", "template": "{{ q }}", **recipe.pop("prompts", {})}
    prompts["examples"] = shots or {"num": 3, **PAIR}
    source = None
    if own is not None:
        prompts["examples"] = {**prompts["examples"], "source": "own.jsonl"}
        source = write("own.jsonl", own)
    made = Recipe.model_validate({"prompts": prompts, **recipe})
    endpoints = [Endpoint("sim", "simulated", "m")]
    return Plan(made, write("seeds.jsonl", rows), endpoints, examples=source)


def shown_in(sample: Sample) -> list[tuple[str, str]]:
    """The question and answer of each example."""
    turns = [message.content for message in sample.request.messages[:-1]]
    return list(zip(turns[::2], turns[1::2], strict=True))


def test_examples_are_turns_before_the_question() -> None:
    sample = next(plan_of(prompts={"system": "Be brief."}).samples())
    roles = [message.role for message in sample.request.messages]
    assert roles == ["system", *["user", "assistant"] * 3, "user"]
    assert sample.request.messages[-1].content == "question 0"


def test_examples_are_sent_and_not_written() -> None:
    sample = next(plan_of(prompts={"system": "Be brief."}).samples())
    written = sample.answered(Response("answer 0", "stop")).messages
    assert [m.content for m in written] == ["Be brief.", "question 0", "answer 0"]


def test_examples_stand_before_the_last_turn_of_a_conversation() -> None:
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": "{{ q }}"},
    ]
    sample = next(
        plan_of(shots={"num": 1, **PAIR}, prompts={"template": None, "messages": turns}).samples()
    )
    contents = [message.content for message in sample.request.messages]
    assert contents[:2] == ["Hello", "Hi"]
    assert contents[-1] == "question 0"
    assert contents[2].startswith("question ")
    assert contents[3].startswith("answer ")


def test_no_example_is_the_row_itself_or_shown_twice() -> None:
    for sample in plan_of(prompts={"draws": 20}).samples():
        questions = [question for question, _ in shown_in(sample)]
        assert len(set(questions)) == 3
        assert sample.request.messages[-1].content not in questions


def test_all_other_rows_can_be_shown() -> None:
    rows = [*ROWS[:4], ROWS[0]]  # a row that stands twice is one row
    for sample in plan_of(rows).samples():
        own = sample.request.messages[-1].content
        expected = {row["q"] for row in ROWS[:4]} - {own}
        assert {question for question, _ in shown_in(sample)} == expected


def test_each_row_and_draw_has_its_own_examples_and_a_seed_has_others() -> None:
    samples = list(plan_of(prompts={"draws": 2}).samples())
    assert len({tuple(shown_in(sample)) for sample in samples}) > 50
    again = list(plan_of(prompts={"draws": 2}).samples())
    assert samples == again
    other = list(plan_of(prompts={"draws": 2}, seed=1).samples())
    assert [shown_in(s) for s in samples] != [shown_in(s) for s in other]


def test_the_order_of_rows_changes_no_request() -> None:
    before = {s.request.request_id for s in plan_of().samples()}
    after = {s.request.request_id for s in plan_of(ROWS[::-1]).samples()}
    assert before == after


def test_examples_may_come_from_a_file_of_their_own() -> None:
    own = [{"q": f"mine {i}", "a": "yes"} for i in range(3)]
    sample = next(plan_of(own=own).samples())
    assert sorted(shown_in(sample)) == [(f"mine {i}", "yes") for i in range(3)]


def test_templates_can_show_examples_in_one_text() -> None:
    template = "{% for e in examples %}{{ e.q }} = {{ e.a }}; {% endfor %}{{ q }}?"
    sample = next(plan_of(shots={"num": 2}, prompts={"template": template}).samples())
    [message] = sample.request.messages
    assert message.content.count(" = answer ") == 2
    assert message.content.endswith("question 0?")


def test_completions_of_one_prompt_share_its_examples() -> None:
    first, second, *_ = plan_of(generate={"n": 2}).samples()
    assert shown_in(first) == shown_in(second)


def test_examples_that_are_shown_nowhere_are_refused() -> None:
    with pytest.raises(RecipeError, match="drawn and shown nowhere"):
        plan_of(shots={"num": 2})


def test_an_example_needs_both_turns() -> None:
    with pytest.raises(RecipeError, match="beside `user`, it needs `assistant`"):
        Recipe.parse('{"prompts": {"source": "x.jsonl", "examples": {"user": "hi"}}}')


def test_too_few_rows_are_told_with_both_numbers() -> None:
    with pytest.raises(InputError, match=r"num is 4, and own\.jsonl has 3 different rows"):
        plan_of(shots={"num": 4, **PAIR}, own=ROWS[:3])
    with pytest.raises(InputError, match=r"seeds\.jsonl:1: .*num is 3, .* 2 different rows beside"):
        plan_of(ROWS[:3])


def test_an_example_that_lacks_a_column_is_named_before_anything_is_asked() -> None:
    with pytest.raises(InputError, match=r"own\.jsonl:40: .*'a' is undefined"):
        plan_of(own=[*ROWS, *({"q": str(i), "a": ""} for i in range(9)), {"q": "no answer"}])


def test_a_malformed_example_stops_the_run_or_is_left_out() -> None:
    own = [*ROWS[:4], 7]
    with pytest.raises(InputError, match=r"own\.jsonl:5: not an object"):
        plan_of(own=own)
    assert plan_of(own=own, prompts={"on_bad_row": "skip"}).num_samples == 30


def test_what_is_asked_names_the_rows_that_can_be_shown() -> None:
    asks = plan_of(own=ROWS).asks()
    assert plan_of(own=ROWS[::-1]).asks() == asks
    assert plan_of(own=ROWS[1:]).asks() != asks
    assert plan_of(own=ROWS, shots={"num": 2, **PAIR}).asks() != asks


def test_of_a_large_source_a_fair_share_is_kept_whatever_its_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(examples, "MOST_ROWS_KEPT", 200)
    rows = [Row({"q": i}, f"rows:{i}") for i in range(2000)]

    class Rows:
        def rows(self) -> Any:
            return iter(rows)

    def kept(seed: int) -> set[int]:
        pool = examples.ExamplePool(Rows(), run_seed=seed, num=3, name="x", skips_bad_rows=False)
        return {row.values["q"] for row in pool}

    first = kept(0)
    assert len(first) == 200
    assert 60 < sum(number < 1000 for number in first) < 140
    random.Random(1).shuffle(rows)
    assert kept(0) == first
    assert len(kept(1) & first) < 100


def test_a_drawn_row_is_named_by_its_content() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1})


class GivenRows:
    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def rows(self) -> list[Row]:
        return self._rows


def test_a_pool_that_covers_shows_all_before_one_comes_again() -> None:
    rows = [Row({"text": str(number)}, f"rows:{number}") for number in range(12)]
    pools = {
        covers: examples.ExamplePool(
            GivenRows(rows), run_seed=3, num=3, name="rows", skips_bad_rows=False, covers=covers
        )
        for covers in (False, True)
    }
    shown = {
        covers: [
            row.values["text"]
            for rank in range(4)
            for row in pool.drawn_for(0, f"prompt {rank}", 0, rank=rank)
        ]
        for covers, pool in pools.items()
    }
    assert len(set(shown[True])) == 12 > len(set(shown[False]))


@pytest.mark.parametrize(("draws", "n"), [(1, 1), (4, 1), (8, 2), (8, 4)])
def test_a_plan_that_covers_shows_each_example_equally_often(draws: int, n: int) -> None:
    Path("seeds.jsonl").write_text("".join(f'{{"text": "t{i}"}}\n' for i in range(15)))
    recipe = Recipe.model_validate(
        {
            "prompts": {
                "source": "seeds.jsonl",
                "template": "{{ text }}: {% for e in examples %}<{{ e.text }}>{% endfor %}",
                "examples": {"num": 2, "draw": "cover"},
                "draws": draws,
            },
            "generate": {"n": n},
        }
    )
    plan = Plan(recipe, JsonlSource(Path("seeds.jsonl")), [Endpoint("e", "p", "m")])
    prompts = {
        (sample.prompt.prompt_id, sample.prompt.sample_index // n): sample.prompt.messages[-1]
        for sample in plan.samples()
    }
    shown = [text for each in prompts.values() for text in re.findall(r"<(t\d+)>", each.content)]
    counts = Counter(shown).values()
    assert len(counts) == 15
    # A row is no example of its own: the next one in turn stands in for it.
    assert len(shown) / 15 / 2 <= min(counts) <= max(counts) <= 2 * len(shown) / 15
