"""The card of a dataset: a README.md with a header for machines, and what people have to know.

Names of models and the recipe's texts may hold anything: they stand in code, where Markdown and
HTML mean nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from weave_async.errors import InputError, RecipeError
from weave_async.export.formats import FORMATS
from weave_async.export.making import Export, To
from weave_async.recipe import Recipe
from weave_async.run_rows import ROW_ERRORS

SIZES = (  # the Hub's own categories
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
)
MOST_REASONS = 20
_PLACE = re.compile(r"/[^/\n{}]+/[^\n{}]+")
"""An absolute path, and not a template that begins with a slash."""
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def card(export: Export, to: To) -> str:
    """Of an export whose records have been read: their counts are in it.

    Raises ``InputError`` where the manifest holds what no run writes.
    """
    try:
        body = "\n".join(_body(export))
    except ROW_ERRORS as error:
        raise InputError(f"{export.rows.folder.manifest} is not a manifest: {error!r}") from error
    header = yaml.safe_dump(_header(export, to), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n{body}"


def _header(export: Export, to: To) -> dict[str, Any]:
    """Only what is known: a licence is the owner's to choose."""
    wanted, total = export.wanted, export.num_rows.total()
    known = FORMATS.get(wanted.format)
    header: dict[str, Any] = {"pretty_name": _plain(str(export.rows.manifest.get("name", "")))}
    if wanted.license is not None:
        header["license"] = wanted.license
    header |= {
        "task_categories": ["text-generation"],
        "tags": [
            "synthetic",
            "weave-async",
            *(known.tags if known else ("preference", "dpo")),
        ],
        "size_categories": [next((name for most, name in SIZES if total < most), "n>100M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": name, "path": f"data/{name}-*.{to}"}
                    for name in sorted(export.num_rows)
                ],
            }
        ],
    }
    return header


def _body(export: Export) -> Iterator[str]:
    manifest, wanted = export.rows.manifest, export.wanted
    yield f"# {_plain(str(manifest.get('name', 'dataset')))}\n"
    yield (
        "Synthetic data, written by language models and checked by rules: made with weave-async "
        f"{_code(manifest.get('weave_async'))}, "
        f"seed {_code(manifest.get('seed'))}, exported as {_code(wanted.format)}.\n"
    )
    yield from _counts(export)
    yield from _models(export)
    yield from _diversity(manifest)
    yield from _recipe(export)
    yield from _limits(export)


def _counts(export: Export) -> Iterator[str]:
    manifest = export.rows.manifest
    yield "## Counts\n"
    yield "| split | rows |\n| --- | ---: |"
    yield from (f"| {name} | {count} |" for name, count in sorted(export.num_rows.items()))
    yield ""
    if export.split is not None:
        yield (
            f"No prompt is in both splits: {export.split.num_groups} groups of rows were divided, "
            "each with all draws, completions and noisy copies of one row of the source, and all "
            "rows that ask the same.\n"
        )
    columns = ", ".join(_code(name) for name in export.columns)
    yield f"Columns: {columns}.\n"
    ends = ("asked", "written", "rejected", "failed", "pending")
    told = ", ".join(f"{manifest.get(name, 0)} {name}" for name in ends)
    yield f"The run: {told}.\n"
    if reviewed := str(export.rows.applied):
        yield f"People: {reviewed}.\n"
    yield from _table("rejected because of", manifest.get("rejected_by_reason", {}))
    yield from _table("not in this export", +export.left_out)


def _table(title: str, counts: Mapping[str, int]) -> Iterator[str]:
    if not counts:
        return
    yield f"| {title} | rows |\n| --- | ---: |"
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    yield from (f"| {_code(reason)} | {count} |" for reason, count in ranked[:MOST_REASONS])
    if others := ranked[MOST_REASONS:]:
        yield f"| {len(others)} other reasons | {sum(count for _, count in others)} |"
    yield ""


def _models(export: Export) -> Iterator[str]:
    yield "## Models and licences\n"
    yield "| model | completions in this export |\n| --- | ---: |"
    yield from (f"| {_code(name)} | {count} |" for name, count in export.models.most_common())
    yield ""
    chosen = export.wanted.license
    yield (
        f"Licence of this dataset, by its owner's word: {_code(chosen)}. "
        if chosen
        else "The owner of this dataset has named no licence for it. "
    ) + (
        "Which terms hold for what these models write, and for the rows of the source, is not "
        "known to the tool: look at the models' own cards and at where the source comes from.\n"
    )


def _diversity(manifest: Mapping[str, Any]) -> Iterator[str]:
    yield "## Diversity\n"
    yield from _figures(manifest.get("diversity") or {})
    yield from (f"- {_code(caution)}" for caution in manifest.get("cautions", ()))
    yield ""


def _figures(figures: Mapping[str, Any]) -> Iterator[str]:
    if not figures:
        yield "Was not measured.\n"
        return
    yield "Of the run's written rows, with 95 % intervals where there are some.\n"
    yield "| figure | value | from | to |\n| --- | ---: | ---: | ---: |"
    for name, figure in figures.items():
        low, high = figure.get("interval") or (None, None)
        told = " | ".join(_number(value) for value in (figure.get("value"), low, high))
        yield f"| {_code(name)} | {told} |"
    yield ""


def _recipe(export: Export) -> Iterator[str]:
    yield "## Recipe\n"
    try:
        recipe = Recipe.load(export.rows.folder.recipe).model_dump(exclude_defaults=True)
    except RecipeError:
        yield "Is not in the run's folder any more, or cannot be read.\n"
        return
    text = yaml.safe_dump(_without_places(recipe), sort_keys=False, allow_unicode=True)
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    yield f"{fence}yaml\n{text}{fence}\n"


def _without_places(value: Any) -> Any:
    """Where files lie on somebody's machine is nobody else's business; what they are called is."""
    if isinstance(value, dict):
        return {key: _without_places(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_without_places(each) for each in value]
    if isinstance(value, str) and _PLACE.fullmatch(value):
        return Path(value).name
    return value


def _limits(export: Export) -> Iterator[str]:
    manifest = export.rows.manifest
    yield "## Limits\n"
    yield "- Models wrote this: it may be wrong, and it carries the biases that they have learned."
    yield "- What rules and judges have let pass need not be true, and no person has read it all."
    if manifest.get("pending"):
        yield (
            f"- The run is not finished: {manifest['pending']} samples are pending, and what came "
            "first is not a random part of what was asked for."
        )
    by = export.wanted.pairing.by
    if export.wanted.format == "preference" and by != "edited":
        yield (
            f"- Pairs are by {_code(by)}: that is a rule's order, and not what people prefer"
            f"{_unless_reviewed(export)}."
        )
    if export.wanted.format == "kto":
        yield (
            "- Labels say whether the rules of the recipe let a completion pass"
            f"{_unless_reviewed(export)}."
        )
    yield from (
        f"- Required and missed: {_code(each['required'].get('metric'))}."
        for each in manifest.get("required", ())
        if not each.get("met")
    )
    yield ""


def _unless_reviewed(export: Export) -> str:
    return ", but of rows that people have reviewed" if export.rows.applied.reviewers else ""


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _plain(text: str) -> str:
    """A name in running text, with nothing in it that Markdown or HTML would act on."""
    return re.sub(r"[^\w .,:()+-]", "", text)


def _code(value: object) -> str:
    """Anything, as code in a line or in a cell of a table."""
    text = _UNPRINTABLE.sub("�", str(value)).replace("`", "'").replace("|", "¦")
    return f"`{text}`"
