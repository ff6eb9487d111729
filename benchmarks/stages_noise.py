"""Short texts per second and core: each rule noiser, and those of other libraries.

    python benchmarks/stages.py noise [--peers-python PATH] [--gate] [--texts FILE] [--repeats 5]

``--noise`` names those to measure (default: all that are installed and ask no model), or classes as
``package.module:Name``; each with its own defaults. The texts are the lines of a file, by default
sentences of 60 to 80 characters beside this one, over and over until there are ``--num-texts``.
`locked` is what a run does with a text: protected spans found, noise, lock on meaning; `alone` is
the noise on a passage that is made already, and its edits. With ``--gate`` noisers that may drift
are held to a similarity besides, as in a run: the embeddings where they are installed, of each text
anew. The peers run in a process of their
Python (nlpaug, textnoisr, typo, TextAttack: whichever it has), with their defaults, on the same
texts and in the same turns. `changed` is the share of texts that came out different; `broken` that
of texts with something protected (numbers, URLs, addresses, names, ...) that no longer stands there
as it did. Rates are per second of CPU, medians over the repeats, [least–most]; ratios are to the
first peer, turn by turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Any

from tables import NOTHING, shown, spread, table
from weave_async import registry
from weave_async.errors import RecipeError
from weave_async.noise.edits import Passage, applied
from weave_async.noise.lock import MeaningLock
from weave_async.noise.similarity import Similarity, forget_embeddings, installed_similarity
from weave_async.noise.spans import ProtectedSpans

HERE = Path(__file__).parent
TEXTS = HERE / "noise_texts.txt"
WARM_UP = 50
EDGE = {True: r"(?<!\w)", False: ""}  # a word is whole, a mark stands where it stands
Ask = Callable[[], dict[str, Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--texts", type=Path, default=TEXTS, help="a text per line")
    parser.add_argument("--num-texts", type=int, default=2_000, help="in each turn [2000]")
    parser.add_argument("--noise", nargs="+", metavar="NAME", help="those to measure [all]")
    parser.add_argument("--gate", action="store_true", help="compare embeddings, as a run does")
    parser.add_argument("--peers-python", type=Path, help="an interpreter with other libraries")
    parser.add_argument("--repeats", type=int, default=5, help="of each [5]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def main(given: argparse.Namespace) -> None:
    lines = given.texts.read_text(encoding="utf-8").splitlines()
    texts = list(islice(cycle(line for line in lines if line.strip()), given.num_texts))
    if not texts:
        raise SystemExit(f"{given.texts} holds no text")
    noises, left_out = noisers(given.noise or registry.installed("noise"))
    gate = Gate(installed_similarity()) if given.gate else None
    rows = measure(noises, texts, given.peers_python, given.repeats, gate)
    if given.json:
        print(json.dumps({"rows": rows, "left_out": left_out, "num_texts": len(texts)}))
        return
    num_chars = sum(map(len, texts)) / len(texts)
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}; {len(texts):,} texts of {num_chars:.0f} characters"
    )
    for name, why in left_out.items():
        print(f"left out: {name}: {why}")
    print(as_table(rows))


def noisers(names: Sequence[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Those that can be built without options and need no model; the others, and why not."""
    found, left_out = {}, {}
    for name in names:
        try:
            noise = registry.build("noise", name, {})
        except RecipeError as error:
            left_out[name] = str(error)
            continue
        if hasattr(noise, "rewritten"):
            left_out[name] = "asks a model"
        else:
            found[name.rpartition(":")[2]] = noise
    return found, left_out


# --- measuring -----------------------------------------------------------------------------------


def measure(
    noises: dict[str, Any],
    texts: list[str],
    peers_python: Path | None,
    repeats: int,
    gate: Similarity | None = None,
) -> list[dict[str, Any]]:
    """A row per noise, theirs first. Each turn measures all of them, one after the other."""
    lock = MeaningLock(ProtectedSpans(), gate)
    for noise in noises.values():  # loads lists and compiles patterns
        in_lock(lock, noise, texts[:WARM_UP], 0)
    turns: list[dict[str, dict[str, Any]]] = []
    num_peers = 0
    with peers(peers_python, texts) as ask:
        for number in range(repeats):
            turn = ask() if ask else {}
            num_peers = len(turn)
            for name, noise in noises.items():
                turn[name] = in_lock(lock, noise, texts, number)
                turn[name]["alone_cpu_s"] = alone(noise, texts, number)
            turns.append(turn)
    names = list(turns[0])
    first = names[0] if num_peers else None
    return [
        {"name": name, "is_peer": at < num_peers}
        | summary([turn[name] for turn in turns], texts, noises.get(name))
        | {"ratio": first and ratio([(turn[first], turn[name]) for turn in turns])}
        for at, name in enumerate(names)
    ]


