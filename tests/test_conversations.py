"""Conversations of several turns, from the recipe and from the rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from weave_async.conversations import conversation_of
from weave_async.errors import InputError, RecipeError
from weave_async.plan import Plan
from weave_async.recipe import Recipe
from weave_async.records import Endpoint, Message, Row
from weave_async.render import Renderer
from weave_async.sources.jsonl import JsonlSource

USER = {"role": "user", "content": "And in winter?"}
EARLIER = [
    {"role": "user", "content": "When do swifts leave?"},
    {"role": "assistant", "content": "In August."},
]


def asked(rows: list[Any], **prompts: Any) -> list[list[tuple[str, str]]]:
    path = Path("seeds.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    recipe = Recipe.model_validate({"prompts": {"source": str(path), **prompts}})
    samples = Plan(recipe, JsonlSource(path), [Endpoint("sim", "simulated", "m")]).samples()
    return [[(m.role, m.content) for m in sample.request.messages] for sample in samples]


def test_turns_of_the_recipe_are_templates() -> None:
    messages = [
        {"role": "system", "content": "You know {{ topic }}."},
        {"role": "user", "content": "What is a {{ thing }}?"},
        {"role": "assistant", "content": "A {{ topic }} thing."},
        {"role": "user", "content": "Tell me more, {{ tone }}."},
    ]
    [turns] = asked(
        [{"topic": "birds", "thing": "swift"}],
        messages=messages,
        attributes={"tone": {"choice": ["briefly"]}},
    )
    assert turns == [
        ("system", "You know birds."),
        ("user", "What is a swift?"),
        ("assistant", "A birds thing."),
        ("user", "Tell me more, briefly."),
    ]


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ({"messages": [USER], "template": "x"}, "`messages` and `template` are two ways"),
        ({"messages": [USER], "system": "x"}, "`messages` and `system` are two ways"),
        ({"messages": EARLIER}, "a user turn, not assistant"),
        ({"messages": [USER, {"role": "system", "content": "x"}, USER]}, "system turn comes first"),
        ({"messages": []}, "prompts.messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
    ],
)
def test_turns_that_cannot_be_asked_are_refused(prompts: dict[str, Any], said: str) -> None:
    text = json.dumps({"prompts": {"source": "seeds.jsonl", **prompts}})
    with pytest.raises(RecipeError) as caught:
        Recipe.parse(text)
    assert said in str(caught.value)


def test_a_bad_turn_of_the_recipe_is_named() -> None:
    with pytest.raises(RecipeError, match=r"prompts\.messages\[1\], line 1"):
        Renderer(turns=[("system", "fine"), ("user", "{{ open")])


def test_a_row_may_hold_the_conversation() -> None:
    assert asked([{"messages": [*EARLIER, USER], "id": 7}]) == [
        [
            ("user", "When do swifts leave?"),
            ("assistant", "In August."),
            ("user", "And in winter?"),
        ]
    ]


def test_a_column_for_the_prompt_goes_before_the_conversation() -> None:
    assert asked([{"messages": EARLIER, "prompt": "Swifts?"}]) == [[("user", "Swifts?")]]


def test_a_template_goes_before_the_conversation_and_may_use_it() -> None:
    shown = asked([{"messages": EARLIER}], template="Rewrite: {{ messages[1].content }}")
    assert shown == [[("user", "Rewrite: In August.")]]


def test_the_recipes_system_turn_comes_first_unless_the_row_has_its_own() -> None:
    own = {"role": "developer", "content": "Be curt."}
    first, second = asked(
        [{"messages": [USER], "bird": "swift"}, {"messages": [own, USER], "bird": "swift"}],
        system="You know the {{ bird }}.",
    )
    assert first == [("system", "You know the swift."), ("user", "And in winter?")]
    assert second == [("system", "Be curt."), ("user", "And in winter?")]


def test_text_blocks_are_one_text() -> None:
    blocks = [{"type": "text", "text": "Look:"}, {"type": "text", "text": "a swift."}]
    [message] = conversation_of({"messages": [{"role": "user", "content": blocks}]})
    assert message == Message("user", "Look:\na swift.")


@pytest.mark.parametrize(
    ("turns", "said"),
    [
        (EARLIER, "ends with an assistant turn, so it is answered already: take that turn out"),
        ([{"role": "system", "content": "x"}], "ends with a system turn"),
        ([USER, {"role": "system", "content": "x"}, USER], "turn 2 .* is a system turn"),
        ([{"role": "tool", "content": "x"}, USER], "turn 1 .* has the role 'tool', not system"),
        ([{"role": ["user"], "content": "x"}], "turn 1 .* has the role"),
        ([{"role": "user", "content": None}], "turn 1 .* a content that is no text: None"),
        ([{"role": "user", "content": []}], "content that is no text"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], "content that is no text"),
        ([{"role": "user", "content": [{"type": "text", "text": 3}]}], "content that is no text"),
        (["hello"], "turn 1 .* is no role and content: 'hello'"),
        ([], "no list of turns"),
        ("hello", "no list of turns: 'hello'"),
    ],
)
def test_a_row_that_is_no_open_conversation_is_named_by_its_line(turns: Any, said: str) -> None:
    with pytest.raises(InputError, match=rf"seeds\.jsonl:2: .*{said}"):
        asked([{"messages": [USER]}, {"messages": turns}])


def test_a_bad_conversation_far_down_is_found_before_anything_is_asked() -> None:
    rows = [*({"messages": [USER], "id": i} for i in range(1200)), {"messages": EARLIER}]
    with pytest.raises(InputError, match=r"seeds\.jsonl:1201"):
        asked(rows)


def test_bad_conversations_can_be_left_out() -> None:
    rows = [{"messages": EARLIER}, {"messages": [USER]}, {"messages": 3}]
    assert asked(rows, on_bad_row="skip", draws=2) == [[("user", "And in winter?")]] * 2


def test_a_huge_conversation_is_refused() -> None:
    turn = {"role": "user", "content": "x" * 600_000}
    renderer = Renderer()
    with pytest.raises(InputError, match="more than 1000000 characters"):
        renderer.messages(Row({"messages": [turn, turn]}, "rows:1"), {})
