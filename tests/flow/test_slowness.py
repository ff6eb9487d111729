"""When an endpoint counts as slow: beside itself, and by more than one answer."""

from __future__ import annotations

from weave_async.flow.slowness import NUM_RECENT, Slowness


def used_to(took_s: float, num: int = 300) -> Slowness:
    slowness = Slowness()
    for _ in range(num):
        slowness.answered(took_s)
    return slowness


def test_one_long_answer_is_no_slowness() -> None:
    slowness = used_to(1.0)
    slowness.answered(60.0)
    assert slowness.is_slow(60.0)
    assert not slowness.has_become_slow


def test_most_of_the_last_answers_are() -> None:
    slowness = used_to(1.0)
    for _ in range(NUM_RECENT):
        slowness.answered(20.0)
    assert slowness.has_become_slow
    slowness.forget_recent()
    assert not slowness.has_become_slow


def test_an_endpoint_that_was_always_slow_is_not_called_so() -> None:
    assert not used_to(60.0).has_become_slow


def test_ten_times_next_to_nothing_is_still_quick() -> None:
    slowness = used_to(0.01)
    for _ in range(NUM_RECENT):
        slowness.answered(1.0)
    assert not slowness.has_become_slow


def test_nothing_is_usual_at_the_start() -> None:
    slowness = used_to(1.0, num=50)
    for _ in range(NUM_RECENT):
        slowness.answered(60.0)
    assert not slowness.has_become_slow
