"""What each part of a recipe brings to a model that is trained on its dataset.

The answers of one run are replayed without noise, without validation, without selection, and a
small model is trained on each of the datasets. All are scored on the same rows, which none of them
has in it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from weave_async import registry
from weave_async.ablation import scores
from weave_async.ablation.classifier import Kind, predicted, require_installed
from weave_async.ablation.scores import Interval
from weave_async.errors import InputError
from weave_async.features.ngrams import normalized
from weave_async.interfaces import Source
from weave_async.recipe import Recipe
from weave_async.records import BadRow, Sample, as_category
from weave_async.replay import replaying
from weave_async.sources.files import format_of

TextOf = Literal["completion", "prompt"]
PARTS = ("noise", "validation", "selection")
FEWEST_PER_CLASS = 2
LEFT_OUT = 0.5
"""Of the rows, in trainings that tell how much a score owes to which rows there are."""

Row = tuple[str, str]
"""A text and its label."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One dataset: its rows, how the model trained on it did, and how far that is from the recipe's
    own. ``problem`` says why there is no score.
    """

    name: str
    num_rows: int
    score: Interval | None = None
    difference: Interval | None = None
    problem: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "variant": self.name,
            "rows": self.num_rows,
            "macro_f1": None if self.score is None else self.score.as_dict(),
            "less_than_whole": None if self.difference is None else self.difference.as_dict(),
            "problem": self.problem,
        }


@dataclass(slots=True)
class Ablation:
    """``variants`` begin with the recipe as it is. ``num_leaked`` evaluation rows were in a dataset
    and were left out; ``num_other`` have labels that no training row has.
    """

    label: str
    num_eval_rows: int
    num_leaked: int
    num_other: int
    classes: list[str]
    model: str
    num_trainings: int
    variants: list[Variant] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        told = {
            "label": self.label,
            "eval_rows": self.num_eval_rows,
            "eval_rows_left_out_as_leaked": self.num_leaked,
            "eval_rows_of_unknown_labels": self.num_other,
            "classes": self.classes,
            "model": self.model,
            "trainings": self.num_trainings,
        }
        return {**told, "variants": [each.as_dict() for each in self.variants]}


async def ablated(
    path: Path,
    eval_file: Path,
    *,
    label: str,
    text: TextOf = "completion",
    eval_text: str = "text",
    kind: Kind = "words",
    num_trainings: int = 8,
    seed: int = 0,
) -> Ablation:
    """Replay the run in ``path`` and train on each variant of it. Asks nothing.

    ``label`` is an attribute or column of the run's prompts, and a column of ``eval_file``, whose
    texts are in ``eval_text``. Raises ``InputError`` for what cannot be trained or scored.
    """
    require_installed(kind)
    held_out = _eval_rows(eval_file, eval_text, label)
    recipe = Recipe.load(path / "recipe.yaml")
    datasets = {"all of it": await _dataset(path, None, text, label)}
    for part in PARTS:
        if getattr(recipe, part):
            without = recipe.with_changes(**{part: []})
            datasets[f"without {part}"] = await _dataset(path, without, text, label)
    return scored(
        datasets,
        held_out,
        label=label,
        kind=kind,
        num_trainings=num_trainings,
        seed=seed,
    )


def scored(
    datasets: Mapping[str, Sequence[Row]],
    held_out: Sequence[Row],
    *,
    label: str,
    kind: Kind = "words",
    num_trainings: int = 8,
    seed: int = 0,
) -> Ablation:
    """Train on each dataset; the first one is what the others are compared with."""
    classes = sorted({name for _, name in next(iter(datasets.values()))})
    if len(classes) < 2:
        raise InputError(
            f"the dataset has {len(classes)} different values of '{label}': a model needs two to "
            "learn a difference"
        )
    trained_on = {normalized(text) for rows in datasets.values() for text, _ in rows}
    clean = [row for row in held_out if normalized(row[0]) not in trained_on]
    known = [row for row in clean if row[1] in set(classes)]
    if len({name for _, name in known}) < 2:
        raise InputError(
            f"of {len(held_out)} evaluation rows, {len(held_out) - len(clean)} are in the dataset, "
            f"and {len(clean) - len(known)} of the others have labels that it does not have: too "
            f"few classes are left to score. Labels of the dataset: {', '.join(classes[:10])}"
        )
    found = Ablation(
        label,
        len(known),
        len(held_out) - len(clean),
        len(clean) - len(known),
        classes,
        kind,
        num_trainings,
    )
    number = {name: place for place, name in enumerate(classes)}
    whole: scores.Scores | None = None
    for place, (name, rows) in enumerate(datasets.items()):
        usable, problem = _usable(rows, number)
        if problem is not None:
            found.variants.append(Variant(name, len(rows), problem=problem))
            continue
        score = _score(usable, known, number, kind, num_trainings, seed)
        if not place:
            whole = score
        found.variants.append(
            Variant(
                name,
                len(rows),
                score.interval(left_out=LEFT_OUT),
                None
                if whole is None or not place
                else score.less(whole).interval(left_out=LEFT_OUT),
            )
        )
    return found


def _score(
    rows: Sequence[Row],
    unseen: Sequence[Row],
    number: Mapping[str, int],
    kind: Kind,
    num_trainings: int,
    seed: int,
) -> scores.Scores:
    """The score of a model that is trained on all rows, and how those vary that learn from half."""
    texts = [text for text, _ in unseen]
    truth = np.array([number[name] for _, name in unseen], np.intp)

    def guessed(part: Sequence[Row], training: int) -> scores.Labels:
        labels = [number[name] for _, name in part]
        return predicted(kind, [text for text, _ in part], labels, texts, seed=seed + training)

    of_all = scores.scores_of(truth, [guessed(rows, 0)], len(number), seed)
    halves = [guessed(_half_of(rows, f"{seed}:{n}"), n) for n in range(num_trainings)]
    of_halves = [scores.macro_f1(truth, each, len(number)) for each in halves]
    return scores.Scores(of_all.value, np.array(of_halves), of_all.by_rows)


def _half_of(rows: Sequence[Row], seed: str) -> list[Row]:
    """Of each class, two rows at least."""
    by_class: dict[str, list[Row]] = {}
    for row in rows:
        by_class.setdefault(row[1], []).append(row)
    rng, part = random.Random(seed), []  # noqa: S311 - not for secrets
    for name in sorted(by_class):
        some = by_class[name]
        part += rng.sample(some, max(min(2, len(some)), round(LEFT_OUT * len(some))))
    return part


def _usable(rows: Sequence[Row], number: Mapping[str, int]) -> tuple[list[Row], str | None]:
    """Rows that can be trained on: of classes that are scored, with rows enough; or why there are
    none.
    """
    counts = Counter(name for _, name in rows if name in number)
    kept = {name for name, count in counts.items() if count >= FEWEST_PER_CLASS}
    usable = [row for row in rows if row[1] in kept]
    if len(kept) < 2:
        few = ", ".join(f"'{name}' ({count})" for name, count in sorted(counts.items()))
        return [], f"{len(rows)} rows of {few or 'no known label'}: nothing to learn"
    return usable, None


async def _dataset(path: Path, changed: Recipe | None, text: TextOf, label: str) -> list[Row]:
    async with replaying(path, changed) as replay:
        return [
            (_text_of(sample, text), _label_of(sample, label)) async for sample in replay.written()
        ]


def _text_of(sample: Sample, text: TextOf) -> str:
    if text == "completion":
        return sample.completion
    asked = [message.content for message in sample.messages if message.role == "user"]
    return asked[-1] if asked else ""


def _label_of(sample: Sample, label: str) -> str:
    prompt = sample.prompt
    try:
        return str(as_category(prompt.value_of(label)))
    except KeyError:
        known = [*prompt.attributes, *prompt.columns]
        raise InputError(
            registry.unknown("attribute or column", label, known, where=f" of {sample.sample_id}")
        ) from None


def _eval_rows(path: Path, text: str, label: str) -> list[Row]:
    source: Source = registry.build("source", format_of(path), {"path": path})
    rows = []
    for row in source.rows():
        if isinstance(row, BadRow):
            raise InputError(f"{row.origin}: {row.reason}")
        for name in (text, label):
            if name not in row.values:
                raise InputError(
                    registry.unknown("column", name, list(row.values), where=f" of {row.origin}")
                )
        values = row.values[text], as_category(row.values[label])
        if None in values or not str(values[0]).strip():
            raise InputError(f"{row.origin}: an evaluation row needs a text and a label")
        rows.append((str(values[0]), str(values[1])))
    if not rows:
        raise InputError(f"{path} has no rows to evaluate on")
    return rows
