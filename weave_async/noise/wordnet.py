"""Synonyms out of WordNet's own files, where somebody has them: they are not shipped.

Debian's package ``wordnet-base`` has them, and so has NLTK's corpus ``wordnet``. How often a word
was met in which of its senses is counted in ``cntlist.rev``; see wndb(5WN) for the formats.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from weave_async.noise.inflection import forms

_FILES = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
_TYPES = {"1": "n", "2": "v", "3": "a", "4": "r", "5": "a"}  # 5: an adjective of a cluster
_NLTK = "nltk_data/corpora/wordnet"
_PLACES = (
    "/usr/share/wordnet",
    "/usr/local/share/wordnet",
    f"~/{_NLTK}",
    f"/usr/share/{_NLTK}",
    f"/usr/local/share/{_NLTK}",
)
_MIN_COUNT, _MIN_SHARE = 3, 0.9
"""A word is taken if it was met so often, and in that share of the times in the same sense."""

# What a suffix cannot make: with these the regular endings would be wrong.
_IRREGULAR_FILES = ("noun.exc", "verb.exc")

Senses = Mapping[str, Mapping[tuple[str, int], int]]
"""lemma → (part of speech, number of the sense) → how often it was met."""


def folder_of(path: str | None) -> Path:
    """Where WordNet lies: at ``path``, or in one of the usual places. Raises ``ValueError``."""
    for place in (path,) if path else _PLACES:
        folder = Path(place).expanduser()
        if (folder / "cntlist.rev").is_file() and (folder / "data.noun").is_file():
            return folder
    where = f"at {path}" if path else "in the usual places"
    raise ValueError(
        f"there is no WordNet {where}: install Debian's wordnet-base, or NLTK's corpus wordnet and "
        "unpack it, and give its folder as path; or use source: builtin"
    )


@cache
def synonyms(folder: Path) -> dict[str, tuple[tuple[str, ...], tuple[int, ...]]]:
    """What may stand for a word, by each of its regular forms, and how often it was met as that."""
    senses = _counted(folder)
    irregular = {
        line.split()[1]
        for name in _IRREGULAR_FILES
        for line in _lines(folder / name)
        if " " in line
    }
    found: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {}
    for part_of_speech, name in _FILES.items():
        offsets = {lemma: ids for lemma, ids in _index(folder / f"index.{name}") if lemma in senses}
        with (folder / f"data.{name}").open("rb") as data:
            for lemma in sorted(offsets):
                if not _is_plain(lemma) or lemma in irregular:
                    continue
                if not _has_one_sense(senses[lemma], part_of_speech):
                    continue
                data.seek(offsets[lemma][0])
                words = _words_of(data.readline().decode())
                counts = {
                    word: _count(senses, offsets, word, part_of_speech, offsets[lemma][0])
                    for word in words
                    if word != lemma and _is_plain(word) and word not in irregular
                }
                known = {word: count for word, count in counts.items() if count}
                if known:
                    _add(found, lemma, known, part_of_speech)
    return found


def _counted(folder: Path) -> Senses:
    senses: dict[str, dict[tuple[str, int], int]] = defaultdict(dict)
    for line in _lines(folder / "cntlist.rev"):
        key, number, count = line.split()
        lemma, _, sense = key.partition("%")
        senses[lemma][_TYPES[sense[0]], int(number)] = int(count)
    return senses


def _index(path: Path) -> Iterator[tuple[str, list[int]]]:
    """Each lemma with the places of its senses in the data, the most frequent one first."""
    for line in _lines(path):
        if not line.startswith(" "):  # the licence
            fields = line.split()
            yield fields[0], [int(place) for place in fields[-int(fields[2]) :]]


def _words_of(line: str) -> list[str]:
    fields = line.split()
    return [word.partition("(")[0] for word in fields[4 : 4 + 2 * int(fields[3], 16) : 2]]


def _has_one_sense(counts: Mapping[tuple[str, int], int], part_of_speech: str) -> bool:
    first, total = counts.get((part_of_speech, 1), 0), sum(counts.values())
    return first >= _MIN_COUNT and first >= _MIN_SHARE * total


def _count(
    senses: Senses, offsets: Mapping[str, list[int]], word: str, part_of_speech: str, place: int
) -> int:
    places = offsets.get(word, [])
    if place not in places:
        return 0
    return senses[word].get((part_of_speech, places.index(place) + 1), 0)


def _add(
    found: dict[str, tuple[tuple[str, ...], tuple[int, ...]]],
    lemma: str,
    known: Mapping[str, int],
    part_of_speech: str,
) -> None:
    others = [list(forms(word, part_of_speech)) for word in known]
    for at, form in enumerate(forms(lemma, part_of_speech)):
        found.setdefault(form, (tuple(other[at] for other in others), tuple(known.values())))


def _is_plain(word: str) -> bool:
    return len(word) > 2 and word.isascii() and word.isalpha() and word.islower()


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8") as file:
        yield from file
