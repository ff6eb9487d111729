"""Misspellings: where they come from, and that they fit their word."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from weave_async.noise import misspellings
from weave_async.noise.edits import Passage
from weave_async.noise.misspellings import MisspellingsNoise
from weave_async.noise.phonetics import misspelt

from .noisy import varied

LIST = """
recieve->receive
recive->receive
seperate->separate
alot->a lot
form->from, form, disabled due to being a word
teh->the
nto->not
no->know
fo->of, for, to, do, go,
dont->don't
2st->2nd
"""


@pytest.fixture
def codespell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A codespell with a short list, before any other that is installed."""
    data = tmp_path / "codespell_lib" / "data"
    data.mkdir(parents=True)
    (data.parent / "__init__.py").touch()
    (data / "dictionary.txt").write_text(LIST.lstrip(), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "codespell_lib", raising=False)
    _forget()
    yield
    _forget()


def _forget() -> None:
    misspellings._has_codespell.cache_clear()
    misspellings._known_to.cache_clear()


@pytest.mark.usefixtures("codespell")
def test_words_are_misspelt_as_in_the_list_in_their_own_case() -> None:
    noise = MisspellingsNoise(1, source="codespell")
    seen = {varied(noise, "Receive the SEPARATE", seed) for seed in range(30)}
    assert seen == {"Recieve teh SEPERATE", "Recive teh SEPERATE"}


@pytest.mark.usefixtures("codespell")
def test_entries_with_a_doubt_a_digit_or_a_negator_are_left_out() -> None:
    text = "a lot from form know 2nd don't not of for"
    assert varied(MisspellingsNoise(1, source="codespell"), text) == text


@pytest.mark.usefixtures("codespell")
def test_edits_are_what_differs_alone() -> None:
    (edit,) = MisspellingsNoise(1).edits(Passage("It is separate"), Random(0))
    assert edit == (9, 10, "e")


@pytest.mark.usefixtures("codespell")
@pytest.mark.parametrize(
    ("source", "said"),
    [("auto", "3 words come from codespell"), ("rules", "come from rules of spelling")],
)
def test_the_source_in_use_is_logged(
    source: Literal["auto", "rules"], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    noise = MisspellingsNoise(source=source)
    assert noise.source_in_use in said
    with caplog.at_level("INFO"):
        varied(noise, "separate words")
        varied(noise, "separate words")
    assert caplog.text.count(said) == 1


def test_without_codespell_auto_takes_rules_and_codespell_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(misspellings, "_has_codespell", lambda: False)
    assert MisspellingsNoise().source_in_use == "rules"
    assert varied(MisspellingsNoise(1), "definitely") != "definitely"
    with pytest.raises(ValueError, match=r"pip install 'weave-async\[noise\]', or take source: ru"):
        MisspellingsNoise(source="codespell")


@pytest.mark.parametrize(
    ("word", "wrong"),
    [
        ("phone", "fone"),
        ("receive", "recieve"),
        ("believe", "beleive"),
        ("sensible", "sensable"),
        ("reliable", "reliible"),
        ("attendance", "attendence"),
        ("independent", "independant"),
        ("knife", "nife"),
        ("climb", "clim"),
        ("science", "sience"),
        ("tomorrow", "tomorow"),
        ("beautiful", "beautifull"),
        ("definitely", "definately"),
        ("necessary", "necesary"),
        ("judgement", "jugement"),
        ("doctor", "docter"),
        ("calendar", "calandar"),
        ("rhythm", "rhytm"),
    ],
)
def test_rules_know_the_classics(word: str, wrong: str) -> None:
    assert wrong in misspelt(word)


@pytest.mark.parametrize("word", ["the", "größer", "don't", "", "x" * 10_000])
def test_rules_leave_alone_what_they_know_nothing_about(word: str) -> None:
    assert not misspelt(word)


def test_rules_never_give_the_word_itself() -> None:
    words = ["accommodation", "committee", "phosphor", "eerie", "weird", "sleeping", "illness"]
    assert all(word not in misspelt(word) for word in words)


def test_words_in_odd_case_are_left_alone() -> None:
    assert varied(MisspellingsNoise(1, "rules"), "iPhone McKnife") == "iPhone McKnife"
