"""What must be the same in a text and its variation, whatever else a noise has done to it.

An embedding hardly sees a negation or another number, and throws good typos away: these rules come
first, for every noise. They look at the two texts, and know nothing of the edits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from weave_async.noise.edits import Span
from weave_async.noise.marks import UNITS
from weave_async.noise.quantities import quantities_in
from weave_async.noise.spoken_numbers import WORDS as SPOKEN
from weave_async.noise.telling_words import (
    DATE_WORDS,
    KIND_OF,
    MONTH_NAMES,
    MONTHS,
    NUMBER_WORDS,
    words_in,
)
from weave_async.records import TextChange

AMOUNTS = frozenset(("number", "date", "time"))
_ADDRESSES = frozenset(("url", "email"))
_IN_ANY_CASE = frozenset(("name", "acronym", "term", "label"))
_NEED_NOT_STAY = AMOUNTS | {"negator", "question", "markup"}
_WITH_A_VALUE = MONTH_NAMES | (NUMBER_WORDS & SPOKEN) | {"percent"}
"""What ``noise.quantities`` understands; of other words, as ``twice``, each must be there again."""
_LONE_MONTHS = MONTH_NAMES & DATE_WORDS
_ENDING_CHARS = 60

_DIGIT = re.compile(r"\d")
_FIGURE = re.compile(
    # A digit within letters is none: "he11o" is not a hello with another number in it.
    r"\d(?<![^\W_].)(?:[\d.,:/'’–-]*\d)?"
    rf"(?:(?:st|nd|rd|th)\b|\s?[ap]\.?m\b|\s?(?:{UNITS})(?![\w²³]))?"
)
_CURRENCY = re.compile(r"[€$£¥₹]")
_MONTH = re.compile(rf"\b({MONTHS})\b(?=\.?,?\s\d)|\d\w{{0,2}}\.?\s(?:of\s)?({MONTHS})\b")
_MONTH_BEGINS = re.compile(r"[JFMASOND][a-uä]")
_GROUPED = re.compile(r"(?<=\d)[,'’](?=\d{3}(?!\d))")
_ADDRESS = re.compile(r"(?<![^\s<>\"“”()])[^\s<>\"“”()@]*+@[^\s<>\"“”()]++|(?:https?://|www\.)\S++")


def broken_rule(
    clean: str,
    noisy: str,
    *,
    changes: Sequence[TextChange] = (),
    spans: Iterable[Span] = (),
    rewrites: Collection[str] = (),
    day_first: bool | None = None,
) -> str | None:
    """The first rule that does not hold between the two, as a short code; ``None`` if all do.

    ``changes`` are all that there are, where that is known: what is far from them is the same.
    ``spans`` are those of the clean text, where they may be missing from the other: a noise that
    makes edits cannot touch them. A noise that ``rewrites`` a kind is not held to its letters;
    ``day_first`` tells how it reads ``03/04/2024``.
    """
    if noisy == clean:
        return None
    if "question" not in rewrites and _asks_otherwise(clean, noisy):
        return "question_changed"
    if rule := _missing(clean, noisy, spans, rewrites):
        return rule
    if changes:
        clean, noisy = _around(clean, noisy, changes)
    before, after = _telling(clean), _telling(noisy)
    if before != after and (rule := _changed(before, after, rewrites)):
        return rule
    if not AMOUNTS.isdisjoint(rewrites):
        if _values_differ(clean, noisy, before, after, day_first):
            return "number_changed"
    elif _figures_differ(clean, noisy):
        return "number_changed"
    if _ADDRESSES.isdisjoint(rewrites) and _addresses(clean) != _addresses(noisy):
        return "address_changed"
    return None


def _around(clean: str, noisy: str, changes: Sequence[TextChange]) -> tuple[str, str]:
    """The two texts from the first change to the last, with two words more on either side.

    A word more would do, so that a figure has its unit. Both are cut at the same places.
    """
    last = changes[-1]
    start = clean.rfind(" ", 0, max(0, clean.rfind(" ", 0, changes[0].start)))
    start = max(0, clean.rfind(" ", 0, max(0, start)))
    end = clean.find(" ", last.start + len(last.before))
    for _ in range(2):
        end = clean.find(" ", end + 1) if end >= 0 else end
    num_after = len(clean) - end if end >= 0 else 0
    return clean[start : len(clean) - num_after], noisy[start : len(noisy) - num_after]


def num_negators(text: str) -> int:
    """How many words negate: ``don't`` counts as ``do not``, with any apostrophe or none."""
    return sum(KIND_OF[word] == "negator" for word in _telling(text))


