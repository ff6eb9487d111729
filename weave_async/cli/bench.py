"""``weave-async bench``"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weave_async.cli import options
from weave_async.cli.console import print_error, printable, stderr_console
from weave_async.cli.loop import run_in_loop
from weave_async.errors import InputError, UsageError, WeaveError

if TYPE_CHECKING:
    from weave_async.bench.backend import Backend
    from weave_async.bench.benchmark import BenchmarkResult, Plan
    from weave_async.bench.load import Load
    from weave_async.bench.metrics import StepFigures
    from weave_async.bench.workload import Workload
    from weave_async.settings import Settings

_LOAD, _WORKLOAD, _RESULT = "Load", "Workload", "Result"
DEFAULT_LADDER = "1,4,16,64"
DEFAULT_TOP = 512
NUM_RECIPE_PROMPTS = 1000
EXIT_WORSE = 1


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
    before = _read_result(compare) if compare is not None else None
    flags = {
        "provider": provider,
        "model": model,
        "base_url": base_url,
        "rpm": rpm,
        "tpm": tpm,
        "options": options.parsed_options(option),
    }
    workload = _workload(recipe, prompts, input_tokens, output_tokens, seed)
    result, rows = run_in_loop(_run(backends or [], flags, plan, workload, shows=not json))
    if output is not None:
        _write(output, result, rows)
    told = result.as_dict()
    if before is not None:
        from weave_async.bench.comparing import compared

        told["compared"] = compared(before, told)
    if json:
        import orjson

        print(orjson.dumps(told, option=orjson.OPT_INDENT_2).decode())
    else:
        _show(result, told.get("compared"))
    worse = any(change["is_worse"] for change in told.get("compared", ()))
    if all(each.problem is not None and not each.steps for each in result.backends):
        raise typer.Exit(69)
    raise typer.Exit(EXIT_WORSE if worse else 0)


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
    warm_up_s, min_s, min_requests, max_s = times
    if max_s < min_s:
        raise UsageError(f"--longest {max_s:g} is shorter than --duration {min_s:g}")
    return Plan(
        loads,
        Duration(warm_up_s, min_s, min_requests, max_s),
        objective=None if slo is None else Objective.parse(slo),
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
    from weave_async.bench.workload import GivenWorkload, SyntheticWorkload

    if recipe is None and prompts is None:
        return SyntheticWorkload(input_tokens, output_tokens or 64, seed)
    from dataclasses import replace

    from weave_async.cli.options import job_from
    from weave_async.parts import examples_source_of, source_of
    from weave_async.plan import Plan as PromptPlan
    from weave_async.records import Endpoint

    job = job_from(recipe, prompts=prompts)
    mix = [Endpoint("bench", "bench", "bench") for _ in job.recipe.generate.mix]
    with _closing() as stack:
        plan = PromptPlan(
            job.recipe, source_of(job.recipe, stack), mix, examples=examples_source_of(job.recipe)
        )
        asked = [
            sample.request
            for sample, _ in zip(plan.samples(), range(NUM_RECIPE_PROMPTS), strict=False)
        ]
    if output_tokens is not None:
        asked = [
            replace(each, params=replace(each.params, max_tokens=output_tokens)) for each in asked
        ]
    return GivenWorkload(asked, str(recipe or prompts))


def _closing() -> Any:
    from contextlib import ExitStack

    return ExitStack()


async def _run(
    names: list[str],
    flags: dict[str, Any],
    plan: Plan,
    workload: Workload,
    *,
    shows: bool,
) -> tuple[BenchmarkResult, list[dict[str, Any]]]:
    """The result, and a row for each request; of an interrupted one, what there is."""
    from weave_async.bench.benchmark import Benchmark
    from weave_async.cli.console import ConsoleLog
    from weave_async.cli.progress import messages_to
    from weave_async.settings import Settings

    settings = Settings.from_environment().with_flags(**flags)
    rows: list[dict[str, Any]] = []
    with messages_to(ConsoleLog(stderr_console())):
        async with AsyncExitStack() as stack:
            backends, problems = await _backends(names, settings, workload, stack)
            for name, problem in problems.items():
                print_error(f"{name}: {problem}")
            if not backends:
                raise next(iter(problems.values()))

            def on_window(name: str, window: Any) -> None:
                rows.extend(
                    {"backend": name, "load": str(window.load), **each.as_row(benchmark.begun_s)}
                    for each in window.attempts
                )

            benchmark = Benchmark(
                backends, plan, on_step=_tell if shows else None, on_window=on_window
            )
            running = asyncio.ensure_future(benchmark.run())
            try:
                await asyncio.shield(running)
            except asyncio.CancelledError:
                running.cancel()
                await asyncio.wait((running,))
                print_error("interrupted: what was measured so far follows")
            return benchmark.result, rows


async def _backends(
    names: list[str], settings: Settings, workload: Workload, stack: AsyncExitStack
) -> tuple[list[Backend], dict[str, WeaveError]]:
    """Those that could be made ready, and why the others could not."""
    from weave_async.bench.backend import Backend
    from weave_async.parts import endpoint_of, prices_of, providers_of, sellers_of
    from weave_async.recipe import MixEntry

    backends: list[Backend] = []
    problems: dict[str, WeaveError] = {}
    for name in dict.fromkeys(names or [""]):
        endpoint_name, _, model = name.partition(":")
        entry = MixEntry(model=model or None)
        if endpoint_name:
            entry = MixEntry(endpoint=endpoint_name, model=model or None)
        told = name or settings.default.provider or entry.endpoint
        try:
            endpoint = endpoint_of(entry, settings)
            provider = providers_of([endpoint])[endpoint.name]
            await stack.enter_async_context(provider)
            prices = prices_of(sellers_of([endpoint], {endpoint.name: provider}))
        except WeaveError as error:
            problems[told] = error
            continue
        backends.append(Backend(told, endpoint, provider, workload, prices[endpoint.name]))
    return backends, problems


def _tell(name: str, load: Load, figures: StepFigures | None) -> None:
    """One line per step, on the way."""
    console = stderr_console()
    if figures is None:
        console.print(printable(f"{name}, {load}: above the endpoint's own limit, left out"))
        return
    rate = figures.requests_per_s.value or 0.0
    console.print(
        printable(
            f"{name}, {load}: {rate:.1f} requests/s, {figures.output_tokens_per_s:,.0f} tok/s, "
            f"{figures.num_failed} failed"
        )
    )


def _show(result: BenchmarkResult, compared: list[dict[str, Any]] | None) -> None:
    from rich.console import Console

    from weave_async.cli.bench_table import remarks_of, table_of

    console = Console()
    console.print(f"{result.machine}; {result.workload}", highlight=False)
    console.print(table_of(result))
    for line in remarks_of(result):
        console.print(printable(line), highlight=False)
    for change in compared or ():
        console.print(printable(change["in_words"]), highlight=False)


def _read_result(path: Path) -> dict[str, Any]:
    import orjson

    from weave_async.bench.benchmark import FORMAT

    try:
        result: dict[str, Any] = orjson.loads(path.read_bytes())
        known = result["format"]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is no result of `weave-async bench -o`: {error}") from error
    if known != FORMAT:
        raise InputError(
            f"{path} has format {known}, and this version reads {FORMAT}: measure anew"
        )
    return result


def _write(folder: Path, result: BenchmarkResult, rows: list[dict[str, Any]]) -> None:
    import orjson

    from weave_async.bench.page import page_of

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_bytes(orjson.dumps(result.as_dict(), option=orjson.OPT_INDENT_2))
    with (folder / "requests.jsonl").open("wb") as file:
        for row in rows:
            file.write(orjson.dumps(row) + b"\n")
    (folder / "report.html").write_text(page_of(result.as_dict(), rows), encoding="utf-8")
