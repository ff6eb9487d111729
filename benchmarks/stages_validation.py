"""Samples of 200 words per second and core: each rule, the default set, and datatrove's filters.

    python benchmarks/stages.py validation [--datatrove-python PATH] [--repeats 5] [--json]

The texts are those of a JSONL file (``--texts``, column ``text``), else Python's own documentation
(``pydoc_data.topics``) as running text, in pieces of 200 words. The rules of ``--set`` make one
line together; a rule may be given with its first option, as ``repetition=document``, and one that
is not installed is left out and named. With a Python that has datatrove 0.10, its four filters run
in a process of that Python, in turns with our rules and on the same texts, with their own bounds:
once with datatrove's words for English, if spaCy is there, and once with ours; decisions are
compared text by text. Rates are per second of CPU, medians over the repeats, [least–most].
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from tables import shown, spread, table
from weave_async import registry
from weave_async.records import Message, Prompt, Request, Response, Sample, SamplingParams
from weave_async.validation import text_units
from weave_async.validation.c4 import C4Validator
from weave_async.validation.fineweb import FineWebValidator
from weave_async.validation.gopher_quality import GopherQualityValidator
from weave_async.validation.repetition import RepetitionValidator

HERE = Path(__file__).parent
NUM_WORDS = 200
DEFAULT_SET = ("length", "repetition=paragraph", "gopher_quality=paragraph", "refusal", "encoding")
Ask = Callable[[], list[dict[str, Any]]]
Rule = Callable[[Sample], Any]
PUBLISHED: dict[str, Callable[..., Rule]] = {
    "repetition": RepetitionValidator,
    "gopher_quality": GopherQualityValidator,
    "c4": C4Validator,
    "fineweb": FineWebValidator,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--texts", type=Path, help="JSONL, a column text")
    parser.add_argument("--num-texts", type=int, default=300, help="at most so many [300]")
    parser.add_argument("--set", nargs="+", default=DEFAULT_SET, help="NAME or NAME=VALUE of rules")
    parser.add_argument("--datatrove-python", type=Path, help="an interpreter with datatrove")
    parser.add_argument("--repeats", type=int, default=5, help="of each [5]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def main(given: argparse.Namespace) -> None:
    texts = pieces(read(given.texts) if given.texts else documentation(), given.num_texts)
    if not texts:
        raise SystemExit(f"no text of {NUM_WORDS} words there")
    named, missing = rules(given.set)
    for name, make in PUBLISHED.items():
        named[f"{name}=document"] = make(preset="document")
    measured = measure(named, [rule for rule in given.set if rule in named], texts, given)
    if given.json:
        print(json.dumps({**measured, "num_texts": len(texts), "missing": missing}))
        return
    print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}; {len(texts)} texts of {NUM_WORDS} words"
    )
    if missing:
        print(f"not installed: {', '.join(missing)}")
    print(rules_table(measured))
    if measured["datatrove"]:
        print(datatrove_table(measured))


# --- texts and rules -----------------------------------------------------------------------------


def read(path: Path) -> list[str]:
    with path.open() as lines:
        return [json.loads(line)["text"] for line in lines]


def documentation() -> list[str]:
    """As running text: what was a paragraph is a line, as models write them."""
    found = []
    for topic in topics.values():
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", topic)]
        found.append("\n".join(line for line in paragraphs if len(line) > 80))
    return found


def pieces(texts: Sequence[str], num_texts: int) -> list[str]:
    """Of ``NUM_WORDS`` words each, with the line breaks between them."""
    piece = re.compile(rf"(?:\S+\s+){{{NUM_WORDS - 1}}}\S+")
    found = [match.group() for text in texts for match in piece.finditer(text)]
    return found[:num_texts]


def rules(specs: Sequence[str]) -> tuple[dict[str, Rule], list[str]]:
    """Those that are installed, by how they were given, and the names of those that are not."""
    found, missing = {}, []
    for spec in specs:
        name, _, value = spec.partition("=")
        if name in registry.installed("validator"):
            found[spec] = registry.build("validator", name, {"": value} if value else {})
        else:
            missing.append(name)
    return found, missing


def sample_of(text: str) -> Sample:
    asked = (Message("user", "Tell me about it."),)
    return Sample(
        ordinal=0,
        prompt=Prompt("0" * 16, 0, asked, {}, "texts:1"),
        request=Request("r", "m", asked, SamplingParams()),
        endpoint="bench",
        seed=0,
        messages=(*asked, Message("assistant", text)),
        response=Response(text, "stop"),
    )


# --- measuring -----------------------------------------------------------------------------------


def measure(
    named: dict[str, Rule], default_set: Sequence[str], texts: list[str], given: argparse.Namespace
) -> dict[str, Any]:
    samples = [sample_of(text) for text in texts]
    cpu_s: dict[str, list[float]] = {name: [] for name in (*named, "set")}
    accepted: dict[str, list[bool]] = {}
    rounds: list[list[dict[str, Any]]] = []
    with datatrove(given.datatrove_python, texts) as ask:
        for _ in range(given.repeats):
            for name, rule in named.items():
                begun_s = time.process_time()
                accepted[name] = [rule(sample).passed for sample in samples]
                cpu_s[name].append(time.process_time() - begun_s)
            chosen = [named[name] for name in default_set]
            begun_s = time.process_time()
            accepted["set"] = [all(rule(sample).passed for rule in chosen) for sample in samples]
            cpu_s["set"].append(time.process_time() - begun_s)
            if ask:
                rounds.append(ask())
    return {
        "set": list(default_set),
        "rules": {
            name: {
                "per_cpu_s": spread([len(texts) / each for each in cpu_s[name]]),
                "accepted": sum(accepted[name]) / len(texts),
            }
            for name in cpu_s
        },
        "datatrove": [
            compared(of, cpu_s, accepted, len(texts)) for of in zip(*rounds, strict=True)
        ],
    }


def compared(
    rounds: Sequence[dict[str, Any]],
    cpu_s: dict[str, list[float]],
    accepted: dict[str, list[bool]],
    num_texts: int,
) -> dict[str, Any]:
    """One filter's rounds beside those of our rule in the same turns."""
    name = f"{rounds[0]['filter']}=document"
    pairs = zip(accepted[name], rounds[0]["accepted"], strict=True)
    return {
        "rule": name,
        "words": rounds[0]["words"],
        "per_cpu_s": spread([num_texts / each["cpu_s"] for each in rounds]),
        "ratio": spread(
            [each["cpu_s"] / ours for each, ours in zip(rounds, cpu_s[name], strict=True)]
        ),
        "same_decisions": sum(ours == theirs for ours, theirs in pairs) / num_texts,
    }


