"""What a run counts while it goes on, and what the figures mean.

- ``asked``: samples this run is to end with; ``written + rejected + failed + pending == asked``.
- ``copies``: those of them that noise has made beside the first one of an answer; they are counted
  as they come.
- ``varied``, ``changes``, ``unvaried``: by noise, the texts that it has changed; how many changes
  that were; and the samples that it was to change and left as they were, by the reason.
- ``recallable``: samples whose answer an earlier run in the same folder has already bought;
  ``recalled``: those of them that have reached their end.
- ``e2e_s``: from the send of a request to the last byte of its answer, on the client's monotonic
  clock, retries and time in our queues left out.
- ``asked_now``: samples that endpoints have answered, or failed to, in this run.
- ``answered``: samples that have an answer, or have failed; those ahead of a slower one wait to be
  written in order.
- ``consultations``: what stages have asked models about samples, as judges do: ``asked`` of
  endpoints in this run, of which some ``failed``; ``recalled`` from the journal, be it of an
  earlier run or of this one; ``needed`` where nothing may be asked. Their tokens are in ``tokens``,
  under the endpoints that were asked.
- ``held``: samples that all stages have passed, and that a final selector decides about once all
  have come; until then they are ``pending``.
- ``accept``: as many written samples are wanted, and no more is asked than that takes.
- ``answers_to_come``: those still to come, as far as can be told: of all that are asked for, or
  fewer where ``accept`` is sooner come to, if as many of them are written as of those so far.
- ``answers_per_s``: ``asked_now`` per second of this run's wall time.
- ``output_tokens``: as endpoints report them; ``None`` counts as nothing.
- ``stages``: what each has taken: see ``stage_times``.
- ``diversity``: a few figures of what was written, as of the last look: see ``catalogue``.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import ceil
from statistics import quantiles
from typing import Any

from weave_async.flow.lag import LagProbe
from weave_async.metrics.rule_watch import RuleWatch
from weave_async.metrics.stage_times import StageTimes
from weave_async.records import Sample, Usage

_RECENT = 1000


@dataclass(slots=True)
class ConsultationCounts:
    """What became of the questions that stages had for models."""

    asked: int = 0
    recalled: int = 0
    failed: int = 0
    needed: int = 0


@dataclass(slots=True)
class RunMetrics:
    """The ledger of one run: what became of its samples, what it took and what it cost.

    Progress, summary, manifest and ``metrics.json`` all read from here.
    """

    asked: int = 0
    accept: int | None = None
    started: int = 0
    recallable: int = 0
    recalled: int = 0
    asked_now: int = 0
    written: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    retries: Counter[str] = field(default_factory=Counter)
    copies: int = 0
    held: int = 0
    varied: Counter[str] = field(default_factory=Counter)
    changes: Counter[str] = field(default_factory=Counter)
    unvaried: Counter[str] = field(default_factory=Counter)
    diversity: Mapping[str, float] = field(default_factory=dict)
    drift_gate: str | None = None
    """How texts are compared with what noise has made of them, where it may change words."""
    rule_watch: RuleWatch = field(default_factory=lambda: RuleWatch(()))
    failure_examples: dict[str, str] = field(default_factory=dict)
    num_retryable_failures: int = 0
    tokens: dict[str, list[int]] = field(default_factory=dict)
    """Input and output tokens, by endpoint."""
    consultations: ConsultationCounts = field(default_factory=ConsultationCounts)
    loop_lag: LagProbe = field(default_factory=LagProbe)
    stage_times: StageTimes = field(default_factory=StageTimes)
    started_at_s: float | None = None
    stopped_at_s: float | None = None
    _recent_e2e_s: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def start(self) -> None:
        self.started_at_s = time.monotonic()

    def stop(self) -> None:
        self.stopped_at_s = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        if self.started_at_s is None:
            return 0.0
        return (self.stopped_at_s or time.monotonic()) - self.started_at_s

    @property
    def answered(self) -> int:
        return self.recallable + self.asked_now

    @property
    def ended(self) -> int:
        return self.written + self.rejected.total() + self.failed.total()

    @property
    def pending(self) -> int:
        return self.asked - self.ended

    @property
    def input_tokens(self) -> int:
        return sum(account[0] for account in self.tokens.values())

    @property
    def output_tokens(self) -> int:
        return sum(account[1] for account in self.tokens.values())

    @property
    def answers_per_s(self) -> float:
        return self.asked_now / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def output_tokens_per_s(self) -> float:
        return self.output_tokens / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def answers_to_come(self) -> int:
        to_come = self.asked - self.copies - self.answered
        if self.accept is None or not self.written:
            return to_come
        answers_wanted = ceil(self.accept * (self.ended - self.copies) / self.written)
        return min(to_come, max(0, answers_wanted - self.answered))

    @property
    def eta_s(self) -> float | None:
        return self.answers_to_come / self.answers_per_s if self.answers_per_s else None

    def e2e_s(self, percentile: int) -> float | None:
        """A percentile of the last thousand answers."""
        if len(self._recent_e2e_s) < 2:
            return next(iter(self._recent_e2e_s), None)
        return quantiles(self._recent_e2e_s, n=100, method="inclusive")[percentile - 1]

    def count_answer(self, sample: Sample) -> None:
        """An answer has just come from an endpoint, or will not come."""
        self.asked_now += 1
        response = sample.response
        if response is None:
            return
        self.count_tokens(sample.endpoint, response.usage)
        if response.e2e_s is not None:
            self._recent_e2e_s.append(response.e2e_s)

    def count_tokens(self, endpoint: str, usage: Usage) -> None:
        """What one call has used, be its answer kept or not."""
        account = self.tokens.get(endpoint)
        if account is None:
            account = self.tokens[endpoint] = [0, 0]
        account[0] += usage.input_tokens or 0
        account[1] += usage.output_tokens or 0

    def count_consultation(self, sample: Sample) -> None:
        """A stage's question has been answered by an endpoint, or will not be."""
        self.consultations.asked += 1
        if sample.response is None:
            self.consultations.failed += 1
        else:
            self.count_tokens(sample.endpoint, sample.response.usage)

    def count_end(self, sample: Sample) -> None:
        """A sample has reached its end, and its row is in the file for that end."""
        if sample.copy:
            self.copies += 1
            self.asked += 1
        if sample.edits or sample.verdicts:
            self._count_noise(sample)
        if sample.edits:
            self.rule_watch.count_again(sample)
        if sample.failure is not None:
            failure = sample.failure
            self.failed[failure.error] += 1
            self.failure_examples.setdefault(failure.error, failure.message)
            self.num_retryable_failures += failure.retryable
        elif sample.rejection is not None:
            self.rejected[f"{sample.rejection.rule}: {sample.rejection.reason}"] += 1
        else:
            self.written += 1

    def _count_noise(self, sample: Sample) -> None:
        for edit in sample.edits:
            self.varied[edit.noise] += 1
            self.changes[edit.noise] += len(edit.changes)
        for verdict in sample.verdicts:
            if verdict.rule.startswith("noise:"):
                name = verdict.rule.removeprefix("noise:")
                for why in set(verdict.evidence.get("broken", ())) or {verdict.reason}:
                    self.unvaried[f"{name}: {why}"] += 1

    def as_dict(self) -> dict[str, Any]:
        """All figures, as ``metrics.json`` holds them."""
        return {
            **self.snapshot(),
            "elapsed_s": round(self.elapsed_s, 3),
            "rejected_by_reason": dict(self.rejected.most_common()),
            "failed_by_error": dict(self.failed.most_common()),
            "tokens": {
                name: {"input": account[0], "output": account[1]}
                for name, account in self.tokens.items()
            },
            "consultations": asdict(self.consultations),
            "stages": {
                name: {
                    "samples": account.num_samples,
                    "wall_s": round(account.wall_s, 6),
                    "cpu_s": round(account.cpu_s, 6),
                }
                for name, account in self.stage_times.items()
            },
            "rules": self.rule_watch.as_dict(),
            "noise": {
                "drift_gate": self.drift_gate,
                "texts_varied": dict(self.varied.most_common()),
                "changes": dict(self.changes.most_common()),
                "left_as_they_were": dict(self.unvaried.most_common()),
            },
            "loop_lag_p99_s": round(self.loop_lag.p99_s, 4),
            "loop_lag_max_s": round(self.loop_lag.max_s, 4),
        }

    def snapshot(self) -> dict[str, Any]:
        """The figures of one progress line."""
        return {
            "asked": self.asked,
            "copies": self.copies,
            "answered": self.answered,
            "written": self.written,
            "rejected": self.rejected.total(),
            "failed": self.failed.total(),
            "pending": self.pending,
            "held": self.held,
            "recalled": self.recalled,
            "retries": dict(self.retries),
            "answers_per_s": round(self.answers_per_s, 2),
            "output_tokens_per_s": round(self.output_tokens_per_s, 1),
            "p50_s": _rounded(self.e2e_s(50)),
            "p95_s": _rounded(self.e2e_s(95)),
            "eta_s": _rounded(self.eta_s),
            "diversity": dict(self.diversity),
        }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
