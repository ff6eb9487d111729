"""P10: the wall clock is for display. What it does while a run goes on changes nothing."""

from __future__ import annotations

import sys

from .site import Site

JUMPING = """\
import random, time
from weave_async.cli.main import main

honest = time.time
time.time = lambda: honest() + random.choice([-3600.0, 0.0, 3600.0])
main()
"""


def test_a_wall_clock_that_jumps_by_hours_changes_no_pace(site: Site) -> None:
    num_rows, per_minute = 45, 1800.0
    site.environment["WEAVE_ASYNC_RPM"] = str(per_minute)
    site.write_rows(num_rows)
    arguments = site.arguments("-c", "16")
    ended = site.start_command([sys.executable, "-c", JUMPING, *arguments]).end()
    assert ended.exit_code == 0, ended.err
    assert ended.summary["written"] == num_rows
    burst = per_minute / 60
    least_s = (num_rows - burst) / (per_minute / 60)
    assert 0.9 * least_s < ended.summary["elapsed_s"] < 3 * num_rows / (per_minute / 60)
