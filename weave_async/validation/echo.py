"""Answers that repeat what the model was shown: the prompt, the system prompt, the examples."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from weave_async.records import ACCEPTED, Message, Sample, Verdict

RUN_WORDS = 8
"""Words in a row that two texts seldom share by chance."""
MAX_SHOWN_CHARS = 100

_WORD = re.compile(r"\w+(?:['’]\w+)*")
_TEMPLATE = re.compile(
    r"<\|(?:im_start|im_end|im_sep|endoftext|end_of_text|begin_of_text|eot_id|eom_id"
    r"|start_header_id|end_header_id|system|user|assistant|end)\|>"
    r"|<(?:start|end)_of_turn>|<<SYS>>|\[/?INST\]|</s>\s*\Z|\A<s>|<｜[^\n｜]{1,40}｜>"
    r"|^(?:Human|H) ?:|^#{2,3} (?:Instruction|Response|Input|Human|Assistant) ?:"
    r"|\A(?:User|Assistant|AI|Bot|System|Answer from assistant) ?:",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class EchoValidator:
    """Refuses answers that repeat what the model was shown.

    Compared are runs of eight words. ``max_prompt_share`` bounds the share of the answer's words
    that stand in runs of the last user turn: raise it to 1 where answers are to keep most of their
    prompt, as in corrections. An answer with ``system_words`` words in a row from the system prompt
    is refused, and so is one with ``max_example_share`` of its words from an example that was sent
    along and is no part of the sample. 0 switches ``system_words`` off. Remains of chat templates
    (``<|im_start|>``, "Human:") are refused where the prompt has none.
    """

    max_prompt_share: float = 0.6
    max_example_share: float = 0.6
    system_words: int = 15
    is_light: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("max_prompt_share", "max_example_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)} must be between 0 and 1")
        if self.system_words and self.system_words < RUN_WORDS:
            raise ValueError(
                f"system_words {self.system_words} must be at least {RUN_WORDS}, or 0 for off"
            )

    def __call__(self, sample: Sample) -> Verdict:
        text = sample.completion
        for match in _TEMPLATE.finditer(text):
            if not any(match.group().strip() in each.content for each in sample.messages[:-1]):
                evidence = {"found": match.group().strip(), "at": match.start()}
                return Verdict(False, "chat_template", evidence)
        words = _words(text)
        if len(words) < RUN_WORDS:
            return ACCEPTED
        return self._repetition(sample, words)

    def _repetition(self, sample: Sample, words: list[str]) -> Verdict:
        asked = [each for each in sample.messages[:-1] if each.role == "user"][-1:]
        for message in asked:
            share, _ = _shared(words, _words(message.content))
            if share > self.max_prompt_share:
                evidence = {"share": round(share, 3), "max_prompt_share": self.max_prompt_share}
                return Verdict(False, "repeats_prompt", evidence)
        for message in _of_role(sample.request.messages, "system") if self.system_words else ():
            _, longest = _shared(words, _words(message.content))
            if longest >= self.system_words:
                evidence = {"words": longest, "system_words": self.system_words}
                return Verdict(False, "repeats_system_prompt", evidence)
        shown = {(each.role, each.content) for each in sample.prompt.messages}
        for message in _of_role(sample.request.messages, "assistant"):
            if (message.role, message.content) in shown:
                continue  # a turn of the conversation
            share, _ = _shared(words, _words(message.content))
            if share > self.max_example_share:
                start = message.content[:MAX_SHOWN_CHARS]
                return Verdict(
                    False, "repeats_example", {"share": round(share, 3), "example": start}
                )
        return ACCEPTED


def _of_role(messages: Iterable[Message], role: str) -> list[Message]:
    return [message for message in messages if message.role == role]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _shared(words: list[str], others: list[str]) -> tuple[float, int]:
    """The share of ``words`` within runs that ``others`` have too, and the longest such stretch."""
    if len(others) < RUN_WORDS or len(words) < RUN_WORDS:
        return 0.0, 0
    runs = {tuple(others[at : at + RUN_WORDS]) for at in range(len(others) - RUN_WORDS + 1)}
    covered = longest = stretch = covered_to = 0
    for at in range(len(words) - RUN_WORDS + 1):
        if tuple(words[at : at + RUN_WORDS]) not in runs:
            stretch = 0
            continue
        end = at + RUN_WORDS
        covered += end - max(at, covered_to)
        covered_to = end
        stretch = stretch + 1 if stretch else RUN_WORDS
        longest = max(longest, stretch)
    return covered / len(words), longest
