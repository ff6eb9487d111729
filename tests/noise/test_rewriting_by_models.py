"""Noises that have a text rewritten by a model: how it is asked, and what is made of its words."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import pytest

from consulting import Adviser, Question, says
from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.noise.backtranslate import BacktranslateNoise
from weave_async.noise.paraphrase import REGISTERS, STYLES, ParaphraseNoise, RegisterNoise
from weave_async.records import Consulted

TEXT = "Where is my order 4711, please?"


def rewritten(noise: Any, adviser: Adviser, text: str = TEXT, seed: int = 0) -> str:
    result: str = asyncio.run(noise.rewritten(text, Random(seed), adviser))
    return result


def test_the_model_sees_the_text_between_fences_and_what_to_do_with_it() -> None:
    adviser = says("Could you tell me where order 4711 is?")
    noise = ParaphraseNoise("indirect", endpoint="here", model="m", temperature=0.3)
    assert rewritten(noise, adviser) == "Could you tell me where order 4711 is?"
    [question] = adviser.asked
    assert question.whom == Consulted("here", "m") == noise.consults[0]
    system, user = (message.content for message in question.messages)
    mark = user.partition("[begin text ")[2].partition("]")[0]
    assert user.startswith(f"[begin text {mark}]\n{TEXT}\n[end text {mark}]\n")
    assert user.endswith(STYLES["indirect"])
    assert f"[begin text {mark}]" in system
    assert "{braces}" in system
    assert question.params.temperature == 0.3
    assert (question.params.max_tokens or 0) > 100


def test_the_same_seed_asks_the_same_question_so_that_it_can_be_recalled() -> None:
    noise, adviser = RegisterNoise(list(REGISTERS)), says("Pray, where is my order 4711?")
    for seed in (1, 1, *range(2, 40)):
        rewritten(noise, adviser, seed=seed)
    assert adviser.asked[0] == adviser.asked[1]
    tasks = {question.text.rpartition("\n\n")[2] for question in adviser.asked}
    assert tasks == set(REGISTERS.values()), "each register has its turn"


@pytest.mark.parametrize(
    "answer",
    [
        "Order 4711: where is it?",
        "  Order 4711: where is it?\n",
        '"Order 4711: where is it?"',
        "“Order 4711: where is it?”",
        "Here is the paraphrased text:\n\nOrder 4711: where is it?",
        "Sure! Here's a more formal version: Order 4711: where is it?",
        "Certainly, here is your text:\n“Order 4711: where is it?”",
        "Paraphrase: Order 4711: where is it?",
        "Rewritten text: Order 4711: where is it?",
        "```\nOrder 4711: where is it?\n```",
        "[begin text {mark}]\nOrder 4711: where is it?\n[end text {mark}]",
        "Order 4711: where is it?\n[end text {mark}]\n\nI kept the number.",
    ],
)
def test_what_models_put_around_a_text_is_taken_off(answer: str) -> None:
    def script(question: Question) -> str:
        mark = question.text.partition("[begin text ")[2].partition("]")[0]
        return answer.replace("{mark}", mark)

    assert rewritten(ParaphraseNoise(), Adviser(script)) == "Order 4711: where is it?"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('"Stop" she said, "now".', '"Halt" she said, "at once".'),
        ("Here is my list: a, b.", "Here is a list of mine: a, b."),
        ("Say hello and bye.", '"Hello" and then "bye"'),
        ("The words are ```x```.", "```x``` are the words."),
    ],
)
def test_quotes_and_beginnings_that_are_the_texts_own_stay(text: str, answer: str) -> None:
    assert rewritten(ParaphraseNoise(), says(answer), text) == answer


def test_whitespace_around_the_text_stays_and_blank_texts_cost_nothing() -> None:
    adviser = says("Say where it is, please.")
    assert rewritten(ParaphraseNoise(), adviser, "\n  Where is it?  \n") == (
        "\n  Say where it is, please.  \n"
    )
    assert rewritten(ParaphraseNoise(), adviser, " \n") == " \n"
    assert len(adviser.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("", "empty"),
        ('""', "empty"),
        ("Sure!\nHere it is:\n", "empty"),
        ("x" * 10_000, "were rewritten as 10000"),
    ],
)
def test_what_cannot_be_the_same_text_raises(answer: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        rewritten(ParaphraseNoise(), says(answer))


def test_a_long_text_cannot_become_a_few_words() -> None:
    with pytest.raises(ValueError, match="were rewritten as 3"):
        rewritten(RegisterNoise("terse"), says("ok."), "A sentence of some length. " * 50)


def test_an_answer_that_was_cut_off_raises() -> None:
    adviser = says("Order 4711: whe")
    adviser.finish_reason = "length"
    with pytest.raises(ValueError, match="cut off"):
        rewritten(ParaphraseNoise(), adviser)


def test_backtranslation_goes_there_and_back() -> None:
    def script(question: Question) -> str:
        return "Wo ist 4711?" if "German" in question.text else "Where would 4711 be?"

    adviser = Adviser(script)
    noise = BacktranslateNoise()
    assert rewritten(noise, adviser) == "Where would 4711 be?"
    there, back = adviser.asked
    assert TEXT in there.text
    assert "Translate it into German" in there.text
    assert "Wo ist 4711?" in back.text
    assert "Translate it into English" in back.text


def test_one_of_several_pivots_is_drawn() -> None:
    adviser = says("Where is 4711 now?")
    noise = BacktranslateNoise(["German", "French"], language="Dutch")
    for seed in range(20):
        rewritten(noise, adviser, seed=seed)
    languages = {q.text.partition("into ")[2].partition(",")[0] for q in adviser.asked}
    assert languages == {"German", "French", "Dutch"}


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("paraphrase:ParaphraseNoise", {"styles": ["odd"]}, "reworded"),
        ("paraphrase:ParaphraseNoise", {"styles": []}, "styles is empty: name at least one of rew"),
        ("paraphrase:RegisterNoise", {"to": "posh"}, "formal"),
        ("backtranslate:BacktranslateNoise", {"pivot": []}, "name languages"),
        ("backtranslate:BacktranslateNoise", {"pivot": "English"}, "another language than"),
    ],
)
def test_wrong_options_are_refused_with_what_there_is(name: str, options: Any, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        registry.build("noise", f"weave_async.noise.{name}", options)


def test_a_bare_name_is_the_first_option() -> None:
    built = registry.build("noise", "weave_async.noise.paraphrase:RegisterNoise", {"": "terse"})
    assert built == RegisterNoise("terse")
    assert RegisterNoise.checks_drift
    assert ParaphraseNoise.checks_drift
