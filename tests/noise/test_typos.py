"""Typos: what kinds, where they fall, how often, and what they leave alone."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.noise.edits import Passage
from weave_async.noise.keyboards import neighbours
from weave_async.noise.typos import TyposNoise

from .alignment import distance, profile, touching
from .noisy import varied

WORDS = """
about absolute accept account achieve across address advice again against agreement although
always amount another answer apparently appointment available basically beautiful because before
beginning believe between business calendar cannot careful category certain change chocolate
colleague college committee company complete concern condition conscience consider continue
convenient customer daughter decision definite delivery describe description develop different
difficult disappear discussion embarrass energy environment equipment especially every excellent
exercise experience explain extremely family favourite february finally foreign forward friend
government grammar guarantee happen height holiday however humorous immediate important
independent information instead interesting interrupt jewellery knowledge language learning
leisure library likely maintenance manager marriage meaning medicine message minute mischief month
morning national necessary neighbour noticeable occasion occur office opinion opportunity package
parallel parliament payment people perhaps permanent personal physical picture please position
possible practice prefer privilege probably problem process profession promise purpose quality
quarter question quickly receipt receive recommend refer reference relevant remember restaurant
return rhythm schedule science secretary separate service several shoulder similar sincerely
something special strength success sufficient support surprise system technical temperature
themselves therefore though thought through together tomorrow travel truly twelfth understand
until usually vacuum vegetable village water weather weird welcome whether which without woman
writing
""".split()  # noqa: SIM905 - read as words
SHORT_WORDS = """
the and you for are with this that have from what could would please about they there when where
time year day way then want them some make like just over know take into good than look only come
its work first even give most find here thing many well tell very call hand keep last long great
""".split()  # noqa: SIM905 - read as words

MEASURED = {  # of pairs that people made: see noise.misspelling
    "typing": {
        "delete": 0.335,
        "insert": 0.280,
        "substitute": 0.198,
        "transpose": 0.186,
        "first letter": 0.020,
        "neighbour": 0.313,
        "vowel": 0.508,
        "repeats": 0.323,
    },
    "learner": {
        "delete": 0.336,
        "insert": 0.221,
        "substitute": 0.380,
        "transpose": 0.062,
        "first letter": 0.096,
        "neighbour": 0.135,
        "vowel": 0.603,
        "repeats": 0.224,
    },
}
DISTANCES = {"typing": (0.823, 0.138, 0.027, 0.011), "learner": (0.330, 0.249, 0.181, 0.240)}
DVORAK = ("   pyfgcrl", "aoeuidhtns", " qjkxbmwvz")


def text_of(num_words: int, words: list[str] = WORDS, seed: int = 0) -> str:
    rng = Random(seed)
    return " ".join(rng.choice(words) for _ in range(num_words))


def misspelt(noise: TyposNoise, text: str, seed: int = 7) -> list[tuple[str, str]]:
    pairs = zip(text.split(), varied(noise, text, seed).split(), strict=True)
    return [(right, wrong) for right, wrong in pairs if right != wrong]


@pytest.mark.parametrize("name", ["typing", "learner"])
def test_single_errors_are_those_that_people_make(name: str) -> None:
    text = text_of(20_000, WORDS + SHORT_WORDS)
    pairs = misspelt(TyposNoise(0.1, name), text)  # type: ignore[arg-type]
    shares = profile(pairs)
    assert len(pairs) * shares["distance 1"] > 4_000
    for what, share in MEASURED[name].items():
        assert shares[what] == pytest.approx(share, abs=0.03), what


@pytest.mark.parametrize("name", ["typing", "learner"])
def test_long_words_get_as_many_errors_as_people_make(name: str) -> None:
    long_words = [word for word in WORDS if len(word) >= 8]
    pairs = misspelt(TyposNoise(0.08, name), text_of(12_000, long_words))  # type: ignore[arg-type]
    shares = profile(pairs)
    for num_edits, share in enumerate(DISTANCES[name], 1):
        assert shares[f"distance {num_edits}"] == pytest.approx(share, abs=0.03), num_edits
    assert shares["first letter of all"] == pytest.approx(MEASURED[name]["first letter"], abs=0.03)


def test_a_word_keeps_half_of_its_letters() -> None:
    for right, wrong in misspelt(TyposNoise(0.2, "learner"), text_of(3_000, SHORT_WORDS)):
        assert distance(right, wrong) <= max(1, len(right) // 2)


def test_wrong_keys_are_those_beside_the_right_ones_on_other_keyboards() -> None:
    pairs = misspelt(TyposNoise(0.1, layout="dvorak"), text_of(20_000))
    assert profile(pairs, DVORAK)["neighbour"] == pytest.approx(0.313, abs=0.03)
    assert profile(pairs)["neighbour"] < 0.2


@pytest.mark.parametrize(
    ("layout", "key", "near"),
    [
        ("qwerty", "g", "tyfhvb"),
        ("qwertz", "z", "tughz"),
        ("azerty", "q", "azsw"),
        ("dvorak", "u", "pyeijk"),
        ("colemak", "t", "pgsdcv"),
    ],
)
def test_neighbours_by_layout(layout: str, key: str, near: str) -> None:
    assert set(neighbours(layout)[key]) == set(near) - {key}  # type: ignore[arg-type]


def test_neighbours_are_what_touches_on_the_desk() -> None:
    assert {(a, b) for a, near in neighbours("qwerty").items() for b in near} == touching(
        ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    )


@pytest.mark.parametrize("rate", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("profile_name", ["typing", "learner"])
def test_the_rate_is_misspelt_words_per_letter(rate: float, profile_name: str) -> None:
    text = text_of(20_000, WORDS + SHORT_WORDS)
    num_letters = sum(map(len, text.split()))
    noise = TyposNoise(rate, profile_name)  # type: ignore[arg-type]
    assert len(misspelt(noise, text)) / num_letters == pytest.approx(rate, rel=0.05)


def test_short_texts_together_have_the_rate_of_a_long_one() -> None:
    texts = [text_of(14, WORDS + SHORT_WORDS, seed) for seed in range(2_000)]
    num_letters = sum(len(word) for text in texts for word in text.split())
    num_typos = sum(len(misspelt(TyposNoise(), text, seed)) for seed, text in enumerate(texts))
    assert num_typos / num_letters == pytest.approx(0.02, rel=0.05)


def test_the_default_rate_misspells_about_one_word_in_ten() -> None:
    text = text_of(20_000, SHORT_WORDS + WORDS[:80])
    assert 0.07 <= len(misspelt(TyposNoise(), text)) / 20_000 <= 0.13


def test_a_text_with_a_word_to_misspell_is_never_left_as_it_is() -> None:
    for word in [*WORDS, *SHORT_WORDS, "aaa", "all", "see", "zoo", "Größe", "xxxx", "mmmm"]:
        for seed in range(60):
            for name in ("typing", "learner"):
                noise = TyposNoise(0.02, name)  # type: ignore[arg-type]
                assert varied(noise, word, seed) != word


def test_no_typo_makes_a_negator_or_a_number() -> None:
    text = "now knot note then can nor want font tent nine net son "
    telling = {"no", "not", "none", "one", "ten", "six", "cant", "wont", "dont", "ne"}
    for seed in range(300):
        for right, wrong in misspelt(TyposNoise(0.2), text, seed):
            assert wrong not in telling, right


@given(st.text(st.characters(exclude_categories=["Cs", "Lu", "Ll"])), st.integers(0, 2**64))
def test_what_is_no_latin_word_is_left_alone(text: str, seed: int) -> None:
    assert varied(TyposNoise(rate=0.2), text, seed) == text


@pytest.mark.parametrize(
    "text",
    [
        "is it to be or no " * 50,
        "an ABC of the GPU, or of CUDA " * 50,
        "he met Anna in Paris, or so " * 50,
        "an iPhone or a LaTeX of McCoy " * 50,
    ],
    ids=["short words", "acronyms", "names", "odd capitals"],
)
def test_what_is_no_plain_word_keeps_its_spelling(text: str) -> None:
    plain = {"the", "met"}
    for right, _ in misspelt(TyposNoise(rate=0.2), text):
        assert right in plain


def test_capitalised_words_are_misspelt_where_they_are_asked_for() -> None:
    text = "im Garten, am Bahnhof " * 50
    assert varied(TyposNoise(0.2), text) == text
    assert misspelt(TyposNoise(0.2, layout="qwertz", capitalised=True), text)


def test_the_first_word_of_a_sentence_may_be_misspelt() -> None:
    text = "Where? (Please!) Thanks.\nHello: Perhaps"
    seen = {r for seed in range(99) for r, _ in misspelt(TyposNoise(0.2), text, seed)}
    assert seen == set(text.split())


def test_a_shouted_word_stays_shouted() -> None:
    for _, wrong in misspelt(TyposNoise(rate=0.2, profile="learner"), "PLEASE ANSWER " * 500):
        assert wrong.isupper()


@given(st.integers(0, 2**64))
def test_blanks_and_the_number_of_words_stay(seed: int) -> None:
    text = "Please,  send\nmy package\ttoday! (It's late.)"
    noisy = varied(TyposNoise(rate=0.2), text, seed)
    assert re.findall(r"\s+", noisy) == re.findall(r"\s+", text)


def test_edits_are_no_larger_than_the_error() -> None:
    text = text_of(2_000)
    for edit in TyposNoise(rate=0.1).edits(Passage(text), Random(1)):
        assert edit.end - edit.start <= 2
        assert len(edit.after) <= 2


@pytest.mark.parametrize("rate", [-0.01, 0.21, 20, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused_in_plain_words(rate: float) -> None:
    with pytest.raises(RecipeError) as caught:
        registry.build("noise", "typos", {"rate": rate})
    message = str(caught.value)
    assert message.startswith("noise 'typos': ")
    assert "rate must be between 0 and 0.2 typos per letter" in message
    assert str(rate) in message
    assert "Value error" not in message


def test_an_unknown_profile_or_layout_is_refused_with_those_there_are() -> None:
    with pytest.raises(RecipeError, match="'typing' or 'learner'"):
        registry.build("noise", "typos", {"profile": "sleepy"})
    with pytest.raises(RecipeError, match="'qwerty', 'qwertz', 'azerty', 'dvorak' or 'colemak'"):
        registry.build("noise", "typos", {"layout": "bepo"})


def test_a_rate_can_be_set_as_a_scalar() -> None:
    assert registry.build("noise", "typos", {"": 0.05}) == TyposNoise(rate=0.05)
