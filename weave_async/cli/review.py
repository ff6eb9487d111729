"""``weave-async review``"""

from __future__ import annotations

import getpass
import webbrowser
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weave_async.cli.console import stderr_console, write_to_stderr
from weave_async.errors import UsageError
from weave_async.visible import printable

if TYPE_CHECKING:
    from weave_async.review.queue import ReviewQueue
    from weave_async.run_rows import RunRows

MAX_NAME_CHARS = 60
SHOW_EVERY_ROWS = 10_000
_QUEUE, _FIGURES, _SERVER = "Queue", "Figures", "Server"
_CTRL_C = "Ctrl-C ends the review; what was decided is in review.jsonl already."


class Population(StrEnum):
    all = "all"
    written = "written"
    rejected = "rejected"


def review(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    reviewer: Annotated[
        list[str] | None,
        typer.Option(
            "--reviewer",
            "-r",
            metavar="NAME",
            help="Who reviews; once for each person, who then gets a link of their own. "
            "Default: the user that you are logged in as.",
        ),
    ] = None,
    num: Annotated[
        int,
        typer.Option(
            "--num", "-n", min=1, rich_help_panel=_QUEUE, help="Rows that each person is to decide."
        ),
    ] = 100,
    of: Annotated[
        Population,
        typer.Option("--of", rich_help_panel=_QUEUE, help="Which rows are shown."),
    ] = Population.all,
    overlap: Annotated[
        float,
        typer.Option(
            "--overlap",
            min=0.0,
            max=1.0,
            rich_help_panel=_QUEUE,
            help="Share of the rows that every reviewer is shown, so that their agreement can be "
            "told; each of the others is shown to one.",
        ),
    ] = 0.25,
    reason: Annotated[
        list[str] | None,
        typer.Option(
            "--reason",
            metavar="TEXT",
            rich_help_panel=_QUEUE,
            help="A reason to reject, on a key of its own; several times, in place of ours.",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", rich_help_panel=_QUEUE, help="Draws the rows. Default: the run's."),
    ] = None,
    calibrate: Annotated[
        bool,
        typer.Option(
            "--calibrate",
            rich_help_panel=_FIGURES,
            help="Serve nothing: print how the judge and each rule fare beside the verdicts of "
            "people, and which thresholds would do better.",
        ),
    ] = False,
    miss_cost: Annotated[
        float | None,
        typer.Option(
            "--miss-cost",
            min=0.0,
            rich_help_panel=_FIGURES,
            help="With --calibrate: what a bad row in the dataset costs, in good rows lost. "
            "Default: the threshold that is best at both, share by share (Youden's J).",
        ),
    ] = None,
    results: Annotated[
        bool,
        typer.Option(
            "--results",
            rich_help_panel=_FIGURES,
            help="Serve nothing: print how many rows are bad, with an interval, and how far "
            "reviewers agree.",
        ),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", rich_help_panel=_FIGURES, help="Print figures as JSON.")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open", rich_help_panel=_SERVER, help="Open the page in the browser.")
    ] = False,
    port: Annotated[
        int,
        typer.Option(
            "--port", min=0, max=65535, rich_help_panel=_SERVER, help="Port; 0 takes any free one."
        ),
    ] = 0,
    host: Annotated[
        str,
        typer.Option("--host", rich_help_panel=_SERVER, help="Address to listen on."),
    ] = "127.0.0.1",
    i_know: Annotated[
        bool,
        typer.Option(
            "--i-know",
            rich_help_panel=_SERVER,
            help="Listen where other machines can reach it, though nothing is encrypted.",
        ),
    ] = False,
) -> None:
    """Judge rows by eye: a local page that shows one at a time, and takes each verdict by a key.

    Rows on which judges and rules disagree come first, then those near a threshold and those with
    rare attributes, among others drawn at random. Each verdict is on the disk before the next row
    is shown, in RUN/review.jsonl; `weave-async export` follows them.

    Needs the extra `review`. Sends no request; the page loads nothing from elsewhere.

    Examples:

    `weave-async review out/demo --open`

    `weave-async review out/demo -r ana -r ben -n 50 --overlap 0.5`

    `weave-async review out/demo --calibrate`
    """
    if calibrate or results:
        _print_figures(run, calibrate=calibrate, miss_cost=miss_cost, as_json=json)
        return
    try:
        from weave_async.review import server
    except ModuleNotFoundError as error:
        raise UsageError(
            f"the review page needs {error.name}: pip install 'weave-async[review]'"
        ) from error
    from weave_async.review.reviewing import REASONS, Review
    from weave_async.review_log import ReviewWriter
    from weave_async.run_rows import RunRows

    reviewers = _named(reviewer or [getpass.getuser()])
    rows = RunRows(run)
    name = str(rows.manifest.get("name") or run.resolve().name)
    with (
        server.listen(host, port, beyond_loopback=i_know) as listener,
        ReviewWriter(rows.folder.review) as writer,
    ):
        queue = _queue_of(rows, of, overlap, seed)
        made = Review(name, rows, queue, writer, planned=num, reasons=tuple(reason or REASONS))
        links = _Links(opens_first=open_page)
        served = server.ReviewServer(made, listener, on_link=links.show)
        for each in reviewers:
            served.announce(each)
        write_to_stderr(_CTRL_C + "\n")
        served.serve()
        if made.log.standing:
            print(printable(str(made.results())))


