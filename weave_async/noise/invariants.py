"""What must be the same in a text and its variation, whatever else a noise has done to it.

An embedding hardly sees a negation or another number, and throws good typos away: these rules are
checked first, for every noise. They look at both texts alike, and know nothing of the edits.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable

from weave_async.noise.edits import Span
from weave_async.noise.marks import UNITS, WHOLE_ADDRESS
from weave_async.noise.telling_words import DATE_WORDS, NEGATORS, NUMBER_WORDS, WORD

_AMOUNTS = frozenset(("number", "date", "time"))
_KEPT_WHOLE = frozenset(("code", "json", "path", "placeholder", "pattern"))
_KEPT_IN_ANY_CASE = frozenset(("name", "acronym", "term", "label"))

_FIGURE = re.compile(
    # A digit within letters is none: he11o is not a hello with another number in it.
    r"\d(?<![^\W_].)(?:[\d.,:/'’–-]*\d)?(?:st\b|nd\b|rd\b|th\b|\s?[ap]\.?m\b"
    rf"|\s?(?:{UNITS})(?![\w²³]))?"
)
_CURRENCY = re.compile(r"[€$£¥₹]")
_GROUPED = re.compile(r"[,'’](?=\d{3}(?!\d))")
_ADDRESS_SIGNS = ("@", "://", "www.")


def broken_rule(
    clean: str,
    noisy: str,
    *,
    spans: Iterable[Span] = (),
    rewrites: Collection[str] = (),
) -> str | None:
    """The first rule that does not hold between the two: a short code, ``None`` if all of them do.

    ``spans`` are those of the clean text whose words must be there afterwards, too. A noise that
    ``rewrites`` a kind is not held to how it is written.
    """
    if noisy == clean:
        return None
    if _amounts(clean, rewrites) != _amounts(noisy, rewrites):
        return "numbers_changed"
    if num_negators(clean) != num_negators(noisy):
        return "negation_changed"
    if "question" not in rewrites and is_question(clean) != is_question(noisy):
        return "question_changed"
    if not {"url", "email"} & set(rewrites) and _addresses(clean) != _addresses(noisy):
        return "address_changed"
    return _missing(clean, noisy, spans, rewrites)


def num_negators(text: str) -> int:
    """How many words negate, ``don't`` and ``do not`` alike, and with any apostrophe."""
    return sum(word in NEGATORS for word in _words(text))


def is_question(text: str) -> bool:
    """Whether the text ends with a question mark, as in ``?``, ``?!`` and ``?"``."""
    return "?" in text[-40:] and "?" in re.split(r"\w|\s\s", text.rstrip()[-8:])[-1]
