"""Near-duplicates: what is found, and what it costs, beside datasketch, rensa and semhash.

    python benchmarks/selection.py [--peers-python PATH] [--memory-rows 1000000] [--repeats 3]

*Found*: real sentences, then each again with some typos, a word cut or two words swapped. A pair is
a duplicate if the Jaccard similarity of its sets of runs of 5 characters, computed without any
hashing, is at the threshold or above. `recall` is the share of these that were refused, `precision`
the share of duplicates among what was refused; semhash, whose threshold is a cosine, is held to the
same labels, so that its figures say how another measure differs, not that it is wrong.

*Cost*: short rows of which none is like another, per second of CPU (medians over the repeats,
[least–most]), ratios to datasketch turn by turn, and how much the process's memory grew per row.
``--memory-rows`` are run once more, by ours alone, for the memory that a large run takes.

Each tool runs in processes of its own, see ``selection_tools.py``; those that the interpreter does
not have are left out. The sentences are chatterbot-corpus's where it is installed, or those beside
this file.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

import yaml

from selection_tools import TOOLS, made, ngrams
from tables import NOTHING, shown, spread, table

HERE = Path(__file__).parent
OURS = "weave_async"
FIRST_PEER = "datasketch"
LEAST_CHARS = 40


def main() -> None:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--threshold", type=float, default=0.8, help="[0.8]")
    parser.add_argument("--num-pairs", type=int, default=700, help="at most [700]")
    parser.add_argument("--num-rows", type=int, default=20_000, help="of which none is alike")
    parser.add_argument("--memory-rows", type=int, default=0, help="the same, by ours alone [0]")
    parser.add_argument("--peers-python", type=Path, default=sys.executable, help="has other tools")
    parser.add_argument("--repeats", type=int, default=3, help="of each [3]")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args()
    result = measure(given)
    print(json.dumps(result) if given.json else as_tables(result))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    texts, alike = labelled(sentences(), given.num_pairs, given.threshold)
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        pairs, distinct = Path(folder, "pairs.json"), Path(folder, "distinct.json")
        pairs.write_text(json.dumps(texts))
        distinct.write_text(json.dumps(list(made(given.num_rows))))
        pythons = {tool: sys.executable if tool == OURS else given.peers_python for tool in TOOLS}
        found = {tool: asked(pythons[tool], tool, pairs, given.threshold) for tool in TOOLS}
        tools = [tool for tool in TOOLS if "missing" not in found[tool]]
        turns = [
            {tool: asked(pythons[tool], tool, distinct, given.threshold) for tool in tools}
            for _ in range(given.repeats)
        ]
    for tool in tools:
        refused = found[tool]["refused"][-len(alike) :]
        rows[tool] = accuracy(refused, alike) | {
            "rows_per_cpu_s": spread([given.num_rows / turn[tool]["cpu_s"] for turn in turns]),
            "ratio": spread(
                [turn[FIRST_PEER]["cpu_s"] / turn[tool]["cpu_s"] for turn in turns]
                if FIRST_PEER in tools
                else []
            ),
            "bytes_per_row": spread([turn[tool]["grown_bytes"] / given.num_rows for turn in turns]),
        }
    large = None
    if given.memory_rows:
        large = asked(sys.executable, OURS, given.memory_rows, given.threshold)
        large["rows_per_cpu_s"] = given.memory_rows / large["cpu_s"]
    return {
        "tools": rows,
        "left_out": [tool for tool in TOOLS if tool not in tools],
        "threshold": given.threshold,
        "num_rows": given.num_rows,
        "num_pairs": len(alike),
        "num_alike": sum(alike),
        "memory_rows": given.memory_rows,
        "large": large,
    }


def asked(python: Path | str, tool: str, texts: Path | int, threshold: float) -> dict[str, Any]:
    command = [str(python), str(HERE / "selection_tools.py"), tool, str(texts), str(threshold)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


# --- pairs ---------------------------------------------------------------------------------------


def sentences() -> Iterator[str]:
    """Of people, long enough to be told apart by their letters."""
    found = find_spec("chatterbot_corpus")
    if found is None or found.origin is None:
        yield from (HERE / "noise_texts.txt").read_text(encoding="utf-8").splitlines()
        return
    for file in sorted((Path(found.origin).parent / "data" / "english").glob("*.yml")):
        for turns in yaml.safe_load(file.read_text(encoding="utf-8"))["conversations"]:
            yield from (t for t in turns if isinstance(t, str) and len(t) >= LEAST_CHARS)


def labelled(some: Iterable[str], most: int, threshold: float) -> tuple[list[str], list[bool]]:
    """Sentences of which no two are alike, and one variant of each; whether each of these is."""
    rng = Random(5)
    firsts: list[str] = []
    sets: list[set[bytes]] = []
    for text in some:
        grams = ngrams(text)
        if all(jaccard(grams, other) < 0.4 for other in sets):
            firsts.append(text)
            sets.append(grams)
        if len(firsts) == most:
            break
    variants = [varied(text, rng) for text in firsts]
    pairs = zip(variants, sets, strict=True)
    alike = [jaccard(ngrams(text), own) >= threshold for text, own in pairs]
    return [*firsts, *variants], alike


def varied(text: str, rng: Random) -> str:
    """With one to three of a typo, a word cut, two words swapped."""
    for _ in range(rng.randint(1, 3)):
        words = text.split()
        at = rng.randrange(len(words))
        match rng.choice(("typo", "typo", "cut", "swap")):
            case "typo":
                place = rng.randrange(len(words[at]))
                words[at] = words[at][:place] + rng.choice("etaoinsr") + words[at][place + 1 :]
            case "cut" if len(words) > 1:
                del words[at]
            case "swap" if at:
                words[at - 1 : at + 1] = words[at], words[at - 1]
        text = " ".join(words)
    return text


def jaccard(one: set[bytes], other: set[bytes]) -> float:
    return len(one & other) / len(one | other)


def accuracy(refused: Sequence[bool], alike: Sequence[bool]) -> dict[str, float | None]:
    rightly = sum(r and a for r, a in zip(refused, alike, strict=True))
    return {
        "recall": rightly / sum(alike) if any(alike) else None,
        "precision": rightly / sum(refused) if any(refused) else None,
    }


# --- the tables ----------------------------------------------------------------------------------


def as_tables(result: dict[str, Any]) -> str:
    lines = [
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"load {os.getloadavg()[0]:.1f}; threshold {result['threshold']}; "
        f"{result['num_pairs']} pairs, {result['num_alike']} of them alike; "
        f"{result['num_rows']:,} rows that are not"
    ]
    lines += [f"left out: {tool} is not installed" for tool in result["left_out"]]
    header = ("tool", "recall", "precision", "rows/s of CPU", f"× {FIRST_PEER}", "bytes/row")
    rows = [
        [
            tool,
            shown(row["recall"], 3),
            shown(row["precision"], 3),
            shown(row["rows_per_cpu_s"], with_range=True),
            shown(row["ratio"], 1) if row["ratio"] else NOTHING,
            shown(row["bytes_per_row"]),
        ]
        for tool, row in result["tools"].items()
    ]
    lines.append(table(header, rows))
    if (large := result["large"]) is not None:
        lines.append(
            f"{OURS}, {result['memory_rows']:,} rows: {large['rows_per_cpu_s']:,.0f} rows/s of "
            f"CPU, memory grew by {large['grown_bytes'] / 1e6:,.0f} MB at most"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
