"""Which fields of a request a refusal says that the endpoint does not take.

Servers say it in a dozen ways: by a code beside a ``param``, by where a validator found something
extra, or in words only. Only what is said of the *field* counts. That a *value* is out of range
says that the endpoint does take the field, and the request stays refused; but a value that we made
up ourselves, such as the form of ``response_format``, is refused with its field.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .text import parse_json

REQUIRED = frozenset({"model", "messages", "prompt", "stream"})

_MOST_PARTS = 300
_LONGEST_TEXT = 2_000
_TEXT_KEYS = ("message", "msg", "detail", "error", "description", "title", "raw")
_ECHO_KEYS = frozenset({"input", "ctx", "headers", "body"})
"""What a server repeats of the request proves nothing."""
_UNTAKEN_CODES = frozenset(
    (
        *("unsupported_parameter", "unknown_parameter", "unrecognized_parameter"),
        *("extra_forbidden", "value_error.extra", "unrecognized_keys"),
    )
)
_ECHO_START = re.compile(
    r"""\binput_value=[{\[]|\\?["'](?:input|messages)\\?["']:\s?[{\[]|\\?["']prompt\\?["']:\s?\\?["']"""
)
"""Where a text goes on with what was sent: pydantic does so, and many a gateway."""
_ECHO_MARK_CHARS = range(20, 41)
"""So much of the beginning of a prompt tells it from a server's own words."""
_VALUE_CODES = frozenset({"unsupported_value", "invalid_value"})

# Bounded and possessive: an error is foreign text, and must not cost seconds.
_ONE = r"""["'`\\\[]{0,4}+[a-z_][\w.]{0,60}+["'`\\\]]{0,4}+"""
_SOME = rf"(?P<names>{_ONE}(?:(?:,\s?|\sand\s){_ONE}){{0,20}}+)"
_UNTAKEN = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:unsupported|unrecogni[sz]ed|unknown|unexpected|extraneous)\s"
        r"(?:request\s|keyword\s|input\s)?"
        r"(?:parameter|argument|param|field|property|propertie|name|key)s?(?:\(s\))?"
        rf"(?:\ssupplied|\sin object)?:?\s+{_SOME}",
        rf"\b(?:parameter|argument|param|field)s? not supported(?:\s[\w ]{{1,40}})?:\s*{_SOME}",
        rf"\bdoes not (?:currently )?support (?:the )?(?:parameters? |arguments? |fields? )?{_SOME}"
        r"(?!\s?(?:[0-9=]|values?\b|of\b))",
        rf"(?<!\w){_SOME}:?\s(?:is|are)\s(?:currently\s|also\s)?"
        r"(?:not\s(?:yet\s|currently\s)?(?:supported|permitted)|unsupported)\b(?!\sto\b)",
        rf"(?<!\w){_SOME}:\s*extra (?:inputs|fields) (?:are )?not permitted",
        rf"\({_SOME} (?:was|were) unexpected\)",
        rf"""extra_forbidden['"], ['"]loc['"]: [(\[]['"]body['"], (?P<names>{_ONE})""",
    )
]
_OUR_OWN = {
    "response_format": re.compile(
        r"response_?format|json[ _-]?(?:schema|mode|object)|structured[ _]output|grammar",
        re.IGNORECASE,
    ),
    "stream_options": re.compile(r"stream_?options", re.IGNORECASE),
    "n": re.compile(
        r"""["'`]n["'`]?\s?(?::|must|is|does|should)|\bn\s?(?:must|should|has to|[>=]=?\s?\d)"""
        r"""|\bone completion choice"""
        r"""|\b(?:number of|multiple) (?:choices|completions)""",
        re.IGNORECASE,
    ),
    "max_tokens": re.compile(r"\buse ['\"`]?max_completion_tokens", re.IGNORECASE),
    "max_completion_tokens": re.compile(r"\buse ['\"`]?max_tokens", re.IGNORECASE),
}
"""Fields of whose value we are the authors: any complaint about one is a complaint about it."""


