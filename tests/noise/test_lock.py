"""What the lock lets through, what it tries again, and what it refuses to take from a noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_async.noise.edits import Edit, Passage, applied, undone
from weave_async.noise.lock import TRIES, MeaningLock, Varied
from weave_async.noise.similarity import LexicalSimilarity
from weave_async.noise.spans import ProtectedSpans

LOCK = MeaningLock(ProtectedSpans(["refund"]))


@dataclass(frozen=True)
class Replacing:
    """Replaces words by others, at a rate."""

    words: dict[str, str]
    rate: float = 1.0
    rewrites: ClassVar[frozenset[str]] = frozenset()

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        for start, end in passage.words:
            other = self.words.get(passage.text[start:end])
            if other is not None and rng.random() < self.rate:
                yield Edit(start, end, other)


class Yielding:
    """Yields whatever it was given."""

    def __init__(self, *edits: Any) -> None:
        self._edits = edits

    def edits(self, passage: Passage, rng: Random) -> Any:
        return iter(self._edits)


def vary(noise: Any, text: str, lock: MeaningLock = LOCK) -> Varied:
    return lock.vary(noise, text, Random(7))


def test_what_breaks_no_rule_passes_with_its_changes() -> None:
    varied = vary(Replacing({"cat": "dog"}), "a cat sat")
    assert varied.text == "a dog sat"
    assert [(c.start, c.before, c.after) for c in varied.changes] == [(2, "cat", "dog")]
    assert varied.broken == ()


@pytest.mark.parametrize(
    ("words", "rule"),
    [
        ({"now": "not"}, "negation_changed"),
        ({"now": "now?"}, "question_changed"),
        ({"now": "9"}, "number_changed"),
        ({"now": "two"}, "number_changed"),
        ({"now": "www.example.com"}, "address_changed"),
        ({"now": "friday"}, "date_changed"),
    ],
)
def test_what_always_breaks_a_rule_leaves_the_text_unchanged_and_says_why(
    words: dict[str, str], rule: str
) -> None:
    def replacing(text: str, rng: Random) -> str:
        return " ".join(words.get(word, word) for word in text.split(" "))

    assert vary(replacing, "i am now here") == Varied("i am now here", (), (rule,) * TRIES)


def test_what_breaks_a_rule_is_tried_again_softer() -> None:
    noise = Replacing({"now": "not", "cat": "dog"})
    tried = [LOCK.vary(noise, "now a cat", Random(seed)) for seed in range(200)]
    passed = [varied for varied in tried if len(varied.broken) < TRIES]
    assert all(varied.broken for varied in tried), "at its full rate it always breaks the rule"
    assert {varied.text for varied in passed} == {"now a cat", "now a dog"}
    assert any(len(varied.broken) == 2 for varied in passed)


def test_a_noise_of_text_to_text_sees_free_text_only() -> None:
    seen: list[str] = []

    def listen(text: str, rng: Random) -> str:
        seen.append(text)
        return text.replace("good", "god")

    varied = vary(listen, "a good refund of 5 km is good")
    assert varied.text == "a god refund of 5 km is god"
    assert seen == ["a good ", " of ", " is good"]
    assert undone(varied.text, varied.changes) == "a good refund of 5 km is good"


def test_edits_of_protected_text_are_left_out() -> None:
    assert vary(Yielding(Edit(2, 8, "return"), Edit(0, 1, "the")), "a refund").text == "the refund"


@pytest.mark.parametrize(
    "made",
    [
        Edit(-1, 2, "x"),
        Edit(0, 99, "x"),
        Edit(3, 2, "x"),
        Edit(0, 1, "x" * 10_000),
        Edit(0, 1, None),  # type: ignore[arg-type]
        Edit(0.0, 1, "x"),  # type: ignore[arg-type]
        "text",
        None,
        (0, 1, "x"),
    ],
)
def test_edits_that_are_none_are_the_fault_of_their_noise(made: Any) -> None:
    with pytest.raises(ValueError):
        vary(Yielding(made), "a cat sat")


def test_edits_without_end_are_ended() -> None:
    class Endless:
        def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
            return (Edit(0, 0, "x") for _ in count())

    with pytest.raises(ValueError, match="beyond all measure"):
        vary(Endless(), "a cat sat")


@pytest.mark.parametrize("returned", [None, 3, "x" * 100_000])
def test_a_noise_that_returns_no_text_or_far_too_much_is_refused(returned: Any) -> None:
    with pytest.raises(ValueError):
        vary(lambda text, rng: returned, "a cat sat")


@dataclass(frozen=True)
class Straying:
    """Replaces words, and says that it does."""

    words: dict[str, str]
    checks_drift: ClassVar[bool] = True

    def __call__(self, text: str, rng: Random) -> str:
        return " ".join(self.words.get(word, word) for word in text.split(" "))


def test_a_noise_that_changes_words_must_stay_near_its_text() -> None:
    lock = MeaningLock(ProtectedSpans(), LexicalSimilarity(), floor=0.7)
    words = {"cat": "oscilloscope", "sat": "deteriorated"}
    assert vary(Straying(words), "a cat sat", lock) == Varied("a cat sat", (), ("drifted",) * TRIES)
    assert vary(Replacing(words), "a cat sat", lock).changes, "it does not say that it may drift"
    assert vary(Straying({"cats": "cat"}), "all those cats sat there", lock).changes


@pytest.mark.parametrize(
    ("rewritten", "rule"),
    [
        ("Anna won't refund 5 km for the ABC", None),
        ("Anna won't refund five kilometres for the ABC", None),
        ("Anna will refund 5 km for the ABC", "negation_changed"),
        ("Anna won't refund 6 km for the ABC", "number_changed"),
        ("Eve won't refund 5 km for the ABC", "name_missing"),
        ("Anna won't return 5 km for the ABC", "term_missing"),
        ("Anna won't refund 5 km for it", "acronym_missing"),
        ("x" * 10_000, "grown"),
    ],
)
def test_a_text_that_was_rewritten_as_a_whole_keeps_what_it_says(
    rewritten: str, rule: str | None
) -> None:
    text = "for the ABC, Anna will not refund 5 km"
    varied = LOCK.compared(text, rewritten, noise=object())
    assert varied.broken == ((rule,) if rule else ())
    assert varied.text == (text if rule else rewritten)
    assert undone(varied.text, varied.changes) == text


EDITS = st.lists(
    st.builds(
        lambda start, length, after: (start, start + length, after),
        st.integers(0, 30), st.integers(0, 5), st.text(max_size=5),
    )
)  # fmt: skip
TEXTS = st.text(st.sampled_from("ab 1?'\"`{}.X") | st.characters(), max_size=40)


@given(TEXTS, EDITS)
def test_whatever_is_edited_can_be_taken_back_and_the_rest_is_byte_equal(
    text: str, made: list[tuple[int, int, str]]
) -> None:
    passage = LOCK.spans.passage(text)
    edits = [Edit(*edit) for edit in made if edit[1] <= len(text)]
    noisy, changes = applied(passage, edits)
    assert undone(noisy, changes) == text
    at = shift = 0
    for change in changes:
        assert text[at : change.start] == noisy[at + shift : change.start + shift]
        at = change.start + len(change.before)
        assert passage.is_free(change.start, at)
        shift += len(change.after) - len(change.before)
    assert text[at:] == noisy[at + shift :]


@given(TEXTS, st.integers(0, 2**32))
def test_the_same_seed_gives_the_same_text_and_changes(text: str, seed: int) -> None:
    def shuffled(free: str, rng: Random) -> str:
        return "".join(rng.sample(free, len(free)))

    one, other = (LOCK.vary(shuffled, text, Random(seed)) for _ in range(2))
    assert one == other
    assert undone(one.text, one.changes) == text
