"""Is a model better for our data? Small models on few real rows, and on what is made of them.

    python benchmarks/downstream.py [--tasks spam topics] [--seeds 5] [--draws 4] [--quick] [--json]

For each of several draws of seed rows: the seeds alone; the seeds as often as ours has rows
(the control that shows what more rows alone do); the seeds with plain synthetic rows (one prompt,
fixed parameters, nothing checked); the seeds with ours; and ours without noise, without validation,
without selection, each from the same answers, replayed. ``noisy seeds`` have no synthetic row: the
seeds themselves, varied by noise. All are made by recipes, with the model of ``--endpoint``.

Models are linear, on words and letters (or on embeddings: ``--classifier``), regularised by
cross-validation on their own training rows. They are scored by macro-F1 on real rows that none of
them has seen, clean, and with other kinds of noise than were trained on. Intervals are paired, over
test rows and draws of seeds, by Student's t. What a dataset is worth is read off the learning
curve of real rows.

Whoever wants the data knows the domain: the prompts of ours name subjects, which the plain way's do
not. How these were chosen, and which draws the recipe was tried on, stands in docs/downstream.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from downstream_data import Row, Split, Task, split, task_named
from tables import table
from weave_async import Recipe, Run, registry
from weave_async.ablation import scores
from weave_async.ablation.classifier import predicted
from weave_async.noise.lock import MeaningLock
from weave_async.noise.spans import ProtectedSpans
from weave_async.replay import replaying

SEEDS, DUPLICATED, PLAIN, NOISY, OURS = (
    *("seeds", "seeds, duplicated", "seeds + plain", "noisy seeds", "seeds + ours"),
)
LEFT_OUT = ("noise", "validation", "selection")
OTHER_NOISE: Sequence[tuple[str, dict[str, Any]]] = (
    ("misspellings", {}),
    ("abbreviations", {}),
    ("whitespace", {}),
)
"""Of the noisy test rows: kinds that no training row has."""
CURVE = (1, 2, 4, 8, 16)
"""Real rows, in times of the seeds."""
MOST_TOKENS = 48
FEWEST_DRAWS = 5
"""Of seeds, for a verdict."""


@dataclass(slots=True)
class Outcome:
    """Of one task: the predictions of every arm, by draw of seeds, on both test sets."""

    task: Task
    truth: scores.Labels | None = None
    num_draws: int = 0
    guesses: dict[str, list[scores.Labels]] = field(default_factory=dict)
    num_rows: dict[str, list[int]] = field(default_factory=dict)
    curve: dict[int, list[scores.Labels]] = field(default_factory=dict)


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tasks", nargs="+", default=["spam", "topics"], choices=["spam", "topics"]
    )
    parser.add_argument("--seeds", type=int, default=5, help="draws of seed rows [5]")
    parser.add_argument("--first", type=int, default=0, help="number of the first draw [0]")
    parser.add_argument("--draws", type=int, default=4, help="synthetic rows for each seed row [4]")
    parser.add_argument("--endpoint", default="local", help="who makes the synthetic rows [local]")
    parser.add_argument("--classifier", choices=["words", "embeddings"], default="words")
    parser.add_argument("--output", type=Path, help="keep the runs here; they can be continued")
    parser.add_argument(
        "--quick", action="store_true", help="two draws of seeds, two rows for each"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.quick:
        given.seeds, given.draws = 2, 2
    sys.path.insert(0, str(Path(__file__).parent))  # recipes name parts that stand here
    told = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.tasks:
            folder = (given.output or Path(scratch)) / name
            outcome = asyncio.run(outcome_of(task_named(name), folder, given))
            told[name] = figures_of(outcome)
            if not given.json:
                show(outcome, told[name])
    if given.json:
        print(json.dumps(told))


# --- datasets ------------------------------------------------------------------------------------


async def outcome_of(task: Task, folder: Path, given: argparse.Namespace) -> Outcome:
    outcome = Outcome(task)
    for draw in range(given.first, given.first + given.seeds):
        parts = split(task, draw)
        datasets = await datasets_of(task, parts, folder / str(draw), draw, given)
        real = {size: parts.real[: size * task.num_seeds] for size in CURVE}
        score_on(outcome, parts, datasets, real, draw, given.classifier)
        print(f"{task.name}: draw {draw} of seeds is done", file=sys.stderr)
    return outcome


async def datasets_of(
    task: Task, parts: Split, folder: Path, draw: int, given: argparse.Namespace
) -> dict[str, list[Row]]:
    """The training rows of each arm."""
    seeds = write_rows(folder / "seeds.jsonl", parts.seeds)
    test = write_rows(folder / "test.jsonl", parts.test)
    num, who = given.draws * len(parts.seeds), given.endpoint
    ours = ours_recipe(task, folder, test, draw, num, who)
    made = await run(ours, folder / "ours")
    plain = await run(plain_recipe(task, folder, draw, num, who), folder / "plain")
    noisy = await run(noisy_recipe(seeds, draw, given), folder / "noisy")
    datasets = {
        SEEDS: parts.seeds,
        DUPLICATED: list(islice(cycle(parts.seeds), len(parts.seeds) + len(made))),
        PLAIN: parts.seeds + plain[: len(made)],
        NOISY: parts.seeds + noisy,
        OURS: parts.seeds + made,
    }
    for part in LEFT_OUT:
        without = await replayed(folder / "ours", ours.with_changes(**{part: []}))
        datasets[f"ours without {part}"] = parts.seeds + without
    return datasets


def ours_recipe(task: Task, folder: Path, test: Path, draw: int, num: int, who: str) -> Recipe:
    """Prompts that vary by subject and manner, each label as often as the others."""
    prompts = prompts_for(task, folder, num)
    prompts["template"] = "Write {{ asked }}{{ how }}. It is about {{ subject }}."
    prompts["attributes"] |= {
        "subject": {
            "when": {
                "label": {name: {"choice": list(of.subjects)} for name, of in task.asked.items()}
            }
        },
        "how": {"choice": HOW},
    }
    return Recipe.model_validate(
        {
            "name": "ours",
            "seed": draw,
            "prompts": prompts,
            "generate": {
                "mix": [{"endpoint": who}],
                "params": {
                    "temperature": {"uniform": [0.5, 0.9]},
                    "top_p": {"uniform": [0.85, 1]},
                    "max_tokens": MOST_TOKENS,
                },
            },
            "validation": [
                {"length": {"min_words": 3, "max_words": 40}},
                {"language": "en"},
                "refusal",
                "echo",
                {"pattern": {"forbid": ["(?i)^(here|sure|text message|subject:)", r"\["]}},
                {"decontamination": {"files": [str(test)]}},
            ],
            "noise": [
                {
                    "one_of": {
                        "parts": [{"typos": 0.03}, {"casing": {"style": "lower"}}, "punctuation"],
                        "field": "completion",
                        "probability": 0.4,
                    }
                }
            ],
            "selection": ["exact", {"near_duplicates": 0.6}],
            "measure": "off",
        }
    )


HOW = [
    "",
    ", very short",
    ", informal",
    ", polite",
    ", as a question",
    ", in a hurry",
    ", cheerful",
]


def plain_recipe(task: Task, folder: Path, draw: int, num: int, who: str) -> Recipe:
    """The plain way: the same labels, one prompt for each, and all that comes is taken."""
    return Recipe.model_validate(
        {
            "name": "plain",
            "seed": draw,
            "prompts": prompts_for(task, folder, 2 * num),
            "generate": {
                "mix": [{"endpoint": who}],
                "params": {"temperature": 0.7, "top_p": 0.9, "max_tokens": MOST_TOKENS},
            },
            "measure": "off",
        }
    )


def prompts_for(task: Task, folder: Path, num: int) -> dict[str, Any]:
    one = folder / "one.jsonl"
    one.write_text("{}\n")
    asked = {name: {"choice": [of.text]} for name, of in task.asked.items()}
    return {
        "source": str(one.absolute()),
        "system": "You write short texts. Answer with one text of at most 15 words.",
        "template": "Write {{ asked }}.",
        "attributes": {
            "label": {"choice": sorted(task.asked)},
            "asked": {"when": {"label": asked}},
        },
        "draws": num,
    }


def noisy_recipe(seeds: Path, draw: int, given: argparse.Namespace) -> Recipe:
    noise = {"typos": {"rate": 0.03, "field": "completion", "copies": given.draws}}
    return Recipe.model_validate(
        {
            "name": "noisy",
            "seed": draw,
            "prompts": {"source": str(seeds), "template": "{{ text }}"},
            "generate": {"mix": [{"endpoint": "downstream_parts:EchoProvider"}]},
            "noise": [noise],
            "selection": ["exact"],
            "measure": "off",
        }
    )


def write_rows(path: Path, rows: Sequence[Row]) -> Path:
    lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines), encoding="utf-8")
    return path.absolute()


async def run(recipe: Recipe, folder: Path) -> list[Row]:
    async with Run(recipe, output_dir=folder) as running:
        return [
            (sample.completion, str(sample.prompt.value_of("label"))) async for sample in running
        ]


async def replayed(folder: Path, recipe: Recipe) -> list[Row]:
    async with replaying(folder, recipe) as replay:
        return [
            (sample.completion, str(sample.prompt.value_of("label")))
            async for sample in replay.written()
        ]


# --- scores --------------------------------------------------------------------------------------


def score_on(
    outcome: Outcome,
    parts: Split,
    datasets: Mapping[str, Sequence[Row]],
    real: Mapping[int, Sequence[Row]],
    draw: int,
    classifier: Any,
) -> None:
    """Train on each, and keep what it says of the clean test rows and of the noisy ones."""
    number = {label: place for place, label in enumerate(sorted(outcome.task.asked))}
    unseen = [text for text, _ in parts.test]
    both = [*unseen, *(noisy(text, 0) for text in unseen)]
    outcome.truth = np.array([number[label] for _, label in parts.test], np.intp)
    outcome.num_draws += 1

    def guessed(rows: Sequence[Row]) -> scores.Labels:
        texts, labels = [text for text, _ in rows], [number[label] for _, label in rows]
        return predicted(classifier, texts, labels, both, seed=draw)

    for name, rows in datasets.items():
        outcome.guesses.setdefault(name, []).append(guessed(rows))
        outcome.num_rows.setdefault(name, []).append(len(rows))
    for size, rows in real.items():
        if len(rows) == size * outcome.task.num_seeds:
            outcome.curve.setdefault(size * outcome.task.num_seeds, []).append(guessed(rows))


def noisy(text: str, seed: int) -> str:
    lock = MeaningLock(ProtectedSpans(), None)
    rng = Random(f"{seed}:{text}")
    for name, options in OTHER_NOISE:
        text = lock.vary(registry.build("noise", name, options), text, rng).text
    return text


def figures_of(outcome: Outcome) -> dict[str, Any]:
    """By test set and arm: macro-F1, the difference from the control, and rows' worth."""
    num_classes, truth = len(outcome.task.asked), outcome.truth
    assert truth is not None
    told: dict[str, Any] = {}
    for place, test in enumerate(("clean", "noisy")):

        def of(guesses: Sequence[scores.Labels], place: int = place) -> scores.Scores:
            halves = [each.reshape(2, -1)[place] for each in guesses]
            return scores.scores_of(truth, halves, num_classes, seed=0)

        arms = {name: of(guesses) for name, guesses in outcome.guesses.items()}
        whole = [size for size, each in outcome.curve.items() if len(each) == outcome.num_draws]
        curve = {size: of(outcome.curve[size]).value for size in sorted(whole)}
        told[test] = {
            "learning_curve": curve,
            **{
                name: {
                    "rows": round(float(np.mean(outcome.num_rows[name]))),
                    "macro_f1": arm.interval().as_dict(),
                    "more_than_control": arm.less(arms[DUPLICATED]).interval().as_dict(),
                    "less_than_ours": arm.less(arms[OURS]).interval().as_dict(),
                    "worth_real_rows": worth(curve, arm.interval()),
                }
                for name, arm in arms.items()
            },
        }
    return told


