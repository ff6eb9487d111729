"""Terms that a completion must, or must not, contain."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from weave_async.records import ACCEPTED, Sample, Verdict


@dataclass(frozen=True, slots=True)
class RequiredValidator:
    """Whole words, case ignored: at least one of ``any``, each of ``all``, not one of ``none``."""

    any: list[str] = field(default_factory=list)
    all: list[str] = field(default_factory=list)
    none: list[str] = field(default_factory=list)

    @property
    def protected_terms(self) -> list[str]:
        """Noise keeps its hands off these, or it would break what is required here."""
        return [*self.any, *self.all]

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        if self.any and not _found(self.any, text):
            return Verdict(False, "none_of_required", {"any": self.any})
        if missing := [term for term in self.all if not _found([term], text)]:
            return Verdict(False, "required_missing", {"missing": missing})
        if forbidden := _found(self.none, text):
            return Verdict(False, "forbidden", {"found": forbidden})
        return ACCEPTED


def _found(terms: list[str], text: str) -> list[str]:
    return [
        term for term in terms if re.search(rf"(?<!\w){re.escape(term)}(?!\w)", text, re.IGNORECASE)
    ]
