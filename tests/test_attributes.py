"""What a recipe can draw, from where, and what it is told when that cannot be."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from weave_async.attributes import Attribute, FileChoice, Tree
from weave_async.errors import InputError, RecipeError
from weave_async.evolutions import EVOLUTIONS
from weave_async.recipe import Recipe
from weave_async.records import Row
from weave_async.render import Renderer

SHAPES: Any = TypeAdapter(Attribute)
EVENLY = [(number + 0.5) / 600 for number in range(600)]


def shape(**given: Any) -> Any:
    return SHAPES.validate_python(given)


def drawn(made: Any, folder: Path = Path()) -> Counter[Any]:
    resolved = made.resolved(folder)
    return Counter(repr_of(resolved.draw(fraction)) for fraction in EVENLY)


def repr_of(value: Any) -> str:
    return repr(dict(value)) if isinstance(value, dict) else str(value)


def test_a_value_with_parts_is_a_text_too() -> None:
    leaf = shape(tree={"cards": ["lost"]}).draw(0)
    turn = Renderer(template="{{ topic }} of {{ topic.path }}, {{ topic }}").messages(
        Row({"text": "x"}, "rows:1"), {"topic": leaf}
    )[-1]
    assert turn.content == "lost of cards > lost, lost"
    assert orjson.dumps(leaf) == b'{"leaf":"lost","path":"cards > lost"}'


def test_whole_numbers_come_from_the_first_to_the_last() -> None:
    assert drawn(shape(range=[2, 7])) == {str(number): 100 for number in range(2, 8)}
    assert set(drawn(shape(range=[0, 10], step=4))) == {"0", "4", "8"}
    assert drawn(shape(range=[3, 3])) == {"3": 600}


def test_days_come_from_the_first_to_the_last() -> None:
    days = drawn(shape(date=["2024-02-27", "2024-03-01"], format="%d.%m."))
    assert set(days) == {"27.02.", "28.02.", "29.02.", "01.03."}
    assert max(days.values()) == min(days.values())


def test_some_of_a_list_are_different_and_in_its_order() -> None:
    pairs = drawn(shape(some_of=["a", "b", "c"], num=2, joined="+"))
    assert pairs == {"a+b": 200, "a+c": 200, "b+c": 200}


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 9))
def test_any_fraction_draws_as_many_as_are_asked_for(fraction: float, num: int) -> None:
    chosen = shape(some_of=list("abcdefghi"), num=num, joined="").draw(fraction)
    assert len(set(chosen)) == num


def test_a_leaf_is_drawn_branch_by_branch_by_weight(tmp_path: Path) -> None:
    (tmp_path / "topics.yaml").write_text("cards: [lost, {late: [days, weeks]}]\nfees: [high]\n")
    even = drawn(shape(tree="topics.yaml"), tmp_path)
    assert even == {
        "{'leaf': 'high', 'path': 'fees > high'}": 300,
        "{'leaf': 'lost', 'path': 'cards > lost'}": 150,
        "{'leaf': 'days', 'path': 'cards > late > days'}": 75,
        "{'leaf': 'weeks', 'path': 'cards > late > weeks'}": 75,
    }
    assert shape(tree={"cards": "lost"}).draw(0.5) == {"leaf": "lost", "path": "cards > lost"}
    weighted = drawn(shape(tree="topics.yaml", weights={"cards": 5}), tmp_path)
    assert weighted["{'leaf': 'high', 'path': 'fees > high'}"] == 100


@given(st.floats(0, 1, exclude_max=True))
def test_any_fraction_finds_a_leaf(fraction: float) -> None:
    tree = Tree(tree={"a": ["b", {"c": ["d", "e", "f"]}], "g": {"h": ["i"]}}, weights={"c": 7})
    assert tree.draw(fraction)["leaf"] in "bdefi"


def test_a_row_of_a_file_is_drawn_by_its_weight(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_text("job,weight\nnurse,3\ncook,1\n")
    assert drawn(FileChoice(file="people.csv"), tmp_path) == {
        "{'job': 'nurse'}": 450,
        "{'job': 'cook'}": 150,
    }
    (tmp_path / "people.jsonl").write_text('{"job": "nurse", "age": 3}\n')
    assert FileChoice(file="people.jsonl").resolved(tmp_path).draw(0) == {"job": "nurse", "age": 3}
    (tmp_path / "voices").write_text("loud\n\nlow\n")
    assert drawn(FileChoice(file="voices"), tmp_path) == {"loud": 300, "low": 300}


def test_a_person_is_the_same_for_the_same_fraction() -> None:
    pytest.importorskip("faker")
    made = shape(person=["en_US", "de_DE"], ages=[20, 25])
    assert made.draw(0.3) == made.draw(0.3) != made.draw(0.31)
    assert {made.draw(each)["country"] for each in (0.2, 0.7)} == {"United States", "Germany"}
    assert all(20 <= made.draw(each)["age"] <= 25 for each in EVENLY[::60])


def test_every_evolution_is_drawn_and_keeps_its_kind() -> None:
    every = shape(evolve="all")
    assert {every.draw(each)["kind"] for each in EVENLY} == set(EVOLUTIONS)
    assert {shape(evolve=["broaden"]).draw(each)["kind"] for each in EVENLY} == {"broaden"}


def test_a_value_may_depend_on_one_above_it() -> None:
    made = shape(when={"tone": {"angry": {"choice": ["!"]}}}, **{"else": {"choice": ["."]}})
    assert made.shape_for({"tone": "angry"}).draw(0.5) == "!"
    assert made.shape_for({"tone": "calm"}).draw(0.5) == "."


BAD = {
    "range: [3, 1]": "the first number of a range is not above the last one",
    "range: [1, 3], step: 0": "greater than or equal to 1",
    "date: [2024-02-01, 2024-01-01]": "the first day is not after the last one",
    "date: [soon, later]": "valid date",
    "some_of: [a, a, b]": "a value stands in it twice",
    "when: {tone: {angry: {when: {nope: {q: {choice: [1]}}}}}}, else: {choice: [3]}": (
        "'it': unknown attribute above it 'nope'. Known: tone"
    ),
    "person: en_MS": "Faker has no people for 'en_MS'",
    "some_of: [a], num: 2": "2 of 1 different values cannot be drawn",
    "tree: {a: [b]}, weights: {a: 0}": "a branch's weight is above 0",
    "tree: {a: [b]}, weights: {a: 1.0e+308}": "weights are from 1e-100 to 1e+100",
    "choice: [a, b], weights: [1.0e+308, 1.0e+308]": "weights are 0, or from 1e-100 to 1e+100",
    "choice: [a, b], weights: [5.0e-324, 5.0e-324]": "weights are 0, or from 1e-100 to 1e+100",
    "person: en_UK": "unknown locale 'en_UK'; did you mean 'en_US'",
    "evolve: [deeper]": "unknown evolution 'deeper'; did you mean 'deepen'",
    "when: {other: {x: {choice: [1]}}}": "'it': unknown attribute above it 'other'",
    "when: {tone: {agry: {choice: [1]}}}": "unknown value of 'tone' 'agry'; did you mean 'angry'",
    "when: {tone: {angry: {choice: [1]}}}": "nothing for 'tone' 'calm': add it, or an `else`",
}


@pytest.mark.parametrize(("written", "why"), BAD.items())
def test_what_cannot_be_drawn_is_refused_with_its_line(written: str, why: str) -> None:
    text = (
        "prompts:\n  source: x.jsonl\n  template: '{{ it }}'\n  attributes:\n"
        f"    tone: {{choice: [angry, calm]}}\n    it: {{{written}}}\n"
    )
    with pytest.raises(RecipeError, match=r"recipe:[456]: prompts.attributes") as refused:
        Recipe.parse(text)
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("people.jsonl", '{"job": 1}\nno', "people.jsonl:2"),
        ("people.csv", "job,weight\nx,heavy\n", "weight must be a number"),
        ("people.csv", "job,weight\nx,1e308\ny,1e308\n", "people.csv:2: weight must be a number"),
        ("people.csv", "job\n", "has no rows to choose from"),
        ("people.csv", "job,weight\nx,0\n", "every row has weight 0"),
        ("voices.txt", "\n \n", "has no lines to choose from"),
    ],
)
def test_a_file_that_holds_nothing_to_draw_is_named(
    tmp_path: Path, file: str, content: str, why: str
) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=why):
        FileChoice(file=file).resolved(tmp_path)


NESTED_ANCHORS = "a0: &a0 [x]\n" + "".join(
    f"a{n}: &a{n} {{{', '.join(f'k{i}: *a{n - 1}' for i in range(10))}}}\n" for n in range(1, 8)
)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("a: []", "a branch has nothing below it"),
        ("- {a: [b], c: [d]}", "one name with what is below it"),
        ("- [a, b]", "one name with what is below it"),
        ("a: &x [b, *x]", "one name with what is below it"),
        ("only a text", "holds no tree"),
        ("a: [", "cannot read"),
        ("a: &x\n  b: *x\n", "does a branch contain itself"),
        ("{" * 2000, "cannot read|nested too deeply"),
        (NESTED_ANCHORS, "more than 100000 names"),
    ],
)
def test_a_file_that_holds_no_tree_is_named(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "t.yaml").write_text(content)
    with pytest.raises(InputError, match=why):
        Tree(tree="t.yaml").resolved(tmp_path)


def test_weights_of_branches_that_are_not_there_are_refused() -> None:
    with pytest.raises(RecipeError, match="unknown branch 'cart'; did you mean 'cards'"):
        Tree(tree={"cards": ["lost"]}, weights={"cart": 2}).resolved(Path())
