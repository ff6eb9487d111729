"""One tool refusing near-duplicates, in a process of its own: what ``selection.py`` asks.

    python benchmarks/selection_tools.py TOOL TEXTS.json THRESHOLD

Each text is compared with those that were kept before it, as letters: sets of runs of 5 characters,
where case and spacing do not count. Prints a line of JSON: seconds of CPU, the growth of the
process's memory, and which texts were refused. ``TEXTS.json`` may be a number instead: so many
texts are made as they are needed, so that they take no memory.

semhash compares by meaning, and would load a model from the network; it gets a model of letters
instead, n-grams hashed to 512 dimensions. Its threshold is a cosine, which is not ours.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

Refused = Callable[[Iterable[str]], Iterator[bool]]
NUM_PERM = 128
BATCH = 128
LOOK_EVERY_S = 0.02


def main() -> None:
    tool, source, threshold = sys.argv[1], sys.argv[2], float(sys.argv[3])
    module, make = TOOLS[tool]
    if find_spec(module) is None:
        print(json.dumps({"missing": module}))
        return
    list(make(threshold)(["It is loaded, and ready to begin.", "Nobody knows it."]))
    refused = make(threshold)
    texts: Iterable[str]
    if source.isdecimal():
        texts = made(int(source))
    else:
        texts = json.loads(Path(source).read_text(encoding="utf-8"))
    with Memory() as memory:
        begun_s = time.process_time()
        flags = bytearray(refused(texts))
        cpu_s = time.process_time() - begun_s
    if source.isdecimal():
        cpu_s -= cpu_of(made(int(source)))
    print(
        json.dumps(
            {
                "cpu_s": cpu_s,
                "refused": list(map(bool, flags)) if len(flags) < 100_000 else sum(flags),
                "grown_bytes": memory.peak - memory.first,
            }
        )
    )


def made(num_texts: int) -> Iterator[str]:
    """Texts of about 70 characters, of words that do not mean anything."""
    rng = random.Random(1)
    words = ["".join(rng.choices("etaoinshrdlu", k=rng.randint(2, 9))) for _ in range(3000)]
    for _ in range(num_texts):
        yield " ".join(rng.choices(words, k=11))


def cpu_of(texts: Iterable[str]) -> float:
    begun_s = time.process_time()
    for _ in texts:
        pass
    return time.process_time() - begun_s


class Memory:
    """The most that the process holds, looked at every few milliseconds."""

    def __init__(self) -> None:
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self.first = self.peak = self.resident()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()
        self.peak = max(self.peak, self.resident())

    @staticmethod
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

    def _watch(self) -> None:
        while not self._has_ended.wait(LOOK_EVERY_S):
            self.peak = max(self.peak, self.resident())


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    each = iter(texts)
    while some := list(islice(each, BATCH)):
        yield some


def ngrams(text: str, n: int = 5) -> set[bytes]:
    text = " ".join(text.casefold().split())
    return {text[at : at + n].encode() for at in range(max(1, len(text) - n + 1))}


# --- the tools -----------------------------------------------------------------------------------


def of_ours(threshold: float) -> Refused:
    from weave_async.records import Message, Prompt, Request, Sample, SamplingParams
    from weave_async.selection.near_duplicates import NearDuplicatesSelector

    request = Request("r", "m", (), SamplingParams())

    def sample(ordinal: int, text: str) -> Sample:
        prompt = Prompt(f"{ordinal:016x}", 0, (), {}, "")
        messages = (Message("assistant", text),)
        return Sample(ordinal, prompt, request, "e", ordinal, messages=messages)

    def refused(texts: Iterable[str]) -> Iterator[bool]:
        select = NearDuplicatesSelector(threshold)
        ordinal = 0
        for some in batches(texts):
            samples = [sample(ordinal + place, text) for place, text in enumerate(some)]
            ordinal += len(some)
            for each, features in zip(samples, select.features_of(samples), strict=True):
                verdict = select.verdict(each, features)
                if verdict.passed:
                    select.keep(each, features)
                yield not verdict.passed

    return refused


def of_datasketch(threshold: float) -> Refused:
    from datasketch import MinHash, MinHashLSH

    def refused(texts: Iterable[str]) -> Iterator[bool]:
        index = MinHashLSH(threshold=threshold, num_perm=NUM_PERM)
        for number, text in enumerate(texts):
            minhash = MinHash(num_perm=NUM_PERM)
            minhash.update_batch(list(ngrams(text)))
            is_near = bool(index.query(minhash))
            if not is_near:
                index.insert(number, minhash)
            yield is_near

    return refused


def of_rensa(threshold: float) -> Refused:
    from rensa import RMinHash, RMinHashDeduplicator

    def refused(texts: Iterable[str]) -> Iterator[bool]:
        index = RMinHashDeduplicator(threshold, NUM_PERM, True)
        for number, text in enumerate(texts):
            minhash = RMinHash(NUM_PERM, 42)
            minhash.update(list(ngrams(text)))
            yield not index.add(str(number), minhash)

    return refused


def of_semhash(threshold: float) -> Refused:
    import zlib

    import numpy as np
    from semhash import SemHash

    class Letters:
        def encode(self, inputs: Any, **_: Any) -> Any:
            rows = np.zeros((len(inputs), 512), np.float32)
            for row, text in zip(rows, inputs, strict=True):
                for ngram in ngrams(text):
                    row[zlib.crc32(ngram) % 512] += 1
            return rows

    def refused(texts: Iterable[str]) -> Iterator[bool]:
        texts = list(texts)
        semhash = SemHash.from_records(records=texts, model=Letters())
        selected = set(semhash.self_deduplicate(threshold=threshold).selected)
        for text in texts:
            yield text not in selected

    return refused


TOOLS: dict[str, tuple[str, Callable[[float], Refused]]] = {
    "weave_async": ("weave_async", of_ours),
    "datasketch": ("datasketch", of_datasketch),
    "rensa": ("rensa", of_rensa),
    "semhash": ("semhash", of_semhash),
}
"""The module that must be there, and what makes the tool."""


if __name__ == "__main__":
    main()
