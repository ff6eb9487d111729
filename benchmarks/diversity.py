"""Two datasets of as many accepted rows, under one token budget: the plain way, and ours.

    python benchmarks/diversity.py [--rows 200] [--tokens 150000] [--seed 7] [--quick] [--json]

The plain way is one model, one prompt, fixed parameters and no selection. Ours has prompts from
real seeds (attributes, few-shot examples), varied parameters, the controller and selection. Both
accept by the same rules, and each arm of the ablation is ours without one part. The seeds are the
English questions of ``chatterbot-corpus`` (BSD), read out of the package; the model is the one that
``endpoint: local`` serves, unless ``--mix`` names others: ``--mix fast:big-model --mix local``.

Every metric is taken on as many rows and as many words of both sides, in several seeded draws; the
interval is that of the change (see docs/metrics.md).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tables import NOTHING, table
from weave_async import Recipe, Run, RunSummary
from weave_async.features.embeddings import installed_embedder
from weave_async.metrics.comparing import Comparison, compared

METRICS = ("vendi", "distinct_2", "distinct_1", "self_bleu", "compression_ratio", "mtld")
FEWEST_WORDS, MOST_WORDS = 4, 30
ROUND = 40
"""Samples between two decisions of the controller: a run here has a few hundred."""
PLAIN_PROMPT = "Write one question that a person could ask a helpful assistant."
VALIDATION: list[Any] = [
    {"length": {"min_words": FEWEST_WORDS, "max_words": MOST_WORDS}},
    {"pattern": {"match": r"\?$", "forbid": r"\n"}},
    {"language": "en"},
    "refusal",
    "echo",
    "truncation",
]
"""What every arm's rows have to pass."""
STYLES = (
    *("short", "detailed", "practical", "surprising", "beginner's", "expert", "everyday"),
    *("curious", "skeptical", "personal", "technical", "playful"),
)


@dataclass(frozen=True, slots=True)
class Arm:
    """A way to make the dataset: which of our parts it has."""

    name: str
    prompts: bool = True
    params: bool = True
    controller: bool = True
    selection: bool = True


PLAIN = Arm("plain", prompts=False, params=False, controller=False, selection=False)
OURS = Arm("ours")
ARMS = (
    PLAIN,
    OURS,
    Arm("plain, on the seeds", params=False, controller=False, selection=False),
    Arm("ours, plain prompt", prompts=False),
    Arm("ours, fixed parameters", params=False),
    Arm("ours, no controller", controller=False),
    Arm("ours, no selection", selection=False),
)


@dataclass(frozen=True, slots=True)
class Made:
    """The dataset of one arm, and what it took."""

    arm: Arm
    texts: list[str]
    summary: RunSummary

    @property
    def acceptance(self) -> float:
        judged = self.summary.written + self.summary.rejected
        return self.summary.written / judged if judged else 0.0


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=200, help="accepted rows of each dataset")
    parser.add_argument("--tokens", type=int, default=150_000, help="budget of each, in and out")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="the plain way and ours alone")
    parser.add_argument(
        "--mix", action="append", metavar="ENDPOINT[:MODEL]", help="instead of local"
    )
    parser.add_argument("--output", type=Path, help="keep the runs here; they can be continued")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.output or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        made = [
            asyncio.run(dataset_of(arm, folder, given))
            for arm in (ARMS[:2] if given.quick else ARMS)
        ]
    plain, *others = made
    embedder = installed_embedder()
    comparisons = {
        each.arm.name: compared(
            plain.texts, each.texts, seed=given.seed, metrics=METRICS, embedder=embedder
        )
        for each in others
    }
    if given.json:
        print(json.dumps(as_dict(made, comparisons)))
    else:
        show(made, comparisons)


async def dataset_of(arm: Arm, folder: Path, given: argparse.Namespace) -> Made:
    recipe = recipe_of(arm, folder, given)
    print(f"{arm.name} ...", file=sys.stderr)
    async with Run(
        recipe, output_dir=folder / arm.name.replace(", ", "-").replace(" ", "_")
    ) as run:
        texts = [sample.completion async for sample in run]
    print(run.summary, file=sys.stderr)
    return Made(arm, texts, run.summary)