def refused_fields(body: bytes, sent: Iterable[str]) -> list[str]:
    """The fields among ``sent`` that ``body`` says are not taken, in the order of ``sent``.

    Where ``sent`` are the fields with their values, what a server repeats of the prompt says
    nothing: else a row could talk the endpoint's other rows out of a parameter.
    """
    named: set[str] = set()
    texts: list[str] = []
    marks = _marks_of(sent) if isinstance(sent, Mapping) else []
    for part in _parts(body):
        named.update(map(_first_step, _located(part)))
        is_value = not _VALUE_CODES.isdisjoint(_codes(part))
        for whole in _texts(part):
            text = _before_echo(whole, marks)
            texts.append(text)
            if not is_value:
                named.update(map(_first_step, _in_words(text)))
        if (param := part.get("param")) and isinstance(param, str):
            texts.append(f"'{_first_step(param)}'")
    everything = "\n".join(texts)
    optional = [field for field in sent if field not in REQUIRED]
    return [
        field
        for field in optional
        if field in named or (field in _OUR_OWN and _OUR_OWN[field].search(everything))
    ]


def _marks_of(sent: Mapping[str, Any]) -> list[str]:
    """How the texts of a request begin."""
    messages = sent.get("messages")
    texts = [sent.get("prompt")]
    texts += [each.get("content") for each in messages or () if isinstance(each, dict)]
    marks = [text.strip()[: _ECHO_MARK_CHARS.stop - 1] for text in texts if isinstance(text, str)]
    return [mark for mark in marks if len(mark) in _ECHO_MARK_CHARS]


def _before_echo(text: str, marks: list[str]) -> str:
    """``text`` up to where it repeats the request, whole or cut."""
    if (start := _ECHO_START.search(text)) is not None:
        text = text[: start.start()]
    for mark in marks:
        text = text.partition(mark)[0]
    return text


def _parts(body: bytes) -> Iterator[Mapping[str, Any]]:
    """Every object in the body, also those that a gateway has packed into a text."""
    document = _opened(body)
    if not isinstance(document, (dict, list)):
        document = {"message": body.decode(errors="replace")}
    waiting: deque[Any] = deque([document])
    for _ in range(_MOST_PARTS):
        if not waiting:
            return
        part = waiting.popleft()
        if isinstance(part, list):
            waiting += part
        elif isinstance(part, dict):
            yield part
            waiting += (value for key, value in part.items() if key not in _ECHO_KEYS)
        elif isinstance(part, str) and part.lstrip()[:1] in ("{", "["):
            waiting.append(_opened(part.encode(errors="replace")))


def _opened(text: bytes) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return None


def _codes(part: Mapping[str, Any]) -> set[str]:
    return {code for key in ("code", "type") if isinstance(code := part.get(key), str)}


def _texts(part: Mapping[str, Any]) -> Iterator[str]:
    for key in _TEXT_KEYS:
        if isinstance(text := part.get(key), str):
            yield text[:_LONGEST_TEXT]


def _located(part: Mapping[str, Any]) -> Iterator[str]:
    """``param`` beside a code, or pydantic's ``loc``: ``["body", "stream_options"]``."""
    if _UNTAKEN_CODES.isdisjoint(_codes(part)):
        return
    if isinstance(param := part.get("param"), str):
        yield param
    if isinstance(location := part.get("loc"), list):
        yield from [step for step in location if isinstance(step, str) and step != "body"][:1]


def _in_words(text: str) -> Iterator[str]:
    for pattern in _UNTAKEN:
        for found in pattern.finditer(text):
            yield from re.findall(r"[a-z_][\w.]*", found["names"], re.IGNORECASE)


def _first_step(name: str) -> str:
    """``stream_options.include_usage`` → ``stream_options``; ``presencePenalty`` likewise."""
    name = re.split(r"[.\[]", name.removeprefix("body."), maxsplit=1)[0]
    return re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
