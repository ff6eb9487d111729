"""People, cities and companies under other names, the same ones throughout a sample."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import ClassVar
from zlib import crc32

from weave_async.features.name_words import COMMON_WORDS
from weave_async.noise.edits import Edit, Passage
from weave_async.noise.entity_names import Kind, NameLists, check_locale, names_of
from weave_async.noise.sites import check_rate

_NAME = re.compile(r"(?<![\w@#/.'’-])[^\W\d_a-z][^\W\d_]+(?=['’]s\b|(?!['’]?\w))")
_COMPANY = re.compile(
    r"(?<![\w@#/.-])[^\W\d_a-z][^\W\d_]+"
    r"(?=,? (?:Inc|Ltd|LLC|LLP|PLC|Corp|Co|GmbH|AG|KG|SARL|SAS)\b)"
)
_TITLE = re.compile(
    r"\b(?:Mrs?|Ms|Miss|Dr|Prof|Professor|Sir|Herr|Frau|Mme|Monsieur|Madame|Señora?|Sra?)\.? \Z"
)
_TITLE_CHARS = 12
_BARE_GENITIVE = re.compile(r"['’](?= [^\W\d_])")
_SAINT = re.compile(r"\b(?:St\.?|Saint) \Z")
_SENTENCE_END = re.compile(r"(?:\A|[.!?:\n\"“(])\s*\Z")


@dataclass(frozen=True, slots=True)
class EntitiesNoise:
    """Gives people, cities and companies other names: the same ones in all texts of a sample.

    ``rate`` is the share of its sites that change: the different names in a sample. ``locale`` says
    where the names are from that it knows, and replaces them by. A man's first name becomes
    another man's and a woman's another woman's, as far as it is either's. Words that are
    names as well (``Will``, ``Brown``) count as names beside another name or a title only. Names
    come from Faker (extra ``noise``).

    With ``field: prompt`` the answer goes on with the old names: ``field: both`` is what is meant,
    wherever the answer repeats them.
    """

    rewrites: ClassVar[frozenset[str]] = frozenset(("name",))

    rate: float = 1.0
    locale: str = "en_US"

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_locale(self.locale)
        names_of(self.locale)

    def edits(self, passage: Passage, rng: Random) -> Iterator[Edit]:
        """What becomes of a name hangs on ``passage.sample_seed`` alone, or it would be another in
        each text of a sample.
        """
        lists, seed = names_of(self.locale), passage.sample_seed
        if self.rate <= 0:
            return
        for start, end, kind, place in _found(passage, lists):
            name = passage.text[start:end]
            if self.rate < 1 and _fraction(name, seed) >= self.rate:
                continue
            others = lists.by_kind[kind]
            shift = 1 + _mixed(kind, seed) % (len(others) - 1)
            # A shift of the whole list: two different names never become the same one.
            after = others[(place + shift) % len(others)]
            if name.endswith("s") and not after.endswith("s"):
                owning = _BARE_GENITIVE.match(passage.text, end)  # James' dog
                if owning is not None and passage.is_free(*owning.span()):
                    end, after = owning.end(), f"{after}{owning.group()}s"
            yield Edit(start, end, after)


def _found(passage: Passage, lists: NameLists) -> Iterator[tuple[int, int, Kind, int]]:
    text, done = passage.text, -1
    for start, end in _companies(passage, lists):
        yield start, end, "last", crc32(text[start:end].encode())
    matches = list(_NAME.finditer(text))
    for at, match in enumerate(matches):
        start, end = match.span()
        if start < done:
            continue
        name = match.group()
        for city in lists.long_cities.get(name, ()):
            if text.startswith(city, start) and not text[start + len(city) :][:1].isalnum():
                end = start + len(city)
                name = city
                break
        entity = lists.entities.get(name)
        if entity is None or not passage.is_free(start, end) or _is_of_a_saint(text, start):
            continue
        is_last = entity.kind == "last"
        if name.lower() in COMMON_WORDS or (
            is_last and (lists.capitalises_nouns or _begins(text, start))
        ):
            # A last name has its first name before it: `King Charles` is none.
            pairs = pairwise(matches[max(0, at - 1) : at + (1 if is_last else 2)])
            is_beside_one = any(_are_beside(text, left, right, lists) for left, right in pairs)
            if not is_beside_one and not _has_title(text, start):
                continue
        done = end
        yield start, end, *entity


def _companies(passage: Passage, lists: NameLists) -> Iterator[tuple[int, int]]:
    """Those that say so by their ending, and are not called by a name that is known."""
    if "last" in lists.by_kind:
        for match in _COMPANY.finditer(passage.text):
            if match.group() not in lists.entities and passage.is_free(*match.span()):
                yield match.span()


def _are_beside(text: str, left: re.Match[str], right: re.Match[str], lists: NameLists) -> bool:
    """``Grace Miller``: two names of people with a blank between, one of which is no other word."""
    if text[left.end() : right.start()] != " ":
        return False
    both = [lists.entities.get(match.group()) for match in (left, right)]
    is_plain = any(match.group().lower() not in COMMON_WORDS for match in (left, right))
    return is_plain and all(entity is not None and entity.kind != "city" for entity in both)


def _has_title(text: str, start: int) -> bool:
    return _TITLE.search(text[max(0, start - _TITLE_CHARS) : start]) is not None


def _is_of_a_saint(text: str, start: int) -> bool:
    """``St. Louis`` and ``St. James's Park`` are places."""
    return _SAINT.search(text[max(0, start - 7) : start]) is not None


def _begins(text: str, start: int) -> bool:
    return _SENTENCE_END.search(text[max(0, start - 3) : start]) is not None


def _fraction(name: str, seed: int) -> float:
    return _mixed(name, seed) / 2**32


def _mixed(name: str, seed: int) -> int:
    return crc32(name.encode(), crc32(seed.to_bytes(8, "big", signed=seed < 0)))
