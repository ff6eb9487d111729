"""The same in other words, by a model: paraphrases, and other registers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import ClassVar, Literal

from weave_async.interfaces import Consult
from weave_async.noise.rewriting import Task, rewritten
from weave_async.records import Consulted

STYLES: Mapping[str, str] = {
    "reworded": "Say the same in other words, with another sentence structure, at the same length.",
    "shorter": "Say the same in fewer words. Leave out no fact.",
    "longer": "Say the same in more words, as somebody who explains themselves at length. Add no "
    "fact.",
    "simpler": "Say the same in simple words and short sentences.",
    "indirect": "Say the same less directly: a question becomes a remark on what one would like to "
    "know, a request becomes a hint at it.",
    "direct": "Say the same as directly as possible, without any courtesy around it.",
    "spoken": "Say the same as one would say it aloud, unrehearsed, to somebody one knows.",
}
REGISTERS: Mapping[str, str] = {
    "formal": "Write it in a formal register, as in a letter to an authority.",
    "informal": "Write it in an informal register, as in a chat with a friend.",
    "polite": "Write it as a very polite person would.",
    "terse": "Write it as somebody in a hurry would: as few words as will do.",
    "child": "Write it as a ten-year-old child would, with the words of one.",
    "learner": "Write it as somebody would who is still learning the language: plain words, simple "
    "grammar, understandable.",
    "expert": "Write it as an expert would to another one, with the terms of the trade.",
    "upset": "Write it as somebody would who is annoyed, without insults.",
}

Style = Literal["reworded", "shorter", "longer", "simpler", "indirect", "direct", "spoken"]
Register = Literal["formal", "informal", "polite", "terse", "child", "learner", "expert", "upset"]


@dataclass(frozen=True, slots=True)
class ParaphraseNoise:
    """A model says the same in other words, in one of ``styles``, drawn for each text: reworded,
    shorter, longer, simpler, indirect, direct, spoken.

    ``endpoint`` and ``model`` say who is asked, as in ``generate.mix``; the first of the mix if
    absent.
    """

    styles: Style | list[Style] = "reworded"
    endpoint: str | None = None
    model: str | None = None
    temperature: float = 0.8
    consults: Sequence[Consulted] = field(init=False, repr=False)
    _tasks: Sequence[str] = field(init=False, repr=False)

    checks_drift: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tasks", _tasks("styles", self.styles, STYLES))
        object.__setattr__(self, "consults", (Consulted(self.endpoint, self.model),))

    async def rewritten(self, text: str, rng: Random, consult: Consult) -> str:
        task = Task(self.consults[0], rng.choice(self._tasks), self.temperature)
        return await rewritten(text, task, rng, consult)


@dataclass(frozen=True, slots=True)
class RegisterNoise:
    """A model writes the same in another register, one of ``to``, drawn for each text: formal,
    informal, polite, terse, child, learner, expert, upset.

    ``endpoint``, ``model`` and ``temperature`` are as in ``paraphrase``.
    """

    to: Register | list[Register] = field(default_factory=lambda: ["formal", "informal", "terse"])
    endpoint: str | None = None
    model: str | None = None
    temperature: float = 0.7
    consults: Sequence[Consulted] = field(init=False, repr=False)
    _tasks: Sequence[str] = field(init=False, repr=False)

    checks_drift: ClassVar[bool] = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "_tasks", _tasks("to", self.to, REGISTERS))
        object.__setattr__(self, "consults", (Consulted(self.endpoint, self.model),))

    async def rewritten(self, text: str, rng: Random, consult: Consult) -> str:
        task = Task(self.consults[0], rng.choice(self._tasks), self.temperature)
        return await rewritten(text, task, rng, consult)


def _tasks(option: str, named: str | Sequence[str], known: Mapping[str, str]) -> list[str]:
    """What to ask for, for one name or several."""
    names = [named] if isinstance(named, str) else list(named)
    if not names:
        raise ValueError(f"{option} is empty: name at least one of {', '.join(known)}")
    for name in names:
        if name not in known:
            raise ValueError(f"{option} has '{name}', which is none of {', '.join(known)}")
    return [known[name] for name in names]