@contextmanager
def datatrove(python: Path | None, texts: list[str]) -> Iterator[Ask | None]:
    """Asks for one round of all its filters; ``None`` where there is no such Python."""
    if python is None:
        yield None
        return
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        child = [
            str(python),
            str(HERE / "stages_datatrove.py"),
            file.name,
            str(text_units.__file__),
        ]
        with subprocess.Popen(
            child, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None

            def ask() -> list[dict[str, Any]]:
                assert process.stdin is not None
                assert process.stdout is not None
                if process.poll() is None:
                    process.stdin.write("again\n")
                    process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    raise SystemExit(f"{python} cannot run datatrove's filters: see above")
                rounds: list[dict[str, Any]] = json.loads(answer)
                return rounds

            try:
                yield ask
            finally:
                process.kill()


# --- tables --------------------------------------------------------------------------------------


def rules_table(measured: dict[str, Any]) -> str:
    together = " + ".join(measured["set"])
    lines = [
        [
            together if name == "set" else name,
            shown(figures["per_cpu_s"], with_range=True),
            f"{100 * figures['accepted']:.0f} %",
        ]
        for name, figures in measured["rules"].items()
    ]
    return table(("rules", "texts per CPU-second", "accepted"), lines)


def datatrove_table(measured: dict[str, Any]) -> str:
    lines = [
        [
            f"datatrove's {each['rule'].partition('=')[0]}, {each['words']}",
            shown(each["per_cpu_s"], with_range=True),
            shown(each["ratio"], 1, with_range=True),
            f"{100 * each['same_decisions']:.1f} %",
        ]
        for each in measured["datatrove"]
    ]
    return table(("filter", "texts per CPU-second", "ours is × as fast", "same decisions"), lines)
