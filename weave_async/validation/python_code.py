"""Answers that must be Python."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from dataclasses import field as dataclass_field

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.fences import Block, NoCodeError, blocks_of
from weave_async.validation.texts import quoted

MAX_CHARS = 500_000
LANGUAGES = ("python", "py", "python3", "pycon")
_PROMPTS = (">>> ", "... ")


@dataclass(frozen=True, slots=True)
class PythonCodeValidator:
    """The code in the completion is Python, as far as its grammar goes: nothing is run.

    Code is what stands in fences (```` ```python ````, or those of no language where none is
    tagged), each block by itself; without any fence, the whole completion. ``must_define`` names
    the functions, classes and variables that the blocks must define between them, at their top
    level or, as ``Stack.push``, in a class: a lone word such as ``Yes`` is Python as well.
    """

    must_define: list[str] = dataclass_field(default_factory=list)

    def __post_init__(self) -> None:
        for name in self.must_define:
            if not all(part.isidentifier() for part in name.split(".")):
                raise ValueError(f"must_define: {name!r} is no name that Python could define")

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        if len(text) > MAX_CHARS:
            return Verdict(False, "too_large", {"chars": len(text), "max_chars": MAX_CHARS})
        try:
            blocks = blocks_of(text, LANGUAGES)
        except NoCodeError as error:
            return Verdict(False, error.reason, {"message": str(error)})
        if not any(block.code.strip() for block in blocks):
            return Verdict(False, "no_code", {"message": "nothing between the fences"})
        defined: set[str] = set()
        for block in blocks:
            try:
                defined.update(_defined(_parsed(block).body))
            except SyntaxError as error:
                return _syntax_error(error, block)
            except (RecursionError, MemoryError):  # MemoryError is the parser's own full stack
                return Verdict(False, "too_deep", {"line": block.first_line})
            except ValueError as error:  # a null byte, half a surrogate pair
                return Verdict(False, "not_python", {"message": quoted(str(error))})
        if missing := [name for name in self.must_define if name not in defined]:
            some = [quoted(name) for name in sorted(defined)[:20]]
            return Verdict(False, "not_defined", {"missing": missing, "defined": some})
        return ACCEPTED


def _parsed(block: Block) -> ast.Module:
    code = _without_prompts(block.code) if block.code.lstrip().startswith(">>> ") else block.code
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "\d" in a string is worth no rejection
        return ast.parse(code)


def _without_prompts(session: str) -> str:
    """The code of an interactive session, on its own lines; what was printed is left out."""
    return "\n".join(
        line[4:] if line.startswith(_PROMPTS) else "" for line in session.lstrip().split("\n")
    )


def _syntax_error(error: SyntaxError, block: Block) -> Verdict:
    line = error.lineno or 1
    told = {
        "line": block.first_line + line - 1,
        "message": quoted(error.msg),
        "text": quoted((error.text or "").strip()),
    }
    return Verdict(False, "syntax_error", told)


def _defined(body: Iterable[ast.stmt], within: str = "") -> Iterator[str]:
    """The names that these statements bind, also in their branches, and those in classes."""
    for statement in body:
        match statement:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield within + name
            case ast.ClassDef(name=name):
                yield within + name
                yield from _defined(statement.body, f"{within}{name}.")
            case ast.Assign(targets=targets):
                yield from (within + name for target in targets for name in _names(target))
            case ast.AnnAssign(target=target) if statement.value is not None:
                yield from (within + name for name in _names(target))
            case ast.If() | ast.For() | ast.While() | ast.With() | ast.Try() | ast.TryStar():
                for branch in ("body", "orelse", "finalbody"):
                    yield from _defined(getattr(statement, branch, ()), within)


def _names(target: ast.expr) -> Iterator[str]:
    """The names in the target of an assignment, also in ``a, (b, *c)``."""
    match target:
        case ast.Name(id=name):
            yield name
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            for element in elements:
                yield from _names(element)
        case ast.Starred(value=value):
            yield from _names(value)
