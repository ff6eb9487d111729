"""Chat filler around an answer, and templates that were not filled in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from weave_async.records import ACCEPTED, Sample, Verdict
from weave_async.validation.code import without_code

Check = Literal["opener", "closer", "placeholder"]
OPENING_CHARS, CLOSING_CHARS = 200, 200

_GLAD = (
    r"(?:sure(?: thing)?|certainly|of course|absolutely|great question|no problem|okay|ok|got it)"
)
_OPENER = re.compile(
    rf"\A\W{{0,3}}(?:{_GLAD}[!,.:]{{1,2}} {{0,2}}(?:I(?:['’]d| would) be (?:happy|glad) to\b"
    r"|I(?:['’]ll| can| will)? ?(?:help|write|create|provide|rewrite|generate)"
    r"|here(?:['’]s|['’]re| is| are| you go)\b|below (?:is|are)\b)"
    r"|here(?:['’]s|['’]re| is| are)"  # a rewritten version of your email:
    r" (?:(?:a|an|the|my|your|one|some|two|three|five|ten|\d{1,2}) )?(?:[\w'’-]{1,20} ){0,6}?"
    r"(?:versions?|response|answer|draft|rewrite|translation|summary|paraphrases?|email)"
    r"\b[^.\n]{0,80}:"
    r"|I(?:['’]d| would) be (?:happy|glad) to help\b"
    r"|thank you for (?:your question|asking|reaching out)[.!,])",
    re.IGNORECASE,
)
_CLOSER = re.compile(
    r"\b(?:I hope (?:this|that|these|it) (?:help|answer|clarif|meets|is helpful)"
    r"|hope (?:this|that) helps\b"
    r"|let me know if (?:you(?:['’]d| would| have| need| want)|there(?:['’]s| is)|anything)"
    r"|(?:please )?(?:feel free|(?:do not|don['’]t) hesitate) to (?:ask|reach out|let me|contact)"
    r"|if you have any (?:other|more|further|additional)? ?questions"
    r"|is there anything else (?:I can|you(?:['’]d| would| need))"
    r"|would you like me to\b"
    r"|(?:note|disclaimer): (?:this|the above) (?:is|was) (?:generated|a (?:sample|template)))",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"\[(?:(?:your|insert|enter|recipient|sender|company|customer|client|user|first|last|full)"
    r"[ _'’/-][\w '’/-]{1,40}|(?:your |company |recipient )?(?:name|date|address|company|city))\]"
    r"(?![(\[:])"  # of Markdown's links
    r"|\{\{ ?[\w.|' -]{1,60}\}\}|<(?:your|insert|enter)[ _-][\w _-]{1,40}>"
    r"|\blorem ipsum\b|\bTODO: (?:write|add|fill|insert)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class BoilerplateValidator:
    """Refuses answers with what belongs to a chat and not to the answer.

    ``checks`` are what is looked for: ``opener`` ("Sure, here is …:"), ``closer`` ("I hope this
    helps!", near the end), ``placeholder`` (``[Your Name]``, ``{{name}}``, "Lorem ipsum"; not in
    code, and not where the prompt has the same one). Leave ``closer`` out where the answers are
    those of a support desk: people there do say such things.
    """

    checks: list[Check] = field(default_factory=lambda: list(get_args(Check)))
    is_light: ClassVar[bool] = True

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        if "opener" in self.checks and (match := _OPENER.search(text[:OPENING_CHARS])):
            return _refused("opener", match.group(), 0)
        tail = max(0, len(text) - CLOSING_CHARS)
        if "closer" in self.checks and (match := _CLOSER.search(text, tail)):
            return _refused("closer", match.group(), match.start())
        if "placeholder" in self.checks:
            for match in _PLACEHOLDER.finditer(without_code(text)):
                if not any(match.group() in message.content for message in sample.messages[:-1]):
                    return _refused("placeholder", match.group(), match.start())
        return ACCEPTED


def _refused(kind: str, phrase: str, at: int) -> Verdict:
    return Verdict(False, kind, {"phrase": phrase, "at": at})
