"""The recipe: what it accepts, and how it says what is wrong."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from weave_async.attributes import Choice, FileChoice, Uniform
from weave_async.errors import InputError, RecipeError
from weave_async.recipe import Recipe, json_schema

MINIMAL = "prompts: {source: seeds.jsonl}\n"


def test_all_that_is_needed_is_a_source() -> None:
    recipe = Recipe.parse(MINIMAL)
    assert recipe.prompts.source == "seeds.jsonl"
    assert [entry.endpoint for entry in recipe.generate.mix] == ["local"]
    assert recipe.output.to == ["jsonl"]


def test_parts_may_be_names_or_names_with_options() -> None:
    recipe = Recipe.parse(
        MINIMAL + "validation: [{length: {min_words: 3}}, {required: {any: [a]}}]\n"
        "selection: [exact]\nnoise: [{typos: 0.1}]\n"
    )
    assert [part.name for part in recipe.validation] == ["length", "required"]
    assert recipe.validation[0].options == {"min_words": 3}
    assert recipe.selection[0].options == {}
    assert recipe.noise[0].options == {"": 0.1}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            MINIMAL + "generate: {mix: [{endpoint: simulated, weight: 1.0e+308}]}\n",
            "generate.mix.0.weight: a weight is from 1e-100 to 1e+100",
        ),
        ("sed: 7\n" + MINIMAL, "r.yaml:1: unknown key 'sed'; did you mean 'seed'?"),
        (
            MINIMAL + "generate:\n  params:\n    temprature: 1\n",
            "r.yaml:4: unknown key 'temprature' in generate.params; did you mean 'temperature'?",
        ),
        ("name: x\n", "r.yaml:1: 'prompts' is missing"),
        ("name: x\nprompts: {}\n", "r.yaml:2: 'prompts.source' is missing"),
        (
            MINIMAL + "generate: {params: {max_tokens: lots}}\n",
            "r.yaml:2: generate.params.max_tokens: Input should be a valid integer",
        ),
        (
            MINIMAL + "generate: {params: {temperature: {uniform: [2, 1]}}}\n",
            "generate.params.temperature: the lower bound comes first",
        ),
        (
            MINIMAL + "generate: {params: {temperature: {uniform: [1]}}}\n",
            "'generate.params.temperature.uniform.1' is missing",
        ),
        (
            "prompts:\n  source: s.jsonl\n  attributes:\n    tone: {choise: [a]}\n",
            "r.yaml:4: unknown key 'choise' in prompts.attributes.tone; did you mean 'choice'?",
        ),
        (
            "prompts:\n  source: s.jsonl\n  attributes: {tone: polite}\n",
            "prompts.attributes.tone: expected a shape, as {choice: […]}: see docs/prompts.md",
        ),
        (
            "prompts: {source: s.jsonl, attributes: {t: {choice: [a, b], weights: [1]}}}\n",
            "1 weights for 2 choices",
        ),
        (MINIMAL + "selection: [[exact]]\n", "selection.0: expected a name"),
        (MINIMAL + "name: x\nname: y\n", "r.yaml:3: key 'name' stands twice"),
        ("a: [1,\n b\n", "not YAML"),
        ("- a\n- b\n", "a recipe is a mapping"),
        ("", "a recipe is a mapping"),
        ("name: !!python/object/apply:os.system ['true']\n", "not YAML"),
        ("name: a/b\n" + MINIMAL, "name: a name has letters"),
        ("name: ..\n" + MINIMAL, "name: a name has letters"),
        ("seed: 99999999999999999999999\n" + MINIMAL, "has more than 64 bits"),
        (MINIMAL + "generate: {params: {temperature: .nan}}\n", "nan is not a number"),
        (MINIMAL + "name: !!binary aGk=\n", "put it in quotes"),
        (MINIMAL + "noise: {typos: 1}\n", 'expected a list; put "- "'),
        (MINIMAL + "generate: {mix: [local]}\n", "expected a mapping of keys"),
        (MINIMAL + "generate: {params: {temperature: [0, 1]}}\n", "did you mean {uniform: [0, 1]}"),
        ("prompts:\n  source: a\n  template: {{ x }} y\n", "needs quotes"),
        ("prompts:\n\tsource: a\n", "spaces, not tabs"),
    ],
)
def test_a_mistake_is_named_with_line_key_and_way_out(text: str, complaint: str) -> None:
    with pytest.raises(RecipeError) as raised:
        Recipe.parse(text, where="r.yaml")
    assert complaint in str(raised.value)
    assert raised.value.exit_code == 78
    assert "\n" not in str(raised.value)


def test_nested_anchors_are_refused_before_they_grow() -> None:
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    bomb = "a0: &a0 [x, x, x]\n" + "\n".join(levels) + "\n"
    with pytest.raises(RecipeError, match="are anchors nested"):
        Recipe.parse(bomb)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read the recipe .*nope\.yaml: No such file"):
        Recipe.load(tmp_path / "nope.yaml")


def test_a_resolved_recipe_loads_as_the_same_recipe() -> None:
    import yaml

    recipe = Recipe.parse(
        MINIMAL
        + "generate: {params: {temperature: {uniform: [0.5, 1]}, top_p: 0.9}}\n"
        + "validation: [{length: {min_words: 3}}]\nnoise: [{typos: 0.1}]\n"
    )
    again = Recipe.parse(yaml.safe_dump(recipe.resolved()))
    assert again.resolved() == recipe.resolved()


def test_changes_keep_what_they_do_not_name() -> None:
    recipe = Recipe.parse("prompts: {source: a.jsonl, system: hello}\nseed: 3\n")
    changed = recipe.with_changes(seed=4, prompts={"on_bad_row": "skip"})
    assert (changed.seed, changed.prompts.on_bad_row) == (4, "skip")
    assert changed.prompts.system == "hello"


def test_draws_stay_within_their_bounds_and_weights() -> None:
    rng = Random(1)
    assert all(0.6 <= Uniform(uniform=(0.6, 1.1)).draw(rng.random()) <= 1.1 for _ in range(200))
    drawn = {Choice(choice=["a", "b"], weights=[1, 0]).draw(rng.random()) for _ in range(50)}
    assert drawn == {"a"}


def test_a_file_of_choices_is_read_line_by_line(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a nurse\n\n  a pilot  \n")
    assert FileChoice(file="p.txt").resolved(tmp_path).choice == ["a nurse", "a pilot"]
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="no lines to choose from"):
        FileChoice(file="empty.txt").resolved(tmp_path)
    with pytest.raises(InputError, match=r"cannot read .*none\.txt"):
        FileChoice(file="none.txt").resolved(tmp_path)


def test_the_schema_offers_every_installed_part_with_its_options() -> None:
    schema = json_schema()
    names, with_options = schema["properties"]["validation"]["items"]["anyOf"]
    assert set(names["enum"]) >= {"length", "required"}
    assert "min_words" in with_options["properties"]["length"]["properties"]
    assert schema["additionalProperties"] is False


def test_the_source_of_examples_is_found_from_anywhere_too() -> None:
    text = """
    prompts:
      source: seeds.jsonl
      examples: {source: shots.jsonl, user: "{{ q }}", assistant: "{{ a }}"}
    """
    recipe = Recipe.parse(text, folder=Path("there")).with_absolute_paths()
    assert recipe.prompts.examples is not None
    assert recipe.prompts.examples.source == str(Path("there/shots.jsonl").absolute())


def test_a_recipe_survives_being_written_and_read_with_all_of_a_prompt() -> None:
    text = """
    prompts:
      source: seeds.jsonl
      messages: [{role: system, content: Be brief.}, {role: user, content: "{{ q }}"}]
      examples: {num: 2, user: "{{ q }}", assistant: "{{ a }}"}
      draws: 4
    generate: {n: 2}
    """
    recipe = Recipe.parse(text)
    assert Recipe.model_validate(recipe.resolved()) == recipe
    assert recipe.with_changes(generate={"n": 4}).num_draws == 4
    with pytest.raises(RecipeError, match=r"must be a multiple of generate\.n, 3"):
        Recipe.parse(text.replace("{n: 2}", "{n: 3}"))


def test_when_a_straggler_is_sent_again_is_a_time_or_a_percentile() -> None:
    def after(value: str) -> object:
        hedge = Recipe.parse(MINIMAL + f"generate: {{hedge: {{after: {value}}}}}\n").generate.hedge
        assert hedge is not None
        return hedge.after

    assert (after("p95"), after("20"), after("2m")) == ("p95", 20.0, 120.0)
    for wrong in ("p99", "0", "-1", "[1]"):
        told = r"generate\.hedge\.after: expected p95, or seconds such as 20 or 30s, got "
        with pytest.raises(RecipeError, match=told):
            after(wrong)


def test_an_endpoint_that_is_down_is_not_waited_for_unless_somebody_says_so() -> None:
    assert Recipe.parse(MINIMAL).generate.when_down == "failover"
    assert Recipe.parse(MINIMAL + "generate: {when_down: wait}\n").generate.when_down == "wait"


def test_words_that_were_booleans_in_yaml_1_1_are_words() -> None:
    recipe = Recipe.parse(
        "prompts: {source: q.txt, attributes: {sure: {choice: [yes, no, off]}}}\n"
        "noise: [{typos: {keep_clean: true}}, {casing: {keep_clean: yes}}]\n"
        "selection: [{exact: {on: messages}}]\n"
    )
    sure = recipe.prompts.attributes["sure"]
    assert isinstance(sure, Choice)
    assert sure.choice == ["yes", "no", "off"]
    assert recipe.selection[0].options == {"on": "messages"}
    assert [part.options["keep_clean"] for part in recipe.noise] == [True, "yes"]
