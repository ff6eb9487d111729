"""How many connections fit: each case in a process of its own, as limits do not go up again."""

from __future__ import annotations

import subprocess
import sys

import pytest


def room_under(soft: int, hard: int, wanted: int) -> tuple[int, int]:
    """(connections that fit, soft limit afterwards)"""
    program = (
        "import resource as r; from weave_async.flow.descriptors import room_for_connections as f;"
        f"r.setrlimit(r.RLIMIT_NOFILE, ({soft}, {hard}));"
        f"print(f({wanted}), r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout
    room, limit = shown.split()
    return int(room), int(limit)


def test_a_low_limit_that_may_be_raised_is_raised_as_far_as_needed() -> None:
    room, limit = room_under(64, 4096, wanted=500)
    assert room == 500
    assert 1000 < limit < 1200


@pytest.mark.parametrize("hard", [128, 256, 1024])
def test_a_limit_that_may_not_be_raised_cuts_the_concurrency_and_leaves_some_over(
    hard: int,
) -> None:
    room, limit = room_under(hard, hard, wanted=2000)
    assert limit == hard
    assert hard * 0.2 < room < hard / 2


def test_enough_is_left_as_it_is() -> None:
    assert room_under(1024, 1024, wanted=100) == (100, 1024)
