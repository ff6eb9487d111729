"""What became of every call that was sent, and what it may have cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from weave_async.journal.segments import Segment


@dataclass(frozen=True, slots=True)
class UnknownCall:
    """A call that went out and of which no outcome is recorded: it may have been billed."""

    epoch: int
    attempt_id: str
    request_id: str
    max_cost_tokens: int


@dataclass(slots=True)
class Calls:
    """Matches each call with its outcome, as they go by in the journal; holds only those between.

    ``num_sent == num_answered + num_missed + len(unknown)`` once all runs have ended.
    """

    num_sent: int = 0
    num_answered: int = 0
    num_missed: int = 0
    num_unsent: int = 0
    """Outcomes of calls that nobody has sent: a part of the journal is missing."""
    unknown: list[UnknownCall] = field(default_factory=list)
    _epoch: int = 0
    _waiting: dict[bytes, tuple[str, int]] = field(default_factory=dict)

    def begin_run(self, epoch: int) -> None:
        """Another segment: if it is another run's, what waits will do so for ever.

        Attempt ids name a call within its run.
        """
        if epoch != self._epoch:
            self.end()
            self._epoch = epoch

    def end(self) -> None:
        """All segments have been read."""
        self.unknown += [
            UnknownCall(self._epoch, attempt_id.decode(), request_id, tokens)
            for attempt_id, (request_id, tokens) in self._waiting.items()
        ]
        self._waiting.clear()

    def sent(self, entry: Mapping[str, Any]) -> None:
        """A frame of that kind."""
        for attempt_id, request_id, tokens in entry["calls"]:
            self._waiting[attempt_id.encode()] = request_id, tokens
        self.num_sent += len(entry["calls"])

    def answered(self, attempt_id: bytes) -> int | None:
        """The worst case that this call was sent with; ``None`` if it is not known to be out."""
        call = self._waiting.pop(attempt_id, None)
        if call is None:
            self.num_unsent += attempt_id != b""  # recorded without calls, as in format 1
            return None
        self.num_answered += 1
        return call[1]

    def missed(self, entry: Mapping[str, Any]) -> int | None:
        """The same for a call that brought no answer."""
        call = self._waiting.pop(entry["attempt_id"].encode(), None)
        if call is None:
            self.num_unsent += 1
            return None
        self.num_missed += 1
        return call[1]


def spent_tokens(segments: Iterable[Segment]) -> int:
    """What these runs have cost at worst: as the endpoint counted, else what a call could cost.

    A call that was refused with a status cost nothing. Parses every frame.
    """
    spent, calls = 0, Calls()
    for segment in segments:
        calls.begin_run(segment.epoch)
        with segment.open() as file:
            for _, body in segment.frames(file):
                spent += _cost_of(orjson.loads(body), calls)
    calls.end()
    return spent + sum(call.max_cost_tokens for call in calls.unknown)


def _cost_of(entry: Mapping[str, Any], calls: Calls) -> int:
    if entry["kind"] == "sent":
        calls.sent(entry)
    elif entry["kind"] == "missed":
        worst = calls.missed(entry)
        return 0 if worst is None or entry["failure"]["status_code"] is not None else worst
    elif entry["kind"] == "answer":
        worst = calls.answered(entry.get("attempt_id", "").encode())
        usage = entry["response"]["usage"]
        counts = usage["input_tokens"], usage["output_tokens"]
        return (worst or 0) if None in counts else sum(counts)
    return 0
