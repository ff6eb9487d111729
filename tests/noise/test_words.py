"""Words replaced by synonyms, or by those of another language."""

from __future__ import annotations

from pathlib import Path

import pytest

from weave_async.noise import thesaurus
from weave_async.noise.code_switch import CodeSwitchNoise
from weave_async.noise.dictionaries import DICTIONARIES, LANGUAGES
from weave_async.noise.inflection import forms
from weave_async.noise.synonyms import SynonymsNoise
from weave_async.noise.telling_words import KIND_OF

from .noisy import varied


def made(noise: SynonymsNoise | CodeSwitchNoise, text: str) -> set[str]:
    return {varied(noise, text, seed) for seed in range(40)}


@pytest.mark.parametrize(
    ("word", "kind", "expected"),
    [
        ("box", "n", "box boxes"),
        ("city", "n", "city cities"),
        ("try", "v", "try tries tried trying"),
        ("stop", "v", "stop stops stopped stopping"),
        ("improve", "v", "improve improves improved improving"),
        ("permit", "v", "permit permits permitted permitting"),
        ("play", "v", "play plays played playing"),
        ("fix", "v", "fix fixes fixed fixing"),
        ("differ", "v", "differ differs differed differing"),
        ("very", "x", "very"),
    ],
)
def test_regular_endings(word: str, kind: str, expected: str) -> None:
    assert list(forms(word, kind)) == expected.split()


def test_synonyms_keep_form_and_capitals() -> None:
    noise = SynonymsNoise(rate=1)
    assert made(noise, "Lawyers permitted it") == {"Attorneys allowed it"}
    assert made(noise, "two physicians collecting") == {"two doctors gathering"}


def test_the_article_goes_with_the_word_behind_it() -> None:
    noise = SynonymsNoise(rate=1)
    assert made(noise, "it was a mistake, A lawyer said") == {"it was an error, An attorney said"}
    assert made(noise, "an error") == {"a mistake"}
    assert made(noise, "Panama errors") == {"Panama mistakes"}


def test_no_word_of_the_lists_negates_counts_or_names_a_day() -> None:
    for word, others in thesaurus.synonyms().items():
        assert KIND_OF.keys().isdisjoint({word, *others})
        assert word not in others
    for language in LANGUAGES:
        for word, other in DICTIONARIES[language].items():
            assert KIND_OF.keys().isdisjoint({word, *other.lower().split()}), word


def test_words_become_those_of_the_other_language() -> None:
    text = "Hello my friend because"
    assert made(CodeSwitchNoise("es", 1), text) == {"Hola mi amigo porque"}
    assert made(CodeSwitchNoise("de", 1), text) == {"Hallo mein Freund weil"}
    assert made(CodeSwitchNoise("fr", 1), text) == {"Bonjour mon ami parce que"}


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    """A WordNet of a few words, in the format of the real one."""
    data = {
        "noun": ["00 n 02 gift 0 present 0 000 | given", "00 n 02 bank 0 depository 0 000 | money"],
        "verb": ["30 v 02 mumble 0 mutter 0 000 | say"],
        "adj": ["00 s 02 huge 0 immense(p) 0 000 | big"],
        "adv": [],
    }
    places: dict[str, list[int]] = {}
    for name, synsets in data.items():
        text = ""
        for line in synsets:
            offset = len(text)
            words = [word.partition("(")[0] for word in line.split()[3:7:2]]
            for word in words:
                places.setdefault(f"{word} {name}", []).append(offset)
            text += f"{offset:08d} {line}\n"
        (tmp_path / f"data.{name}").write_text(text)
        index = [
            f"{key.split()[0]} {name[0]} {len(at)} 0 {len(at)} 1 {' '.join(f'{o:08d}' for o in at)}"
            for key, at in places.items()
            if key.endswith(f" {name}")
        ]
        lines = ["  1 licence", *index]
        (tmp_path / f"index.{name}").write_text("\n".join(lines) + "\n")
        (tmp_path / f"{name}.exc").write_text("irregular word\n")
    counts = [
        "gift%1:21:00:: 1 9",
        "present%1:21:00:: 1 4",
        "bank%1:14:00:: 1 5",
        "bank%2:40:00:: 1 5",
        "depository%1:06:00:: 1 3",
        "mumble%2:32:00:: 1 8",
        "mutter%2:32:00:: 1 7",
        "huge%5:00:00:large:00 1 6",
        "immense%5:00:00:large:00 1 2",
    ]
    (tmp_path / "cntlist.rev").write_text("\n".join(counts) + "\n")
    return tmp_path


def test_wordnet_gives_synonyms_for_words_met_in_one_sense_only(wordnet: Path) -> None:
    noise = SynonymsNoise(1, "wordnet", str(wordnet))
    assert made(noise, "Huge gifts at a bank, he mumbled") == {
        "Immense presents at a bank, he muttered"
    }


def test_wordnet_that_is_not_there_is_refused_with_where_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no WordNet at .*: install"):
        SynonymsNoise(source="wordnet", path=str(tmp_path))
    with pytest.raises(ValueError, match="path is where WordNet lies"):
        SynonymsNoise(path=str(tmp_path))


def test_the_same_seed_takes_the_same_words() -> None:
    noise, text = SynonymsNoise(0.5), "big problems need quick doctors and lawyers"
    assert varied(noise, text, 3) == varied(noise, text, 3)
