"""Answers that must be SQL."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.fences import Block, NoCodeError, blocks_of
from weave_async.validation.texts import quoted

MAX_CHARS = 100_000


@dataclass(frozen=True, slots=True)
class SqlValidator:
    """The code in the completion is SQL of a dialect, as far as its grammar goes: nothing is run.

    Code is what stands in fences (```` ```sql ````, or those of no language where none is tagged);
    without any fence, the whole completion. ``dialect`` is one that sqlglot knows (``postgres``,
    ``sqlite``, ``bigquery``); without it, what most of them understand passes. Of some statements
    (``SHOW``, ``EXPLAIN``, ``CREATE TRIGGER``) sqlglot reads only the first word, so that prose may
    pass for them: they are refused, unless ``allow_unchecked``.
    """

    dialect: str = ""
    allow_unchecked: bool = False

    def __post_init__(self) -> None:
        if importlib.util.find_spec("sqlglot") is None:
            raise ValueError(
                "SQL is read by sqlglot, which is not installed: "
                "pip install 'weave-async[validation]'"
            )
        try:
            _sqlglot().Dialect.get_or_raise(self.dialect)
        except ValueError as error:  # it says which may be meant, if any is like it
            known = ", ".join(sorted(filter(None, _sqlglot().Dialect.classes)))
            raise ValueError(f"{error} Known: {known}") from None

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        if len(text) > MAX_CHARS:
            return Verdict(False, "too_large", {"chars": len(text), "max_chars": MAX_CHARS})
        try:
            blocks = blocks_of(text, {"sql", self.dialect.partition(",")[0]})
        except NoCodeError as error:
            return Verdict(False, error.reason, {"message": str(error)})
        num_statements = 0
        for block in blocks:
            try:
                statements = _sqlglot().parse(block.code, dialect=self.dialect)
            except _sqlglot().errors.SqlglotError as error:
                return _syntax_error(error, block)
            except RecursionError:
                return Verdict(False, "too_deep", {"line": block.first_line})
            for statement in filter(None, statements):
                num_statements += 1
                if (refused := self._refused(statement)) is not None:
                    return refused
        if not num_statements:
            return Verdict(False, "no_code", {"message": "no statement"})
        return ACCEPTED

    def _refused(self, statement: Any) -> Verdict | None:
        exp = _sqlglot().exp
        kind = type(statement).__name__
        # sqlglot reads expressions, too: to it, `hello world` is a column with an alias.
        if isinstance(statement, exp.Condition | exp.Alias | exp.Identifier | exp.Tuple | exp.Star):
            return Verdict(False, "no_statement", {"kind": kind})
        if isinstance(statement, exp.Command) and not self.allow_unchecked:
            return Verdict(False, "unchecked_statement", {"begins": quoted(str(statement.this))})
        return None


def _syntax_error(error: Any, block: Block) -> Verdict:
    """``errors`` is there on a ``ParseError``; a ``TokenError`` has its message alone."""
    first: dict[str, Any] = next(iter(getattr(error, "errors", ())), {})
    message = first.get("description") or str(error)
    evidence: dict[str, Any] = {"message": quoted(message)}
    if first.get("line"):
        evidence |= {"line": block.first_line + first["line"] - 1, "column": first.get("col")}
        evidence["near"] = quoted(first.get("highlight") or "")
    return Verdict(False, "syntax_error", evidence)


@cache
def _sqlglot() -> ModuleType:
    import sqlglot  # loads slowly

    # It warns of each statement that it cannot read; the verdict says it.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    return sqlglot
