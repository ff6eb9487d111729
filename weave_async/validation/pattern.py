"""A user's own patterns, which may be worse than he knows.

Python's ``re`` holds the interpreter's lock while it searches, and on ``(a+)+$`` it does so for
minutes: no thread and no task could go on. ``regex`` gives up in time, and lets others run.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any

import regex  # type: ignore[import-untyped]

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.turns import Field, turns

MAX_PATTERN_CHARS = 10_000
MAX_REPEATS = 1_000_000
"""What the counts in a pattern may multiply to: ``((a{1000}){1000}){1000}`` would be unrolled into
all the memory there is."""
MAX_SHOWN_CHARS = 100
_COUNT = regex.compile(r"\{(\d{1,9})(?:,\d*)?\}")


@dataclass(frozen=True, slots=True)
class PatternValidator:
    """Regular expressions (as of the module ``regex``) that a text must match, or must not.

    Each of ``match`` has to be found somewhere in ``field``, and none of ``forbid``. Write ``^…$``
    for the whole text, ``(?i)`` in front to ignore case, ``(?s)`` to let ``.`` match line breaks.
    ``prompt`` is searched turn by turn. ``timeout_s`` bounds the CPU time of all searches in one
    sample: a row on which a pattern runs wild is refused as ``pattern_timed_out``.
    """

    match: str | list[str] = dataclasses.field(default_factory=list)
    forbid: str | list[str] = dataclasses.field(default_factory=list)
    field: Field = "completion"
    timeout_s: float = 0.05
    _match: list[Any] = dataclasses.field(init=False, repr=False)
    _forbid: list[Any] = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_match", _compiled(self.match, "match"))
        object.__setattr__(self, "_forbid", _compiled(self.forbid, "forbid"))
        if not self._match and not self._forbid:
            raise ValueError("name a pattern under 'match' or 'forbid'")
        if not 0 < self.timeout_s <= 1:
            raise ValueError(f"timeout_s {self.timeout_s} must be above 0 and at most 1")

    def __call__(self, sample: Sample) -> Verdict:
        texts = [message.content for _, message in turns(sample, self.field)]
        deadline_s = time.process_time() + self.timeout_s
        searched = ""
        try:
            for pattern, text in product(self._forbid, texts):
                searched = pattern.pattern
                if found := _search(pattern, text, deadline_s):
                    shown = found.group()[:MAX_SHOWN_CHARS]
                    evidence = {"pattern": searched, "found": shown, "at": found.start()}
                    return Verdict(False, "pattern_forbidden", evidence)
            for pattern in self._match:
                searched = pattern.pattern
                if not any(_search(pattern, text, deadline_s) for text in texts):
                    return Verdict(False, "pattern_missing", {"pattern": searched})
        except TimeoutError:
            evidence = {"pattern": searched, "timeout_s": self.timeout_s}
            return Verdict(False, "pattern_timed_out", evidence)
        return ACCEPTED


def _search(pattern: Any, text: str, deadline_s: float) -> Any:
    """The first match or ``None``. Raises ``TimeoutError``, by the clock that ``regex`` reads, too:
    CPU time of this process, so that a busy machine times nobody out."""
    left_s = deadline_s - time.process_time()
    if left_s <= 0:
        raise TimeoutError
    return pattern.search(text, timeout=left_s, concurrent=True)


def _compiled(patterns: str | list[str], option: str) -> list[Any]:
    compiled = []
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        if not pattern:
            raise ValueError(f"{option}: an empty pattern is found in every text")
        if len(pattern) > MAX_PATTERN_CHARS:
            raise ValueError(
                f"{option}: a pattern has {len(pattern)} characters, at most {MAX_PATTERN_CHARS}"
            )
        if prod(int(count) or 1 for count in _COUNT.findall(pattern)) > MAX_REPEATS:
            raise ValueError(
                f"{option}: the counts in {pattern[:50]!r} multiply to more than {MAX_REPEATS}"
            )
        try:
            compiled.append(regex.compile(pattern))
        except RecursionError:
            raise ValueError(f"{option}: {pattern[:50]!r}… is nested too deep") from None
        except regex.error as error:
            at = f" at position {error.pos}" if error.pos is not None else ""
            raise ValueError(f"{option}: {pattern!r} is no pattern: {error.msg}{at}") from None
    return compiled
