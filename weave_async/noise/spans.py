"""Spans that noise must not touch: what carries the meaning, or breaks when a letter changes.

The kinds, by which a noise may ask for some of them in its ``rewrites``: ``number`` (with its unit
or currency; number words, too), ``date``, ``time``, ``url``, ``email``, ``path``, ``code`` (also
order numbers and the like), ``json``, ``placeholder``, ``markup``, ``quoted``, ``negator``,
``name``, ``acronym``, ``question`` (the last question mark), ``term`` (what a rule requires),
``label`` (values of the sample) and ``pattern`` (the user's).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import regex  # type: ignore[import-untyped]

from weave_async.noise.edits import Passage, Span
from weave_async.noise.marks import braced, capitalised, formulas, marked
from weave_async.noise.telling_words import telling_words

PATTERN_TIMEOUT_S = 0.05
"""For one of the user's patterns in one text: a pattern may take forever, and must not."""
_SHARE_OF_TITLES = 0.6


class ProtectedSpans:
    """Finds what may change in a text, and what may not.

    ``terms`` are matched as whole words in any case, ``patterns`` are regular expressions. Raises
    ``ValueError`` for one that does not compile.
    """

    def __init__(self, terms: Iterable[str] = (), patterns: Iterable[str] = ()) -> None:
        either = "|".join(re.escape(term) for term in sorted(terms, key=len, reverse=True) if term)
        # A look-ahead takes up no text: terms that overlap, or stand in other spans, all match.
        pattern = rf"(?<!\w)(?=({either})(?!\w))"
        self._terms = re.compile(pattern, re.IGNORECASE) if either else None
        self._patterns = [_compiled(pattern) for pattern in patterns]

    def passage(
        self,
        text: str,
        sample_seed: int = 0,
        rewrites: Collection[str] = (),
        extra_terms: Sequence[str] = (),
    ) -> Passage:
        """The text with what is protected in it, all but spans of the kinds in ``rewrites``.

        Those are the passage's ``rewritable``. ``extra_terms`` are protected in this text alone.
        Raises ``ValueError`` if a pattern takes too long on this text.
        """
        spans = self.found(text, extra_terms)
        if not rewrites:
            return Passage(text, _outermost(spans), sample_seed)
        wanted = _outermost([span for span in spans if span.kind in rewrites])
        rewritable = Passage(text, wanted)
        protected = _outermost(
            [
                span
                for span in spans
                if span.kind not in rewrites
                # The month of a date is capitalised, and no name.
                and (span.kind != "name" or rewritable.is_free(span.start, span.end))
            ]
        )
        passage = Passage(text, protected, sample_seed)
        free = [span for span in wanted if passage.is_free(span.start, span.end)]
        return Passage(text, protected, sample_seed, free)

    def found(self, text: str, extra_terms: Sequence[str] = ()) -> list[Span]:
        """All spans of all kinds, in no order; they may overlap."""
        spans: list[Span] = []  # what the user names comes first: of two kinds that one counts
        if self._terms is not None:
            spans += [Span(*match.span(1), "term") for match in self._terms.finditer(text)]
        if extra_terms:
            spans += _labels(text, extra_terms)
        for pattern in self._patterns:
            spans += _matches(pattern, text)
        return spans + built_in(text)


def built_in(text: str) -> list[Span]:
    """The spans that any text has, whatever its user has named."""
    spans = [*marked(text), *telling_words(text)]
    names = list(capitalised(text))
    if _tells_names_by_case(text, len(names)):
        spans += names
    if "$" in text or "\\" in text:
        spans += formulas(text)
    if "{" in text:
        spans += braced(text)
    last = text.rfind("?")
    if last >= 0 and not any(map(str.isalnum, text[last:])):
        spans.append(Span(last, last + 1, "question"))
    return spans


def _tells_names_by_case(text: str, num_names: int) -> bool:
    """Not in a text in capitals, nor in a title, where nearly every word has one."""
    return num_names < 3 or num_names < _SHARE_OF_TITLES * (text.count(" ") + 1)


def _labels(text: str, terms: Sequence[str]) -> Iterator[Span]:
    """Whole words, case ignored, without compiling a pattern for each sample."""
    lower = text.lower()
    if len(lower) != len(text):  # as with İ: offsets would shift
        lower = text
    for term in terms:
        wanted = term.lower() if lower is not text else term
        start = lower.find(wanted) if wanted else -1
        while start >= 0:
            end = start + len(wanted)
            if not (_is_word(text, start - 1) and _is_word(text, start)) and not (
                _is_word(text, end - 1) and _is_word(text, end)
            ):
                yield Span(start, end, "label")
            start = lower.find(wanted, end)


def _is_word(text: str, at: int) -> bool:
    return 0 <= at < len(text) and (text[at].isalnum() or text[at] == "_")


def _compiled(pattern: str) -> regex.Pattern[str]:
    try:
        return regex.compile(pattern)
    except regex.error as error:
        raise ValueError(f"pattern {pattern!r} does not compile: {error}") from None


def _matches(pattern: regex.Pattern[str], text: str) -> Iterator[Span]:
    try:
        for match in pattern.finditer(text, timeout=PATTERN_TIMEOUT_S):
            if match.end() > match.start():
                yield Span(match.start(), match.end(), "pattern")
    except TimeoutError:
        raise ValueError(
            f"the protected pattern {pattern.pattern!r} takes more than {PATTERN_TIMEOUT_S} s "
            f"on a text of {len(text)} characters: make it simpler"
        ) from None


def _outermost(spans: list[Span]) -> list[Span]:
    """The same stretches in order, without those that lie within another."""
    if len(spans) < 2:
        return spans
    kept: list[Span] = []
    end = -1
    for span in sorted(spans, key=_start_then_longest):
        if span.end > end:
            kept.append(span)
            end = span.end
    return kept


def _start_then_longest(span: Span) -> tuple[int, int]:
    return span.start, -span.end
