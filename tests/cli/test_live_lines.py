"""What the screen says of a run."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from providers.simulated import SimulatedProvider
from weave_async import Recipe, Run
from weave_async.cli.live_lines import Problem, last_problem, lines_of
from weave_async.cli.recent import Recent, Trend
from weave_async.dispatch import Dispatcher
from weave_async.errors import RecipeError
from weave_async.flow.budget import Budget, Cost
from weave_async.flow.retry import Backoff
from weave_async.interfaces import AttemptLog
from weave_async.records import Endpoint, Failure
from weave_async.testing.virtual_time import run_in_virtual_time


class NoLog(AttemptLog):
    def sent(self, *args: object, **kwargs: object) -> None: ...
    def missed(self, *args: object, **kwargs: object) -> None: ...


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """One that is about to ask for a thousand samples."""
    run = Run(Recipe.parse("{name: t, prompts: {source: seeds.jsonl}}"), output_dir=tmp_path)
    run.metrics.asked = 1000
    run.metrics.start()
    return run


def dispatcher(name: str = "fast", **limits: Any) -> Dispatcher:
    endpoint = Endpoint(name, "simulated", "m", **limits)
    return Dispatcher(
        endpoint,
        SimulatedProvider(endpoint),
        backoff=Backoff(),
        on_retry=lambda code: None,
        log=NoLog(),
        epoch=1,
        max_concurrency=16,
    )


def told(run: Run, *, trend: Trend | None = None, problem: Problem | None = None) -> dict[str, str]:
    """By label; the bar's is ``bar``, and what stands above it ``title``."""

    async def look() -> dict[str, str]:
        now_s = asyncio.get_running_loop().time()
        recent = Recent()
        recent.note(run.metrics, run.dispatchers, now_s)
        lines = lines_of(run, recent, trend or Trend(), problem, now_s)
        names = ["title", "bar"]
        labels = [line.label or names.pop(0) for line in lines]
        return dict(zip(labels, (line.joint.join(line.parts) for line in lines), strict=True))

    return run_in_virtual_time(look())


def test_progress_is_of_what_was_asked_for(run: Run) -> None:
    run.metrics.asked_now, run.metrics.recallable, run.metrics.copies = 100, 150, 0
    assert told(run)["bar"].startswith("250 of 1,000 answered · 25% · ")
    run.metrics.copies, run.metrics.asked = 500, 1500  # which noise has made beside them
    assert told(run)["bar"].startswith("250 of 1,000 answered")


def test_progress_is_of_the_samples_wanted_where_a_number_is(run: Run) -> None:
    run.metrics.asked_now, run.metrics.written, run.metrics.accept = 100, 60, 120
    assert told(run)["bar"].startswith("60 of 120 accepted · 50%")


def test_it_says_in_time_that_there_will_be_fewer_than_wanted(run: Run) -> None:
    metrics = run.metrics
    metrics.asked_now, metrics.written, metrics.accept = 100, 40, 500
    metrics.rejected = Counter({"length: too_short": 60})
    assert "about 400 at the end" in told(run)["accepted"]
    metrics.accept = 400
    assert "at the end" not in told(run)["accepted"]


def test_ends_are_told_with_the_largest_reasons(run: Run) -> None:
    metrics = run.metrics
    metrics.asked_now, metrics.written = 120, 80
    metrics.rejected = Counter({"length: too_short": 9, "a: b": 4, "c: d": 3, "e: f": 2, "g: h": 2})
    metrics.failed = Counter({"deadline": 5})
    metrics.retries = Counter({"server": 7})
    lines = told(run)
    assert lines["accepted"] == "80 · 80% of 100 judged · 15 waiting for their turn"
    assert lines["rejected"] == "20 · length: too_short 9 · a: b 4 · c: d 3 · 2 others 4"
    assert lines["failed"] == "5 · deadline 5 · sent again for server 7"


def test_every_endpoint_has_its_line(run: Run) -> None:
    limits = {"requests_per_minute": 600.0, "tokens_per_minute": 90_000.0}
    run.dispatchers = {"fast": dispatcher(**limits), "slow": dispatcher("slow")}
    run.dispatchers["fast"].admission.num_throttled = 3
    run.dispatchers["fast"].admission.pace.share = 0.9
    lines = told(run)
    assert lines["fast"] == "0/16 in flight · rpm …/600 · tpm …/90k · 429: 3 · pace 90%"
    assert lines["slow"] == "0/16 in flight"


def test_of_many_endpoints_those_in_trouble_are_shown(run: Run) -> None:
    names = [f"e{number}" for number in range(12)]
    run.dispatchers = {name: dispatcher(name) for name in names}
    run.dispatchers["e11"].left_because = RecipeError("the key is refused")
    lines = told(run)
    assert lines["e11"] == "left: the key is refused · 0/16 in flight"
    assert sum(name in lines for name in names) == 8
    assert lines["4 others"] == "0 in flight"