def _print_figures(run: Path, *, calibrate: bool, miss_cost: float | None, as_json: bool) -> None:
    import orjson

    from weave_async.review.calibration import Calibration, calibration
    from weave_async.review.decided import Decided
    from weave_async.review.judgements import rules_of
    from weave_async.review.results import Results
    from weave_async.review_log import ReviewLog
    from weave_async.run_rows import RunRows

    rows = RunRows(run)
    log = ReviewLog.read(rows.folder.review)
    if not log.standing:
        raise UsageError(f"nobody has reviewed {run} yet: try `weave-async review {run} --open`")
    found: Calibration | Results
    if calibrate:
        decided, rules = Decided.read(rows, log), rules_of(rows.folder)
        found = calibration(decided, rules, miss_cost=miss_cost, seed=rows.seed)
    else:
        found = Results.of(rows, log, seed=rows.seed)
    print(orjson.dumps(found.as_dict()).decode() if as_json else printable(str(found)))


class _Links:
    """Prints each link when it is made. The first may be opened, too."""

    def __init__(self, *, opens_first: bool) -> None:
        self._opens_next = opens_first
        self._seen: set[str] = set()

    def show(self, reviewer: str, link: str) -> None:
        words = "for another browser" if reviewer in self._seen else "open this once"
        self._seen.add(reviewer)
        print(printable(f"{reviewer}, {words}: {link}"), flush=True)
        if self._opens_next:
            self._opens_next = False
            webbrowser.open(link)


def _named(reviewers: list[str]) -> list[str]:
    for name in reviewers:
        if not name.strip() or len(name) > MAX_NAME_CHARS or printable(name) != name:
            raise UsageError(
                f"--reviewer is a name of at most {MAX_NAME_CHARS} characters: {name!r}"
            )
    if len(set(reviewers)) < len(reviewers):
        raise UsageError("--reviewer names somebody twice: each has one link at a time")
    return reviewers


def _queue_of(rows: RunRows, of: Population, overlap: float, seed: int | None) -> ReviewQueue:
    """Long with a million rows: says how far it is, on a terminal."""
    from weave_async.review.queue import ReviewQueue
    from weave_async.review.strata import POPULATIONS

    with stderr_console().status("reading the rows …") as status:

        def show(num_read: int) -> None:
            if num_read % SHOW_EVERY_ROWS == 0:
                status.update(f"reading the rows, twice: {num_read:,} …")

        queue = ReviewQueue(
            rows,
            populations=[each for each in POPULATIONS if of in (each, Population.all)],
            overlap=overlap,
            seed=seed,
            on_row=show,
        )
    if not len(queue):
        raise UsageError(f"{rows.folder.path} has no rows to review")
    return queue
