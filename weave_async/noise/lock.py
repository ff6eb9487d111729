"""The lock on meaning: what a noise makes of a text counts only if the text still says the same.

Protected spans are found before, and looked for afterwards. A noise that has broken a rule is tried
again, softer; after that the text stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from random import Random
from typing import Any, NamedTuple

from weave_async.interfaces import EditingNoise, Noise
from weave_async.noise.differences import edits_between
from weave_async.noise.edits import Edit, Passage, Span, applied
from weave_async.noise.invariants import AMOUNTS, broken_rule
from weave_async.noise.similarity import Similarity
from weave_async.noise.spans import ProtectedSpans
from weave_async.records import TextChange

TRIES = 3
SOFTER = 0.5
_MAX_GROWTH, _MAX_MORE_CHARS = 4, 1000


class Varied(NamedTuple):
    """A text after a noise. ``broken`` names the rules that its tries have broken, in order: the
    text is the clean one where there are ``TRIES`` of them.
    """

    text: str
    changes: tuple[TextChange, ...]
    broken: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeaningLock:
    """Varies texts with a noise, and sees to it that they keep their meaning.

    ``similarity`` judges noises that say of themselves, ``checks_drift: ClassVar[bool] = True``,
    that they change words: below ``floor`` (``None``: the default of the gate in use) a text has
    drifted away. Raises ``ValueError`` for a noise that does what none may: edits outside the text,
    edits that are none, or a text that grows beyond all measure.
    """

    spans: ProtectedSpans
    similarity: Similarity | None = None
    floor: float | None = None

    def vary(
        self,
        noise: Noise | EditingNoise,
        text: str,
        rng: Random,
        sample_seed: int = 0,
        extra_terms: Sequence[str] = (),
    ) -> Varied:
        """``extra_terms`` are protected in this text besides: values of its sample."""
        rewrites: frozenset[str] = getattr(noise, "rewrites", frozenset())
        checks_drift = getattr(noise, "checks_drift", False)
        passage = self.spans.passage(text, sample_seed, rewrites, extra_terms)
        broken: list[str] = []
        while len(broken) < TRIES:
            noisy, changes = applied(passage, _checked(_edits(noise, passage, rng), text))
            rule = self.broken_rule(
                text,
                noisy,
                changes=changes,
                rewrites=rewrites,
                checks_drift=checks_drift,
                day_first=getattr(noise, "day_first", None),
            )
            if rule is None:
                return Varied(noisy, changes, tuple(broken))
            broken.append(rule)
            noise = softened(noise)
        return Varied(text, (), tuple(broken))

    def compared(
        self, text: str, rewritten: str, noise: Any, extra_terms: Sequence[str] = ()
    ) -> Varied:
        """What ``vary`` returns after one try, for a text that was rewritten as a whole.

        Names, terms, code and the like must be in it again, wherever they stand now; numbers and
        dates by value: a model may well write ``two`` as ``2``.
        """
        if len(rewritten) > _MAX_GROWTH * len(text) + _MAX_MORE_CHARS:
            return Varied(text, (), ("grown",))
        rule = self.broken_rule(
            text,
            rewritten,
            spans=self.spans.found(text, extra_terms),
            rewrites=AMOUNTS | getattr(noise, "rewrites", frozenset()),
            checks_drift=getattr(noise, "checks_drift", True),
        )
        if rule is not None:
            return Varied(text, (), (rule,))
        noisy, changes = applied(Passage(text), edits_between(text, rewritten))
        return Varied(noisy, changes)

    def broken_rule(
        self,
        clean: str,
        noisy: str,
        *,
        changes: Sequence[TextChange] = (),
        spans: Iterable[Span] = (),
        rewrites: Collection[str] = (),
        checks_drift: bool = False,
        day_first: bool | None = None,
    ) -> str | None:
        """The rule of ``noise.invariants`` that does not hold between the two, or ``drifted``."""
        if noisy == clean:
            return None
        rule = broken_rule(
            clean, noisy, changes=changes, spans=spans, rewrites=rewrites, day_first=day_first
        )
        if rule is not None or not checks_drift or self.similarity is None:
            return rule
        floor = self.similarity.default_floor if self.floor is None else self.floor
        return None if self.similarity.of(clean, noisy) >= floor else "drifted"


def _edits(noise: Noise | EditingNoise, passage: Passage, rng: Random) -> Iterable[Any]:
    if hasattr(noise, "edits"):
        return noise.edits(passage, rng)
    return _edits_of_free_text(noise, passage, rng)


def _edits_of_free_text(noise: Noise, passage: Passage, rng: Random) -> Iterator[Edit]:
    """Those of a noise that is given the free stretches one by one, and returns them changed."""
    for start, end in passage.free:
        free = passage.text[start:end]
        noisy = noise(free, rng)
        if not isinstance(noisy, str):
            raise ValueError(f"a noise must return text, and returned {noisy!r:.80}")
        if len(noisy) > _MAX_GROWTH * len(free) + _MAX_MORE_CHARS:
            raise ValueError(f"{len(free)} characters became {len(noisy)}: no noise may do that")
        for edit in edits_between(free, noisy):
            yield Edit(start + edit.start, start + edit.end, edit.after)


def _checked(edits: Iterable[Any], text: str) -> list[Edit]:
    """The edits, if they are such; no more of them than a text of this length can have."""
    length = len(text)
    left = _MAX_GROWTH * length + _MAX_MORE_CHARS
    checked = []
    for made in edits:
        edit = _edit(made)
        if not 0 <= edit.start <= edit.end <= length:
            raise ValueError(f"{edit} is outside of the text's {length} characters")
        left -= 1 + len(edit.after)
        if left < 0:
            raise ValueError(f"a text of {length} characters grows beyond all measure")
        checked.append(edit)
    return checked


def _edit(made: Any) -> Edit:
    if type(made) is Edit and type(made.start) is type(made.end) is int and type(made.after) is str:
        return made
    raise ValueError(f"a noise must yield Edit(start, end, after), and yielded {made!r:.80}")


def softened(noise: Any) -> Any:
    """The same noise with half its ``rate``, where it has one; else itself: it draws anew."""
    if is_dataclass(noise) and any(field.name == "rate" for field in fields(noise)):
        rate: float = noise.rate  # type: ignore[union-attr]
        return replace(noise, rate=rate * SOFTER)  # type: ignore[type-var]
    return noise
