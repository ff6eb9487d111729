"""``weave-async preview``"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weave_async.cli import options
from weave_async.cli.console import print_error
from weave_async.cli.options import job_from
from weave_async.visible import printable

if TYPE_CHECKING:
    from rich.text import Text

    from weave_async.cli.options import Job
    from weave_async.records import RuleVerdict, Sample


def preview(
    recipe: options.RecipeArgument = None,
    prompts: options.PromptsOption = None,
    template: options.TemplateOption = None,
    system: options.SystemOption = None,
    seed: options.SeedOption = None,
    provider: options.ProviderOption = None,
    model: options.ModelOption = None,
    base_url: options.BaseUrlOption = None,
    option: options.OptionOption = None,
    samples: Annotated[
        int, typer.Option("--samples", "-n", min=1, max=50, help="How many samples.")
    ] = 3,
    json: options.JsonOption = False,
) -> None:
    """Show a few samples, fully staged, and keep nothing.

    Each is shown as asked, as noise left it, as answered, and with the verdict of every rule, also
    of those behind the first rejection. These are real requests: on a paid endpoint they cost what
    so many samples cost.

    Example: `weave-async preview recipe.yaml -n 5 --provider simulated`
    """
    job = job_from(
        recipe,
        prompts=prompts,
        template=template,
        system=system,
        seed=seed,
        provider=provider,
        model=model,
        base_url=base_url,
        options=option,
    )
    raise typer.Exit(_preview(job, samples, as_json=json))


def _preview(job: Job, num_samples: int, *, as_json: bool) -> int:
    from weave_async.cli.loop import run_in_loop
    from weave_async.cli.progress import progress_for
    from weave_async.cli.run import drive
    from weave_async.run import Run

    shown: list[Sample] = []
    with tempfile.TemporaryDirectory(prefix="weave-async-preview-") as folder:
        run = Run(
            job.recipe.with_changes(accept=None),
            output_dir=Path(folder) / "run",
            samples=num_samples,
            settings=job.settings.with_flags(mode="live"),  # nobody waits a day for a look
            explains_all=True,
            on_sample=shown.append,
        )
        with progress_for(run, with_lines=False) as progress:
            summary, exit_code = run_in_loop(drive(run, progress))
    if as_json:
        _print_rows(shown)
    else:
        _print_panels(shown)
    if summary.error:
        print_error(summary.error)
    return exit_code


def _print_rows(samples: list[Sample]) -> None:
    import orjson

    for sample in samples:
        print(orjson.dumps(_as_row(sample), default=str).decode())


def _as_row(sample: Sample) -> dict[str, Any]:
    from weave_async.sinks.rows import lineage

    return {
        "sample_id": sample.sample_id,
        "end": _end_of(sample),
        "messages": sample.messages,
        "rejection": sample.rejection,
        "failure": sample.failure,
        "lineage": lineage(sample),
    }


def _print_panels(samples: list[Sample]) -> None:
    from rich.console import Console, Group
    from rich.panel import Panel
    from rich.text import Text

    from weave_async.noise.edits import clean_texts

    console = Console(highlight=False)
    styles = {"written": "green", "rejected": "yellow", "failed": "red"}
    for sample in samples:
        clean = clean_texts(sample)
        lines = []
        for index, message in enumerate(sample.messages):
            if index in clean:
                lines.append(Text(f"{message.role} (clean)  {printable(clean[index])}", "dim"))
            role = Text(f"{message.role}  ", "bold")
            lines.append(role + Text(printable(message.content), "default"))
        lines += [_verdict_line(verdict) for verdict in sample.verdicts]
        lines.append(Text(printable(_end_of(sample)), styles[_end(sample)]))
        title = f"{sample.sample_id} · {sample.request.model}"
        console.print(
            Panel(Group(*lines), title=printable(title), border_style=styles[_end(sample)])
        )


def _verdict_line(verdict: RuleVerdict) -> Text:
    from rich.text import Text

    mark, style = ("✓", "green") if verdict.passed else ("✗", "yellow")
    reason = f": {verdict.reason}" if verdict.reason else ""
    evidence = f" ({_plain(verdict.evidence)})" if verdict.evidence else ""
    told = Text(printable(f"{verdict.rule}{reason}{evidence}"), "dim" if verdict.passed else "")
    return Text(f"{mark} ", style) + told


def _plain(evidence: Mapping[str, Any]) -> str:
    """``score 4, min 3, reasons {"judge": ["…"]}``: what has parts, as JSON."""
    import orjson

    parts = []
    for name, value in evidence.items():
        is_plain = isinstance(value, str | int | float)
        told = str(value) if is_plain else orjson.dumps(value, default=str).decode()
        parts.append(f"{name} {told}")
    return ", ".join(parts)


def _end(sample: Sample) -> str:
    return "failed" if sample.failure else "rejected" if sample.rejection else "written"


def _end_of(sample: Sample) -> str:
    if sample.failure:
        return f"failed: {sample.failure.error}: {sample.failure.message}"
    if sample.rejection:
        rejection = sample.rejection
        is_told = not rejection.evidence or rejection.rule in {v.rule for v in sample.verdicts}
        evidence = "" if is_told else f" ({_plain(rejection.evidence)})"
        return f"rejected by {rejection.rule}: {rejection.reason}{evidence}"
    return "written"
