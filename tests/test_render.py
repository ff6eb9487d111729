"""Templates: rows fill them, and nothing gets out of them."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from weave_async.errors import InputError, RecipeError, WeaveError
from weave_async.records import Message, Row
from weave_async.render import MAX_PROMPT_CHARS, Renderer


def render(template: str, attributes: dict[str, Any] | None = None, **values: Any) -> str:
    renderer = Renderer(system=None, template=template)
    (message,) = renderer.messages(Row(values, "rows.jsonl:7"), attributes or {})
    return message.content


def test_columns_and_attributes_fill_the_template() -> None:
    shown = render(
        "{{ name }} asks, {{ tone }}: {{ order.parts | join(', ') }}?",
        {"tone": "cross"},
        name="Zoë 🦆",
        order={"parts": ["a", "b"]},
    )
    assert shown == "Zoë 🦆 asks, cross: a, b?"


def test_the_system_template_comes_first_and_sees_the_row_too() -> None:
    renderer = Renderer(system="You sell {{ goods }}.", template="Hello, {{ name }}!")
    row = Row({"goods": "tea", "name": "Ada"}, "rows.csv:2")
    assert renderer.messages(row, {}) == (
        Message("system", "You sell tea."),
        Message("user", "Hello, Ada!"),
    )


def test_without_a_system_template_there_is_no_system_turn() -> None:
    renderer = Renderer(system=None, template="Hi")
    assert renderer.messages(Row({}, "x:1"), {}) == (Message("user", "Hi"),)


def test_blanks_around_a_prompt_are_cut_and_nothing_is_escaped() -> None:
    assert render("\n  {{ x }} & <b>\n\n", x="'q' \"<i>\"") == "'q' \"<i>\" & <b>"


@pytest.mark.parametrize("value", ["x", " x ", 3, 2.50, None, True, ["a", {"b": None}], "é\n"])
def test_a_template_that_only_fills_in_says_what_jinja_would(value: Any) -> None:
    template = "A {{ x }}-{{x}}{# note #}\n{{ y }}\n"
    assert render(template, x=value, y="z") == render(
        template + "{% if 1 %}{% endif %}", x=value, y="z"
    )


def test_a_name_that_is_jinjas_own_is_filled_in_by_jinja() -> None:
    assert render("{{ range }} {{ x }}", x=1).startswith("<function safe_range")


def test_a_missing_column_names_the_row_and_the_known_columns() -> None:
    with pytest.raises(InputError) as caught:
        render("{{ nmae }}", {"tone": "cross"}, name="Ada", age=3)
    message = str(caught.value)
    assert message.startswith("rows.jsonl:7: template: 'nmae' is undefined")
    assert message.endswith("Columns and attributes: age, name, tone")


def test_a_missing_column_is_an_error_in_conditions_and_loops_too() -> None:
    for template in (
        "{% if nmae %}x{% endif %}",
        "{% for each in nmae %}x{% endfor %}",
        "{{ name.first }}",
        "{{ nmae ~ 'x' }}",
    ):
        with pytest.raises(InputError, match=r"^rows\.jsonl:7: template: "):
            render(template, name="Ada")


def test_an_optional_column_can_be_asked_for() -> None:
    assert render("{{ nmae | default('friend') }}{% if x is defined %}!{% endif %}") == "friend"


@pytest.mark.parametrize(
    "value",
    ["{{ 7 * 7 }}", "{% raw %}", "{% for x in y %}", "{# note #}", "{{ ''.__class__ }}", "{{"],
)
def test_rows_are_values_and_never_templates(value: str) -> None:
    assert render("Say: {{ x }}", x=value) == f"Say: {value}"
    assert render("Say: {{ x }}", {"x": value}) == f"Say: {value}"


@pytest.mark.parametrize(
    ("template", "line"),
    [("one\ntwo\n{{ x", 3), ("{% if x %}\n", 1), ("a\n{{ x | no_such_filter }}", 2)],
)
def test_a_mistake_in_a_template_names_the_template_and_the_line(template: str, line: int) -> None:
    with pytest.raises(RecipeError, match=rf"^prompts\.template, line {line}: "):
        Renderer(system=None, template=template)
    with pytest.raises(RecipeError, match=rf"^prompts\.system, line {line}: "):
        Renderer(system=template, template="fine")


ESCAPES = [
    "{{ ''.__class__.__mro__ }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ ''['__class__'] }}",
    "{{ ''|attr('__class__') }}",
    "{{ ''|attr('__cl' ~ 'ass__') }}",
    "{{ ['']|map(attribute='__class__')|list }}",
    "{{ ['']|map('attr', '__class__')|list }}",
    "{{ [row]|groupby('__class__') }}",
    "{{ [row]|sum(attribute='__class__') }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{{ joiner.__init__.__globals__ }}",
    "{{ namespace.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ lipsum.__globals__['os'].environ }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{{ range.__class__.__base__ }}",
    "{{ dict.__base__.__subclasses__() }}",
    "{{ (1).__class__.__bases__ }}",
    "{{ row.__init__.__func__.__globals__ }}",
    "{{ row.keys.__self__ }}",
    "{{ '{0.__class__}'.format('') }}",
    "{{ '{0.__class__.__mro__}'.format(row) }}",
    "{{ '{x.__class__}'.format_map({'x': row}) }}",
    "{{ '{0.__class__}'.format.__call__('') }}",
    "{{ ''|attr('format') }}{{ ('{0.__class__}'|attr('format'))('') }}",
    "{{ (['{0.__class__}']|map('attr', 'format')|first)(1) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(1) }}",
    "{% set f = '{0.__globals__}'.format %}{{ f(lipsum) }}",
    "{{ ''|format.__class__ }}",
    "{{ row|xmlattr.__init__ }}",
    "{% macro m() %}{% endmacro %}{{ m.__init__.__globals__ }}",
    "{% macro m() %}{{ caller.__globals__ }}{% endmacro %}{% call m() %}{% endcall %}",
    "{% for x in [1] %}{{ loop.__init__.__globals__ }}{% endfor %}",
    "{% set ns = namespace() %}{{ ns.__class__.__init__ }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.environ }}",
    "{% extends '/etc/passwd' %}",
    "{% from 'os' import environ %}",
    "{{ row.update({'secret': 1}) }}{{ row.secret }}",
    "{{ row.pop('name') }}",
    "{{ row.clear() }}",
    "{{ row.setdefault('x', 1) }}",
    "{{ tags.append('x') }}",
    "{{ tags.sort() }}",
    "{{ tags.__setitem__(0, 'x') }}",
    "{{ row.__setitem__('name', 'x') }}",
    "{% do tags.append('x') %}",
    "{% set tags.x = 1 %}",
]
SIGNS_OF_ESCAPE = (
    "<class",
    "__globals__",
    "built-in",
    "<module",
    "root:",
    "environ",
    "object at",
)


@pytest.mark.parametrize("template", ESCAPES)
def test_templates_cannot_leave_the_sandbox(template: str) -> None:
    row = {"name": "Ada"}
    tags = ["b", "a"]
    try:
        shown = render(template, row=row, tags=tags)
    except WeaveError:
        shown = ""  # refused
    assert not any(sign in shown for sign in SIGNS_OF_ESCAPE)
    assert row == {"name": "Ada"}
    assert tags == ["b", "a"]


@pytest.mark.parametrize(
    "template",
    [
        "{{ 5 | dictsort }}",
        "{{ x | sum }}",
        "{{ 1 / 0 }}",
        "{{ x[5] + 1 }}",
        "{{ 2.0 ** 5000 }}",
        "{{ range(10 ** 6) }}",
        "{{ 'x'.encode('no-such-codec') }}",
        "{{ '%d' % x }}",
        "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    ],
)
def test_whatever_goes_wrong_in_a_template_is_our_error_and_names_the_row(template: str) -> None:
    with pytest.raises(InputError, match=r"^rows\.jsonl:7: template: "):
        render(template, x="text")


def test_a_prompt_that_is_far_too_long_is_refused() -> None:
    assert len(render("{{ x }}", x="x" * MAX_PROMPT_CHARS)) == MAX_PROMPT_CHARS
    with pytest.raises(
        InputError, match=r"rows\.jsonl:7: the prompt has more than 1000000 characters"
    ):
        render("{{ x }}", x="x" * (MAX_PROMPT_CHARS + 1))


@pytest.mark.parametrize(
    "template",
    [
        "{{ 'x' * 10 ** 9 }}",
        "{{ 9 ** (9 ** 9) }}",
        "{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxx{% endfor %}{% endfor %}",
    ],
    ids=["repeat", "power", "loops"],
)
def test_a_greedy_template_is_refused_before_it_takes_time_and_memory(template: str) -> None:
    program = """
import resource, sys
from weave_async.errors import WeaveError
from weave_async.records import Row
from weave_async.render import Renderer
resource.setrlimit(resource.RLIMIT_AS, (768 << 20,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (2, 2))
try:
    Renderer(system=None, template=sys.argv[1]).messages(Row({}, "x:1"), {})
except WeaveError as error:
    print("refused:", error)
"""
    command = [sys.executable, "-c", program, template]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=20, env={**os.environ}
    )
    assert ended.stdout.startswith("refused:"), ended.stderr[-500:] or ended.returncode
