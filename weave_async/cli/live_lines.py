"""What the screen says of a run that goes on, line by line. All figures are the ledger's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from weave_async.cli.recent import Change, Recent, Trend
from weave_async.cli.screen import Line
from weave_async.dispatch import Dispatcher
from weave_async.flow.admission import Admission
from weave_async.gates import shown
from weave_async.run import Run

BAR, SPEED, PROBLEM, ACCEPTED, REJECTED, FAILED, TROUBLE, COST, ENDPOINT, DIVERSITY, NAME = range(
    11
)
"""What is left out last, and what first, where there is no room."""
MOST_REASONS, MOST_ENDPOINTS = 3, 8
DIVERSITY_SHOWN = {"vendi_words": "vendi of words", "distinct_2": "distinct-2"}
NO_CHANGE = 0.005
"""As a share of the figure: less is none."""
PAUSE_WORTH_SAYING_S = 1.0
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
        Line("", [run.recipe.name, _state_of(run)], NAME, style="bold"),
        bar_of(run),
        Line("speed", speed_of(run, recent), SPEED),
        *_endpoints_of(run, recent, now_s),
        *_ends_of(run),
    ]
    if run.recipe.measure is not None:
        lines.append(Line("diversity", list(_diversity_of(run, trend)), DIVERSITY))
    lines.append(Line("cost", list(_cost_of(run)), COST))
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
    if metrics.stopped_at_s is None and metrics.eta_s is not None:
        parts.append(f"{_duration(metrics.eta_s)} left")
    return Line("", parts, BAR, share=share, style="green")


def _state_of(run: Run) -> str:
    metrics = run.metrics
    if metrics.started_at_s is None:
        return "starting"
    if metrics.stopped_at_s is not None:
        return "measuring what was written" if run.recipe.measure else "ending"
    state = "stopping" if run.is_stopping else "running"
    return f"{state}, {_duration(metrics.elapsed_s)}"


def speed_of(run: Run, recent: Recent) -> list[str]:
    metrics = run.metrics
    parts = [
        f"{_rate(recent.answers_per_s)} rows/s",
        f"{recent.output_tokens_per_s:,.0f} tok/s",
        f"{run.num_in_flight:,} in flight",
    ]
    if (p95_s := metrics.e2e_s(95)) is not None:
        parts.append(f"p50 {metrics.e2e_s(50):.2f} s, p95 {p95_s:.2f} s")
    return parts


def _endpoints_of(run: Run, recent: Recent, now_s: float) -> Iterator[Line]:
    """One line each; of many, those in trouble first, and the others together."""
    in_trouble = {
        name: trouble
        for name, each in run.dispatchers.items()
        if (trouble := _trouble_at(each, now_s))
    }
    names = sorted(run.dispatchers, key=lambda name: name not in in_trouble)
    if len(names) <= MOST_ENDPOINTS:
        names = list(run.dispatchers)
    for name in names[:MOST_ENDPOINTS]:
        trouble = in_trouble.get(name, "")
        parts = [trouble] if trouble else []
        parts += _use_of(name, run.dispatchers[name].admission, recent)
        rank, style = (TROUBLE, "yellow") if trouble else (ENDPOINT, "")
        yield Line(name, parts, rank, style=style)
    if others := names[MOST_ENDPOINTS:]:
        in_flight = sum(run.dispatchers[name].admission.in_flight for name in others)
        yield Line(f"{len(others)} others", [f"{in_flight:,} in flight"], ENDPOINT)


def _trouble_at(dispatcher: Dispatcher, now_s: float) -> str:
    """Why nothing, or little, is sent there; nothing where all is well."""
    admission = dispatcher.admission
    breaker = admission.breaker
    if dispatcher.left_because is not None:
        return f"left: {dispatcher.left_because}"
    if not breaker.is_closed:
        what = "slow" if breaker.is_slow else "down"
        wait_s = breaker.wait_s(now_s)
        then = f"next try in {_duration(wait_s)}" if 0 < wait_s < 1e6 else "trying it now"
        return f"{what} for {_duration(breaker.outage_s(now_s))}, {then}"
    if admission.paused_for_s >= PAUSE_WORTH_SAYING_S:
        return f"paused, {_duration(admission.paused_for_s)} left"
    return ""


def _use_of(name: str, admission: Admission, recent: Recent) -> Iterator[str]:
    yield f"{admission.in_flight}/{admission.concurrency.limit} in flight"
    used = recent.used_per_minute(name)
    for unit, limit, amount in (
        ("rpm", admission.requests_per_minute, used and used.requests),
        ("tpm", admission.tokens_per_minute, used and used.tokens),
    ):
        if limit is not None:
            yield f"{unit} {'…' if amount is None else _short(amount)}/{_short(limit)}"
    if admission.num_throttled:
        yield f"429: {admission.num_throttled:,}"
    if admission.pace.is_lowered:
        yield f"pace {admission.pace.share:.0%}"
    if admission.breaker.num_outages:
        times = (
            "once" if admission.breaker.num_outages == 1 else f"{admission.breaker.num_outages}×"
        )
        yield f"was down {times}" if admission.breaker.is_closed else f"down {times}"


def _ends_of(run: Run) -> Iterator[Line]:
    metrics = run.metrics
    num_judged = metrics.written + metrics.rejected.total()
    accepted = [f"{metrics.written:,}"]
    if num_judged:
        accepted.append(f"{metrics.written / num_judged:.0%} of {num_judged:,} judged")
    num_waiting = metrics.answered - metrics.recallable + metrics.recalled - metrics.ended
    num_waiting += metrics.copies - metrics.held
    if num_waiting > 0:
        accepted.append(f"{num_waiting:,} waiting for their turn")
    if metrics.held:
        accepted.append(f"{metrics.held:,} held for the selection")
    if metrics.recalled < metrics.recallable:
        accepted.append(f"{metrics.recalled:,} of {metrics.recallable:,} recalled")
    if (expected := _written_at_the_end(run)) is not None:
        accepted.append(f"about {expected:,} at the end, as it goes")
    yield Line("accepted", accepted, ACCEPTED)
    yield Line("rejected", list(_counted(metrics.rejected)), REJECTED)
    failed = list(_counted(metrics.failed))
    if metrics.retries:
        failed.append(f"sent again for {_told(metrics.retries)}")
    yield Line("failed", failed, FAILED)


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
        return "→ ±0"
    return f"{'↑' if change.amount > 0 else '↓'} {change.amount:+.2g}"


def _cost_of(run: Run) -> Iterator[str]:
    metrics, usd = run.metrics, run.cost_usd
    if usd is None:
        yield "price not known"
    else:
        yield f"{_dollars(usd)} so far"
        if metrics.asked_now and metrics.answers_to_come > 0:
            yield f"about {_dollars(usd + _usd_to_come(run, usd))} at the end"
    if (budget := run.budget) is not None:
        if budget.max_usd is not None:
            is_enough = budget.spent.usd + _usd_to_come(run, usd or 0.0) <= budget.max_usd
            told = "" if is_enough else ", not enough"
            yield f"budget {_dollars(budget.spent.usd)} of {_dollars(budget.max_usd)}{told}"
        if budget.max_tokens is not None:
            yield f"budget {_short(budget.spent.tokens)} of {_short(budget.max_tokens)} tokens"
    yield f"{_short(metrics.input_tokens)} tokens in, {_short(metrics.output_tokens)} out"


def _usd_to_come(run: Run, usd: float) -> float:
    """If those answers that are still to come cost as much as those so far."""
    metrics = run.metrics
    return usd / max(1, metrics.asked_now) * metrics.answers_to_come


def last_problem(logged: Problem | None, dispatchers: Mapping[str, Dispatcher]) -> Problem | None:
    """The later one of what was warned of, and what an endpoint has failed with."""
    problems = [] if logged is None else [logged]
    for name, each in dispatchers.items():
        if (failure := each.last_failure) is not None:
            problems.append(Problem(f"{name}: {failure.message}", each.last_failed_at_s))
    return max(problems, key=lambda problem: problem.at_s, default=None)


def _problem_of(run: Run, problem: Problem | None, now_s: float) -> Line:
    if problem is None:
        return Line("problem", ["none"], PROBLEM)
    ago = f"{_duration(max(0.0, now_s - problem.at_s))} ago:"
    return Line("problem", [ago, *problem.message.split()], PROBLEM, style="yellow", joint=" ")


def _duration(seconds: float) -> str:
    """``45 s``, ``2:05``, ``3:07:10``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, s = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{s:02d}" if hours else f"{minutes}:{s:02d}"


def _rate(per_s: float) -> str:
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}"


def _short(number: float) -> str:
    """``850``, ``81.2k``, ``1.3M``."""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= unit:
            return f"{number / min(unit, 1e3 if name == 'k' else unit):.3g}{name}"
    return f"{number:,.0f}"


def _dollars(usd: float) -> str:
    return f"${usd:,.2f}" if usd >= 1 or usd == 0 else f"${usd:,.4f}"
