"""Rules of the user's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.records import Sample
from weave_async.validation.python import PythonValidator

MakeSample = Callable[..., Sample]
NAME = "weave_async.validation.python:PythonValidator"
RULES = """
from __future__ import annotations
from dataclasses import dataclass
from weave_async.records import ACCEPTED, Verdict

@dataclass
class Limit:
    words: int

def brief(text: str) -> bool:
    return len(text.split()) <= Limit(3).words

def told(text, at_most=3):
    if len(text.split()) > at_most:
        return "too_many_words"

def judged(sample):
    return ACCEPTED if sample.completion == "ok" else Verdict(False, "not_ok")

def nonsense(text):
    return 7

def silent(text):
    return ""

def other(answer): ...
def both(sample, text): ...
async def waits(text): ...
def yields(text): yield
"""


@pytest.fixture(autouse=True)
def _rules() -> None:
    Path("rules.py").write_text(RULES)


@pytest.mark.parametrize(
    ("function", "completion", "reason"),
    [
        ("brief", "one two three", ""),
        ("brief", "one two three four", "brief"),
        ("told", "one two three", ""),
        ("told", "one two three four", "too_many_words"),
        ("judged", "ok", ""),
        ("judged", "no", "not_ok"),
    ],
)
def test_a_function_in_a_file_judges(
    make_sample: MakeSample, function: str, completion: str, reason: str
) -> None:
    path = Path("rules.py").absolute()
    verdict = PythonValidator(f"{path}:{function}")(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_a_function_in_a_module_judges(
    make_sample: MakeSample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(".")
    Path("my_own_rules.py").write_text("def brief(text): return len(text) < 5\n")
    rule = registry.build("validator", NAME, {"": "my_own_rules:brief"})
    assert rule(make_sample("1234")).passed
    assert not rule(make_sample("12345")).passed


def test_the_field_says_which_text_it_gets(make_sample: MakeSample) -> None:
    sample = make_sample("a very long answer of many words", user="short")
    assert PythonValidator("rules.py:brief", field="prompt")(sample).passed
    assert not PythonValidator("rules.py:brief", field="both")(sample).passed


@pytest.mark.parametrize("function", ["nonsense", "silent"])
def test_an_answer_that_is_no_verdict_is_the_rules_fault(
    make_sample: MakeSample, function: str
) -> None:
    with pytest.raises(TypeError, match=f"rules.py:{function} must return"):
        PythonValidator(f"rules.py:{function}")(make_sample())


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("rules.py:breif", "no function 'breif'; it has: brief, told, judged"),
        ("rules.py:Limit", "'Limit' in rules.py is no function"),
        ("rules.py:other", r"called sample or text; it has \(answer\)"),
        ("rules.py:both", r"it has \(sample, text\)"),
        ("rules.py:waits", "plain function"),
        ("rules.py:yields", "plain function"),
        ("rules.py", "neither"),
        ("nowhere.py:f", "cannot read nowhere.py"),
        ("broken.py:f", "broken.py:2: invalid syntax"),
        ("raising.py:f", "raising.py:2: ZeroDivisionError"),
        ("leaving.py:f", "leaving.py:1: SystemExit"),
        ("null.py:f", "null.py"),
        ("no_such_module_here:f", "No module named 'no_such_module_here'"),
        ("math:floor", r"called sample or text; it has \(x\)"),
    ],
)
def test_what_is_no_rule_is_refused_when_it_is_built(rule: str, told: str) -> None:
    Path("broken.py").write_text("x = 1\ndef f(text: return 1\n")
    Path("raising.py").write_text("def f(text): return True\n1 / 0\n")
    Path("leaving.py").write_text("raise SystemExit(3)\n")
    Path("null.py").write_text("x = '\0'\n")
    with pytest.raises(RecipeError, match=told):
        registry.build("validator", NAME, {"": rule})


def test_a_file_that_was_changed_is_read_anew_and_nothing_is_written_beside_it(
    make_sample: MakeSample,
) -> None:
    assert PythonValidator("rules.py:brief")(make_sample("one two")).passed
    Path("rules.py").write_text(RULES.replace("Limit(3)", "Limit(1)"))
    assert not PythonValidator("rules.py:brief")(make_sample("one two")).passed
    assert [path.name for path in Path().iterdir()] == ["rules.py"]


def test_another_process_builds_the_same_rule() -> None:
    code = (
        "from weave_async.validation.python import PythonValidator\n"
        f"print(PythonValidator({str(Path('rules.py').absolute())!r} + ':brief')._function('a b'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
