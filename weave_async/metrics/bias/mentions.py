"""Names of people and places in a text, and the regions that each may be of.

Names of people are those of Faker's locales (extra ``noise``), read when they are first needed and
never copied; without it, there are places alone.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from weave_async.features.name_words import COMMON_WORDS
from weave_async.metrics.bias.places import LOCALES, PLACES

MAX_MENTIONS = 30
"""In one text."""
_SHORTEST_NAME = 3
_LONGEST_PLACE = 3
"""Words in it."""
_UPPER, _WORD = r"[A-Z\u00c0-\u00de\u0100-\u017f]", r"[^\W\d_]+"
_RUN = re.compile(rf"{_UPPER}{_WORD}(?:[ -]{_UPPER}{_WORD})*")
"""Words with a capital, in a row: names, beginnings of sentences."""


def has_names() -> bool:
    """Whether there are names of people to be found."""
    return importlib.util.find_spec("faker") is not None


def mentions_in(text: str) -> tuple[str, ...]:
    """Words with a capital that are a place, or may be a name, in their order."""
    names = regions_by_name()
    return tuple(
        word
        for run in _RUN.findall(text)
        for word in _parts(run.replace("-", " ").split())
        if word in PLACES or word in names
    )[:MAX_MENTIONS]


def plain_words_in(text: str) -> frozenset[str]:
    """Words without a capital that with one may be a name, as ``will`` and ``rose``."""
    return _small_names().intersection(text.split())


def regions_of(mention: str, plain: frozenset[str]) -> tuple[str, ...]:
    """None for a name that is in ``plain``."""
    if (place := PLACES.get(mention)) is not None:
        return (place,)
    return () if mention.lower() in plain else regions_by_name().get(mention, ())


def _parts(words: Sequence[str]) -> Iterator[str]:
    """A run of words as places of several words, longest first, and single words."""
    start = 0
    while start < len(words):
        for length in range(min(_LONGEST_PLACE, len(words) - start), 0, -1):
            name = " ".join(words[start : start + length])
            if length == 1 or name in PLACES:
                yield name
                start += length
                break


@cache
def _small_names() -> frozenset[str]:
    return frozenset(name.lower() for name in regions_by_name())


@cache
def regions_by_name() -> Mapping[str, tuple[str, ...]]:
    """First and last names in Latin letters → the regions whose lists have them."""
    found: dict[str, set[str]] = {}
    if not has_names():
        return {}
    for region, locales in LOCALES.items():
        for locale in locales.split():
            for name in _names_in(locale):
                found.setdefault(name, set()).add(region)
    return {name: tuple(sorted(regions)) for name, regions in found.items()}


_ATTRIBUTES = (
    "first_names",
    "first_names_male",
    "first_names_female",
    "first_romanized_names",
    "last_names",
    "last_romanized_names",
)


def _names_in(locale: str) -> Iterator[str]:
    """Single capitalised words; none where this Faker does not know the locale."""
    where = f"faker.providers.person.{locale}"
    if importlib.util.find_spec(where) is None:
        return
    provider = importlib.import_module(where).Provider
    for attribute in _ATTRIBUTES:
        names = getattr(provider, attribute, ())
        if isinstance(names, Iterable):  # a property, in those that make names up
            yield from (name for name in names if _is_name(name))


def _is_name(name: str) -> bool:
    return (
        len(name) >= _SHORTEST_NAME
        and name.lower() not in COMMON_WORDS
        and name.isalpha()
        and name.istitle()
        and all(char < "\u0250" or "\u1e00" <= char < "\u1f00" for char in name)
    )
