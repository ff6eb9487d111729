"""Which benchmark answers what, and by which command: what ``python benchmarks`` runs."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
LOCAL_OUTPUT = "--output ../out/local_server.json"


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A program with its options, and with those that only try it out, if that takes no time. Long
    ones run only when they are named, or quickly.
    """

    name: str
    words: str
    quick: str | None
    is_long: bool = False

    @property
    def program(self) -> Path:
        return HERE / self.words.split()[0]

    def command(self, *, quick: bool) -> Sequence[str]:
        words = self.quick if quick and self.quick is not None else self.words
        return shlex.split(words)

    @property
    def question(self) -> str:
        return (ast.get_docstring(ast.parse(self.program.read_text())) or "").partition("\n")[0]


BENCHMARKS = (
    Benchmark("simulated", "simulated.py", "simulated.py --samples 300 --repeats 1"),
    Benchmark(
        "engine",
        "engine.py",
        "engine.py --rows 500 --repeats 1 --seconds 0.3 --in-flight 16",
    ),
    Benchmark(
        "engine-latency",
        "engine.py --latency-ms 500 --in-flight 2000 --stacks ''",
        "engine.py --latency-ms 50 --in-flight 64 --rows 500 --repeats 1 --stacks ''",
    ),
    Benchmark("sse", "sse.py", "sse.py --chunks 500 --repeats 1"),
    Benchmark("limiter", "limiter.py", "limiter.py --requests 500 --repeats 1 --minutes 3"),
    Benchmark(
        "backends",
        "backends.py",
        "backends.py --repeats 1 --seconds 1.5 --streams 16",
    ),
    Benchmark(
        "stages-validation",
        "stages.py validation",
        "stages.py validation --num-texts 20 --repeats 1",
    ),
    Benchmark(
        "stages-noise",
        "stages.py noise",
        "stages.py noise --num-texts 50 --repeats 1 --noise typos casing",
    ),
    Benchmark(
        "selection",
        "selection.py --memory-rows 1000000",
        "selection.py --num-rows 200 --num-pairs 50 --repeats 1",
    ),
    Benchmark(
        "choosing",
        "choosing.py noise_texts.txt -k 10",
        "choosing.py noise_texts.txt -k 10",
    ),
    Benchmark(
        "preprocessing",
        "preprocessing.py",
        "preprocessing.py --rows 500 --repeats 1 --latencies-ms 0",
    ),
    Benchmark(
        "local-server",
        f"local_server.py --stacks 'naive bf16,weave-async' --rounds 1 {LOCAL_OUTPUT}",
        "local_server.py --quick --stacks weave-async --concurrency 1,4 --prompts 4 --no-roofline "
        f"{LOCAL_OUTPUT}",
    ),
    Benchmark(
        "controller",
        "controller.py",
        "controller.py --seeds 2 --tokens 12000 --round 40 --repeats 1 --rows 100 "
        "--latency-ms 5 --in-flight 16",
        is_long=True,
    ),
    Benchmark("million", "million.py", "million.py --sizes 300,600", is_long=True),
    Benchmark("diversity", "diversity.py", None, is_long=True),
    Benchmark("downstream", "downstream.py --draws 3", None, is_long=True),
)
PARTS = frozenset(
    {
        *("about_machine", "command_line", "cpu_sampler", "downstream_data", "downstream_parts"),
        *("exact_timing", "loopback_server", "processes", "scenarios", "selection_tools", "stacks"),
        *("made_prompts", "preprocessing_steps", "process_tree"),
        *(
            "questions",
            "stages_datatrove",
            "stages_noise",
            "stages_noise_peers",
            "stages_validation",
            "tables",
        ),
        *("throughput", "uneven_endpoint"),
    }
)
"""Modules that answer no question by themselves."""
