"""Progress on standard error: live on a terminal, one JSON line per interval elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import orjson
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

from weave_async.cli.console import ConsoleLog, printable, stderr_console, write_to_stderr
from weave_async.gates import shown
from weave_async.run import Run

LIVE_INTERVAL_S, LINE_INTERVAL_S = 0.25, 5.0
BAR_WIDTH = 24


class Progress(Protocol):
    """Shows a run while it goes on."""

    async def show(self) -> None:
        """Refresh until cancelled."""

    def say(self, message: str) -> None:
        """One line for people, now."""


@contextmanager
def progress_for(
    run: Run, *, quiet: bool = False, as_json: bool | None = None
) -> Iterator[Progress]:
    """The kind that fits where standard error goes, with our loggers' messages beside it.

    ``quiet`` leaves out the lines that are not for people. ``as_json`` writes JSON lines on a
    terminal, too; by default they are for what is none.
    """
    console = stderr_console()
    shows_live = console.is_terminal and not as_json
    with messages_to(ConsoleLog(console) if shows_live else JsonLog()):
        if shows_live:
            with LiveProgress(run, console) as live:
                yield live
        else:
            yield NoProgress() if quiet else LineProgress(run)


@contextmanager
def messages_to(handler: logging.Handler) -> Iterator[None]:
    """Show what our loggers say for as long as this lasts."""
    loggers = [logging.getLogger(name) for name in ("weave_async", "providers")]
    for logger in loggers:
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


class LiveProgress:
    """One bar, with the figures that tell whether a run goes well."""

    def __init__(self, run: Run, console: Console) -> None:
        self._run = run
        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            auto_refresh=False,
            transient=True,
        )
        self._task = self._bar.add_task(run.recipe.name, total=None, figures="")

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._bar.stop()

    async def show(self) -> None:
        while True:
            metrics = self._run.metrics
            width = self._bar.console.width - len(self._run.recipe.name) - BAR_WIDTH - 20
            self._bar.update(
                self._task,
                total=metrics.asked,
                completed=metrics.answered,
                figures=figures(self._run, width),
            )
            self._bar.refresh()
            await asyncio.sleep(LIVE_INTERVAL_S)

    def say(self, message: str) -> None:
        self._bar.console.print(printable(message))


def figures(run: Run, width: int) -> str:
    """``12.1/s · 0:31 left · 40 written · 3 rejected · 310 tok/s``, and more where it fits."""
    metrics = run.metrics
    if metrics.stopped_at_s is not None and run.recipe.measure is not None:
        return "measuring what was written"
    parts = [f"{metrics.answers_per_s:.1f}/s"]
    if metrics.eta_s is not None:
        minutes, seconds = divmod(round(metrics.eta_s), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    parts.append(f"{metrics.written} written")
    for count, name in (
        (metrics.held, "held"),
        (metrics.rejected.total(), "rejected"),
        (metrics.failed.total(), "failed"),
        (metrics.retries.total(), "retries"),
    ):
        if count:
            parts.append(f"{count} {name}")
    if (vendi := metrics.diversity.get("vendi_words")) is not None:
        parts.append(f"vendi of words {shown(vendi)}")
    parts += [f"{metrics.output_tokens_per_s:,.0f} tok/s", f"{run.num_in_flight} in flight"]
    if (p95_s := metrics.e2e_s(95)) is not None:
        parts.append(f"p50 {metrics.e2e_s(50):.2f} s, p95 {p95_s:.2f} s")
    while len(parts) > 1 and len(" · ".join(parts)) > width:
        parts.pop()
    return " · ".join(parts)


class LineProgress:
    """A JSON object per interval, for logs and for other programs."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def show(self) -> None:
        while True:
            _print_line({"event": "progress", **self._run.metrics.snapshot()})
            await asyncio.sleep(LINE_INTERVAL_S)

    def say(self, message: str) -> None:
        _print_line({"event": "message", "message": message})


class NoProgress:
    """Says only what is said."""

    async def show(self) -> None:
        return None

    def say(self, message: str) -> None:
        _print_line({"event": "message", "message": message})


class JsonLog(logging.Handler):
    """Our loggers' messages, as the same kind of lines."""

    def emit(self, record: logging.LogRecord) -> None:
        _print_line(
            {"event": "message", "level": record.levelname.lower(), "message": record.getMessage()}
        )


def _print_line(line: dict[str, Any]) -> None:
    # JSON escapes C0 controls, but lets DEL, C1 and bidirectional ones through to a terminal.
    write_to_stderr(printable(orjson.dumps(line, default=str).decode()) + "\n")
