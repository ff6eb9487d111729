"""The lock on meaning: what a noise makes of a text counts only if the text still says the same.

Protected spans are found before, and looked for afterwards. A noise that has broken a rule is tried
again, softer; after that the text stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from difflib import SequenceMatcher
from random import Random
from typing import Any, NamedTuple

from weave_async.interfaces import EditingNoise, Noise
from weave_async.noise.edits import Edit, Passage, applied
from weave_async.noise.spans import ProtectedSpans
from weave_async.records import TextChange

_PIECE = re.compile(r"\w+|\s+|[^\w\s]")
TRIES = 3
SOFTER = 0.5


class Varied(NamedTuple):
    """A text after a noise. ``broken`` names the rules that its tries have broken, in order: the
    text is the clean one where there are ``TRIES`` of them.
    """

    text: str
    changes: tuple[TextChange, ...]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeaningLock:
    """Varies texts with a noise, and sees to it that they keep their meaning."""

    spans: ProtectedSpans

    def vary(
        self,
        noise: Noise | EditingNoise,
        text: str,
        rng: Random,
        *,
        sample_seed: int = 0,
        terms: Sequence[str] = (),
    ) -> Varied:
        """The text as the noise leaves it. ``terms`` are protected in this text besides."""
        broken: list[str] = []
        passage = self.spans.passage(
            text, sample_seed, getattr(noise, "rewrites", frozenset()), extra_terms=terms
        )
        while len(broken) < TRIES:
            noisy, changes = applied(passage, _edits(noise, passage, rng))
            rule = self.broken_rule(text, noisy)
            if rule is None:
                return Varied(noisy, changes, tuple(broken))
            broken.append(rule)
            noise = softened(noise)
        return Varied(text, (), tuple(broken))

    def judged(self, noise: Any, clean: str, rewritten: str, terms: Sequence[str] = ()) -> Varied:
        """What a model has made of a text, if it still says the same; else the text."""
        rule = self.broken_rule(clean, rewritten)
        if rule is not None:
            return Varied(clean, (), (rule,))
        noisy, changes = applied(Passage(clean), edits_between(clean, rewritten))
        return Varied(noisy, changes)

    def broken_rule(self, clean: str, noisy: str) -> str | None:
        """The invariant that does not hold between the two, if there is one."""
        return None


def _edits(noise: Noise | EditingNoise, passage: Passage, rng: Random) -> list[Edit]:
    if hasattr(noise, "edits"):
        return [Edit(*edit) for edit in noise.edits(passage, rng)]
    edits = []
    for start, end in passage.free:
        free = passage.text[start:end]
        noisy = noise(free, rng)
        if noisy != free:
            edits += [
                Edit(start + edit.start, start + edit.end, edit.after)
                for edit in edits_between(free, noisy)
            ]
    return edits


def edits_between(clean: str, noisy: str) -> list[Edit]:
    """How one text becomes the other, word by word."""
    words, others = _pieces(clean), _pieces(noisy)
    starts = [0]
    for word in words:
        starts.append(starts[-1] + len(word))
    matcher = SequenceMatcher(None, words, others, autojunk=False)
    return [
        Edit(starts[i1], starts[i2], "".join(others[j1:j2]))
        for tag, i1, i2, j1, j2 in matcher.get_opcodes()
        if tag != "equal"
    ]


def softened(noise: Any) -> Any:
    """The same noise with half its ``rate``, where it has one; else itself: it draws anew."""
    if not is_dataclass(noise) or all(field.name != "rate" for field in fields(noise)):
        return noise
    varied: Any = noise
    return replace(varied, rate=varied.rate * SOFTER)


def _pieces(text: str) -> list[str]:
    return _PIECE.findall(text)
