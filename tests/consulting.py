"""A ``Consult`` for tests of single rules: answers come from a function, questions are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from weave_async.records import Consulted, FinishReason, Message, Response, SamplingParams


@dataclass(frozen=True)
class Question:
    """One consultation as it was asked."""

    whom: Consulted
    messages: tuple[Message, ...]
    params: SamplingParams
    draw: int
    schema: Mapping[str, Any] | None

    @property
    def text(self) -> str:
        return self.messages[-1].content


@dataclass
class Adviser:
    """Answers as ``script`` says; remembers what it was asked."""

    script: Callable[[Question], str]
    finish_reason: FinishReason = "stop"
    asked: list[Question] = field(default_factory=list)

    async def __call__(
        self,
        whom: Consulted,
        messages: Sequence[Message],
        *,
        params: SamplingParams,
        draw: int = 0,
        schema: Mapping[str, Any] | None = None,
    ) -> Response:
        question = Question(whom, tuple(messages), params, draw, schema)
        self.asked.append(question)
        return Response(self.script(question), self.finish_reason)


def says(*texts: str) -> Adviser:
    """One answer after the other; the last one from then on."""
    left = list(texts)
    return Adviser(lambda question: left.pop(0) if len(left) > 1 else left[0])
