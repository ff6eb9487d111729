"""Into another language and back, by a model: what comes back says the same in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar

from weave_async.interfaces import Consult
from weave_async.noise.rewriting import Task, rewritten
from weave_async.records import Consulted

TRANSLATE = "Translate it into {language}, naturally and completely."


@dataclass(frozen=True, slots=True)
class BacktranslateNoise:
    """A model translates the text into a language and back: two requests for each text.

    ``pivot`` is that language, or several to draw one from; ``language`` is that of the text.
    ``endpoint`` and ``model`` say who is asked, as in ``generate.mix``; the first of the mix if
    absent.
    """

    pivot: str | list[str] = "German"
    language: str = "English"
    endpoint: str | None = None
    model: str | None = None
    temperature: float = 0.7
    consults: Sequence[Consulted] = field(init=False, repr=False)
    _pivots: list[str] = field(init=False, repr=False)

    checks_drift: ClassVar[bool] = True

    def __post_init__(self) -> None:
        pivots = [self.pivot] if isinstance(self.pivot, str) else self.pivot
        if not pivots or not all(each.strip() for each in (*pivots, self.language)):
            raise ValueError("pivot and language name languages: pivot: German, language: English")
        if self.language in pivots:
            raise ValueError(f"pivot is another language than that of the text, {self.language}")
        object.__setattr__(self, "consults", (Consulted(self.endpoint, self.model),))
        object.__setattr__(self, "_pivots", pivots)

    async def rewritten(self, text: str, rng: Random, consult: Consult) -> str:
        for language in (rng.choice(self._pivots), self.language):
            words = TRANSLATE.format(language=language)
            task = Task(self.consults[0], words, self.temperature)
            text = await rewritten(text, task, rng, consult)
        return text
