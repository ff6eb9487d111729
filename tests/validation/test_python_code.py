"""Answers that must be Python: judged by the grammar, never run, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weave_async.records import Sample
from weave_async.validation.python_code import MAX_CHARS, PythonCodeValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("def f(x):\n    return x", ""),
        ("Sure:\n\n```python\nx = 1\n```\n\nThat is all.", ""),
        ("```Python3\nx = 1\n```", ""),
        ("```{python}\nx = 1\n```", ""),
        ("Run:\n```bash\npip install x y\n```\nthen\n```python\nimport x\n```", ""),
        ("```\nx = 1\n```", ""),
        ("~~~py\nx = 1\n~~~", ""),
        ("````python\n'''\n```\n'''\n````", ""),
        ("1. First:\n   ```python\n   if x:\n       y()\n   ```", ""),
        ("```python\n>>> f(1)\n2 3 4\n>>> for x in y:\n...     f(x)\n```", ""),
        ('```python\nre.match("\\d", x)\n```', ""),
        ("match x:\n    case [1, *_]:\n        pass", ""),
        ("await f()", ""),
        ("That is easy.", "syntax_error"),
        ("```python\nprint 'x'\n```", "syntax_error"),
        ("```python\nx = 1\n```\n```python\nx = = 1\n```", "syntax_error"),
        ("```bash\nls\n```", "no_code"),
        ("```python\n\n```", "no_code"),
        ("```python\nx = 1", "unclosed_fence"),
        ("x = '\0'", "syntax_error"),
        ("x = '\ud800'", "not_python"),
        ("x" * (MAX_CHARS + 1), "too_large"),
    ],
)
def test_each_block_must_be_python(make_sample: MakeSample, completion: str, reason: str) -> None:
    verdict = PythonCodeValidator()(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_the_evidence_names_the_line_of_the_answer(make_sample: MakeSample) -> None:
    verdict = PythonCodeValidator()(make_sample("See:\n\n```python\nx = 1\ny = (2\n```"))
    assert verdict.evidence == {"line": 5, "message": "'(' was never closed", "text": "y = (2"}


CODE = """
import os as system

LIMIT: int = 3
unset: int
a, (b, *c) = 1, (2, 3)

class Stack:
    size = 0
    def push(self): inner = 1

if LIMIT:
    async def fetch(): ...
else:
    try:
        pass
    finally:
        closed = True
"""


@pytest.mark.parametrize(
    ("name", "is_defined"),
    [
        ("LIMIT", True),
        ("b", True),
        ("c", True),
        ("Stack", True),
        ("Stack.push", True),
        ("Stack.size", True),
        ("fetch", True),
        ("closed", True),
        ("unset", False),
        ("push", False),
        ("inner", False),
        ("Stack.pop", False),
    ],
)
def test_what_must_be_defined_is_looked_for_where_it_binds(
    make_sample: MakeSample, name: str, is_defined: bool
) -> None:
    verdict = PythonCodeValidator(must_define=[name])(make_sample(CODE))
    assert verdict.passed is is_defined
    if not is_defined:
        assert verdict.reason == "not_defined"
        assert verdict.evidence["missing"] == [name]
        assert "Stack.push" in verdict.evidence["defined"]


def test_a_name_may_be_defined_in_any_block(make_sample: MakeSample) -> None:
    answer = "```python\ndef f(): ...\n```\nand\n```python\ndef g(): ...\n```"
    assert PythonCodeValidator(must_define=["f", "g"])(make_sample(answer)).passed


def test_what_cannot_be_defined_is_refused_when_the_rule_is_built() -> None:
    with pytest.raises(ValueError, match="'2nd'"):
        PythonCodeValidator(must_define=["2nd"])


@pytest.mark.parametrize(
    "code",
    [
        "(" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        "-" * 100_000 + "1",
        "1+" * 100_000 + "1",
        "a" + ".a" * 100_000,
        "f" + "()" * 100_000,
        "lambda:" * 60_000 + "1",
        "if 1: pass\n" + "elif 1: pass\n" * 30_000,
        "{1:" * 100_000,
        "'" * 100_000,
        "9" * 100_000,
        "".join(" " * depth + "if 1:\n" for depth in range(500)),
    ],
)
def test_nesting_without_end_is_a_rejection(make_sample: MakeSample, code: str) -> None:
    verdict = PythonCodeValidator()(make_sample(code))
    assert verdict.reason in ("syntax_error", "too_deep", "not_python")


@given(st.text(st.sampled_from("`~ \n>.()[]{}:='\"\\defclassifx1_\0\ud800é"), max_size=200))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_raises(make_sample: MakeSample, completion: str) -> None:
    PythonCodeValidator(must_define=["f"])(make_sample(completion))
