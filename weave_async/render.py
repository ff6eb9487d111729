"""Rows → prompts: the template, filled from a row's columns and the attributes of one draw.

Templates are Jinja in its immutable sandbox, with no loader, and an undefined name is an error:
rows are values, never templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from weave_async.errors import InputError, RecipeError
from weave_async.records import Message, Role, Row

MAX_PROMPT_CHARS = 1_000_000


class Renderer:
    """A system and a user template, compiled once. ``messages`` is called for every sample."""

    def __init__(self, *, system: str | None, template: str) -> None:
        environment = ImmutableSandboxedEnvironment(
            undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False
        )
        self._turns: list[tuple[Role, Any]] = []
        if system is not None:
            self._turns.append(("system", _compile(environment, system, "prompts.system")))
        self._turns.append(("user", _compile(environment, template, "prompts.template")))

    def messages(self, row: Row, attributes: Mapping[str, Any]) -> tuple[Message, ...]:
        """The conversation to send. Raises ``InputError`` that names the row and what it lacks."""
        names = {**row.values, **attributes}
        return tuple(
            Message(role, _render(template, names, row.origin)) for role, template in self._turns
        )


def _compile(environment: ImmutableSandboxedEnvironment, source: str, where: str) -> Any:
    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        raise RecipeError(f"{where}, line {error.lineno}: {error.message}") from error


def _render(template: Any, names: Mapping[str, Any], origin: str) -> str:
    try:
        text: str = template.render(names)
    except UndefinedError as error:
        known = ", ".join(sorted(names)) or "none"
        message = f"{origin}: template: {error.message}. Columns and attributes: {known}"
        raise InputError(message) from None
    except SecurityError as error:
        raise RecipeError(f"template refused: {error}") from error
    except (TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise InputError(f"{origin}: template: {error}") from error
    if len(text) > MAX_PROMPT_CHARS:
        raise InputError(
            f"{origin}: the prompt has {len(text)} characters, more than {MAX_PROMPT_CHARS}"
        )
    return text.strip()
