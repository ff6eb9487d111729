"""The benchmark of the noisers, with tiny numbers: that each is measured, and what it breaks."""

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
    command = [sys.executable, str(BENCHMARKS / "stages_noise.py"), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environ, check=False)


def test_every_noiser_is_measured_and_breaks_nothing() -> None:
    noises = ["typos", "weave_async.noise.emoji:EmojiNoise", "nobody"]
    done = benchmark("--num-texts", "60", "--repeats", "2", "--json", "--gate", "--noise", *noises)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["num_texts"] == 60
    assert list(result["left_out"]) == ["nobody"]
    assert [row["name"] for row in result["rows"]] == ["typos", "EmojiNoise"]
    for row in result["rows"]:
        for rates in (row["per_cpu_s"], row["alone_per_cpu_s"]):
            assert 0 < rates["min"] <= rates["median"] <= rates["max"]
        assert row["broken"] == 0
        assert row["changed"] > 0.8


def test_peers_come_first_and_what_they_break_is_counted(tmp_path: Path) -> None:
    """A peer that stands for the installed ones: it adds one to each digit."""
    (tmp_path / "typo.py").write_text(
        "class StrErrer:\n"
        "    def __init__(self, text, seed): self.result = text\n"
        "    def char_swap(self):\n"
        "        self.result = self.result.translate({48 + d: str(d + 1) for d in range(10)})\n"
        "        return self\n"
        "    nearby_char = char_swap\n"
    )
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={tmp_path} exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    texts = tmp_path / "texts.txt"
    texts.write_text("I paid 50 for it\nall is well with me\n")
    options = ["--texts", str(texts), "--num-texts", "4", "--repeats", "1", "--noise", "typos"]
    done = benchmark(*options, "--peers-python", str(python))
    assert done.returncode == 0, done.stderr
    (peer,) = [line for line in done.stdout.splitlines() if line.startswith("typo, one swap")]
    assert peer.split()[-4:] == ["50.0", "%", "100.0", "%"]
    assert "weave_async typos" in done.stdout


def test_a_python_without_peers_is_named() -> None:
    options = ("--num-texts", "1", "--repeats", "1", "--noise", "typos")
    done = benchmark(*options, "--peers-python", sys.executable)
    assert done.returncode == 1
    assert f"{sys.executable} has none of nlpaug, textnoisr, typo, textattack" in done.stderr