def test_an_endpoint_that_is_down_says_for_how_long_and_until_when(run: Run) -> None:
    fast = dispatcher()
    run.dispatchers = {"fast": fast}
    breaker = fast.admission.breaker
    for number in range(5):
        breaker.failed(-90.0, f"row {number}", "refused", is_probe=False, told_s=100)
    assert told(run)["fast"].startswith("down for 1:30, next try in 10 s · 0/16 in flight")
    breaker.probe_sent()
    assert told(run)["fast"].startswith("down for 1:30, trying it now")
    for _ in range(32):
        breaker.probe_succeeded(max_concurrency=16)
    assert told(run)["fast"] == "0/16 in flight · was down once"


def test_a_pause_that_was_asked_for_is_told(run: Run) -> None:
    fast = dispatcher()
    run.dispatchers = {"fast": fast}

    async def paused() -> str:
        fast.admission.pause(30.0)
        now_s = asyncio.get_running_loop().time()
        recent = Recent()
        recent.note(run.metrics, run.dispatchers, now_s)
        lines = lines_of(run, recent, Trend(), None, now_s)
        return next(line.parts[0] for line in lines if line.label == "fast")

    assert run_in_virtual_time(paused()) == "paused, 30 s left"


def test_diversity_has_an_arrow_and_a_signed_number(run: Run) -> None:
    trend = Trend()
    assert told(run)["diversity"] == "not known yet"
    for rows, vendi in ((100, 4.0), (200, 6.0)):
        run.metrics.diversity = {
            "num_rows": rows,
            "vendi_words": vendi,
            "distinct_2": 0.5 - vendi / 20,
        }
        trend.note(rows, run.metrics.diversity)
    shown = told(run, trend=trend)["diversity"]
    assert shown == "vendi of words 6 ↑ +2 · distinct-2 0.2 ↓ -0.1 · over 100 rows measured"
    run.metrics.diversity = {"vendi_words": 6.001}
    trend.note(250, run.metrics.diversity)
    assert told(run, trend=trend)["diversity"] == "vendi of words 6 → 0 · over 50 rows measured"


def test_what_is_not_measured_has_no_line(tmp_path: Path) -> None:
    recipe = Recipe.parse("{prompts: {source: seeds.jsonl}, measure: off}")
    assert "diversity" not in told(Run(recipe, output_dir=tmp_path))


@pytest.fixture
def costly(run: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A hundred of a thousand answers have cost a dollar."""
    run.metrics.asked_now = 100
    run.metrics.tokens = {"fast": [12_000, 800]}
    monkeypatch.setattr(Run, "cost_usd", 1.0)
    return run


def test_cost_is_told_with_what_it_will_come_to(costly: Run) -> None:
    assert told(costly)["cost"] == "$1.00 so far · about $10.00 at the end · 12k tokens in, 800 out"


@pytest.mark.parametrize(
    ("max_usd", "expected"), [(20.0, "$3.00 of $20.00"), (11.0, "$3.00 of $11.00, not enough")]
)
def test_a_budget_is_told_and_whether_it_will_do(
    costly: Run, max_usd: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget(max_usd=max_usd, max_tokens=50_000, already_spent=Cost(25_500, 3.0))
    monkeypatch.setattr(Run, "budget", budget)
    assert f"budget {expected} · budget 25.5k of 50k tokens" in told(costly)["cost"]


def test_a_price_that_nobody_knows_is_not_nought(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "cost_usd", None)
    assert told(run)["cost"].startswith("price not known")


def test_the_last_problem_is_the_later_one_of_a_warning_and_a_failure(run: Run) -> None:
    warned = Problem("the rule is strict", 100.0)
    fast = dispatcher()
    assert last_problem(None, {"fast": fast}) is None
    assert last_problem(warned, {"fast": fast}) == warned
    fast.last_failure, fast.last_failed_at_s = Failure("server", "HTTP 503", 1), 130.0
    assert last_problem(warned, {"fast": fast}) == Problem("fast: HTTP 503", 130.0)
    fast.last_failure, fast.last_failed_at_s = Failure("rate_limit", "HTTP 429", 1), 140.0
    assert last_problem(warned, {"fast": fast}) == warned
    assert told(run)["problem"] == "none"


def test_a_problem_says_how_long_ago_it_was(run: Run) -> None:
    assert told(run, problem=Problem("the rule is strict", -75.0))["problem"] == (
        "1:15 ago: the rule is strict"
    )


def test_a_run_says_what_it_is_doing(run: Run, tmp_path: Path) -> None:
    assert told(run)["title"] == "t · running, 0 s"
    run.metrics.asked_now = 5
    assert " left" in told(run)["bar"]
    run.interrupt()
    assert told(run)["title"] == "t · stopping, 0 s"
    assert " left" not in told(run)["bar"]
    run.metrics.stop()
    lines = told(run)
    assert lines["title"] == "t · measuring what was written"
    assert " left" not in lines["bar"]
    fresh = Run(run.recipe, output_dir=tmp_path)
    assert told(fresh)["title"] == "t · starting"
    assert told(fresh)["bar"] == "0 of 0 answered · 0%"
