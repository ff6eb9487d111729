"""``weave-async doctor``"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from weave_async.cli import options
from weave_async.cli.console import stderr_console
from weave_async.visible import printable

if TYPE_CHECKING:
    from weave_async.diagnosis import Diagnosis
    from weave_async.errors import WeaveError
    from weave_async.records import Endpoint

MARKS = {"ok": "ok", "warning": "!", "failed": "NO", "skipped": "-"}
MOST_MODELS_SHOWN = 8

FreeOption = Annotated[
    bool, typer.Option("--free", help="Ask only for what is free: the list of models.")
]


def doctor(
    recipe: Annotated[
        Path | None,
        typer.Argument(metavar="RECIPE", help="Look at the endpoints of this recipe."),
    ] = None,
    provider: options.ProviderOption = None,
    model: options.ModelOption = None,
    base_url: options.BaseUrlOption = None,
    free: FreeOption = False,
    json: options.JsonOption = False,
) -> None:
    """Ask every configured endpoint whether a run could start there, and say what to mend if not.

    Looks at the endpoints of a recipe, or at the one of the environment or flags (the local server
    if there is none, which is started for it), and at those named in the environment: reachable,
    TLS, key, models and their context, JSON mode, streaming, usage, limits, clock, price.

    Sends three tiny requests to each, of some 20 tokens in and at most 32 out; a few more where an
    endpoint refuses fields. With `--free` nothing is generated. Keys are used, and never shown.

    Ends with 0 if a run could start on all of them; else 69 (not there), 75 (try again), 77 (key)
    or 78 (settings, quota, TLS), as a run would.

    Example: `weave-async doctor recipe.yaml`, or `weave-async doctor --provider groq -m MODEL`
    """
    flags = {"provider": provider, "model": model, "base_url": base_url}
    diagnoses = asyncio.run(_examine(recipe, flags, only_free=free))
    if json:
        import orjson

        print(orjson.dumps([diagnosis.as_dict() for diagnosis in diagnoses]).decode())
    else:
        for diagnosis in diagnoses:
            _print_diagnosis(diagnosis)
    raise typer.Exit(max(diagnosis.exit_code for diagnosis in diagnoses))


async def _examine(
    recipe_path: Path | None, flags: dict[str, str | None], *, only_free: bool
) -> list[Diagnosis]:
    """All endpoints at the same time; in the order in which they are configured."""
    from weave_async.cli.console import ConsoleLog
    from weave_async.cli.progress import messages_to
    from weave_async.diagnosis import diagnose, unusable
    from weave_async.records import Endpoint

    with messages_to(ConsoleLog(stderr_console())), _progress() as on_step:
        found = _endpoints(recipe_path, flags)
        async with asyncio.TaskGroup() as group:
            asked = {
                key: group.create_task(
                    diagnose(endpoint, only_free=only_free, on_step=on_step(endpoint.name))
                )
                for key, endpoint in found.items()
                if isinstance(endpoint, Endpoint)
            }
    return [
        unusable(key[0], problem) if isinstance(problem, Exception) else asked[key].result()
        for key, problem in found.items()
    ]


def _endpoints(
    recipe_path: Path | None, flags: dict[str, str | None]
) -> dict[tuple[str, str | None], Endpoint | WeaveError]:
    """Each endpoint and model once; or what is wrong with one that cannot be told in full."""
    from weave_async.diagnosis import NO_MODEL
    from weave_async.errors import WeaveError
    from weave_async.parts.endpoints import endpoint_of
    from weave_async.parts.reading import model_of_source
    from weave_async.recipe import MixEntry, Recipe
    from weave_async.settings import Settings

    settings = Settings.from_environment().with_flags(**flags)
    recipe = None if recipe_path is None else Recipe.load(recipe_path)
    entries = [MixEntry()] if recipe is None else recipe.generate.mix
    if recipe is not None:
        options.refuse_unheeded_address(flags["base_url"], entries, settings)
    of_source = None if recipe is None else model_of_source(recipe)
    meant = [(entry, settings, of_source or NO_MODEL) for entry in entries]
    by_name = settings.without_swap()
    meant += [(MixEntry(endpoint=name), by_name, NO_MODEL) for name in settings.endpoints]
    found: dict[tuple[str, str | None], Endpoint | WeaveError] = {}
    for entry, said, default_model in meant:
        try:
            endpoint = endpoint_of(entry, said, default_model=default_model)
            if endpoint.model != NO_MODEL or not any(key[0] == endpoint.name for key in found):
                found.setdefault((endpoint.name, endpoint.model), endpoint)
        except WeaveError as problem:
            found[said.default.provider or entry.endpoint, entry.model] = problem
    return found


@contextmanager
def _progress() -> Iterator[Callable[[str], Callable[[str], None]]]:
    """What is being asked of whom, on a terminal; silent elsewhere."""
    steps: dict[str, str] = {}
    if not sys.stderr.isatty():
        yield lambda name: lambda step: None
        return
    with stderr_console().status("") as status:

        def on_step(name: str) -> Callable[[str], None]:
            def show(step: str) -> None:
                steps[name] = step
                status.update(printable(", ".join(f"{n}: {s}" for n, s in steps.items())))

            return show

        yield on_step


def _print_diagnosis(diagnosis: Diagnosis) -> None:
    verdict = "NOT READY" if diagnosis.exit_code else "ready"
    lines = [f"{diagnosis.endpoint}: {verdict}"]
    if diagnosis.provider:
        preset = f" (preset {diagnosis.preset})" if diagnosis.preset else ""
        lines += [
            f"  provider   {diagnosis.provider}{preset}",
            f"  address    {diagnosis.base_url or 'its own'}",
            f"  key        {'set' if diagnosis.has_key else 'none'}",
            f"  model      {diagnosis.model or '(none chosen)'}",
        ]
    if diagnosis.models:
        shown = [
            name if size is None else f"{name} ({size:,})"
            for name, size in list(diagnosis.models.items())[:MOST_MODELS_SHOWN]
        ]
        more = len(diagnosis.models) - len(shown)
        lines.append(f"  models     {', '.join(shown)}{f' and {more} more' if more else ''}")
    for check in diagnosis.checks:
        lines.append(f"  {MARKS[check.state]:<3} {check.name:<10} {check.says}")
        if check.advice and check.state != "ok":
            lines.append(f"      {'':<10} -> {check.advice}")
    lines += [f"  !   learned    {lesson}" for lesson in diagnosis.learned]
    print(printable("\n".join(lines)))
