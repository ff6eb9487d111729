"""``weave-async bench``"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from weave_async.cli import options
from weave_async.cli.console import ConsoleLog, print_error, stderr_console
from weave_async.cli.loop import run_in_loop
from weave_async.errors import InputError, ProviderError, UsageError
from weave_async.visible import printable

if TYPE_CHECKING:
    from weave_async.bench.benchmark import Benchmark, Plan
    from weave_async.bench.load import Load, Window
    from weave_async.bench.metrics import StepFigures
    from weave_async.bench.result import BenchmarkResult
    from weave_async.bench.workload import Workload
    from weave_async.settings import Settings

_LOAD, _WORKLOAD, _RESULT = "Load", "Workload", "Result"
DEFAULT_LADDER = "1,4,16,64"
DEFAULT_TOP = 512
DEFAULT_OUTPUT_TOKENS = 64
EXIT_WORSE, EXIT_INTERRUPTED = 1, 130
PROGRESS_INTERVAL_S = 0.25
RESULT = "result.json"


def bench(
    backends: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BACKEND…",
            help="What to measure, as ENDPOINT or ENDPOINT:MODEL, named as in a recipe's mix. "
            "Default: the endpoint of the environment or flags.",
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency",
            "-c",
            metavar="N,N…",
            rich_help_panel=_LOAD,
            help=f"Requests in flight, a step for each (closed loop). Default: {DEFAULT_LADDER}.",
        ),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            metavar="R,R…",
            rich_help_panel=_LOAD,
            help="Instead: requests per second, whatever comes back (open loop).",
        ),
    ] = None,
    poisson: Annotated[
        bool,
        typer.Option("--poisson", rich_help_panel=_LOAD, help="With --rate: as people come."),
    ] = False,
    ramp: Annotated[
        bool,
        typer.Option("--ramp", rich_help_panel=_LOAD, help="With --rate: rising to it from 0."),
    ] = False,
    slo: Annotated[
        str | None,
        typer.Option(
            "--slo",
            rich_help_panel=_LOAD,
            help="An objective, as 'ttft_s.p95<0.5, tpot_s.p95<0.05, error_rate<0.01'.",
        ),
    ] = None,
    search: Annotated[
        bool,
        typer.Option(
            "--search",
            rich_help_panel=_LOAD,
            help="With --slo: find the highest load that meets it, doubling, then bisecting.",
        ),
    ] = False,
    top: Annotated[
        int, typer.Option("--top", min=1, rich_help_panel=_LOAD, help="With --search: no higher.")
    ] = DEFAULT_TOP,
    duration: Annotated[
        float,
        typer.Option("--duration", min=0.1, rich_help_panel=_LOAD, help="Seconds of a step."),
    ] = 8.0,
    warm_up: Annotated[
        float,
        typer.Option("--warm-up", min=0, rich_help_panel=_LOAD, help="Seconds before each step."),
    ] = 2.0,
    requests: Annotated[
        int,
        typer.Option(
            "--requests",
            min=1,
            rich_help_panel=_LOAD,
            help="A step lasts until so many are answered, too, up to --longest.",
        ),
    ] = 50,
    longest: Annotated[
        float, typer.Option("--longest", min=1, rich_help_panel=_LOAD, help="Seconds of a step.")
    ] = 60.0,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", rich_help_panel=_WORKLOAD, help="Ask what this recipe asks."),
    ] = None,
    prompts: options.PromptsOption = None,
    input_tokens: Annotated[
        int,
        typer.Option("--input-tokens", min=1, rich_help_panel=_WORKLOAD, help="Made-up prompts."),
    ] = 64,
    output_tokens: Annotated[
        int | None,
        typer.Option(
            "--output-tokens",
            min=1,
            rich_help_panel=_WORKLOAD,
            help="Most tokens of an answer. Default: the recipe's, or 64.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", rich_help_panel=_WORKLOAD)] = 0,
    provider: options.ProviderOption = None,
    model: options.ModelOption = None,
    base_url: options.BaseUrlOption = None,
    rpm: options.RpmOption = None,
    tpm: options.TpmOption = None,
    option: options.OptionOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            rich_help_panel=_RESULT,
            help="Write result.json, requests.jsonl and report.html there.",
        ),
    ] = None,
    png: Annotated[
        bool,
        typer.Option(
            "--png", rich_help_panel=_RESULT, help="With --output: each plot as a file, too."
        ),
    ] = False,
    compare: Annotated[
        Path | None,
        typer.Option(
            "--compare",
            metavar="FILE",
            rich_help_panel=_RESULT,
            help="An earlier result.json: print what has changed, and end with 1 if it is worse.",
        ),
    ] = None,
    definitions: Annotated[
        bool,
        typer.Option(
            "--definitions", rich_help_panel=_RESULT, help="Say what each figure means, and end."
        ),
    ] = False,
    json: options.JsonOption = False,
) -> None:
    """Measure what backends can do: requests and tokens per second, latencies, where they break.

    Each backend is put under the same loads, in turns. Keys and addresses come from where `run` has
    them, and limits that are configured (--rpm, --tpm, WEAVE_ASYNC_RPM …) are kept. It sends real
    requests: at a hosted service they cost money.

    Latencies leave failures out, which are told apart; a percentile for which there are too few
    requests is not told. A step in which this client was the bottleneck is marked as such.

    Examples: `weave-async bench` · `weave-async bench local fast:big-model -c 1,8,32` ·
    `weave-async bench fast --rate 5,10 --poisson` ·
    `weave-async bench fast --search --slo 'ttft_s.p95<0.5'`
    """
    from weave_async.bench.metrics import DEFINITIONS

    if definitions:
        for name, meaning in DEFINITIONS.items():
            print(f"{name}: {meaning}")
        return
    if png:
        _require_plots(output)
    if poisson and ramp:
        raise UsageError("--poisson and --ramp are two kinds of load: choose one")
    plan = _plan(
        concurrency=concurrency,
        rate=rate,
        kind="poisson" if poisson else "ramp" if ramp else "constant",
        slo=slo,
        searches=search,
        top=top,
        seed=seed,
        times=(warm_up, duration, requests, longest),
    )
    workload = _workload(recipe, prompts, input_tokens, output_tokens, seed)
    before = None
    if compare is not None:
        from weave_async.bench.comparing import require_comparable
        from weave_async.bench.result import read_result

        before = read_result(compare)
        require_comparable(before, workload.description)
    settings = options.settings_from(
        provider=provider, model=model, base_url=base_url, rpm=rpm, tpm=tpm, options=option
    )
    from weave_async.cli.progress import messages_to

    with ExitStack() as stack:
        rows = None if output is None else stack.enter_context(_opened(output))
        stack.enter_context(messages_to(ConsoleLog(stderr_console())))
        running = _run(backends or [], settings, plan, workload, rows=rows, shows=not json)
        result = run_in_loop(running)
    told = result.as_dict()
    if output is not None:
        _keep(output, told)  # whatever may go wrong below, it was paid for
    if before is not None:
        from weave_async.bench.comparing import compared

        told["compared"] = compared(before, told)
    if output is not None:
        _write(output, told, png=png)
    if json:
        import orjson

        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(result, told.get("compared"))
    raise typer.Exit(_exit_code(result, told.get("compared")))


def _require_plots(output: Path | None) -> None:
    """Before anything is asked."""
    from importlib.util import find_spec

    if output is None:
        raise UsageError("--png writes beside the result: name a folder with --output")
    if find_spec("matplotlib") is None:
        raise UsageError("--png needs the extra: pip install 'weave_async[plots]'")


def _exit_code(result: BenchmarkResult, compared: Sequence[Mapping[str, Any]] | None) -> int:
    if result.interrupted:
        return EXIT_INTERRUPTED
    if any(each.problem is not None or each.answered_nothing for each in result.backends):
        return ProviderError.exit_code
    if compared == []:
        return InputError.exit_code
    return EXIT_WORSE if any(change["is_worse"] for change in compared or ()) else 0


def _plan(
    *,
    concurrency: str | None,
    rate: str | None,
    kind: str,
    slo: str | None,
    searches: bool,
    top: int,
    seed: int,
    times: tuple[float, float, int, float],
) -> Plan:
    from weave_async.bench.benchmark import Plan
    from weave_async.bench.load import Duration, Load
    from weave_async.bench.slo import Objective

    if concurrency is not None and rate is not None:
        raise UsageError("--concurrency is a closed loop and --rate an open one: choose one")
    if rate is None and kind != "constant":
        raise UsageError(f"--{kind} goes with --rate")
    if searches and slo is None:
        raise UsageError("--search looks for the highest load that meets an objective: give --slo")
    if rate is not None:
        loads = [Load(kind, level) for level in _numbers(rate, "--rate")]  # type: ignore[arg-type]
    else:
        levels = _numbers(concurrency or ("1" if searches else DEFAULT_LADDER), "--concurrency")
        if any(level != int(level) for level in levels):
            raise UsageError(f"--concurrency takes whole numbers, as 1,8,32; got '{concurrency}'")
        loads = [Load("closed", level) for level in levels]
    if searches and len(loads) > 1:
        raise UsageError("--search begins at one load, and finds the others: name one")
    warm_up_s, min_s, min_requests, max_s = times
    if max_s < min_s:
        raise UsageError(f"--longest {max_s:g} is shorter than --duration {min_s:g}")
    objective = None if slo is None else Objective.parse(slo)
    if objective is not None:
        min_requests = max(min_requests, objective.fewest_requests)
    return Plan(
        loads,
        Duration(warm_up_s, min_s, min_requests, max_s),
        objective=objective,
        searches=searches,
        top=top,
        seed=seed,
    )


def _numbers(text: str, flag: str) -> list[float]:
    try:
        numbers = [float(each) for each in text.split(",")]
    except ValueError:
        raise UsageError(f"{flag} takes numbers, as 1,8,32; got '{text}'") from None
    if not all(0 < each < 1e6 for each in numbers):
        raise UsageError(f"{flag}: each must be above 0 and below a million; got '{text}'")
    return numbers


def _workload(
    recipe: Path | None,
    prompts: str | None,
    input_tokens: int,
    output_tokens: int | None,
    seed: int,
) -> Workload:
    from weave_async.bench.workload import SyntheticWorkload, recipe_workload

    if recipe is None and prompts is None:
        return SyntheticWorkload(input_tokens, output_tokens or DEFAULT_OUTPUT_TOKENS, seed)
    job = options.job_from(recipe, prompts=prompts)
    return recipe_workload(job.recipe, str(recipe or prompts), output_tokens=output_tokens)


async def _run(
    names: list[str],
    settings: Settings,
    plan: Plan,
    workload: Workload,
    *,
    rows: BinaryIO | None,
    shows: bool,
) -> BenchmarkResult:
    """The result; of one that was interrupted, what there is. Requests go to ``rows`` as their
    steps end.
    """
    import orjson

    from weave_async.bench.backend import backends_of
    from weave_async.bench.benchmark import Benchmark
    from weave_async.bench.result import BackendResult

    def keep(name: str, window: Window) -> None:
        if rows is None:
            return
        for each in window.attempts:
            row = {"backend": name, "load": str(window.load), **each.as_row(benchmark.begun_s)}
            rows.write(orjson.dumps(row) + b"\n")
        rows.flush()

    async with AsyncExitStack() as stack:
        backends, problems = await backends_of(
            names, settings, workload, stack, most_in_flight=plan.most_in_flight
        )
        if not backends:
            for name, problem in list(problems.items())[1:]:
                print_error(f"{name}: {problem}")
            raise next(iter(problems.values()))
        benchmark = Benchmark(backends, plan, on_step=_tell if shows else None, on_window=keep)
        benchmark.result.backends += [
            BackendResult(name, problem=str(problem)) for name, problem in problems.items()
        ]
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, _interrupted, benchmark, number)
        showing = asyncio.create_task(_show_progress(benchmark)) if shows else None
        try:
            return await benchmark.run()
        finally:
            if showing is not None:
                showing.cancel()


def _interrupted(benchmark: Benchmark, number: signal.Signals) -> None:
    """First signal: end with what there is. Second: leave."""
    if benchmark.is_interrupted:
        os._exit(128 + number)
    print_error("interrupted: what was measured so far follows")
    benchmark.interrupt()


async def _show_progress(benchmark: Benchmark) -> None:
    """What the step is at, on a terminal, until cancelled."""
    console = stderr_console()
    if not console.is_terminal:
        return
    with console.status("asking for a first answer") as status:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            backend = benchmark.under_way
            if backend is not None and (window := backend.window) is not None:
                num_failed = sum(not each.is_good for each in window.attempts)
                failed = f", {num_failed:,} failed" if num_failed else ""
                elapsed_s = monotonic() - window.from_s
                at = f"{elapsed_s:.0f} s" if elapsed_s >= 0 else "warming up"
                num_done = len(window.attempts) - num_failed
                status.update(
                    printable(f"{backend.name}, {window.load}: {at}, {num_done:,} answered{failed}")
                )


def _tell(name: str, load: Load, figures: StepFigures) -> None:
    """One line per step, on the way."""
    rate = figures.requests_per_s.value or 0.0
    failed = f", {figures.num_failed} failed" if figures.num_failed else ""
    line = (
        f"{name}, {load}: {rate:.1f} requests/s, {figures.output_tokens_per_s:,.0f} tok/s{failed}"
    )
    stderr_console().print(printable(line))


def _show(result: BenchmarkResult, compared: list[dict[str, Any]] | None) -> None:
    from rich.console import Console

    from weave_async.cli.bench_table import remarks_of, table_of

    console = Console(highlight=False, markup=False)
    for each in result.backends:
        if each.model:
            console.print(printable(f"{each.name}: {each.model} ({each.provider})"))
    console.print(printable(f"{result.workload}; {result.machine}\n"))
    if any(each.steps for each in result.backends):
        console.print(table_of(result))
        console.print()
    for line in remarks_of(result):
        console.print(printable(line))
    for change in compared or ():
        console.print(printable(change["in_words"]))
    if compared == []:
        console.print("Nothing to compare: no backend had the same load before, with figures.")


def _opened(folder: Path) -> BinaryIO:
    """The file of requests in a folder that holds no result yet."""
    if (folder / RESULT).exists() or (folder / "requests.jsonl").exists():
        raise UsageError(f"{folder} holds a result already: name another folder for --output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / "requests.jsonl").open("wb")
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}") from error


def _keep(folder: Path, told: dict[str, Any]) -> None:
    import orjson

    (folder / RESULT).write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2))


def _write(folder: Path, told: dict[str, Any], *, png: bool) -> None:
    import orjson

    from weave_async.bench.page import page_of

    _keep(folder, told)
    with (folder / "requests.jsonl").open("rb") as lines:
        page = page_of(told, map(orjson.loads, lines))
    (folder / "report.html").write_text(page, encoding="utf-8")
    if png:
        from weave_async.bench.plots import write_pngs

        with (folder / "requests.jsonl").open("rb") as lines:
            write_pngs(folder, told, map(orjson.loads, lines))
