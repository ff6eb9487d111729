"""The benchmark of the rules, with tiny numbers: that each is measured, and peers are asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def benchmark(*options: str) -> subprocess.CompletedProcess[str]:
    paths = [str(BENCHMARKS.parent), os.environ.get("PYTHONPATH", "")]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, str(BENCHMARKS / "stages.py"), "validation", *options]
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False)


def test_every_rule_is_measured_alone_and_the_set_together() -> None:
    done = benchmark("--num-texts", "3", "--repeats", "2", "--json", "--set", "length=5", "nobody")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["num_texts"], result["set"], result["missing"]) == (3, ["length=5"], ["nobody"])
    published = {
        "c4=document",
        "fineweb=document",
        "gopher_quality=document",
        "repetition=document",
    }
    assert result["rules"].keys() == {"length=5", "set"} | published
    for figures in result["rules"].values():
        rates = figures["per_cpu_s"]
        assert 0 < rates["min"] <= rates["median"] <= rates["max"]


def test_texts_of_a_file_are_cut_into_pieces_of_200_words(tmp_path: Path) -> None:
    texts = tmp_path / "texts.jsonl"
    texts.write_text(json.dumps({"text": "some words here\n" * 200}) + "\n")
    done = benchmark("--texts", str(texts), "--repeats", "1")
    assert done.returncode == 0, done.stderr
    assert "3 texts of 200 words" in done.stdout
    assert "texts per CPU-second" in done.stdout


def test_a_python_without_datatrove_is_named() -> None:
    done = benchmark("--datatrove-python", sys.executable, "--num-texts", "1", "--repeats", "1")
    assert done.returncode == 1
    assert f"{sys.executable} cannot run datatrove's filters" in done.stderr
