"""Options that several commands share, and what they mean to settings and recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from weave_async.errors import RecipeError, UsageError

if TYPE_CHECKING:
    from weave_async.recipe import MixEntry, Recipe
    from weave_async.settings import Settings

_INPUT, _MODEL = "Input", "Model and endpoint"

RecipeArgument = Annotated[
    Path | None, typer.Argument(metavar="RECIPE", help="The recipe: a YAML file, or its folder.")
]
PromptsOption = Annotated[
    str | None,
    typer.Option(
        "--prompts",
        metavar="FILE|-",
        rich_help_panel=_INPUT,
        help="Instead of a recipe: a .jsonl, .csv or .txt file, or - for standard input.",
    ),
]
TemplateOption = Annotated[
    str | None,
    typer.Option(
        "--template",
        rich_help_panel=_INPUT,
        help="With --prompts: Jinja template of the user turn. Default: column `prompt` or `text`.",
    ),
]
SystemOption = Annotated[
    str | None,
    typer.Option("--system", rich_help_panel=_INPUT, help="With --prompts: the system turn."),
]
ProviderOption = Annotated[
    str | None,
    typer.Option(
        "--provider",
        "-p",
        rich_help_panel=_MODEL,
        help="`local`, `openai_compatible`, `simulated`, a preset as `groq` or `vllm`, an endpoint "
        "named in the environment, or `package.module:Name`.",
    ),
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", rich_help_panel=_MODEL, help="Model id.")
]
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        rich_help_panel=_MODEL,
        help="Address up to /v1. Keys come from the environment or .env, never from a flag.",
    ),
]
ConcurrencyOption = Annotated[
    int | None,
    typer.Option(
        "--concurrency", "-c", min=1, rich_help_panel=_MODEL, help="Most requests in flight."
    ),
]
RpmOption = Annotated[
    float | None,
    typer.Option("--rpm", min=0.001, rich_help_panel=_MODEL, help="Requests per minute."),
]
TpmOption = Annotated[
    float | None,
    typer.Option("--tpm", min=0.001, rich_help_panel=_MODEL, help="Tokens per minute."),
]
OptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        rich_help_panel=_MODEL,
        help="An option of the provider's own, as latency_s=0.2. Repeatable.",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", rich_help_panel=_INPUT, help="Seed of every random choice."),
]
RunArgument = Annotated[
    Path, typer.Argument(metavar="RUN", help="A run folder, as `run -o` names it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@dataclass(frozen=True, slots=True)
class Job:
    """What the command line asked for, before anything is opened."""

    recipe: Recipe
    settings: Settings


def job_from(
    recipe_path: Path | None,
    *,
    prompts: str | None = None,
    template: str | None = None,
    system: str | None = None,
    seed: int | None = None,
    accept: int | None = None,
    on_bad_row: str | None = None,
    budget: Mapping[str, Any] | None = None,
    **flags: Any,
) -> Job:
    """The recipe and the settings, with the flags on top of both."""
    from pydantic import ValidationError

    from weave_async.recipe import Recipe

    if (recipe_path is None) == (prompts is None):
        raise UsageError("name either a RECIPE or --prompts FILE; `weave-async new NAME` makes one")
    for value in (template, system, flags.get("model"), flags.get("provider")):
        if value is not None and not _is_text(value):
            raise UsageError(f"{value.encode(errors='replace')!r} is not UTF-8 text")
    if recipe_path is not None:
        if template is not None or system is not None:
            raise UsageError("--template and --system go with --prompts; a recipe has its own")
        recipe = _load(recipe_path)
    else:
        given = {"source": prompts, "template": template, "system": system}
        stem = re.sub(r"[^\w.-]+", "-", Path(prompts or "").stem).strip("-.")
        recipe = Recipe.model_validate(
            {
                "name": stem or "dataset",
                "prompts": {key: value for key, value in given.items() if value is not None},
            }
        )
    try:
        recipe = recipe.with_changes(
            **_given({"seed": seed, "accept": accept}),
            prompts=_given({"on_bad_row": on_bad_row}),
            budget=_given(budget or {}),
        )
    except ValidationError as error:
        problem = error.errors()[0]
        flag = "--" + "-".join(str(step) for step in problem["loc"])
        message = problem["msg"].removeprefix("Value error, ")
        raise UsageError(f"{flag} {problem['input']}: {message}") from None
    settings = settings_from(**flags)
    refuse_unheeded_address(flags.get("base_url"), recipe.generate.mix, settings)
    return Job(recipe, settings)


def settings_from(**flags: Any) -> Settings:
    """The environment's, with the flags on top."""
    from weave_async.settings import Settings

    flags["options"] = parsed_options(flags.get("options"))
    return Settings.from_environment().with_flags(**flags)


def refuse_unheeded_address(
    base_url: str | None, mix: Sequence[MixEntry], settings: Settings
) -> None:
    """Raises ``UsageError`` where the flag means none of ``mix``.

    An endpoint that the environment names has its own address, and a key that belongs to it.
    """
    from weave_async.settings import variable_of

    names = sorted({entry.endpoint for entry in mix})
    is_heeded = settings.default.provider or not settings.endpoints.keys() >= set(names)
    if base_url is None or is_heeded:
        return
    variables = ", ".join(variable_of(name, "base_url") for name in names)
    raise UsageError(
        f"--base-url is not for {', '.join(map(repr, names))}, which the environment names: set "
        f"{variables} instead"
    )


def _load(path: Path) -> Recipe:
    """The recipe; prompts that were given in its place are told from one that is wrong."""
    from weave_async.recipe import Recipe
    from weave_async.sources.files import FORMATS

    try:
        return Recipe.load(path)
    except RecipeError as error:
        if path.suffix.lower() in FORMATS and path.is_file():
            raise RecipeError(
                f"{error}. Is it rows of prompts, and no recipe? Then: --prompts {path}"
            ) from error
        raise


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def parsed_options(given: list[str] | None) -> dict[str, str] | None:
    if not given:
        return None
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not equals or not name:
            raise UsageError(f"--option takes NAME=VALUE, as latency_s=0.2; got '{name}'")
    return {name: value for name, _, value in pairs}
