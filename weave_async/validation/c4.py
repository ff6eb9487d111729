"""Texts with the marks of a web page in them: by the rules of C4.

They are those of section 2.2 in Raffel et al. 2020, "Exploring the Limits of Transfer Learning
with a Unified Text-to-Text Transformer", https://arxiv.org/abs/1910.10683, with the two that its
published code adds: lines with a very long word, and lines of a site's policy. Its list of bad
words is not among them.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from weave_async.records import ACCEPTED, Message, Sample, Verdict
from weave_async.validation.bounds import Bound, Bounds, Switch, TextKind, bounds_of
from weave_async.validation.text_units import sentences

_CITATION = re.compile(r"\[(?:\d*|edit|citation needed)\]")
_TERMINAL = (".", "?", "!", '"', "'")
_POLICY = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_REFUSING = ("lorem_ipsum", "curly_bracket")
"""What in a line refuses the whole text."""

_DOCUMENT: Bounds = {
    "min_sentences": 5,
    "min_words_per_line": 3,
    "max_word_chars": 1_000,
    "terminal_punctuation": True,
    "lorem_ipsum": True,
    "curly_brackets": True,
    "javascript": True,
    "policy": True,
    "citations": True,
}
_CHAT: Bounds = {
    **dict.fromkeys(_DOCUMENT, False),  # an answer may be about code, or about cookies
    "min_sentences": None,
    "min_words_per_line": None,
    "max_word_chars": 1_000,
    "lorem_ipsum": True,
}
PRESETS: dict[TextKind, Bounds] = {
    "question": {**_CHAT, "max_word_chars": 200},
    "chat": _CHAT,
    "paragraph": {**_DOCUMENT, "min_sentences": 2},
    "document": _DOCUMENT,
}


@dataclass(frozen=True, slots=True)
class C4Validator:
    """Refuses completions with the marks of a web page, by the rules of C4 (Raffel et al. 2020).

    ``preset`` says what kind of text the rows are: ``document`` has the paper's rules, the others
    have those that make sense for shorter texts. Each may be set by itself; ``null`` or ``false``
    turns it off. A line is dropped if it has fewer than ``min_words_per_line`` words or one of more
    than ``max_word_chars`` characters, does not end with ``terminal_punctuation``, or speaks of
    ``javascript`` or of a site's ``policy``. In the lines that are left, ``lorem_ipsum`` and
    ``curly_brackets`` refuse a text, and there must be ``min_sentences``. ``citations`` like [1]
    are taken out before lines are looked at. With ``clean``, dropped lines and citations leave the
    text; else it stays as it is.
    """

    preset: TextKind = "chat"
    min_sentences: Bound = "preset"
    min_words_per_line: Bound = "preset"
    max_word_chars: Bound = "preset"
    terminal_punctuation: Switch = "preset"
    lorem_ipsum: Switch = "preset"
    curly_brackets: Switch = "preset"
    javascript: Switch = "preset"
    policy: Switch = "preset"
    citations: Switch = "preset"
    clean: bool = False
    _bounds: dict[str, float | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_bounds", bounds_of(self, PRESETS))

    def __call__(self, sample: Sample) -> Verdict:
        kept: list[str] = []
        dropped: Counter[str] = Counter()
        for number, line in enumerate(sample.completion.splitlines(), start=1):
            text = line.strip()
            cited = _CITATION.sub("", text) if self._bounds["citations"] else text
            fault = self._fault_of(cited, text.split())
            if fault in _REFUSING:
                return Verdict(False, fault, {"line": number, "text": text[:80]})
            if fault:
                dropped[fault] += 1
            else:
                kept.append(cited)
        least = self._bounds["min_sentences"] or 0
        num_sentences = sum(len(sentences(line)) for line in kept) if least else 0
        if num_sentences < least:
            evidence = {"value": num_sentences, "min_sentences": least, "dropped": dict(dropped)}
            return Verdict(False, "too_few_sentences", evidence)
        return self._cleaned(sample, "\n".join(kept).strip(), dropped) if self.clean else ACCEPTED

    def _fault_of(self, line: str, words: list[str]) -> str | None:
        """Why a line is dropped, or its text refused, in the order of the published code."""
        bounds = self._bounds
        most_chars, least_words = bounds["max_word_chars"], bounds["min_words_per_line"]
        if most_chars is not None and max(map(len, words), default=0) > most_chars:
            return "long_word"
        if bounds["terminal_punctuation"] and (
            not line.endswith(_TERMINAL) or line.endswith("...")
        ):
            return "no_terminal_punctuation"
        if least_words is not None and len(words) < least_words:
            return "too_few_words"
        lower = line.lower()
        if bounds["lorem_ipsum"] and "lorem ipsum" in lower:
            return "lorem_ipsum"
        if bounds["javascript"] and "javascript" in lower:
            return "javascript"
        if bounds["curly_brackets"] and "{" in line:
            return "curly_bracket"
        if bounds["policy"] and any(phrase in lower for phrase in _POLICY):
            return "policy"
        return None

    def _cleaned(self, sample: Sample, text: str, dropped: Counter[str]) -> Verdict:
        if text == sample.completion:
            return ACCEPTED
        if not text:
            return Verdict(False, "nothing_left", {"dropped": dict(dropped)})
        messages = (*sample.messages[:-1], Message("assistant", text))
        return Verdict(True, messages=messages)