def worth(curve: Mapping[int, float], score: scores.Interval) -> dict[str, str]:
    """Real rows that would bring the same score, and those that would bring its bounds."""
    told = {}
    for name in ("value", "low", "high"):
        rows, why = scores.rows_worth(list(curve), list(curve.values()), getattr(score, name))
        told[name] = why.partition(",")[0] if rows is None else f"{rows:.0f}"
    return told


# --- the table -----------------------------------------------------------------------------------


def show(outcome: Outcome, figures: Mapping[str, Any]) -> None:
    task = outcome.task
    for test, told in figures.items():
        curve = ", ".join(f"{rows}: {score:.3f}" for rows, score in told["learning_curve"].items())
        print(
            f"\n{task.name}, {task.num_test} {test} test rows, {outcome.num_draws} draws of seeds; "
            "macro-F1, "
            f"95 %\nreal rows {curve}\n"
        )
        arms = [(name, arm) for name, arm in told.items() if name != "learning_curve"]
        print(
            table(
                ("trained on", "rows", "macro-F1", "over duplicated seeds", "worth real rows"),
                [
                    [
                        name,
                        str(arm["rows"]),
                        interval(arm["macro_f1"]),
                        interval(arm["more_than_control"], sign="+"),
                        worth_shown(arm["worth_real_rows"]),
                    ]
                    for name, arm in arms
                ],
            )
        )
        print()
        for part in LEFT_OUT:
            arm = told[f"ours without {part}"]["less_than_ours"]
            print(f"without {part}: {interval(arm, sign='+')}{verdict(arm, outcome.num_draws)}")
        gained = told[OURS]["more_than_control"]
        print(
            f"ours over the control: {interval(gained, sign='+')}"
            f"{verdict(gained, outcome.num_draws)}"
        )


def interval(of: Mapping[str, float], sign: str = "") -> str:
    form = f"{{:{sign}.3f}}"
    return f"{form.format(of['value'])} [{form.format(of['low'])}, {form.format(of['high'])}]"


def verdict(of: Mapping[str, float], num_draws: int) -> str:
    if num_draws < FEWEST_DRAWS:
        return f": {num_draws} draws are too few to say"
    if of["low"] > 0:
        return ": better"
    return ": worse" if of["high"] < 0 else ": no difference that can be told"


def worth_shown(of: Mapping[str, str]) -> str:
    return f"{of['value']} [{of['low']}, {of['high']}]"


if __name__ == "__main__":
    main()
