"""What each of the noises of typing hands writes."""

from __future__ import annotations

import pytest

from weave_async.noise.abbreviations import AbbreviationsNoise
from weave_async.noise.casing import CasingNoise
from weave_async.noise.contractions import ContractionsNoise
from weave_async.noise.edits import Span
from weave_async.noise.emoji import EmojiNoise
from weave_async.noise.fillers import FillersNoise
from weave_async.noise.punctuation import PunctuationNoise
from weave_async.noise.shorthand import BUSINESS, CHAT
from weave_async.noise.truncation import TruncationNoise
from weave_async.noise.whitespace import WhitespaceNoise

from .noisy import SENTENCES, varied

ALL = range(60)


@pytest.mark.parametrize(
    ("style", "before", "after"),
    [
        ("lower", "I Saw THE Cat", "i saw the cat"),
        ("sentence", "Well. Hello Anna! (Yes.) USA", "well. hello Anna! (yes.) USA"),
        ("emphasis", "i really need it now", "i REALLY NEED it NOW"),
        ("emphasis", "a tree in a wood", "a TREE in a WOOD"),
        ("slips", "The cat, I'm", "THe cat, I'm"),
    ],
)
def test_casing_by_style(style: str, before: str, after: str) -> None:
    assert varied(CasingNoise(1, style), before) == after  # type: ignore[arg-type]


def test_mixed_casing_takes_a_style_that_has_something_to_do() -> None:
    assert all(varied(CasingNoise(), "a tree", seed) != "a tree" for seed in ALL)
    seen = {varied(CasingNoise(), "Well, Hello you", seed) for seed in ALL}
    assert {"well, hello you", "well, Hello you"} <= seen


def test_punctuation_of_each_kind() -> None:
    text = "Well, the dog's here. Hi!"
    seen = {
        kind: {varied(PunctuationNoise(1, [kind]), text, seed) for seed in ALL}  # type: ignore[list-item]
        for kind in ("dropped", "doubled", "unspaced", "spaced")
    }
    assert seen["dropped"] == {"Well the dogs here Hi"}
    assert "Well,, the dog's here... Hi!!" in seen["doubled"]
    assert seen["unspaced"] == {"Well,the dog's here.Hi!"}
    assert seen["spaced"] == {"Well , the dog's here . Hi !"}


def test_question_marks_negators_and_decimals_keep_their_marks() -> None:
    text = "Don't you see 3.5 of it? We can’t, e.g. here... Why?"
    for seed in ALL:
        noisy = varied(PunctuationNoise(1), text, seed)
        assert noisy.count("?") == 2
        assert noisy.rstrip().endswith("?")
        assert "Don't" in noisy
        assert "can’t" in noisy
        assert "3.5" in noisy


def test_numbers_are_never_joined_by_a_mark() -> None:
    text = "take 3, 50 or more, 7"
    protected = [Span(5, 6, "number"), Span(8, 10, "number"), Span(20, 21, "number")]
    for seed in ALL:
        noisy = varied(PunctuationNoise(1, ["unspaced", "spaced"]), text, seed, protected)
        assert {"3", "50", "7"} <= set(noisy.replace(",", " ").split())
        assert "3,5" not in noisy


def test_an_apostrophe_behind_something_protected_stays() -> None:
    assert varied(PunctuationNoise(1), "the AI's answer", 0, [Span(4, 6, "acronym")]) == (
        "the AI's answer"
    )


def test_whitespace_changes_nothing_else() -> None:
    for text in SENTENCES:
        for seed in ALL:
            assert "".join(varied(WhitespaceNoise(1), text, seed).split()) == "".join(text.split())


def test_whitespace_of_all_kinds_turns_up_and_few_blanks_go_missing() -> None:
    text = "so many words in one line " * 200
    noisy = varied(WhitespaceNoise(1), text.strip())
    assert all(blank in noisy for blank in ("  ", "\t", "\n"))
    assert 0 < noisy.count("inone") < 40


def test_no_blank_beside_something_protected_goes_missing() -> None:
    text = "pay 50 not now"
    protected = [Span(4, 6, "number"), Span(7, 10, "negator")]
    for seed in ALL:
        assert {"50", "not"} <= set(varied(WhitespaceNoise(1), text, seed, protected).split())


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("I am sure it is a cat", "I'm sure it's a cat"),
        ("They are late, and we will go", "They're late, and we'll go"),
        ("We have been here", "We've been here"),
        ("Do not go, I cannot and will not", "Don't go, I can't and won't"),
        ("let us go", "let's go"),
        ("IT IS THE END", "IT'S THE END"),
    ],
)
def test_contractions_go_both_ways(before: str, after: str) -> None:
    assert varied(ContractionsNoise(1, "contracted"), before) == after
    assert varied(ContractionsNoise(1, "expanded"), after) == before
    assert varied(ContractionsNoise(1), before) == after
    assert varied(ContractionsNoise(1, "expanded"), before) == before


