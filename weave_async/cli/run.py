"""``weave-async run``"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from weave_async.cli import options
from weave_async.cli.console import print_error
from weave_async.cli.observing import Watch, tracing_if, watch_nothing, watching
from weave_async.cli.options import job_from, parsed_options
from weave_async.errors import UsageError
from weave_async.visible import printable

if TYPE_CHECKING:
    from weave_async.cli.progress import Progress
    from weave_async.recipe import Recipe
    from weave_async.run import Run
    from weave_async.summary import RunSummary

logger = logging.getLogger(__name__)

LONGEST_DRAIN_S = 30.0
EXIT_INTERRUPTED, EXIT_TERMINATED = 130, 143
_OUTPUT, _BUDGET, _WATCHING, _CLUSTER = "Output", "Budget", "Observability", "Cluster"


class Resume(StrEnum):
    if_possible = "if-possible"
    always = "always"
    never = "never"


class Executor(StrEnum):
    local = "local"
    ray = "ray"


class OnBadRow(StrEnum):
    stop = "stop"
    skip = "skip"


def run(
    recipe: options.RecipeArgument = None,
    prompts: options.PromptsOption = None,
    template: options.TemplateOption = None,
    system: options.SystemOption = None,
    on_bad_row: Annotated[
        OnBadRow | None,
        typer.Option("--on-bad-row", rich_help_panel="Input", help="What a malformed row does."),
    ] = None,
    seed: options.SeedOption = None,
    provider: options.ProviderOption = None,
    model: options.ModelOption = None,
    base_url: options.BaseUrlOption = None,
    concurrency: options.ConcurrencyOption = None,
    rpm: options.RpmOption = None,
    tpm: options.TpmOption = None,
    option: options.OptionOption = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            "-n",
            min=1,
            rich_help_panel=_OUTPUT,
            help="Ask for so many samples, going round the rows as often as it takes. "
            "Default: rows × draws.",
        ),
    ] = None,
    accept: Annotated[
        int | None,
        typer.Option(
            "--accept", min=1, rich_help_panel=_OUTPUT, help="Stop at so many written samples."
        ),
    ] = None,
    budget_usd: Annotated[
        float | None,
        typer.Option(
            "--budget-usd",
            min=0.0,
            rich_help_panel=_BUDGET,
            help="Dollars that all runs in the folder may cost, by list prices.",
        ),
    ] = None,
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            "--budget-tokens",
            min=1,
            rich_help_panel=_BUDGET,
            help="Tokens that all runs in the folder may use, sent and received.",
        ),
    ] = None,
    budget_wall: Annotated[
        str | None,
        typer.Option(
            "--budget-wall",
            metavar="TIME",
            rich_help_panel=_BUDGET,
            help="Time after which nothing more is asked: 90s, 30m, 1h30m.",
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            metavar="K/N",
            rich_help_panel=_OUTPUT,
            help="Ask for the K-th of N parts of the samples alone, as one of several processes; "
            "`weave-async merge` makes one run of them.",
        ),
    ] = None,
    explain_all: Annotated[
        bool,
        typer.Option(
            "--explain-all",
            rich_help_panel=_OUTPUT,
            help="Have every rule judge every sample, also those that one has rejected; the "
            "verdicts stand in the rows. Default: stop at the first rejection.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", rich_help_panel=_OUTPUT, help="Run folder. Default: out/NAME."
        ),
    ] = None,
    resume: Annotated[
        Resume,
        typer.Option(
            "--resume",
            metavar="MODE",
            rich_help_panel=_OUTPUT,
            help="Continue a run that is in the folder: if-possible, always or never.",
        ),
    ] = Resume.if_possible,
    accept_changes: Annotated[
        bool,
        typer.Option(
            "--accept-changes",
            rich_help_panel=_OUTPUT,
            help="Continue though prompts, model or parameters changed: asks anew for those.",
        ),
    ] = False,
    allow_network_fs: Annotated[
        bool,
        typer.Option(
            "--allow-network-fs",
            rich_help_panel=_OUTPUT,
            help="Write to a network file system: make sure that one machine alone does.",
        ),
    ] = False,
    json: Annotated[
        bool,
        typer.Option("--json", rich_help_panel=_OUTPUT, help="Print the summary as JSON."),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option(
            "--quiet",
            "-q",
            rich_help_panel=_OUTPUT,
            help="No progress: only warnings, errors and the summary.",
        ),
    ] = False,
    log_json: Annotated[
        bool,
        typer.Option(
            "--log-json",
            rich_help_panel=_OUTPUT,
            help="Progress and messages as a JSON object per line, also on a terminal.",
        ),
    ] = False,
    executor: Annotated[
        Executor,
        typer.Option(
            "--executor",
            rich_help_panel=_CLUSTER,
            help="Where the run happens: in this process, or on a Ray cluster.",
        ),
    ] = Executor.local,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT|auto",
            rich_help_panel=_CLUSTER,
            help="A Ray cluster that is there. Default: one on this machine, for this run.",
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            rich_help_panel=_CLUSTER,
            help="Processes on the cluster. Default: as many as it has CPUs.",
        ),
    ] = None,
    allow_unauthenticated_cluster: Annotated[
        bool,
        typer.Option(
            "--allow-unauthenticated-cluster",
            rich_help_panel=_CLUSTER,
            help="Use a Ray cluster that takes commands without a token: see that nobody else can "
            "reach it.",
        ),
    ] = False,
    metrics: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="PORT|HOST:PORT",
            rich_help_panel=_WATCHING,
            help="Serve figures for Prometheus at /metrics while the run goes on: on loopback, or "
            "where HOST says.",
        ),
    ] = None,
    otel: Annotated[
        bool,
        typer.Option(
            "--otel",
            rich_help_panel=_WATCHING,
            help="Send a span of each request to an OpenTelemetry collector, as the variables "
            "OTEL_* say. Never prompts or answers.",
        ),
    ] = False,
) -> None:
    """Make a dataset: ask, validate, write.

    Every sample asked for ends as written, rejected (with the reason) or failed (with the error).
    Run the same command again to continue after an interruption; answers are never bought twice.
    Progress goes to standard error: live on a terminal, a JSON object per line elsewhere.
    Exit code 3: all is there, but not what the recipe's `require` wants of it.

    Examples:

    `weave-async run recipe.yaml -n 100 -o out/first`

    `weave-async run --prompts questions.txt --provider simulated -o out/dry`

    `OPENAI_API_KEY=… weave-async run recipe.yaml -p openai_compatible -m gpt-4.1-mini --rpm 500`
    """
    flags = {
        "provider": provider,
        "model": model,
        "base_url": base_url,
        "max_concurrency": concurrency,
        "rpm": rpm,
        "tpm": tpm,
        "options": option,
    }
    job = job_from(
        recipe,
        prompts=prompts,
        template=template,
        system=system,
        seed=seed,
        accept=accept,
        budget={"usd": budget_usd, "tokens": budget_tokens, "wall": budget_wall},
        on_bad_row=on_bad_row,
        **flags,
    )
    if executor is Executor.ray:
        for flag, value in {"--shard": shard, "--metrics": metrics, "--otel": otel}.items():
            if value:
                raise UsageError(f"{flag} is not for --executor ray")
        if resume is not Resume.if_possible:
            raise UsageError("--resume is not for --executor ray, which resumes if possible")
        ray_run = on_ray(
            job.recipe,
            output_dir=output,
            samples=samples,
            flags={**flags, "options": parsed_options(option)},
            address=address,
            num_workers=workers,
            allow_unauthenticated=allow_unauthenticated_cluster,
            accept_changes=accept_changes,
            allow_network_fs=allow_network_fs,
            explains_all=explain_all,
        )
        raise typer.Exit(
            _finish(
                ray_run, ExitStack(), watch_nothing, as_json=json, log_json=log_json, quiet=quiet
            )
        )
    if address or workers or allow_unauthenticated_cluster:
        raise UsageError("--address and --workers go with --executor ray")
    from weave_async.run import Run
    from weave_async.sharding import Shard

    with ExitStack() as observers:
        watch = observers.enter_context(watching(metrics))
        job_run = Run(
            job.recipe,
            output_dir=output,
            samples=samples,
            settings=job.settings,
            resume=resume.value,
            accept_changes=accept_changes,
            allow_network_fs=allow_network_fs,
            explains_all=explain_all,
            shard=Shard.parse(shard) if shard is not None else None,
            tracing=observers.enter_context(tracing_if(otel, job.recipe.name)),
        )
        raise typer.Exit(
            _finish(job_run, observers, watch, as_json=json, log_json=log_json, quiet=quiet)
        )


def on_ray(recipe: Recipe, **options: Any) -> Run:
    """What stands for a run here: it shows and does what progress and signals need of one."""
    try:
        from weave_async.executors.ray_run import RayRun
    except ModuleNotFoundError as error:
        if error.name not in ("ray", "msgpack"):
            raise
        raise UsageError(
            "--executor ray needs more than is installed: pip install 'weave-async[ray]'"
        ) from error
    return cast("Run", RayRun(recipe, **options))


def _finish(
    run: Run, observers: ExitStack, watch: Watch, *, as_json: bool, log_json: bool, quiet: bool
) -> int:
    """What observers have to say at the end is shown as progress is."""
    import orjson

    from weave_async.cli.loop import run_in_loop
    from weave_async.cli.progress import progress_for

    with progress_for(run, quiet=quiet, as_json=log_json) as progress, observers:
        summary, exit_code = run_in_loop(drive(run, progress, watch))
    if as_json:
        print(orjson.dumps(summary.as_dict()).decode())
    else:
        print(printable(str(summary)))
    if summary.error:
        print_error(summary.error)
    return exit_code


async def drive(
    run: Run, progress: Progress, watch: Watch = watch_nothing
) -> tuple[RunSummary, int]:
    """Take a run to its end, with progress and with signals that lose nothing."""
    async with run:
        watch(run)
        _Signals(run, progress)
        showing = asyncio.create_task(_show(progress), name="progress")
        try:
            summary = await run.finish()
        finally:
            showing.cancel()
    return summary, summary.exit_code


async def _show(progress: Progress) -> None:
    """A display that breaks, as on an odd terminal, costs the display and nothing else."""
    try:
        await progress.show()
    except Exception:
        logger.warning("the progress display broke; the run goes on without it", exc_info=True)


class _Signals:
    """First signal: send no more, let in what is in flight. Second: drop that. Third: leave."""

    def __init__(self, run: Run, progress: Progress) -> None:
        self._run = run
        self._progress = progress
        self._count = 0
        self._exit_code = EXIT_INTERRUPTED
        self._loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup wants no SIGHUP
                self._loop.add_signal_handler(number, self._received, number)

    def _received(self, number: signal.Signals) -> None:
        self._count += 1
        if self._count == 1:
            self._exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_TERMINATED
            self._run.interrupt(exit_code=self._exit_code)
            self._progress.say(
                f"stopping: {self._run.num_in_flight} requests in flight, at most "
                f"{LONGEST_DRAIN_S:.0f} s; once more to drop them"
            )
            self._loop.call_later(LONGEST_DRAIN_S, self._drop)
        elif self._count == 2:
            self._drop()
        else:
            self._progress.close()
            os._exit(128 + number)

    def _drop(self) -> None:
        self._run.interrupt(drop_in_flight=True, exit_code=self._exit_code)