def recipe_of(arm: Arm, folder: Path, given: argparse.Namespace) -> Recipe:
    """The recipe of an arm; its sources stand beside the runs."""
    seeds = write_rows(folder / "seeds.jsonl", real_questions())
    one = write_rows(folder / "one.jsonl", [{"prompt": PLAIN_PROMPT}])
    data: dict[str, Any] = {
        "name": "diversity",
        "seed": given.seed,
        "accept": given.rows,
        "candidates": 20 * given.rows,
        "budget": {"tokens": given.tokens},
        "prompts": prompts_from(seeds) if arm.prompts else {"source": str(one)},
        "generate": {"mix": mix_of(given.mix), "params": params_of(arm)},
        "validation": VALIDATION,
    }
    if arm.controller:
        data["controller"] = {"round": ROUND}
    if arm.selection:
        data["selection"] = ["exact", {"near_duplicates": 0.6}, {"novelty": 0.85}]
    return Recipe.model_validate(data)


def prompts_from(seeds: Path) -> dict[str, Any]:
    return {
        "source": str(seeds),
        "system": "You write questions that people ask. Answer with one question and nothing else.",
        "template": "Write a {{ style }} question about {{ topic }}.",
        "attributes": {"style": {"choice": list(STYLES)}},
        "examples": {
            "num": 3,
            "user": "Write a question about {{ topic }}.",
            "assistant": "{{ question }}",
        },
    }


def params_of(arm: Arm) -> dict[str, Any]:
    if arm.params:
        varied = {"temperature": {"uniform": [0.6, 1.2]}, "top_p": {"uniform": [0.85, 1.0]}}
        return {**varied, "max_tokens": 48}
    return {"temperature": 0.7, "top_p": 0.9, "max_tokens": 48}


def mix_of(named: Sequence[str] | None) -> list[dict[str, Any]]:
    mix = []
    for each in named or ["local"]:
        endpoint, _, model = each.partition(":")
        mix.append({"endpoint": endpoint, "model": model or None})
    return mix


def real_questions() -> Iterator[dict[str, str]]:
    """The questions of people, by topic, out of the package's files."""
    found = find_spec("chatterbot_corpus")
    if found is None or found.origin is None:
        raise SystemExit("the seeds are in a package: pip install --no-deps chatterbot-corpus")
    for path in sorted((Path(found.origin).parent / "data/english").glob("*.yml")):
        turns = yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]
        questions = dict.fromkeys(
            " ".join(turn[0].split()) for turn in turns if is_question(turn[0])
        )
        for question in questions:
            yield {"topic": path.stem.replace("_", " "), "question": question}


def is_question(text: Any) -> bool:
    if not isinstance(text, str) or not text.strip().endswith("?"):
        return False
    return FEWEST_WORDS <= len(text.split()) <= MOST_WORDS


def write_rows(path: Path, rows: Iterator[dict[str, str]] | list[dict[str, str]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path.absolute()


def show(made: Sequence[Made], comparisons: Mapping[str, Mapping[str, Comparison]]) -> None:
    header = ("arm", "rows", "tokens", "accepted", "near or exact duplicates")
    print(table(header, [[each.arm.name, *costs_of(each)] for each in made]))
    for metric in METRICS:
        print()
        rows = [row_of(name, of_arm.get(metric)) for name, of_arm in comparisons.items()]
        print(table((metric, "plain", "this arm", "change", "95 %"), rows))


def costs_of(made: Made) -> list[str]:
    summary = made.summary
    refused = sum(
        count
        for reason, count in summary.rejected_by_reason.items()
        if reason.partition(":")[0] in ("exact", "near_duplicates", "novelty")
    )
    tokens = summary.input_tokens + summary.output_tokens
    return [f"{summary.written}", f"{tokens:,}", f"{made.acceptance:.0%}", f"{refused}"]


def row_of(arm: str, comparison: Comparison | None) -> list[str]:
    if comparison is None:
        return [arm, *[NOTHING] * 4]
    one, other, change = comparison.one, comparison.other, comparison.change
    if one is None or other is None or change is None:
        return [arm, comparison.reason or NOTHING, *[NOTHING] * 3]
    interval = NOTHING
    if change.relative_low is not None and change.relative_high is not None:
        interval = f"{change.relative_low:+.0%} to {change.relative_high:+.0%}"
    relative = NOTHING if change.relative is None else f"{change.relative:+.0%}"
    return [arm, f"{one.value:.3f}", f"{other.value:.3f}", relative, interval]


def as_dict(
    made: Sequence[Made], comparisons: Mapping[str, Mapping[str, Comparison]]
) -> dict[str, Any]:
    return {
        "arms": [
            {"arm": each.arm.name, "acceptance": each.acceptance, **each.summary.as_dict()}
            for each in made
        ],
        "compared_with_plain": {
            name: {metric: asdict(each) for metric, each in of_arm.items()}
            for name, of_arm in comparisons.items()
        },
    }


if __name__ == "__main__":
    main()