def _telling(text: str) -> list[str]:
    return [word for word in words_in(text.lower()) if word in KIND_OF]


def _changed(before: Sequence[str], after: Sequence[str], rewrites: Collection[str]) -> str | None:
    """Negators are counted, however they are written; numbers and days must all be there again."""
    was, is_now = Counter(before), Counter(after)
    lost_or_added = [(word, is_now[word] - was[word]) for word in was.keys() | is_now.keys()]
    if sum(more for word, more in lost_or_added if KIND_OF[word] == "negator"):
        return "negation_changed"
    changed = {word for word, more in lost_or_added if more}
    if not AMOUNTS.isdisjoint(rewrites):
        changed -= _WITH_A_VALUE
    if any(KIND_OF[word] == "number" for word in changed):
        return "number_changed"
    return None if changed.isdisjoint(DATE_WORDS) else "date_changed"


def _figures_differ(clean: str, noisy: str) -> bool:
    if _DIGIT.search(clean) is None and _DIGIT.search(noisy) is None:
        return False
    return _figures(clean) != _figures(noisy)


def _values_differ(
    clean: str, noisy: str, before: Sequence[str], after: Sequence[str], day_first: bool | None
) -> bool:
    """Whether the values differ, or the months that belong to no date."""
    was = [quantity.value for quantity in quantities_in(clean, day_first)]
    is_now = [quantity.value for quantity in quantities_in(noisy, day_first)]
    if was != is_now and Counter(was) != Counter(is_now):
        return True
    if any(value.kind == "date" for value in was):
        return False
    return _lone_months(before) != _lone_months(after)


def _lone_months(telling: Sequence[str]) -> list[str]:
    return sorted([word[:3] for word in telling if word in _LONE_MONTHS])


def _figures(text: str) -> Counter[str]:
    """The numbers with their units, and what belongs to them: currencies, months beside a day."""
    found = Counter(_GROUPED.sub("", figure.replace(" ", "")) for figure in _FIGURE.findall(text))
    found.update(_CURRENCY.findall(text))
    if _MONTH_BEGINS.search(text):
        found.update((before or after)[:3].lower() for before, after in _MONTH.findall(text))
    return found


def _asks_otherwise(clean: str, noisy: str) -> bool:
    """Whether a question has lost its mark, or what was none has got one.

    A mark need not stand at the very end: an emoji or a word of thanks may follow it.
    """
    if "?" not in clean:
        return "?" in noisy
    return _ends_asking(clean) and "?" not in noisy[-_ENDING_CHARS:]


def _ends_asking(text: str) -> bool:
    at = text.rfind("?")
    return len(text) - at <= _ENDING_CHARS and not any(map(str.isalnum, text[at:]))


def _addresses(text: str) -> list[str]:
    if "@" not in text and "://" not in text and "www." not in text:
        return []
    return sorted(address.rstrip(".,;:!?)'’\"") for address in _ADDRESS.findall(text))


def _missing(
    clean: str, noisy: str, spans: Iterable[Span], rewrites: Collection[str]
) -> str | None:
    lower = ""
    for start, end, kind in spans:
        if kind == "quoted":  # in whatever marks
            start, end = start + 1, end - 1
        if kind in _NEED_NOT_STAY or kind in rewrites or clean[start:end] in noisy:
            continue
        lower = lower or noisy.lower()
        if kind not in _IN_ANY_CASE or clean[start:end].lower() not in lower:
            return f"{kind}_missing"
    return None
