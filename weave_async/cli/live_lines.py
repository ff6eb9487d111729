"""What the screen says of a run that goes on, line by line. All figures are the ledger's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weave_async.blame import code_of
from weave_async.cli.live_endpoints import endpoints_of
from weave_async.cli.recent import Change, Recent, Trend
from weave_async.cli.screen import Line, Rank
from weave_async.cli.units import dollars, duration, rate, short
from weave_async.dispatch import Dispatcher
from weave_async.errors import RateLimitError
from weave_async.gates import shown
from weave_async.run import Run

MOST_REASONS = 3
DIVERSITY_SHOWN = {"vendi_words": "vendi of words", "distinct_2": "distinct-2"}
THROTTLED = code_of(RateLimitError(""))
NO_CHANGE = 0.005
"""As a share of the figure: less is none."""
WORTH_EXPECTING = 0.98
"""Fewer of the samples wanted, expected at the end, are worth a word."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What was wrong last, with its time by the monotonic clock."""

    message: str
    at_s: float


def lines_of(
    run: Run, recent: Recent, trend: Trend, problem: Problem | None, now_s: float
) -> list[Line]:
    """``now_s`` is by the monotonic clock, which the event loop's is."""
    lines = [
        Line("", [run.recipe.name, _state_of(run)], Rank.NAME, style="bold"),
        bar_of(run),
        Line("speed", speed_of(run, recent), Rank.SPEED),
        *endpoints_of(run.dispatchers, recent, now_s),
        *_ends_of(run),
    ]
    if run.recipe.measure is not None:
        lines.append(Line("diversity", list(_diversity_of(run, trend)), Rank.DIVERSITY))
    lines.append(Line("cost", list(_cost_of(run)), Rank.COST))
    return [*lines, _problem_of(run, problem, now_s)]


def bar_of(run: Run) -> Line:
    """How far it has come, and the time left."""
    metrics = run.metrics
    if metrics.accept is not None:
        done, of, noun = metrics.written, metrics.accept, "accepted"
    else:
        done, of, noun = metrics.answered, metrics.asked - metrics.copies, "answered"
    share = min(1.0, done / of) if of else 0.0
    parts = [f"{done:,} of {of:,} {noun}", f"{int(100 * share)}%"]
    is_going_on = metrics.stopped_at_s is None and not run.is_stopping
    if is_going_on and metrics.eta_s is not None:
        parts.append(f"{duration(metrics.eta_s)} left")
    return Line("", parts, Rank.BAR, share=share)


def _state_of(run: Run) -> str:
    metrics = run.metrics
    if metrics.started_at_s is None:
        return "starting"
    if metrics.stopped_at_s is not None:
        return "measuring what was written" if run.recipe.measure else "ending"
    state = "stopping" if run.is_stopping else "running"
    return f"{state}, {duration(metrics.elapsed_s)}"


def speed_of(run: Run, recent: Recent) -> list[str]:
    metrics = run.metrics
    parts = [
        f"{rate(recent.answers_per_s)} rows/s",
        f"{recent.output_tokens_per_s:,.0f} tok/s",
        f"{run.num_in_flight:,} in flight",
    ]
    if (p95_s := metrics.e2e_s(95)) is not None:
        parts.append(f"p50 {metrics.e2e_s(50):.2f} s, p95 {p95_s:.2f} s")
    return parts


def _ends_of(run: Run) -> Iterator[Line]:
    metrics = run.metrics
    num_judged = metrics.written + metrics.rejected.total()
    accepted = [f"{metrics.written:,}"]
    if num_judged:
        accepted.append(f"{metrics.written / num_judged:.0%} of {num_judged:,} judged")
    num_come = metrics.asked_now + metrics.recalled
    num_waiting = num_come - (metrics.ended - metrics.copies) - metrics.held
    if num_waiting > 0:
        accepted.append(f"{num_waiting:,} waiting for their turn")
    if metrics.held:
        accepted.append(f"{metrics.held:,} held for the selection")
    if metrics.recalled < metrics.recallable:
        accepted.append(f"{metrics.recalled:,} of {metrics.recallable:,} recalled")
    if (expected := _written_at_the_end(run)) is not None:
        accepted.append(f"about {expected:,} at the end, as it goes")
    yield Line("accepted", accepted, Rank.ACCEPTED)
    yield Line("rejected", list(_counted(metrics.rejected)), Rank.REJECTED)
    failed = list(_counted(metrics.failed))
    if metrics.retries:
        failed.append(f"sent again for {_told(metrics.retries)}")
    yield Line("failed", failed, Rank.FAILED)


