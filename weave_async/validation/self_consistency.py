"""Asked again, does the model come to the same answer?"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import regex  # type: ignore[import-untyped]

from weave_async.flow.together import together
from weave_async.interfaces import Consult
from weave_async.records import Consulted, Sample, Verdict

MAX_DRAWS = 50
MAX_LOOKED_AT_CHARS = 20_000
"""Of the end of an answer: that is where its result stands."""
MAX_SHOWN_CHARS = 80
MATCH_WITHIN_S = 0.05
_NUMBER = re.compile(r"(?<![\w.])-?\d{1,3}(?:,\d{3})+(?:\.\d+)?|(?<![\w.,])-?\d+(?:\.\d+)?")
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9][0-9,]*(?:\.[0-9]+)?")
_BOXED = "\\boxed{"


@dataclass(frozen=True, slots=True)
class SelfConsistencyValidator:
    """The prompt is asked ``draws`` more times, and the answer must be the majority's.

    Answers are compared by what ``extract`` finds in them: their ``last_number``, what stands in
    their last ``\\boxed{}``, the ``whole`` text (case and spaces ignored), or what ``pattern``
    matches last (its first group, if it has one), with ``regex``. The answer must be more frequent
    than any other, and be that of at least ``min_share`` of all, itself counted. ``endpoint`` and
    ``model`` say who is asked, as in ``generate.mix``; the first of the mix if absent.
    ``max_tokens`` is that of the first answer, if absent.
    """

    draws: int = 4
    extract: Literal["last_number", "boxed", "whole", "regex"] = "last_number"
    pattern: str | None = None
    min_share: float = 0.5
    temperature: float = 0.8
    endpoint: str | None = None
    model: str | None = None
    max_tokens: int | None = None
    consults: Sequence[Consulted] = field(init=False, repr=False)
    _pattern: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.draws <= MAX_DRAWS:
            raise ValueError(f"draws must be 1 to {MAX_DRAWS}, not {self.draws}")
        if not 0 <= self.min_share <= 1:
            raise ValueError(f"min_share must be between 0 and 1, not {self.min_share:g}")
        if (self.extract == "regex") != (self.pattern is not None):
            raise ValueError("pattern goes with extract: regex, and extract: regex needs one")
        compiled = None
        if self.pattern is not None:
            try:
                compiled = regex.compile(self.pattern)
            except regex.error as error:
                raise ValueError(f"{self.pattern!r} is no pattern: {error}") from error
        object.__setattr__(self, "consults", (Consulted(self.endpoint, self.model),))
        object.__setattr__(self, "_pattern", compiled)

    async def verdict(self, sample: Sample, consult: Consult) -> Verdict:
        own = self.extracted(sample.completion)
        if own is None:
            return Verdict(False, "no_answer", {"extract": self.extract})
        others = await together(
            self._asked_again(sample, consult, draw) for draw in range(self.draws)
        )
        votes = Counter([own, *(other for other in others if other is not None)])
        share = votes[own] / (self.draws + 1)
        evidence = {
            "answer": own[:MAX_SHOWN_CHARS],
            "share": round(share, 3),
            "votes": {answer[:MAX_SHOWN_CHARS]: n for answer, n in votes.most_common(5)},
        }
        most_of_others = max((n for answer, n in votes.items() if answer != own), default=0)
        if votes[own] < most_of_others:
            return Verdict(False, "minority", evidence)
        if votes[own] == most_of_others or share < self.min_share:
            return Verdict(False, "no_majority", evidence)
        return Verdict(True, evidence=evidence)

    async def _asked_again(self, sample: Sample, consult: Consult, draw: int) -> str | None:
        request = sample.request
        params = replace(
            request.params,
            temperature=self.temperature,
            max_tokens=self.max_tokens or request.params.max_tokens,
            seed=None,  # one of this draw's own is sent
        )
        response = await consult(
            self.consults[0],
            request.messages,
            params=params,
            draw=draw,
            schema=request.schema,
        )
        return self.extracted(response.text)

    def extracted(self, text: str) -> str | None:
        """What counts of an answer, in a form that equal results share; ``None`` if it has none."""
        text = text[-MAX_LOOKED_AT_CHARS:]
        if self.extract == "whole":
            return " ".join(text.casefold().split()) or None
        if self.extract == "boxed":
            return _normalised(_last_boxed(text))
        if self.extract == "last_number":
            return _normalised(_last(_NUMBER.findall(text)))
        try:
            found = [m[1] if m.re.groups else m[0] for m in self._matches(text)]
        except TimeoutError:
            return None
        return _normalised(_last(found))

    def _matches(self, text: str) -> list[Any]:
        return list(self._pattern.finditer(text, timeout=MATCH_WITHIN_S))


def _last(found: Sequence[str | None]) -> str | None:
    return next((each for each in reversed(found) if each), None)


def _last_boxed(text: str) -> str | None:
    """What stands between the braces of the last ``\\boxed{…}`` that is closed."""
    start = text.rfind(_BOXED)
    if start < 0:
        return None
    depth = 0
    for end in range(start + len(_BOXED) - 1, len(text)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[start + len(_BOXED) : end]
    return None


def _normalised(found: str | None) -> str | None:
    """``1,200.0`` and ``1200`` are one number; of other results, only spaces do not count."""
    if found is None:
        return None
    text = "".join(found.replace("$", "").split())
    if not _WHOLE_NUMBER.fullmatch(text):
        return text or None
    whole, _, fraction = text.lstrip("+-").replace(",", "").partition(".")
    digits = f"{whole.lstrip('0') or '0'}.{fraction.rstrip('0')}".rstrip(".")
    return f"-{digits}" if text.startswith("-") and digits != "0" else digits
