"""Words replaced by others with the same meaning, as far as one can know without reading."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import ClassVar, Literal

from weave_async.noise import thesaurus, wordnet
from weave_async.noise.edits import Edit, Passage
from weave_async.noise.sites import check_rate, taken, with_case_of
from weave_async.noise.telling_words import KIND_OF

_ARTICLE = re.compile(r"(?<!\S)(?P<article>an?) \Z", re.IGNORECASE)

Others = tuple[Sequence[str], Sequence[int] | None]
"""Words, and how often each is taken, relative to the others."""


@dataclass(frozen=True, slots=True)
class SynonymsNoise:
    """Replaces words by synonyms in the same form: ``gifts`` by ``presents``.

    ``rate`` is the share of its sites that change: words with a synonym. ``source`` is ``builtin``,
    a short list of common words, or ``wordnet``: nouns, verbs, adjectives and adverbs that were met
    in one sense nearly always, each synonym as often as it was met in that sense. ``path`` is the
    folder of WordNet's files (those of Debian's ``wordnet-base`` or of NLTK's corpus ``wordnet``)
    where they are in none of the usual places.

    Neither reads the sentence: the lock compares the meaning of the whole where it can.
    """

    checks_drift: ClassVar[bool] = True

    rate: float = 0.2
    source: Literal["builtin", "wordnet"] = "builtin"
    path: str | None = None

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if self.source == "wordnet":
            wordnet.folder_of(self.path)
        elif self.path is not None:
            raise ValueError("path is where WordNet lies: it needs source: wordnet")

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        text, known = passage.text, _known(self.source, self.path)
        sites = [
            (start, end, others)
            for start, end in passage.words
            if (others := known.get(text[start:end].lower())) is not None
        ]
        for start, end, (words, weights) in taken(sites, self.rate, rng):
            before = text[start:end]
            after = with_case_of(before, rng.choices(words, weights)[0])
            yield _with_article(passage, start, end, after)


@cache
def _known(source: str, path: str | None) -> Mapping[str, Others]:
    if source == "builtin":
        return {word: (others, None) for word, others in thesaurus.synonyms().items()}
    found = wordnet.synonyms(wordnet.folder_of(path))
    return {
        word: (others, weights)
        for word, (others, weights) in found.items()
        if word not in KIND_OF and KIND_OF.keys().isdisjoint(others)
    }


def _with_article(passage: Passage, start: int, end: int, after: str) -> Edit:
    """The word, with ``a`` made ``an`` before it, or the other way round, where it takes that."""
    text = passage.text
    found = _ARTICLE.search(text[max(0, start - 4) : start])
    if found is None or (start > 4 and found.start() == 0):
        return Edit(start, end, after)
    article = found["article"]
    begin = start - 1 - len(article)
    is_vowel = after[0].lower() in "aeiou"
    if (len(article) == 2) == is_vowel or not passage.is_free(begin, end):
        return Edit(start, end, after)
    return Edit(begin, end, f"{article[0]}{'n' if is_vowel else ''} {after}")