class Gate:
    """A similarity that remembers no text: these here come again and again."""

    def __init__(self, similarity: Similarity) -> None:
        self.similarity = similarity
        self.gate_name, self.default_floor = similarity.gate_name, similarity.default_floor

    def of(self, clean: str, noisy: str) -> float:
        forget_embeddings()
        return self.similarity.of(clean, noisy)


def in_lock(lock: MeaningLock, noise: Any, texts: Sequence[str], seed: int) -> dict[str, Any]:
    rng = Random(seed)
    begun_s = time.process_time()
    noisy = [lock.vary(noise, text, rng).text for text in texts]
    return {"cpu_s": time.process_time() - begun_s, "noisy": noisy}


def alone(noise: Any, texts: Sequence[str], seed: int) -> float | None:
    """Seconds of CPU for the edits; ``None`` for a noise that makes none."""
    if not hasattr(noise, "edits"):
        return None
    rng, spans = Random(seed), ProtectedSpans()
    rewrites = getattr(noise, "rewrites", ())
    passages: list[Passage] = [spans.passage(text, rewrites=rewrites) for text in texts]
    begun_s = time.process_time()
    for passage in passages:
        applied(passage, noise.edits(passage, rng))
    return time.process_time() - begun_s


def summary(turns: list[dict[str, Any]], texts: list[str], noise: Any) -> dict[str, Any]:
    pairs = [pair for turn in turns for pair in zip(texts, turn["noisy"], strict=True)]
    rewrites = getattr(noise, "rewrites", frozenset())
    kept = {text: protected_in(text, rewrites) for text in set(texts)}
    whole = {text for text, spans in kept.items() if spans and not is_broken(spans, text)}
    judged = [(kept[clean], noisy) for clean, noisy in pairs if clean in whole]
    alone_s = [turn.get("alone_cpu_s") for turn in turns]
    return {
        "per_cpu_s": spread([len(texts) / turn["cpu_s"] for turn in turns]),
        "alone_per_cpu_s": spread([each and len(texts) / each for each in alone_s]),
        "changed": sum(clean != noisy for clean, noisy in pairs) / len(pairs),
        "broken": sum(is_broken(*each) for each in judged) / len(judged) if judged else None,
    }


def protected_in(text: str, rewrites: Collection[str]) -> list[str]:
    passage = ProtectedSpans().passage(text, 0, rewrites)
    return [text[span.start : span.end] for span in passage.protected]


def is_broken(protected: Sequence[str], noisy: str) -> bool:
    """Whether one of them no longer stands there whole, in the order in which they stood."""
    at = 0
    for stretch in protected:
        found = re.compile(rf"{EDGE[stretch[0].isalnum()]}{re.escape(stretch)}(?!\w)").search(
            noisy, at
        )
        if found is None:
            return True
        at = found.end()
    return False


def ratio(pairs: Sequence[tuple[dict[str, Any], dict[str, Any]]]) -> Any:
    return spread([first["cpu_s"] / this["cpu_s"] for first, this in pairs])


@contextmanager
def peers(python: Path | None, texts: list[str]) -> Iterator[Ask | None]:
    """Asks for one turn of all the peers; ``None`` where there is no such Python."""
    if python is None:
        yield None
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump(texts, file)
        file.flush()
        command = [str(python), str(HERE / "stages_noise_peers.py"), file.name]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:

            def ask() -> dict[str, Any]:
                assert process.stdin is not None
                assert process.stdout is not None
                if process.poll() is None:
                    process.stdin.write("again\n")
                    process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    raise SystemExit(f"{python} cannot run the peers: see above")
                turn: dict[str, Any] = json.loads(answer)
                if not turn:
                    raise SystemExit(f"{python} has none of nlpaug, textnoisr, typo, textattack")
                return turn

            try:
                yield ask
            finally:
                process.kill()


# --- the table -----------------------------------------------------------------------------------


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    first = next((row["name"] for row in rows if row["is_peer"]), None)
    lines = [
        [
            row["name"] if row["is_peer"] else f"weave_async {row['name']}",
            shown(row["per_cpu_s"], with_range=True),
            shown(row["alone_per_cpu_s"]),
            shown(row["ratio"], 1),
            percent(row["changed"]),
            percent(row["broken"]),
        ]
        for row in rows
    ]
    return table(
        ("noise", "locked/s", "alone/s", f"× {first or NOTHING}", "changed", "broken"), lines
    )


def percent(share: float | None) -> str:
    return shown(None) if share is None else f"{100 * share:.1f} %"


if __name__ == "__main__":
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_arguments(parser)
    main(parser.parse_args())
