"""Terms that a completion must, or must not, contain."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict


@dataclass(frozen=True, slots=True)
class RequiredValidator:
    """Whole words, case ignored: at least one of ``any``, each of ``all``, not one of ``none``."""

    is_light: ClassVar[bool] = True

    any: list[str] = field(default_factory=list)
    all: list[str] = field(default_factory=list)
    none: list[str] = field(default_factory=list)
    _any: re.Pattern[str] = field(init=False, repr=False)
    _none: re.Pattern[str] = field(init=False, repr=False)
    _all: list[re.Pattern[str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_any", _one_of(self.any))
        object.__setattr__(self, "_none", _one_of(self.none))
        object.__setattr__(self, "_all", [_one_of([term]) for term in self.all])

    @property
    def protected_terms(self) -> list[str]:
        """Noise keeps its hands off these, or it would break what is required here."""
        return [*self.any, *self.all]

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        if self.any and not self._any.search(text):
            return Verdict(False, "none_of_required", {"any": self.any})
        found = zip(self.all, self._all, strict=True)
        if missing := [term for term, pattern in found if not pattern.search(text)]:
            return Verdict(False, "required_missing", {"missing": missing})
        if self.none and (forbidden := self._none.findall(text)):
            return Verdict(False, "forbidden", {"found": forbidden})
        return ACCEPTED


def _one_of(terms: list[str]) -> re.Pattern[str]:
    """Any of the terms as whole words, however they are spelled in case."""
    either = "|".join(re.escape(term) for term in terms)
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
