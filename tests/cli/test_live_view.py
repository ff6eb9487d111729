"""The screen on real pseudo-terminals, of all sizes and kinds."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from terminal import Terminal, terminal
from weave_async import Recipe, Run
from weave_async.cli.live_view import LiveView
from weave_async.cli.progress import PlainProgress, progress_for
from weave_async.testing.virtual_time import run_in_virtual_time

HOSTILE = "\x1b]52;c;eA==\x07 \x1b[2J \x9b2J \x7f \u202e [red]x[/red] :smile:\r\nand more"


@pytest.fixture(autouse=True)
def ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(Recipe.parse("{name: t, prompts: {source: seeds.jsonl}}"), output_dir=tmp_path)
    run.metrics.asked = 1000
    run.metrics.start()
    return run


@contextmanager
def viewing(run: Run, columns: int = 80, rows: int = 24) -> Iterator[tuple[LiveView, Terminal]]:
    """The terminal stays open after the view has left it, for as long as the test looks."""
    with terminal(columns, rows) as screen, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", screen.stream)
        with progress_for(run) as view:
            yield cast("LiveView", view), screen


def answer(run: Run, num: int = 10) -> None:
    run.metrics.asked_now += num
    run.metrics.written += num


def test_a_screen_is_drawn_over_the_last_one_and_erased_at_the_end(run: Run) -> None:
    with viewing(run) as (view, screen):
        for _ in range(5):
            answer(run)
            view.draw()
        assert [line for line in screen.shown if "answered" in line] == [
            "█░░░░░░░░░░░░░░░░░░░░░░░░░  50 of 1,000 answered · 5% · 0 s left"
        ]
        assert not screen.shows_cursor
        view.__exit__(None, None, None)
        assert screen.shown == []
        assert screen.shows_cursor


def test_messages_stand_above_the_screen(run: Run) -> None:
    with viewing(run) as (view, screen):
        view.draw()
        logging.getLogger("weave_async.x").warning("the endpoint is %s", "slow")
        view.say("stopping")
        answer(run)
        view.draw()
        shown = screen.shown
        assert shown[:3] == ["! the endpoint is slow", "stopping", "t · running, 0 s"]
        assert shown[-1] == "problem    0 s ago: the endpoint is slow"


def test_nothing_is_written_while_nothing_changes(run: Run) -> None:
    run.metrics.stop()
    with viewing(run) as (view, screen):
        view.draw()
        assert screen.read()
        view.draw()
        assert screen.read() == ""


@pytest.mark.parametrize("columns", [79, 60, 45, 31])
def test_a_terminal_that_becomes_narrower_keeps_no_broken_lines(run: Run, columns: int) -> None:
    run.metrics.rejected = Counter({f"rule: reason {number}": 5 for number in range(4)})
    with viewing(run) as (view, screen):
        view.say("before")
        view.draw()
        screen.read()
        screen.resize(columns, 24)
        answer(run)
        view.draw()
        shown = screen.shown
        assert all(len(line) < columns or columns == 1 or line == "before" for line in shown)
        for start in ("before", "t · ", "speed ", "rejected ", "cost "):
            assert sum(line.startswith(start) for line in shown) == 1, shown


def test_a_terminal_that_becomes_wider_is_used(run: Run) -> None:
    with viewing(run, columns=30) as (view, screen):
        view.draw()
        assert "speed 0.0 rows/s · 0 tok/s" in screen.shown
        screen.resize(100, 24)
        view.draw()
        assert "speed      0.0 rows/s · 0 tok/s · 0 in flight" in screen.shown


@pytest.mark.parametrize(("columns", "rows"), [(20, 3), (3, 9), (1, 1), (80, 2), (9, 30), (300, 5)])
def test_a_screen_is_smaller_than_the_terminal(run: Run, columns: int, rows: int) -> None:
    run.metrics.rejected = Counter({"length: too_short": 5})
    with viewing(run, columns, rows) as (view, screen):
        for _ in range(3):
            answer(run)
            view.draw()
        assert 1 <= len(screen.shown) <= max(1, rows - 1)
        assert all(len(line) <= max(1, columns - 1) for line in screen.shown)


def test_a_size_in_the_environment_does_not_hide_that_of_the_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LINES", "50")
    with viewing(run, columns=40, rows=5) as (view, screen):
        view.draw()
        assert len(screen.shown) == 4
        assert all(len(line) < 40 for line in screen.shown)


def test_a_terminal_that_was_stopped_holds_up_nothing(run: Run) -> None:
    with viewing(run) as (view, screen):
        view.draw()
        screen.read()
        with screen.stopped():
            for _ in range(3):
                answer(run)
                view.draw()
                logging.getLogger("weave_async.x").warning("%d answers", run.metrics.written)
            view.say("stopping")
            assert screen.read() == ""
        view.draw()
        shown = screen.shown
        assert shown[:4] == ["! 10 answers", "! 20 answers", "! 30 answers", "stopping"]
        assert sum("30 of 1,000" in line for line in shown) == 1


def test_whoever_leaves_in_a_hurry_does_not_wait_for_a_stopped_terminal(run: Run) -> None:
    with viewing(run) as (view, screen):
        view.draw()
        screen.read()
        with screen.stopped():
            view.close()
            assert screen.read() == ""


def test_what_a_stopped_terminal_has_not_taken_comes_at_the_end(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    with terminal() as screen:
        monkeypatch.setattr(sys, "stderr", screen.stream)
        with progress_for(run, quiet=True), screen.stopped():
            logging.getLogger("weave_async.x").warning("look here")
            assert screen.read() == ""
        assert screen.shown == ["! look here"]


def test_a_terminal_that_hangs_up_is_written_to_no_more(run: Run) -> None:
    with viewing(run) as (view, screen):
        view.draw()
        os.dup2(os.open(os.devnull, os.O_RDWR), screen._leader)
        for _ in range(3):
            answer(run)
            view.draw()
            view.say("nobody is there")


def test_nothing_from_outside_drives_the_terminal(run: Run) -> None:
    run.metrics.rejected = Counter({HOSTILE: 3})
    run.metrics.failed = Counter({HOSTILE: 3})
    run.metrics.retries = Counter({HOSTILE: 3})
    with viewing(run, columns=200, rows=50) as (view, screen):
        logging.getLogger("weave_async.x").warning("%s", HOSTILE)
        view.say(HOSTILE)
        view.draw()
        shown = screen.shown
        assert screen.controls_not_allowed == set()
        assert sum("[red]x[/red] :smile:" in line for line in shown) == 6


def test_colours_are_left_out_where_nobody_wants_them(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    with viewing(run) as (view, screen):
        logging.getLogger("weave_async.x").warning("slow")
        view.draw()
        screen.read()
        colours = set(";".join(re.findall(r"\x1b\[([0-9;]*)m", screen.received)).split(";"))
        assert colours <= {"0", "1", "2", ""}  # none, bold and dim


def test_a_terminal_without_unicode_is_sent_none(run: Run) -> None:
    with terminal() as screen, pytest.MonkeyPatch.context() as patch:
        with open(os.dup(screen.stream.fileno()), "w", encoding="ascii") as stream:
            patch.setattr(sys, "stderr", stream)
            with progress_for(run) as view:
                cast("LiveView", view).draw()
                shown = screen.shown
        assert "..........................  0 of 1,000 answered | 0%" in shown
        assert screen.received.isascii()
        assert "\\u" not in screen.received


def test_a_terminal_on_which_nothing_can_be_drawn_gets_lines(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")

    async def look(progress: PlainProgress) -> None:
        showing = asyncio.create_task(progress.show())
        await asyncio.sleep(0)
        showing.cancel()

    with viewing(run) as (view, screen):
        view.say("hello")
        asyncio.run(look(cast("PlainProgress", view)))
        assert screen.shown == [
            "hello",
            "0 of 1,000 answered, 0%, 0.0 rows/s, 0 tok/s, 0 in flight",
        ]
        assert "\x1b" not in screen.received


def test_what_parts_print_on_a_piped_output_gets_there(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    with viewing(run) as (view, screen):
        view.draw()
        print("a row")
        assert capsys.readouterr().out == "a row\n"
        assert "a row" not in screen.shown


@pytest.mark.parametrize(("drawing_s", "most"), [(0.0, 31), (0.01, 11), (0.05, 6)])
def test_slow_drawings_come_less_often_and_come_all_the_same(
    run: Run, drawing_s: float, most: int
) -> None:
    drawn_at_s = []

    async def ten_seconds(view: LiveView) -> None:
        loop = asyncio.get_running_loop()

        def draw() -> None:
            drawn_at_s.append(loop.time())
            time.sleep(drawing_s)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(view, "draw", draw)
            showing = asyncio.create_task(view.show())
            await asyncio.sleep(10.1)
            showing.cancel()

    with viewing(run) as (view, _):
        run_in_virtual_time(ten_seconds(view))
    assert 6 <= len(drawn_at_s) <= most


def test_prices_are_loaded_beside_the_loop_and_once_for_each_endpoint(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded_in: list[str] = []
    monkeypatch.setattr(
        Run, "cost_usd", property(lambda run: loaded_in.append(threading.current_thread().name))
    )

    async def show(view: LiveView) -> None:
        view.draw = lambda: None  # type: ignore[method-assign]
        showing = asyncio.create_task(view.show())
        for number, endpoint in enumerate(("fast", "slow")):
            run.metrics.tokens[endpoint] = [1, 1]
            while len(loaded_in) <= number:
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        showing.cancel()

    with viewing(run) as (view, _):
        asyncio.run(show(view))
    assert len(loaded_in) == 2
    assert threading.main_thread().name not in loaded_in


# --- the program itself --------------------------------------------------------------------------


class Shown:
    """The program on a terminal, read from beginning to end."""

    def __init__(self, screen: Terminal, *arguments: str, **options: Any) -> None:
        self.screen = screen
        command = [sys.executable, "-m", "weave_async.cli", "run", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=screen.stream, **options
        )
        self._is_over = False
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        while not self._is_over:
            self.screen.read()

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.screen.received:
            assert time.monotonic() < deadline, self.screen.received
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        out, _ = self.process.communicate(timeout=60)
        self._is_over = True
        self._reading.join()
        self.screen.read()
        return self.process.returncode, out.decode()


SLOW = ("-c", "4", "--option", "latency_s=0.05")


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (20, 3)])
def test_a_run_survives_any_resizing_and_leaves_an_empty_screen(
    recipe_file: Path, columns: int, rows: int
) -> None:
    with terminal(columns, rows) as screen:
        shown = Shown(screen, str(recipe_file), "-n", "100", "-o", "out", "--json", *SLOW)
        shown.wait_for("rows/s")
        for size in ((3, 20), (1, 1), (0, 0), (500, 500), (24, 80)):
            packed = struct.pack("HHHH", *size, 0, 0)
            fcntl.ioctl(screen.stream.fileno(), termios.TIOCSWINSZ, packed)
            shown.process.send_signal(signal.SIGWINCH)
            time.sleep(0.1)
        exit_code, out = shown.end()
        assert exit_code == 0
        assert out.count("\n") == 1
        assert '"asked":100' in out
        assert "broke" not in screen.received
        assert screen.controls_not_allowed == set()
        assert screen.shows_cursor


def test_a_quiet_run_shows_problems_and_the_summary_alone(recipe_file: Path) -> None:
    recipe_file.write_text(recipe_file.read_text().replace("min_words: 20", "min_words: 2000"))
    with terminal(columns=200) as screen:
        shown = Shown(
            *(screen, str(recipe_file), "-n", "200", "-o", "out", "--quiet"),
            *("--option", "latency_s=0.05"),
        )
        exit_code, out = shown.end()
        assert exit_code == 0
        assert out.startswith("Complete: 200 samples")
        assert all(line.startswith("! ") for line in screen.shown), screen.shown
        assert any("has rejected all of the first" in line for line in screen.shown)
        assert "rows/s" not in screen.received


def test_a_third_signal_leaves_the_cursor_where_it_can_be_seen(recipe_file: Path) -> None:
    with terminal() as screen:
        stuck = ("-c", "4", "--option", "latency_s=60")
        shown = Shown(screen, str(recipe_file), "-o", "out", *stuck)
        shown.wait_for("4 in flight")
        shown.process.send_signal(signal.SIGINT)
        shown.wait_for("once more to drop them")
        shown.process.send_signal(signal.SIGSTOP)
        shown.process.send_signal(signal.SIGINT)
        shown.process.send_signal(signal.SIGTERM)
        shown.process.send_signal(signal.SIGCONT)
        shown.end()
        assert screen.shows_cursor
