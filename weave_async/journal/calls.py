"""What became of every call that was sent, and what it may have cost."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from weave_async.journal import entries
from weave_async.journal.segments import Segment, not_ours


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

    A call for several completions is answered by the first that comes; the others belong to it.
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

    def answered(self, attempt_id: bytes, request_id: bytes) -> int | None:
        """The worst case that this call was sent with; ``None`` if it is not known to be out, or
        has brought another answer before.
        """
        call = self._waiting.pop(attempt_id, None)
        if call is None:
            is_format_1 = attempt_id == b""  # which has no calls
            self.num_unsent += not is_format_1 and not _is_shared(attempt_id, request_id)
            return None
        self.num_answered += 1
        return call[1]

    def missed(self, entry: Mapping[str, Any]) -> int | None:
        """The same for a call that brought no answer."""
        is_answer = "usage" in entry  # one that was not kept; others may have come with it
        if is_answer and _is_shared(entry["attempt_id"].encode(), entry["request_id"].encode()):
            return None
        call = self._waiting.pop(entry["attempt_id"].encode(), None)
        if call is None:
            self.num_unsent += 1
            return None
        self.num_missed += 1
        return call[1]


def _is_shared(attempt_id: bytes, request_id: bytes) -> bool:
    """Whether an answer came with that to another request: a call is named after the one sent."""
    sent_id, separator, _ = attempt_id.rpartition(b"-")
    return separator != b"" and sent_id != request_id


@dataclass(slots=True)
class Spent:
    """Tokens that calls have used, as the endpoint counted them; ``unsettled_tokens`` are what
    calls could have used at worst of which nobody has said what they did use.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    unsettled_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.input_tokens + self.output_tokens + self.unsettled_tokens


@dataclass(frozen=True, slots=True)
class Seller:
    """Whose tokens were used: what a price depends on. ``address`` is a base URL."""

    model: str | None = None
    address: str | None = None


NOBODY = Seller()


def spent(segments: Iterable[Segment]) -> dict[Seller, Spent]:
    """What these runs have used, by seller; calls without an answer stand under ``NOBODY``.

    A call that cannot have been billed used nothing. Parses every frame.
    """
    accounts: defaultdict[Seller, Spent] = defaultdict(Spent)
    calls = Calls()
    for segment in segments:
        calls.begin_run(segment.epoch)
        sellers = sellers_in(segment.opening)
        with segment.open() as file:
            for offset, body in segment.frames(file):
                try:
                    entry = entries.parse(body)
                except ValueError as error:
                    raise not_ours(segment.path, offset, error) from error
                _add(entry, calls, accounts, sellers)
    calls.end()
    accounts[NOBODY].unsettled_tokens += sum(call.max_cost_tokens for call in calls.unknown)
    return accounts


def sellers_in(opening: Mapping[str, Any]) -> dict[str, Seller]:
    """The sellers of a run, by the name of their endpoint."""
    endpoints = opening.get("endpoints", {})
    return {
        name: Seller(endpoint.get("model"), endpoint.get("address"))
        for name, endpoint in (endpoints.items() if isinstance(endpoints, dict) else ())
        if isinstance(endpoint, dict)
    }


def _add(
    entry: Mapping[str, Any],
    calls: Calls,
    accounts: Mapping[Seller, Spent],
    sellers: Mapping[str, Seller],
) -> None:
    if entry["kind"] == "sent":
        calls.sent(entry)
    elif entry["kind"] == "missed":
        worst = calls.missed(entry)
        if "usage" in entry:
            _settle(accounts[sellers.get(entry.get("endpoint", ""), NOBODY)], entry["usage"], worst)
        elif entry["failure"].get("may_be_billed", True):
            accounts[NOBODY].unsettled_tokens += worst or 0
    elif entry["kind"] == "answer":
        attempt_id = entry.get("attempt_id", "").encode()
        worst = calls.answered(attempt_id, entry["request_id"].encode())
        account = accounts[sellers.get(entry["endpoint"], NOBODY)]
        _settle(account, entry["response"]["usage"], worst)


def _settle(account: Spent, usage: Mapping[str, Any], worst: int | None) -> None:
    if usage["input_tokens"] is None or usage["output_tokens"] is None:
        account.unsettled_tokens += worst or 0
    else:
        account.input_tokens += usage["input_tokens"]
        account.output_tokens += usage["output_tokens"]
