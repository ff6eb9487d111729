"""Answers that break off."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.code import without_code

Check = Literal["finish_reason", "fence", "bracket", "sentence", "item"]
TAIL_CHARS = 60

_FENCE = re.compile(r"^[ \t>]{0,12}(?:```|~~~)", re.MULTILINE)
_EMPTY_ITEM = re.compile(r"\n[ \t]{0,12}(?:[-*+•]|\d{1,3}[.)])\Z")
_BRACKET = re.compile(r"[()\[\]{}]")
_NO_BRACKET = re.compile(  # smileys that look like an opening one, and brackets that are quoted
    r"[:;=][,'’]?[ -]?[(\[{]+|\((?=[:;=])|([\"'])[()\[\]{}]{1,9}\1"
)
_LAST_WORD = re.compile(r"(?<![\w'’-])[a-z]+\Z")
_LINKING_WORDS = """
an and although but my nor onto or our than the their unless upon whereas whose your
"""
_LINKING = frozenset(_LINKING_WORDS.split())
"""Words that nobody ends with. Most that need another are left out: "who is it from", "yes it is",
"two each", "the answer is a" are whole."""
_SIGN_OFF = re.compile(r"\n[^\n,]{0,30},\Z")  # "Best regards,"


@dataclass(frozen=True, slots=True)
class TruncationValidator:
    """Refuses answers that break off.

    ``checks`` are the signs looked for: ``finish_reason`` (it ran into max_tokens), ``fence`` (a
    code fence that nobody closes), ``bracket`` (the same, outside code), ``sentence`` (it ends with
    a comma, or with an English word that needs another behind it, such as "the"), ``item`` (an item
    of a list with nothing in it). A missing full stop is no sign: people leave it out.
    """

    checks: list[Check] = field(default_factory=lambda: list(get_args(Check)))
    is_light: ClassVar[bool] = True

    def __call__(self, sample: Sample) -> Verdict:
        checks = self.checks
        finish_reason = sample.response.finish_reason if sample.response else None
        if "finish_reason" in checks and finish_reason == "length":
            evidence = {"max_tokens": sample.request.params.max_tokens}
            return Verdict(False, "cut_off", evidence)
        text = sample.completion.rstrip()
        tail = text[-TAIL_CHARS:]
        if "fence" in checks and len(_FENCE.findall(text)) % 2:
            return Verdict(False, "open_fence", {"tail": tail})
        prose = without_code(text)
        if "item" in checks and _EMPTY_ITEM.search(text):
            return Verdict(False, "dangling_item", {"tail": tail})
        if "sentence" in checks and _ends_within_a_sentence(prose):
            return Verdict(False, "mid_sentence", {"tail": tail})
        if "bracket" in checks and (bracket := _open_bracket(prose)):
            return Verdict(False, "open_bracket", {"bracket": bracket, "tail": tail})
        return ACCEPTED


def _ends_within_a_sentence(text: str) -> bool:
    text = text.rstrip()
    if text.endswith((",", "，", "、")):
        return not _SIGN_OFF.search(text)
    last = _LAST_WORD.search(text[-TAIL_CHARS:])
    return last is not None and last.start() > 0 and last.group() in _LINKING


def _open_bracket(text: str) -> str:
    """The innermost bracket of the last paragraph that is left open, if the text just stops there.

    Any closing bracket closes any other: ``[0, 1)`` is an interval.
    """
    if text.endswith((".", "!", "?", "…", ":")):
        return ""  # its author forgot about it: nothing is missing
    paragraph = text[text.rfind("\n\n") + 1 :]
    opened: list[str] = []
    for bracket in _BRACKET.findall(_NO_BRACKET.sub("", paragraph)):
        if bracket in "([{":
            opened.append(bracket)
        elif opened:
            opened.pop()
    return opened[-1] if opened else ""
