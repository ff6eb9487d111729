"""How diverse a choice is: `choose` beside chance, on real text, at the same number of rows.

    python benchmarks/choosing.py TEXTS [--candidates 1000] [-k 100] [--embedder minilm]

TEXTS has a text per line, of which the first ``--candidates`` different ones are embedded. Each
strategy of `choose` picks ``k`` of them, with no quality to weigh, and so does chance, ten times.
`Vendi score` says how many rows unlike each other they amount to (as in `weave_async.metrics`);
`nearest` is the mean of each row's cosine with the nearest other one. Facility location, which
represents rows rather than diversifies them, is there for comparison (pyversity's `cover`). Seconds
are of one process and all its threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import get_args

import numpy as np
import pyversity
from numpy.typing import NDArray

from tables import table
from weave_async.metrics.semantic import vendi_of
from weave_async.selection.candidates import Candidates
from weave_async.selection.choosing import Chooser, Strategy, first_of_equals
from weave_async.selection.codes import codes_of
from weave_async.selection.embedded import EmbedderName, embedder_named

Rows = NDArray[np.float32]
NUM_DRAWS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path, help="a text per line")
    parser.add_argument("--candidates", type=int, default=1000, help="[1000]")
    parser.add_argument("-k", type=int, default=100, help="rows to choose [100]")
    parser.add_argument("--embedder", choices=get_args(EmbedderName), help="[the best there is]")
    given = parser.parse_args()
    lines = given.texts.read_text(encoding="utf-8").splitlines()
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    rows = embedder_named(given.embedder).embed(texts[: given.candidates])  # (N, D)
    candidates = Candidates(rows.shape[1])
    for number, code in enumerate(codes_of(rows)):
        candidates.add(str(number), code, 0.0)
    print(f"{given.k} of {len(rows)} texts, {rows.shape[1]} dimensions\n")
    print(
        table(
            ("choice", "Vendi score", "nearest", "seconds"),
            list(measured(candidates, rows, given.k)),
        )
    )


def measured(candidates: Candidates, rows: Rows, k: int) -> Iterator[tuple[str, ...]]:
    rng = np.random.default_rng(0)
    drawn = [rows[rng.choice(len(rows), k, replace=False)] for _ in range(NUM_DRAWS)]
    scores = [vendi_of(each) for each in drawn]
    nearest = fmean(mean_nearest(each) for each in drawn)
    told = f"{fmean(scores):.1f} [{min(scores):.1f}–{max(scores):.1f}]"
    yield "chance", told, f"{nearest:.3f}", "–"
    for strategy in get_args(Strategy):
        started_s = time.process_time()
        first = first_of_equals(candidates)
        parts = Chooser(strategy, 0.5).chosen(candidates, first, k)
        picked = rows[np.concatenate([chosen for _, chosen in parts])]
        yield as_row(strategy, picked, time.process_time() - started_s)
    if len(rows) <= 2000:  # its kernel has a number for each pair
        started_s = time.process_time()
        result = pyversity.cover(rows, np.zeros(len(rows)), k, 1.0)
        yield as_row("facility location", rows[result.indices], time.process_time() - started_s)


def as_row(name: str, picked: Rows, elapsed_s: float) -> tuple[str, ...]:
    return name, f"{vendi_of(picked):.1f}", f"{mean_nearest(picked):.3f}", f"{elapsed_s:.2f}"


def mean_nearest(rows: Rows) -> float:
    cosines = rows @ rows.T - 2 * np.eye(len(rows), dtype=np.float32)  # (k, k)
    return float(cosines.max(axis=1).mean())


if __name__ == "__main__":
    main()
