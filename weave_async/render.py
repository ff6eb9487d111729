"""Rows → prompts: the templates, filled from a row's columns and the attributes of one draw.

Templates are Jinja in its immutable sandbox, with no loader, and an undefined name is an error:
rows are values, never templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, UndefinedError, nodes
from jinja2.exceptions import SecurityError
from jinja2.meta import find_undeclared_variables
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from weave_async.conversations import conversation_of, is_conversation
from weave_async.errors import InputError, RecipeError
from weave_async.records import Message, Role, Row

MAX_PROMPT_CHARS = 1_000_000
MAX_INT_BITS = 10_000
DEFAULT_TEMPLATE = "{{ prompt if prompt is defined else text }}"
_WIDE_FORMAT = re.compile(r"\d{5}|\*")


class _Sandbox(ImmutableSandboxedEnvironment):
    """The immutable sandbox, in which a short expression cannot make a huge value either."""

    intercepted_binops = frozenset(["*", "**", "%"])

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=False)
        # A prompt must come out the same each time, or its answer would not be found again.
        del self.filters["random"], self.globals["lipsum"]

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "*" and max(_size(left, right), _size(right, left)) > MAX_PROMPT_CHARS:
            raise SecurityError(f"it repeats to more than {MAX_PROMPT_CHARS} items")
        if operator == "%" and isinstance(left, str) and _WIDE_FORMAT.search(left):
            raise SecurityError("its format is too wide")
        if operator == "**" and _num_bits(left, right) > MAX_INT_BITS:
            raise SecurityError(f"the power has more than {MAX_INT_BITS} bits")
        return super().call_binop(context, operator, left, right)


def _size(sequence: Any, times: Any) -> int:
    """Length of ``sequence * times``, where that is a repetition."""
    is_repetition = isinstance(sequence, str | bytes | list | tuple) and isinstance(times, int)
    return len(sequence) * times if is_repetition else 0


def _num_bits(base: Any, power: Any) -> int:
    """About how long ``base ** power`` is, where that is an integer."""
    return base.bit_length() * power if isinstance(base, int) and isinstance(power, int) else 0


class Renderer:
    """The turns of a prompt, compiled once. ``messages`` is called for every sample.

    ``turns`` are roles with their templates; ``example`` is the pair that shows one example, user
    and assistant. Without a ``template`` or ``turns``, a row is the prompt: its column ``prompt``
    or ``text``, or else the conversation in ``messages``.
    """

    def __init__(
        self,
        *,
        system: str | None = None,
        template: str | None = None,
        turns: Sequence[tuple[Role, str]] | None = None,
        example: tuple[str, str] | None = None,
    ) -> None:
        environment = _Sandbox()
        self.takes_conversations = template is None and turns is None
        if turns is None:
            named: list[tuple[Role, str, str]]
            named = [("user", template or DEFAULT_TEMPLATE, "prompts.template")]
            if system is not None:
                named.insert(0, ("system", system, "prompts.system"))
        else:
            named = [(role, text, f"prompts.messages[{i}]") for i, (role, text) in enumerate(turns)]
        self._turns = [_compile(environment, *turn) for turn in named]
        self._pair: list[_Turn] = []
        if example is not None:
            user, assistant = example
            self._pair = [
                _compile(environment, "user", user, "prompts.examples.user"),
                _compile(environment, "assistant", assistant, "prompts.examples.assistant"),
            ]
        names = _names_in(environment, *(source for _, source, _ in named))
        self.uses_columns = bool(names)
        self.shows_examples = bool(self._pair) or "examples" in names

    def messages(
        self, row: Row, attributes: Mapping[str, Any], examples: Sequence[Row] = ()
    ) -> tuple[Message, ...]:
        """The row's conversation, with ``examples`` only where a template writes them out.

        Raises ``InputError`` that names the row and what it lacks.
        """
        names = {**row.values, **attributes}
        if examples:
            names["examples"] = [example.values for example in examples]
        if self.takes_conversations and not {"prompt", "text"} & names.keys():
            messages = self._given(row, names)
        else:
            messages = [Message(t.role, _render(t, names, row.origin)) for t in self._turns]
        return tuple(messages)

    def with_examples(
        self,
        messages: tuple[Message, ...],
        examples: Sequence[Row],
        attributes: Mapping[str, Any],
    ) -> tuple[Message, ...]:
        """The conversation as it is sent: examples are turns of their own before the last one."""
        if not (examples and self._pair):
            return messages
        return (*messages[:-1], *self.shown(examples, attributes), messages[-1])

    def shown(self, examples: Sequence[Row], attributes: Mapping[str, Any]) -> list[Message]:
        """Examples as turns: what was asked and what was answered, one after the other."""
        return [
            Message(turn.role, _render(turn, {**example.values, **attributes}, example.origin))
            for example in examples
            for turn in self._pair
        ]

    def _given(self, row: Row, names: Mapping[str, Any]) -> list[Message]:
        """The conversation that the row holds; ours is the system turn, unless it has one."""
        if not is_conversation(row.values):
            raise InputError(
                f"{row.origin}: no column 'prompt' or 'text' to ask: say which with a template, "
                f"as {{{{ {next(iter(names), 'question')} }}}}. Columns: {', '.join(names)}"
            )
        try:
            messages = conversation_of(row.values)
        except ValueError as error:
            raise InputError(f"{row.origin}: {error}") from error
        if sum(len(message.content) for message in messages) > MAX_PROMPT_CHARS:
            raise _too_long(row.origin)
        if len(self._turns) > 1 and messages[0].role != "system":
            system = self._turns[0]
            messages.insert(0, Message("system", _render(system, names, row.origin)))
        return messages


@dataclass(frozen=True, slots=True)
class _Turn:
    """A template. ``pieces`` are its texts and names, where it is made of nothing else.

    Most templates are; joining their pieces takes a sixth of the time that Jinja takes.
    """

    role: Role
    template: Any
    pieces: tuple[tuple[bool, str], ...] | None


def _names_in(environment: ImmutableSandboxedEnvironment, *sources: str | None) -> set[str]:
    """The names that templates expect from outside."""
    parsed = [environment.parse(source) for source in sources if source is not None]
    return {name for tree in parsed for name in find_undeclared_variables(tree)}


def _compile(
    environment: ImmutableSandboxedEnvironment, role: Role, source: str, where: str
) -> _Turn:
    try:
        template = environment.from_string(source)
        return _Turn(role, template, _pieces_of(environment.parse(source)))
    except TemplateSyntaxError as error:
        raise RecipeError(f"{where}, line {error.lineno}: {error.message}") from error


def _pieces_of(tree: nodes.Template) -> tuple[tuple[bool, str], ...] | None:
    """(is a name, text or name) for each piece of a template that only fills names in."""
    pieces: list[tuple[bool, str]] = []
    for output in tree.body:
        if not isinstance(output, nodes.Output):
            return None
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                pieces.append((False, node.data))
            elif isinstance(node, nodes.Name):
                pieces.append((True, node.name))
            else:
                return None
    return tuple(pieces)


def _render(turn: _Turn, names: Mapping[str, Any], origin: str) -> str:
    if turn.pieces is not None:
        try:
            text = "".join([str(names[piece]) if named else piece for named, piece in turn.pieces])
        except KeyError:
            pass  # Jinja knows whether it is one of its own names, and what to say if not
        else:
            if len(text) > MAX_PROMPT_CHARS:
                raise _too_long(origin)
            return text.strip()
    return _render_by_jinja(turn.template, names, origin).strip()


def _render_by_jinja(template: Any, names: Mapping[str, Any], origin: str) -> str:
    pieces, num_chars = [], 0
    try:
        for piece in template.generate(names):
            pieces.append(piece)
            num_chars += len(piece)
            if num_chars > MAX_PROMPT_CHARS:
                raise _too_long(origin)
    except UndefinedError as error:
        known = ", ".join(sorted(names)) or "none"
        message = f"{origin}: template: {error.message}. Columns and attributes: {known}"
        raise InputError(message) from None
    except SecurityError as error:
        raise RecipeError(f"template refused: {error}") from error
    except _ERRORS_OF_TEMPLATES as error:
        raise InputError(f"{origin}: template: {error}") from error
    return "".join(pieces)


def _too_long(origin: str) -> InputError:
    return InputError(f"{origin}: the prompt has more than {MAX_PROMPT_CHARS} characters")


# What a template's own expressions may raise, besides Jinja's errors.
_ERRORS_OF_TEMPLATES = (
    TemplateError,
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    RecursionError,
    MemoryError,
)
