"""Answers whose result must equal a known one."""

from __future__ import annotations

import importlib.util
import logging
import re
import threading
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from types import ModuleType
from typing import Any

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.texts import quoted

TIMEOUT_S = 3
"""For each of: reading the reference, reading the answer, comparing them."""
MAX_CHARS_READ = 5_000
"""Of the end of an answer, where its result stands."""
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
_WITH_UNIT = re.compile(
    r"[-+]?[$€£]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.?\d+)\s*(?:%|(?:\s*[^\W\d_]{2,}\.?){1,3})"
)
_WORDS = re.compile(r"[^\W\d_]+(?: [^\W\d_]+)*")
_TEX_WORDS = re.compile(r"\\(?:text|mathrm|textbf|mathbf|boxed|textit)\b|[{}()$*.,!]")


@dataclass(frozen=True, slots=True)
class MathValidator:
    r"""The completion's result equals the one in the column or attribute ``answer``.

    The result is the last ``\boxed{…}``, or what is called the answer, or else the last formula or
    number. Equal is what math-verify says is: ``1/2`` and ``0.5``, ``2\sqrt{3}`` and ``\sqrt{12}``;
    decimals are compared to so many ``decimals``. Of a reference with ``####`` in it, as GSM8K has,
    what follows that. A reference in words (``yes``, ``B``) must be the last ones of the answer.
    """

    answer: str = "answer"
    decimals: int = 6

    def __post_init__(self) -> None:
        if importlib.util.find_spec("math_verify") is None:
            raise ValueError(
                "results are compared by math-verify, which is not installed: "
                "pip install 'weave-async[validation]'"
            )
        if not 0 <= self.decimals <= 15:
            raise ValueError(f"decimals is 0 to 15, not {self.decimals}")

    @property
    def columns_read(self) -> list[str]:
        return [self.answer]

    def __call__(self, sample: Sample) -> Verdict:
        try:
            value = sample.prompt.value_of(self.answer)
        except KeyError:
            return Verdict(False, "no_such_field", {"field": self.answer})
        expected = _as_text(value)
        if expected is None:
            return Verdict(
                False, "no_reference", {"field": self.answer, "value": quoted(str(value))}
            )
        end = sample.completion[-MAX_CHARS_READ:].replace("−", "-")
        if _WORDS.fullmatch(expected):
            return _ends_in_words(end, expected)
        try:
            return self._compared(expected, end)
        except _math_verify().errors.TimeoutException:
            return Verdict(False, "too_slow", {"expected": quoted(expected)})
        except RecursionError:
            return Verdict(False, "too_deep", {"expected": quoted(expected)})
        except Exception as error:  # sympy raises anything on what it does not expect
            told = quoted(f"{type(error).__name__}: {error}")
            return Verdict(False, "not_comparable", {"expected": quoted(expected), "error": told})

    def _compared(self, expected: str, end: str) -> Verdict:
        reference = _parsed(_as_formula(expected))
        if not reference:
            return Verdict(False, "no_reference", {"field": self.answer, "value": quoted(expected)})
        result = _parsed(end)
        if not result:
            return Verdict(False, "no_result", {"expected": quoted(expected)})
        is_equal = _math_verify().verify(
            reference,
            result,
            float_rounding=self.decimals,
            timeout_seconds=_timeout_s(),
            raise_on_error=True,
        )
        if is_equal:
            return ACCEPTED
        # The last one is its text: to print a formula may take for ever.
        evidence = {"expected": quoted(expected), "found": quoted(str(result[-1]))}
        return Verdict(False, "wrong_result", evidence)


def _as_text(value: Any) -> str | None:
    """A reference as it stands in a row; ``None`` where it can be no result."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).rpartition("####")[2].strip().replace("−", "-")
    if _NUMBER.fullmatch(text):
        return format(Decimal(text), "f")
    return text or None


def _as_formula(expected: str) -> str:
    """In dollars, unless it has some already or is a number with a unit: `72 apples`."""
    is_marked = "$" in expected or "\\boxed" in expected or "\\(" in expected or "\\[" in expected
    return expected if is_marked or _WITH_UNIT.fullmatch(expected) else f"${expected}$"


def _ends_in_words(end: str, expected: str) -> Verdict:
    said = " ".join(_TEX_WORDS.sub(" ", end.casefold()).split())
    wanted = " ".join(expected.casefold().split())
    if said == wanted or said.endswith(f" {wanted}"):
        return ACCEPTED
    return Verdict(
        False, "wrong_result", {"expected": quoted(expected), "found": quoted(said[-40:])}
    )


def _parsed(text: str) -> list[Any]:
    """What may be the result, as a formula and as text; empty if there is nothing like one."""
    found: list[Any] = _math_verify().parse(text, parsing_timeout=_timeout_s(), raise_on_error=True)
    return found


def _timeout_s() -> int | None:
    """It sets an alarm, which only a main thread can have; elsewhere whoever calls must watch."""
    return TIMEOUT_S if threading.current_thread() is threading.main_thread() else None


@cache
def _math_verify() -> ModuleType:
    import math_verify  # type: ignore[import-untyped]  # loads sympy
    import math_verify.errors  # type: ignore[import-untyped]

    # It tells of each time-out, and of having none; the verdict says the first.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    module: ModuleType = math_verify
    return module
