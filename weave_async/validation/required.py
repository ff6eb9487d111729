"""Terms that a text must, or must not, contain."""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import ClassVar

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.texts import text_of
from weave_async.validation.turns import Field


@dataclass(frozen=True, slots=True)
class RequiredValidator:
    """Whole words, case ignored: at least one of ``any``, each of ``all``, not one of ``none``.

    ``min_count`` is how often those of ``any``, taken together, must stand in the text, and how
    often each of ``all``. ``field`` is where: the completion, the prompt (all turns before it), or
    both.
    """

    is_light: ClassVar[bool] = True

    any: list[str] = dataclass_field(default_factory=list)
    all: list[str] = dataclass_field(default_factory=list)
    none: list[str] = dataclass_field(default_factory=list)
    min_count: int = 1
    field: Field = "completion"
    _any: re.Pattern[str] = dataclass_field(init=False, repr=False)
    _none: re.Pattern[str] = dataclass_field(init=False, repr=False)
    _all: list[re.Pattern[str]] = dataclass_field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.min_count < 1:
            raise ValueError(f"min_count is 1 or more, not {self.min_count}")
        terms = [*self.any, *self.all, *self.none]
        if not all(term.strip() for term in terms):
            raise ValueError("an empty term stands in every text")
        object.__setattr__(self, "_any", one_of(self.any))
        object.__setattr__(self, "_none", one_of(self.none))
        object.__setattr__(self, "_all", [one_of([term]) for term in self.all])

    @property
    def protected_terms(self) -> list[str]:
        """Noise keeps its hands off these, or it would break what is required here."""
        return [*self.any, *self.all]

    def __call__(self, sample: Sample) -> Verdict:
        text = text_of(sample, self.field)
        if self.any and not self._is_enough(self._any, text):
            return Verdict(False, "none_of_required", {"any": self.any})
        found = zip(self.all, self._all, strict=True)
        if missing := [term for term, pattern in found if not self._is_enough(pattern, text)]:
            return Verdict(False, "required_missing", {"missing": missing})
        if self.none and (forbidden := self._none.findall(text)):
            return Verdict(False, "forbidden", {"found": forbidden[:20]})
        return ACCEPTED

    def _is_enough(self, pattern: re.Pattern[str], text: str) -> bool:
        if self.min_count == 1:
            return pattern.search(text) is not None
        return sum(1 for _ in pattern.finditer(text)) >= self.min_count


def one_of(terms: list[str]) -> re.Pattern[str]:
    """Any of the terms as whole words, however they are spelled in case.

    Where one begins like another (``very good``, ``very``), the longer one is found.
    """
    longest_first = sorted(terms, key=len, reverse=True)
    either = "|".join(re.escape(term) for term in longest_first)
    return re.compile(rf"(?<!\w)(?:{either})(?!\w)", re.IGNORECASE)