def _written_at_the_end(run: Run) -> int | None:
    """Where all that is asked for will not do for the samples wanted, how many it will bring."""
    metrics = run.metrics
    num_ended = metrics.ended - metrics.copies
    if metrics.accept is None or not num_ended or metrics.held:
        return None
    expected = metrics.written * (metrics.asked - metrics.copies) / num_ended
    return int(expected) if expected < WORTH_EXPECTING * metrics.accept else None


def _counted(counts: Counter[str]) -> Iterator[str]:
    """All, and then the largest of them by name."""
    yield f"{counts.total():,}"
    largest = counts.most_common(MOST_REASONS)
    yield from (f"{name} {count:,}" for name, count in largest)
    if len(counts) > MOST_REASONS:
        rest = counts.total() - sum(count for _, count in largest)
        yield f"{len(counts) - MOST_REASONS} others {rest:,}"


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.most_common(MOST_REASONS))


def _diversity_of(run: Run, trend: Trend) -> Iterator[str]:
    figures = run.metrics.diversity
    known = {name: figures[name] for name in DIVERSITY_SHOWN if figures.get(name) is not None}
    if not known:
        yield "not known yet"
    num_rows = 0
    for name, value in known.items():
        change = trend.change(name)
        told = f" {_change(change, value)}" if change else ""
        num_rows = change.num_rows if change else num_rows
        yield f"{DIVERSITY_SHOWN[name]} {shown(value)}{told}"
    if num_rows:
        yield f"over {num_rows:,} rows measured"


def _change(change: Change, value: float) -> str:
    """An arrow and a number, as ``↑ +1.3``: neither needs the other."""
    if abs(change.amount) <= NO_CHANGE * abs(value):
        return "→ 0"
    return f"{'↑' if change.amount > 0 else '↓'} {change.amount:+.2g}"


def _cost_of(run: Run) -> Iterator[str]:
    metrics, usd = run.metrics, run.cost_usd
    if usd is None:
        yield "price not known"
    else:
        yield f"{dollars(usd)} so far"
        if metrics.asked_now and metrics.answers_to_come > 0:
            yield f"about {dollars(usd + _usd_to_come(run, usd))} at the end"
    if (budget := run.budget) is not None:
        if budget.max_usd is not None:
            is_enough = budget.spent.usd + _usd_to_come(run, usd or 0.0) <= budget.max_usd
            told = "" if is_enough else ", not enough"
            yield f"budget {dollars(budget.spent.usd)} of {dollars(budget.max_usd)}{told}"
        if budget.max_tokens is not None:
            yield f"budget {short(budget.spent.tokens)} of {short(budget.max_tokens)} tokens"
    yield f"{short(metrics.input_tokens)} tokens in, {short(metrics.output_tokens)} out"


def _usd_to_come(run: Run, usd: float) -> float:
    """If those answers that are still to come cost as much as those so far."""
    metrics = run.metrics
    return usd / max(1, metrics.asked_now) * metrics.answers_to_come


def last_problem(logged: Problem | None, dispatchers: Mapping[str, Dispatcher]) -> Problem | None:
    """The later one of what was warned of, and what an endpoint has failed with.

    A refusal for going too fast is no problem: it is counted, and the pace follows.
    """
    problems = [] if logged is None else [logged]
    for name, each in dispatchers.items():
        failure = each.last_failure
        if failure is not None and failure.error != THROTTLED:
            problems.append(Problem(f"{name}: {failure.message}", each.last_failed_at_s))
    return max(problems, key=lambda problem: problem.at_s, default=None)


def _problem_of(run: Run, problem: Problem | None, now_s: float) -> Line:
    if problem is None:
        return Line("problem", ["none"], Rank.PROBLEM)
    ago = f"{duration(max(0.0, now_s - problem.at_s))} ago:"
    return Line("problem", [ago, *problem.message.split()], Rank.PROBLEM, style="yellow", joint=" ")
