"""``weave-async doctor``"""

from __future__ import annotations

import asyncio
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weave_async.cli import options
from weave_async.cli.console import printable, stderr_console

if TYPE_CHECKING:
    from weave_async.records import Endpoint

NO_MODEL = "(none chosen)"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one endpoint said. There is never a key in it, only whether there is one."""

    endpoint: str
    provider: str
    model: str
    base_url: str | None
    has_key: bool
    reachable: bool
    models: list[str] | None
    seconds: float
    problem: str | None = None
    exit_code: int = 0


def doctor(
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE", help="Also look at the endpoints of this recipe."),
    ] = None,
    provider: options.ProviderOption = None,
    base_url: options.BaseUrlOption = None,
    json: options.JsonOption = False,
) -> None:
    """Ask every configured endpoint whether it is there and which models it has.

    Nothing is generated, so nothing is paid for. Keys are used, and never shown. Looks at the
    endpoint of the environment or flags (the local server if there is none, which is started for
    it), at those named in the environment, and at a recipe's.

    Example: `weave-async doctor recipe.yaml`
    """
    findings = asyncio.run(_examine(recipe, provider, base_url))
    if json:
        import orjson

        print(orjson.dumps([asdict(finding) for finding in findings]).decode())
    else:
        _print_table(findings)
    raise typer.Exit(max(finding.exit_code for finding in findings))


async def _examine(
    recipe_path: Path | None, provider: str | None, base_url: str | None
) -> list[Finding]:
    from weave_async.cli.console import ConsoleLog
    from weave_async.cli.progress import messages_to

    with messages_to(ConsoleLog(stderr_console())):
        endpoints = _endpoints(recipe_path, provider, base_url)
        return [await _ask(endpoint) for endpoint in endpoints]


def _endpoints(
    recipe_path: Path | None, provider: str | None, base_url: str | None
) -> list[Endpoint]:
    from weave_async.parts import endpoint_of
    from weave_async.recipe import MixEntry, Recipe
    from weave_async.settings import Settings

    settings = Settings.from_environment().with_flags(provider=provider, base_url=base_url)
    entries = [MixEntry()] if recipe_path is None else Recipe.load(recipe_path).generate.mix
    endpoints = [endpoint_of(entry, settings, default_model=NO_MODEL) for entry in entries]
    by_name = settings.without_swap()
    endpoints += [
        endpoint_of(MixEntry(endpoint=name), by_name, default_model=NO_MODEL)
        for name in settings.endpoints
    ]
    return list({endpoint.name: endpoint for endpoint in endpoints}.values())


async def _ask(endpoint: Endpoint) -> Finding:
    from weave_async import registry
    from weave_async.errors import WeaveError

    started_s = time.monotonic()
    models: list[str] | None = None
    problem: WeaveError | None = None
    try:
        async with registry.load("provider", endpoint.provider)(endpoint) as provider:
            models = list(await provider.models())
    except WeaveError as error:
        problem = error
    return Finding(
        endpoint=endpoint.name,
        provider=endpoint.provider,
        model=endpoint.model,
        base_url=endpoint.base_url,
        has_key=endpoint.api_key is not None,
        reachable=problem is None,
        models=models,
        seconds=round(time.monotonic() - started_s, 3),
        problem=None if problem is None else str(problem),
        exit_code=0 if problem is None else problem.exit_code,
    )


def _print_table(findings: list[Finding]) -> None:
    for finding in findings:
        mark = "ok" if finding.reachable else "NOT OK"
        print(printable(f"{finding.endpoint}: {mark} ({finding.seconds:.1f} s)"))
        print(printable(f"  provider  {finding.provider}"))
        print(printable(f"  address   {finding.base_url or 'its own'}"))
        print(f"  key       {'set' if finding.has_key else 'none'}")
        known = finding.models is None or not finding.models or finding.model in finding.models
        print(printable(f"  model     {finding.model}{'' if known else '  (not listed there)'}"))
        if finding.models:
            more = f" and {len(finding.models) - 8} more" if len(finding.models) > 8 else ""
            print(printable(f"  models    {', '.join(finding.models[:8])}{more}"))
        if finding.problem:
            print(printable(f"  problem   {finding.problem}"))
