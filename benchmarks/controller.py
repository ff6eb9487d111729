"""What a controller brings for the same tokens, and what it costs in throughput.

    python benchmarks/controller.py                  both
    python benchmarks/controller.py --seeds 10 --tokens 200000
    python benchmarks/controller.py --only worth --even     where arms do not differ
    python benchmarks/controller.py --only speed --latency-ms 500 --in-flight 64

The endpoint is simulated, with two models, four tones, eight topics and a range of temperatures, of
which some repeat themselves or are rejected: see ``uneven_endpoint``. Each seed runs twice with the
same budget of tokens, with the controller and without. Diversity is compared at equal rows: the
first that both have. The Vendi score is taken over the n-grams that the controller steers by, so
distinct-2, which it knows nothing of, is the fairer judge. Intervals are of the change, paired by
seed (Student's t, 95 %).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np

from tables import table
from uneven_endpoint import TONES, TOPICS
from weave_async import Recipe, Run, Settings
from weave_async.features.embeddings import NgramEmbedder
from weave_async.features.words import words_of

STUDENT_T = {2: 12.71, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306}
"""97.5 % quantiles by the number of pairs; about 2.26 from 10 on."""
MORE_ROWS_THAN_TOKENS = 30
"""No answer takes less than so many tokens with its question, so rows never run out."""


@dataclass(frozen=True, slots=True)
class Made:
    """What one run has made of its budget."""

    texts: Sequence[str]
    asked: int
    elapsed_s: float

    @property
    def accepted_share(self) -> float:
        return len(self.texts) / self.asked


def main() -> None:
    given = parse_arguments()
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    with tempfile.TemporaryDirectory() as folder, chdir(folder):
        if given.only in (None, "worth"):
            print(worth(given))
        if given.only in (None, "speed"):
            print(speed(given))


def parse_arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("worth", "speed"), help="one half of it")
    parser.add_argument("--seeds", type=int, default=5, help="pairs of runs [5]")
    parser.add_argument("--tokens", type=int, default=120_000, help="budget of a run [120000]")
    parser.add_argument("--round", type=int, default=200, help="samples of a round [200]")
    parser.add_argument("--lag", type=int, default=1, help="rounds decided without [1]")
    parser.add_argument("--even", action="store_true", help="arms that do not differ")
    parser.add_argument("--latency-ms", type=float, default=500, help="of an answer [500]")
    parser.add_argument("--spread", type=float, default=0.25, help="sigma of the latency [0.25]")
    parser.add_argument("--in-flight", type=int, default=64, help="requests in flight [64]")
    parser.add_argument("--rows", type=int, default=2000, help="of a run for speed [2000]")
    parser.add_argument("--repeats", type=int, default=2, help="of the runs for speed [2]")
    return parser.parse_args()


def worth(given: argparse.Namespace) -> str:
    """Accepted rows, and how different they are, with and without."""
    plain, steered = [], []
    for seed in range(given.seeds):
        plain.append(made(budgeted(given, seed, "off"), f"plain{seed}"))
        steered.append(
            made(budgeted(given, seed, {"round": given.round, "lag": given.lag}), f"steered{seed}")
        )
    num_rows = [
        min(len(one.texts), len(other.texts)) for one, other in zip(plain, steered, strict=True)
    ]
    figures = [
        (
            "accepted rows",
            *([float(len(each.texts)) for each in runs] for runs in (plain, steered)),
        ),
        (
            "accepted of asked",
            *([each.accepted_share for each in runs] for runs in (plain, steered)),
        ),
    ]
    for name, measure in (("distinct-2", distinct_2), ("Vendi of n-grams", vendi)):
        pairs = [
            [measure(each.texts[:n]) for each, n in zip(runs, num_rows, strict=True)]
            for runs in (plain, steered)
        ]
        figures.append((f"{name} at equal rows", *pairs))
    rows = [
        [name, f"{fmean(before):,.3f}", f"{fmean(after):,.3f}", change(before, after)]
        for name, before, after in figures
    ]
    arms = "even" if given.even else "uneven"
    rounds = f"rounds of {given.round}, lag {given.lag}"
    title = f"{arms} arms, {given.tokens:,} tokens, {rounds}, {given.seeds} seeds"
    return f"\n{title}\n{table(['', 'without', 'with', 'change, 95 %'], rows)}"


def change(before: Sequence[float], after: Sequence[float]) -> str:
    """In percent, by the pairs."""
    percents = [100 * (b / a - 1) for a, b in zip(before, after, strict=True)]
    if len(percents) < 2:
        return f"{percents[0]:+.1f} %"
    half = STUDENT_T.get(len(percents), 2.26) * stdev(percents) / math.sqrt(len(percents))
    mean = fmean(percents)
    return f"{mean:+.1f} % [{mean - half:+.1f}, {mean + half:+.1f}]"


def speed(given: argparse.Namespace) -> str:
    """Requests per second, one run after the other, in turns."""
    answered: dict[str, list[float]] = {"off": [], "on": []}
    for repeat in range(given.repeats):
        for switch in answered:
            controller: Any = {"round": given.round, "lag": given.lag} if switch == "on" else "off"
            # Two models are two endpoints, each with a limit of its own.
            run = made(slow(given, controller), f"{switch}{repeat}", given.in_flight // 2)
            answered[switch].append(run.asked / run.elapsed_s)
    ideal = given.in_flight / (given.latency_ms / 1000 * math.exp(given.spread**2 / 2))
    rows = [
        [f"controller {switch}", f"{fmean(rates):.1f}", f"{min(rates):.1f}–{max(rates):.1f}"]
        for switch, rates in answered.items()
    ]
    title = (
        f"{given.latency_ms:g} ms, sigma {given.spread:g}, {given.in_flight} in flight, rounds of "
        f"{given.round}, lag {given.lag}, {given.rows} rows; {ideal:.1f}/s if all were always out"
    )
    return f"\n{title}\n{table(['', 'requests/s', 'least–most'], rows)}"


def budgeted(given: argparse.Namespace, seed: int, controller: Any) -> Recipe:
    models = ("lively", "lively too") if given.even else ("lively", "dull")
    mix = [{"endpoint": "uneven_endpoint:UnevenProvider", "model": model} for model in models]
    lowest = 0.5 if given.even else 0.1
    params = {"max_tokens": 60, "temperature": {"uniform": [lowest, 1.3]}}
    return recipe_of(
        given.tokens // MORE_ROWS_THAN_TOKENS,
        tones=TONES[:-1] if given.even else TONES,
        seed=seed,
        budget={"tokens": given.tokens},
        generate={"mix": mix, "params": params},
        validation=[{"length": {"max_words": 30}}],
        controller=controller,
    )


def slow(given: argparse.Namespace, controller: Any) -> Recipe:
    options = {"latency_s": given.latency_ms / 1000, "latency_spread": given.spread}
    mix = [{"endpoint": "simulated", "model": m, "options": options} for m in ("one", "other")]
    return recipe_of(given.rows, generate={"mix": mix}, controller=controller)


def recipe_of(num_rows: int, tones: Sequence[str] = TONES, **more: Any) -> Recipe:
    rows = [json.dumps({"text": f"question number {number}"}) for number in range(num_rows)]
    Path("seeds.jsonl").write_text("\n".join(rows))
    attributes = {"topic": {"choice": list(TOPICS)}, "tone": {"choice": list(tones)}}
    prompts = {
        "source": "seeds.jsonl",
        "template": "{{ text }} about {{ topic }}, in a {{ tone }} tone",
        "attributes": attributes,
    }
    return Recipe.model_validate({"prompts": prompts, **more})


def made(recipe: Recipe, folder: str, in_flight: int = 16) -> Made:
    settings = Settings.from_environment({}, None).with_flags(max_concurrency=in_flight)

    async def finished() -> tuple[int, float]:
        async with Run(recipe, output_dir=folder, settings=settings) as run:
            started_s = time.perf_counter()
            summary = await run.finish()
            return summary.written + summary.rejected, time.perf_counter() - started_s

    asked, elapsed_s = asyncio.run(finished())
    return Made(list(_texts_in(Path(folder, "samples.jsonl"))), asked, elapsed_s)


def _texts_in(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        yield json.loads(line)["messages"][-1]["content"]


def distinct_2(texts: Sequence[str]) -> float:
    """Different bigrams of words among all (Li et al., 2016)."""
    bigrams = [pair for text in texts for pair in pairwise(words_of(text))]
    return len(set(bigrams)) / len(bigrams)


def vendi(texts: Sequence[str]) -> float:
    """The exponential of the entropy of the kernel's eigenvalues, which are those of the
    covariance (Friedman and Dieng, 2023): how many different texts there are, as it were.
    """
    rows = NgramEmbedder().embed(texts).astype(np.float64)  # (N, D)
    values = np.linalg.eigvalsh(rows.T @ rows / len(texts))
    shares = values[values > 1e-12]
    return float(np.exp(-np.sum(shares * np.log(shares))))


if __name__ == "__main__":
    main()
