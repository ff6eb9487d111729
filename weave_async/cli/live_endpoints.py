"""A line for each endpoint: what is under way there, what of its limits is used, what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil

from weave_async.cli.recent import Recent
from weave_async.cli.screen import Line, Rank
from weave_async.cli.units import duration, short
from weave_async.dispatch import Dispatcher
from weave_async.flow.admission import Admission

MOST_ENDPOINTS = 8
PAUSE_WORTH_SAYING_S = 1.0


def endpoints_of(
    dispatchers: Mapping[str, Dispatcher], recent: Recent, now_s: float
) -> Iterator[Line]:
    """One line each; of many, those in trouble first, and the others together."""
    in_trouble = {
        name: trouble for name, each in dispatchers.items() if (trouble := _trouble_at(each, now_s))
    }
    names = sorted(dispatchers, key=lambda name: name not in in_trouble)
    if len(names) <= MOST_ENDPOINTS:
        names = list(dispatchers)
    for name in names[:MOST_ENDPOINTS]:
        trouble = in_trouble.get(name, "")
        parts = [trouble] if trouble else []
        parts += _use_of(name, dispatchers[name].admission, recent)
        rank, style = (Rank.TROUBLE, "yellow") if trouble else (Rank.ENDPOINT, "")
        yield Line(name, parts, rank, style=style)
    if others := names[MOST_ENDPOINTS:]:
        in_flight = sum(dispatchers[name].admission.in_flight for name in others)
        yield Line(f"{len(others)} others", [f"{in_flight:,} in flight"], Rank.ENDPOINT)


def _trouble_at(dispatcher: Dispatcher, now_s: float) -> str:
    """Why nothing, or little, is sent there; nothing where all is well."""
    admission = dispatcher.admission
    breaker = admission.breaker
    if dispatcher.left_because is not None:
        return f"left: {dispatcher.left_because}"
    if not breaker.is_closed:
        what = "slow" if breaker.is_slow else "down"
        wait_s = breaker.wait_s(now_s)
        then = f"next try in {duration(ceil(wait_s))}" if 0 < wait_s < 1e6 else "trying it now"
        return f"{what} for {duration(breaker.outage_s(now_s))}, {then}"
    if (paused_s := admission.paused_for_s) >= PAUSE_WORTH_SAYING_S:
        return f"paused, {duration(ceil(paused_s))} left"
    return ""


def _use_of(name: str, admission: Admission, recent: Recent) -> Iterator[str]:
    yield f"{admission.in_flight}/{admission.concurrency.limit} in flight"
    used = recent.used_per_minute(name)
    for unit, limit, amount in (
        ("rpm", admission.requests_per_minute, used and used.requests),
        ("tpm", admission.tokens_per_minute, used and used.tokens),
    ):
        if limit is not None:
            yield f"{unit} {'…' if amount is None else short(amount)}/{short(limit)}"
    if admission.num_throttled:
        yield f"429: {admission.num_throttled:,}"
    if admission.pace.is_lowered:
        yield f"pace {admission.pace.share:.0%}"
    breaker = admission.breaker
    num_past = breaker.num_outages - (not breaker.is_closed)
    if num_past:
        yield f"was down {'once' if num_past == 1 else f'{num_past} times'}"
