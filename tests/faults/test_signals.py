"""P9 and E8: signals, readers that leave, and terminals of all kinds."""

from __future__ import annotations

import fcntl
import os
import pty
import shlex
import signal
import struct
import sys
import termios
import threading
import time
from dataclasses import replace

import pytest

from weave_async.testing.scripted_endpoint import RecordedRequest, Reply, echo

from .site import Site, Started

CONCURRENCY = 8
NUM_ROWS = 200
DRAINED_WITHIN_S, DROPPED_WITHIN_S, LEFT_WITHIN_S = 31.0, 8.0, 2.0
"""The last is 0.2 s of the program's, and the rest for a machine that is busy with tests."""
REPEATS = [1, *(pytest.param(n, marks=pytest.mark.torture) for n in range(2, 21))]


def unhurried(request: RecordedRequest) -> Reply:
    return replace(echo(request), head_delay_s=0.05)


def endless(request: RecordedRequest) -> Reply:
    return replace(echo(request), head_delay_s=60.0)


def is_told(process: Started, what: str) -> bool:
    """Read standard error until that is said."""
    assert process.process.stderr is not None
    return any(what in line for line in process.process.stderr)


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_after_one_signal_nothing_is_sent_again(
    site: Site, number: signal.Signals, exit_code: int, repeat: int
) -> None:
    site.answer = unhurried
    site.write_rows(NUM_ROWS)
    process = site.start("-c", str(CONCURRENCY), python=("-X", "dev"))
    process.wait_until_asked(20 + repeat)
    signalled_s = process.signal(number)
    stopped = process.end()
    assert time.monotonic() - signalled_s < DRAINED_WITHIN_S
    assert stopped.exit_code == exit_code
    assert stopped.summary["pending"] == NUM_ROWS - len(stopped.asked) > 0
    continued = site.run("-c", "32")
    assert continued.exit_code == 0, continued.err
    assert not set(stopped.asked).intersection(continued.asked)


@pytest.mark.parametrize("repeat", REPEATS)
def test_a_second_signal_drops_what_is_in_flight(site: Site, repeat: int) -> None:
    site.answer = unhurried
    site.write_rows(NUM_ROWS)
    process = site.start("-c", str(CONCURRENCY), python=("-X", "dev"))
    process.wait_until_asked(20 + repeat)
    site.answer = endless
    process.wait_until_asked(process.num_asked() + CONCURRENCY)
    process.signal(signal.SIGINT)
    assert is_told(process, "in flight")
    again_s = process.signal(signal.SIGINT)
    dropped = process.end()
    assert time.monotonic() - again_s < DROPPED_WITHIN_S
    assert dropped.exit_code == 130
    site.answer = unhurried
    continued = site.run("-c", "32")
    assert continued.exit_code == 0
    assert len(set(dropped.asked).intersection(continued.asked)) <= CONCURRENCY


@pytest.mark.parametrize("repeat", REPEATS)
def test_a_third_signal_ends_it_at_once(site: Site, repeat: int) -> None:
    site.answer = endless
    site.write_rows(NUM_ROWS)
    process = site.start("-c", str(CONCURRENCY))
    process.wait_until_asked(CONCURRENCY)
    process.signal(signal.SIGINT)
    assert is_told(process, "in flight")
    process.signal(signal.SIGINT)
    time.sleep(0.001 * repeat)  # two of a kind that wait are one
    third_s = process.signal(signal.SIGINT)
    ended = process.end()
    assert time.monotonic() - third_s < LEFT_WITHIN_S
    assert ended.exit_code == 130


@pytest.mark.parametrize(
    "pipeline",
    ["{program} | head -1", "{program} 2>&1 | head -1", "{program} >&-", "{program} 2>&-"],
)
def test_a_reader_that_leaves_costs_no_row(site: Site, pipeline: str) -> None:
    site.write_rows(NUM_ROWS)
    program = shlex.join([sys.executable, "-m", "weave_async.cli", *site.arguments()])
    ended = site.start_command(["sh", "-c", pipeline.format(program=program)]).end()
    assert ended.exit_code == 0, ended.err
    assert len(set(site.asked())) == len(site.asked()) == NUM_ROWS


@pytest.mark.parametrize(
    ("size", "kind"),
    [((3, 9), "xterm"), ((0, 0), "xterm-256color"), ((24, 80), "dumb"), ((1, 1), "no-such-kind")],
)
def test_no_terminal_is_too_odd(site: Site, size: tuple[int, int], kind: str) -> None:
    site.answer = unhurried
    site.write_rows(NUM_ROWS)
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    process = site.start("-c", "32", stderr=terminal, env={"TERM": kind})
    os.close(terminal)
    shown: list[bytes] = []
    reading = threading.Thread(target=read_all, args=(main, shown))
    reading.start()
    process.wait_until_asked(50)
    fcntl.ioctl(main, termios.TIOCSWINSZ, struct.pack("HHHH", 2, 200, 0, 0))
    process.signal(signal.SIGWINCH)
    ended = process.end()
    reading.join()
    os.close(main)
    assert ended.exit_code == 0
    assert ended.summary["written"] == NUM_ROWS
    assert b"Traceback" not in b"".join(shown)


def test_a_terminal_that_hangs_up_stops_the_run_gently(site: Site) -> None:
    """Its SIGHUP comes with the session; what is printed from then on goes nowhere."""
    site.answer = unhurried
    site.write_rows(NUM_ROWS)
    main, terminal = pty.openpty()
    process = site.start("-c", str(CONCURRENCY), stderr=terminal)
    os.close(terminal)
    process.wait_until_asked(20)
    os.close(main)
    process.signal(signal.SIGHUP)
    stopped = process.end()
    assert stopped.exit_code == 143
    assert stopped.summary["status"] == "interrupted"
    continued = site.run("-c", "32")
    assert not set(stopped.asked).intersection(continued.asked)


def read_all(terminal: int, into: list[bytes]) -> None:
    """Until the other side is closed, which a terminal reports as an error."""
    try:
        while piece := os.read(terminal, 4096):
            into.append(piece)
    except OSError:
        return
