"""Answers that must be SQL of a dialect."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weave_async.records import Sample
from weave_async.validation.sql import MAX_CHARS, SqlValidator

MakeSample = Callable[..., Sample]


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("SELECT a, count(*) FROM t WHERE b > 3 GROUP BY a;", ""),
        ("Here:\n```sql\nSELECT 1;\nDELETE FROM t\n```\nDone.", ""),
        ("WITH a AS (SELECT 1) SELECT * FROM a UNION SELECT 2", ""),
        ("(SELECT 1)", ""),
        ("VALUES (1), (2)", ""),
        ("CREATE TABLE t (a INT PRIMARY KEY)", ""),
        ("BEGIN; UPDATE t SET a = ? WHERE b = :b; COMMIT", ""),
        ("-- nothing", "no_code"),
        ("SELECT * FRM t", "syntax_error"),
        ("SELECT a FROM t WHERE", "syntax_error"),
        ("I don't know", "syntax_error"),
        ("hello world", "no_statement"),
        ("a = 1", "no_statement"),
        ("show me the money", "unchecked_statement"),
        ("```python\nx\n```", "no_code"),
        ("SELECT " + "(" * 20_000, "too_deep"),
        ("SELECT '" + "x" * MAX_CHARS + "'", "too_large"),
    ],
)
def test_each_statement_must_be_sql(make_sample: MakeSample, completion: str, reason: str) -> None:
    verdict = SqlValidator()(make_sample(completion))
    assert (verdict.passed, verdict.reason) == (not reason, reason)


def test_the_dialect_decides(make_sample: MakeSample) -> None:
    sample = make_sample("SELECT `a` FROM `t` LIMIT 5, 10")
    assert SqlValidator("mysql")(sample).passed
    assert SqlValidator("postgres")(sample).reason == "syntax_error"
    assert SqlValidator("postgres")(make_sample("```postgres\nSELECT 1\n```")).passed


def test_the_evidence_names_the_place(make_sample: MakeSample) -> None:
    verdict = SqlValidator()(make_sample("So:\n```sql\nSELECT a\nFROM t WHER x\n```"))
    assert (verdict.evidence["line"], verdict.evidence["near"]) == (4, "x")


def test_statements_that_are_read_by_their_first_word_can_be_allowed(
    make_sample: MakeSample,
) -> None:
    sample = make_sample("EXPLAIN SELECT 1")
    assert SqlValidator()(sample).evidence == {"begins": "EXPLAIN"}
    assert SqlValidator(allow_unchecked=True)(sample).passed


def test_a_dialect_that_is_not_known_is_refused_when_the_rule_is_built() -> None:
    with pytest.raises(ValueError, match="mysql"):
        SqlValidator("mysq")


def test_without_sqlglot_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"weave-async\[validation\]"):
        SqlValidator()


@given(
    st.lists(
        st.sampled_from(
            [
                "SELECT",
                "a",
                "FROM",
                "(",
                ")",
                ",",
                "'",
                '"',
                ";",
                "=",
                "--",
                "/*",
                "```",
                "\ud800",
                "é",
            ]
        )
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_answer_raises(make_sample: MakeSample, words: list[str]) -> None:
    SqlValidator("sqlite")(make_sample(" ".join(words)))


def test_an_unknown_dialect_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"nodialect.*Known: .*postgres"):
        SqlValidator("nodialect")