@pytest.mark.parametrize(
    "text",
    [
        "tell me what it is",
        "I know who you are and why",
        "what it is remains unclear",
        "we have a cat",
        "the dog's bone, it's been long, I'd better",
        "Don't you know, isn't it",
        "its own",
        "I did nothing",
    ],
)
def test_contractions_leave_alone_what_is_in_doubt(text: str) -> None:
    assert varied(ContractionsNoise(1), text) == text


def test_contractions_may_rewrite_negators_and_nothing_else_that_is_protected() -> None:
    assert ContractionsNoise.rewrites == {"negator"}
    text = "I do not know"
    assert varied(ContractionsNoise(1), text, 0, [Span(5, 8, "quoted")]) == text


def test_chat_abbreviations() -> None:
    text = "Please thank you, I want to know, by the way, what your friends said."
    seen = {varied(AbbreviationsNoise(1), text, seed) for seed in ALL}
    assert "Pls ty, i wanna know, btw, wat ur friends said." in seen


def test_business_abbreviations_have_one_full_stop_at_the_end() -> None:
    text = "Ask the Department as soon as possible about the account."
    after = "Ask the Dept. ASAP about the acct."
    assert varied(AbbreviationsNoise(1, "business"), text) == after


def test_no_short_form_holds_a_digit_or_a_negator() -> None:
    for short in (short for forms in (*CHAT.values(), *BUSINESS.values()) for short in forms):
        assert not any(letter.isdigit() for letter in short)
        assert short.strip(".") not in ("no", "not", "nor", "none", "never")


def test_fillers_stand_at_borders_of_clauses() -> None:
    text = "Where is it? Anna waits, i think, because it rains."
    after = "Um, where is it? Um, Anna waits, um, i think, um, because it rains."
    assert varied(FillersNoise(1, ["um"]), text) == after


def test_a_text_opens_with_a_filler_if_there_is_no_other_place() -> None:
    assert varied(FillersNoise(0.01, ["so"]), "word") == "so, word"


def test_emoji_end_sentences_and_questions_go_on_ending_with_their_mark() -> None:
    assert varied(EmojiNoise(1, emoji=["X"]), "Yes. No, or? Well") == "Yes. X No, or? Well X"
    text = "Yes, well, no."
    assert varied(EmojiNoise(1, "clauses", ["X"]), text) == "Yes X, well X, no. X"


def test_several_emoji_may_stand_together() -> None:
    seen = {varied(EmojiNoise(1, emoji=["X"], most=3), "Yes", seed) for seed in ALL}
    assert seen == {"Yes X", "Yes XX", "Yes XXX"}


def test_truncation_loses_its_share_of_characters() -> None:
    text = "abcde " * 20
    lost = [len(text.rstrip()) - len(varied(TruncationNoise(0.1), text, seed)) for seed in ALL]
    assert sum(lost) / len(lost) == pytest.approx(0.1 * len(text.rstrip()), rel=0.05)


def test_truncation_at_a_word_leaves_whole_words() -> None:
    assert (
        varied(TruncationNoise(0.2, "word"), "these are some more words") == "these are some more"
    )


@pytest.mark.parametrize("at", ["character", "word"])
def test_truncation_keeps_what_is_protected_and_questions(at: str) -> None:
    noise = TruncationNoise(0.5, at)  # type: ignore[arg-type]
    assert varied(noise, "pay 50 now", 0, [Span(4, 6, "number")]).startswith("pay 50")
    assert varied(noise, "Why is that?") == "Why is that?"
    assert varied(noise, "Why? I ask you because").startswith("Why?")


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: PunctuationNoise(kinds=[]), "kinds must name one of dropped, doubled"),
        (lambda: FillersNoise(fillers=["um", " "]), "none of them empty"),
        (lambda: EmojiNoise(emoji=[]), "none of them empty"),
        (lambda: EmojiNoise(most=0), "most must be between 1 and 5"),
        (lambda: TruncationNoise(0.6), "rate must be between 0 and 0.5"),
    ],
)
def test_options_that_make_no_sense_are_refused(make, why) -> None:
    with pytest.raises(ValueError, match=why):
        make()
