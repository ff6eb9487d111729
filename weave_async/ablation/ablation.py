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
from weave_async.ablation.classifier import Kind, predicted, require_sklearn
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
KEPT_OF_ROWS = 0.9
"""Each training leaves out another tenth of them: their luck is part of the interval."""

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
    num_trainings: int = 5,
    seed: int = 0,
) -> Ablation:
    """Replay the run in ``path`` and train on each variant of it. Asks nothing.

    ``label`` is an attribute or column of the run's prompts, and a column of ``eval_file``, whose
    texts are in ``eval_text``. Raises ``InputError`` for what cannot be trained or scored.
    """
    require_sklearn()
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
    num_trainings: int = 5,
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
    truth = np.array([number[name] for _, name in known], np.intp)
    whole: np.ndarray[Any, np.dtype[np.float64]] | None = None
    whole_score = 0.0
    for name, rows in datasets.items():
        if (problem := _problem_with(rows)) is not None:
            found.variants.append(Variant(name, len(rows), problem=problem))
            continue
        guesses = _predictions(rows, known, number, kind, num_trainings, seed)
        drawn = scores.bootstrapped(truth, guesses, len(classes), seed)
        score = scores.mean_macro_f1(truth, guesses, len(classes))
        difference = None
        if whole is None:
            whole, whole_score = drawn, score
        else:
            difference = scores.interval(score - whole_score, drawn - whole)
        found.variants.append(Variant(name, len(rows), scores.interval(score, drawn), difference))
    return found


def _predictions(
    rows: Sequence[Row],
    unseen: Sequence[Row],
    number: Mapping[str, int],
    kind: Kind,
    num_trainings: int,
    seed: int,
) -> list[scores.Labels]:
    texts = [text for text, _ in unseen]
    guesses = []
    for training in range(num_trainings):
        part = _part_of(rows, f"{seed}:{training}")
        guesses.append(
            predicted(
                kind,
                [text for text, _ in part],
                [number[name] for _, name in part if name in number],
                texts,
                seed=seed + training,
            )
        )
    return guesses


def _part_of(rows: Sequence[Row], seed: str) -> list[Row]:
    """Nine of ten rows of each class, and two at least."""
    by_class: dict[str, list[Row]] = {}
    for row in rows:
        by_class.setdefault(row[1], []).append(row)
    rng, part = random.Random(seed), []  # noqa: S311 - not for secrets
    for name in sorted(by_class):
        some = by_class[name]
        part += rng.sample(some, max(min(2, len(some)), round(KEPT_OF_ROWS * len(some))))
    return part


def _problem_with(rows: Sequence[Row]) -> str | None:
    counts = Counter(name for _, name in rows)
    if len(counts) < 2:
        return f"{len(rows)} rows with {len(counts)} labels: nothing to learn"
    name, fewest = min(counts.items(), key=lambda each: each[1])
    if fewest < FEWEST_PER_CLASS:
        return f"'{name}' has {fewest} row, and training needs {FEWEST_PER_CLASS}"
    return None


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
        rows.append((str(row.values[text]), str(row.values[label])))
    if not rows:
        raise InputError(f"{path} has no rows to evaluate on")
    return rows
