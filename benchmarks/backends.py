"""How true `weave-async bench` is, and how much it can drive: what it says beside the server's log.

    python benchmarks/backends.py [--repeats 3] [--seconds 8] [--streams 128] [--json]
    python benchmarks/backends.py --peer 'wrk=wrk -t1 -c{streams} -d{seconds}s -s post.lua {url}'

*Exact*: a server that sends the first of 64 tokens 100 ms after a request came, and one each 10 ms
after it, by absolute timers, so that 128 streams make 175 requests/s at most. It logs when each
chunk left; the log's figures are of the same seconds as those shown, and `difference` is what the
client added, or got wrong. *At once*: the same server sends all 64 chunks as soon as it is asked:
how many streamed requests per second the client can read; `server core` says how busy the server
was meanwhile, and near 1 that it was the slower one.

The command line is started as users start it, on one core, the server on another (Linux only).
Figures are medians over the repeats, a fresh server for each, [least–most]. Other tools
(``--peer``) run in turns with ours: compared is what the server and the kernel saw of them, in the
{seconds} up to their last request; what they say themselves is printed below, of the last turn.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from command_line import command_line
from exact_timing import ExactServer, Log, exact_server
from processes import CLIENT_CORE, SERVER_CORE, Child, ChildFailed, Finished
from tables import NOTHING, percentile, shown, spread, table

OURS = "weave-async bench"
KNOWN_PEERS = ("guidellm", "aiperf", "wrk")
TOKENS, TTFT_S, ITL_S = 64, 0.1, 0.01
SCENARIOS: Mapping[str, Mapping[str, float]] = {
    "exact": {"ttft_s": TTFT_S, "itl_s": ITL_S},
    "at once": {"ttft_s": 0.0, "itl_s": 0.0},
}
WARM_UP_S = 2.0
SPARE_S = 100.0
SHOWN_LINES = 25
FIGURES = (
    ("requests/s", "requests_per_s", 1, 1),
    ("TTFT p50, ms", "ttft_s.p50", 1e3, 2),
    ("TTFT p99, ms", "ttft_s.p99", 1e3, 2),
    ("ITL p50, ms", "itl_s.p50", 1e3, 2),
    ("TPOT p50, ms", "tpot_s.p50", 1e3, 3),
    ("e2e p50, ms", "e2e_s.p50", 1e3, 2),
)
"""What is both shown and logged: name, key, factor and decimals."""
COSTS = (
    ("requests/s by the log", "requests_per_s", 1),
    ("connections", "connections", 0),
    ("first request, s", "first_request_s", 2),
    ("start to exit, s", "wall_s", 1),
    ("CPU, s", "cpu_s", 1),
    ("µs CPU/request", "cpu_us", 0),
    ("server core", "server_core", 2),
)
EXECUTES = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


@dataclass(slots=True)
class Turn:
    """What one tool said, what the log says of it, and what it took."""

    said: Mapping[str, float | None]
    logged: Mapping[str, float]
    took: Mapping[str, float]
    remarks: Sequence[str] = ()
    stdout: str = ""


@dataclass(slots=True)
class Turns:
    of: dict[str, list[Turn]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def main() -> None:
    given = parse_arguments()
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for scenario, timing in SCENARIOS.items():
            turns = measured(given, timing, Path(folder) / scenario.replace(" ", "_"))
            result[scenario] = as_dict(turns)
    told = {"machine": machine(), "streams": given.streams, "scenarios": result}
    print(json.dumps(told) if given.json else as_tables(told, given))


def parse_arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=3, help="of each tool [3]")
    parser.add_argument("--seconds", type=float, default=8, help="measured in each turn [8]")
    parser.add_argument("--streams", type=int, default=128, help="at once [128]")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="another tool; {url}, {base_url}, {streams} and {seconds} are filled in",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args()
    if bad := [each for each in given.peer if not all(each.partition("="))]:
        parser.error(f"--peer takes NAME=COMMAND; got '{bad[0]}'")
    given.peers = dict(each.split("=", 1) for each in given.peer)
    return given


def machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; "
        f"client on core {CLIENT_CORE}, server on core {SERVER_CORE}, load {os.getloadavg()[0]:.1f}"
    )


# --- measuring -----------------------------------------------------------------------------------


def measured(given: argparse.Namespace, timing: Mapping[str, float], folder: Path) -> Turns:
    turns = Turns(left_out=not_asked(given.peers))
    for number in range(given.repeats):
        for name in (OURS, *given.peers):
            if name in turns.left_out:
                continue
            place = folder / f"{name.replace(' ', '_')}-{number}"
            place.mkdir(parents=True)
            with exact_server(**timing, tokens=TOKENS) as server:
                try:
                    turn = turn_of(name, given, server, place)
                except ChildFailed as failure:
                    if name == OURS:
                        raise SystemExit(str(failure)) from failure
                    turns.left_out[name] = str(failure)
                    continue
            turns.of.setdefault(name, []).append(turn)
    return turns


def not_asked(peers: Mapping[str, str]) -> dict[str, str]:
    """A tool's command depends on its version, and on a tokenizer that it can find: it is given."""
    return {
        name: "give its command with --peer" if shutil.which(name) else "not installed"
        for name in KNOWN_PEERS
        if name not in peers
    }


def turn_of(name: str, given: argparse.Namespace, server: ExactServer, folder: Path) -> Turn:
    if name == OURS:
        child = ours(given, server, folder)
    else:
        filled = given.peers[name].format(
            url=f"{server.base_url}/chat/completions",
            base_url=server.base_url,
            streams=given.streams,
            seconds=f"{given.seconds:g}",
        )
        child = Child(["-c", EXECUTES, *shlex.split(filled)], folder)
    with child:
        finished = child.wait(timeout_s=SPARE_S + 10 * given.seconds)
    server_cpu_s = server.cpu_s()  # before it has to tell its log
    log = server.log()
    if not log.answered:
        raise ChildFailed(f"{name}: the server has answered no request whole", 0)
    if name != OURS:
        return _turn({}, log, finished, server_cpu_s, given.seconds, stdout=finished.stdout)
    result = json.loads(finished.stdout)["backends"][0]
    if result["problem"] or not result["steps"]:
        raise ChildFailed(f"{name}: {result['problem']}", 0)
    step = result["steps"][0]
    remarks = [*step["remarks"]]
    if step["failed"]:
        remarks.append(f"{step['failed']} requests failed")
    duration_s = step["duration_s"]
    return _turn(said_by(step), log, finished, server_cpu_s, duration_s, remarks=remarks)


def ours(given: argparse.Namespace, server: ExactServer, folder: Path) -> Child:
    return command_line(
        [
            *("bench", "-p", "openai_compatible", "-m", "exact", "--base-url", server.base_url),
            *("-c", str(given.streams), "--duration", str(given.seconds), "--requests", "1"),
            *("--warm-up", str(min(WARM_UP_S, given.seconds))),
            *("--output-tokens", str(TOKENS), "--json"),
        ],
        folder,
    )


def said_by(step: Mapping[str, Any]) -> dict[str, float | None]:
    """None where it says that there are too few requests to tell."""

    def value(figure: Mapping[str, Any]) -> float | None:
        number = figure.get("value")
        return number if isinstance(number, int | float) else None

    latencies = step["latencies"]
    said = {"requests_per_s": value(step["requests_per_s"])}
    for _, key, _, _ in FIGURES[1:]:
        metric, _, name = key.partition(".")
        said[key] = value(latencies.get(metric, {}).get(name, {}))
    return said


def _turn(
    said: Mapping[str, float | None],
    log: Log,
    finished: Finished,
    server_cpu_s: float,
    duration_s: float,
    *,
    remarks: Sequence[str] = (),
    stdout: str = "",
) -> Turn:
    """A client that always has so many in flight sends the last as what it measures ends."""
    to_s = log.arrived_s[-1]
    from_s = max(log.arrived_s[0], to_s - duration_s)
    latencies = log.latencies_s(from_s, to_s)
    logged = {"requests_per_s": log.requests_per_s(from_s, to_s)}
    for _, key, _, _ in FIGURES[1:]:
        metric, _, name = key.partition(".p")
        logged[key] = percentile(latencies[metric], int(name))
    took = {
        "requests_per_s": logged["requests_per_s"],
        "connections": log.num_connections,
        "first_request_s": log.arrived_s[0] - finished.started_s,
        "wall_s": finished.wall_s,
        "cpu_s": finished.cpu_s,
        "cpu_us": finished.cpu_s / len(log.answered) * 1e6,
        "server_core": server_cpu_s
        / (max(each["written_s"][-1] for each in log.answered) - log.arrived_s[0]),
    }
    return Turn(said, logged, took, remarks, stdout)


# --- what people read ----------------------------------------------------------------------------


def as_dict(turns: Turns) -> dict[str, Any]:
    tools = {
        name: {
            "said": {key: spread([turn.said.get(key) for turn in of]) for _, key, _, _ in FIGURES},
            "logged": {key: spread([turn.logged[key] for turn in of]) for _, key, _, _ in FIGURES},
            "difference": {
                key: spread([_less(turn.said.get(key), turn.logged[key]) for turn in of])
                for _, key, _, _ in FIGURES
            },
            "took": {key: spread([turn.took[key] for turn in of]) for _, key, _ in COSTS},
            "remarks": sorted({remark for turn in of for remark in turn.remarks}),
            "stdout": of[-1].stdout,
        }
        for name, of in turns.of.items()
    }
    return {"tools": tools, "left_out": turns.left_out}


def _less(said: float | None, logged: float) -> float | None:
    return None if said is None else said - logged


def as_tables(told: Mapping[str, Any], given: argparse.Namespace) -> str:
    parts = [
        f"{told['machine']}; {given.streams} streams, {given.seconds:g} s, {given.repeats} repeats"
    ]
    for scenario, result in told["scenarios"].items():
        timing = SCENARIOS[scenario]
        parts.append(
            f"{scenario}: first token after {1000 * timing['ttft_s']:g} ms, "
            f"then one each {1000 * timing['itl_s']:g} ms, {TOKENS} tokens"
        )
        # Where the server is never waited for, latencies are the client's own.
        figures = FIGURES if timing["ttft_s"] else FIGURES[:1]
        parts.append(_truth(result["tools"][OURS], figures))
        rows = [
            [name, *(shown(tool["took"][key], decimals) for _, key, decimals in COSTS)]
            for name, tool in result["tools"].items()
        ]
        parts.append(table(("tool", *(name for name, _, _ in COSTS)), rows))
        notes = [
            f"{name}: {remark}"
            for name, tool in result["tools"].items()
            for remark in tool["remarks"]
        ]
        notes += [f"{name}: left out, {why}" for name, why in result["left_out"].items()]
        parts.append("\n".join(notes))
        for name, tool in result["tools"].items():
            if tool["stdout"]:
                lines = tool["stdout"].splitlines()[-SHOWN_LINES:]
                parts.append("\n".join([f"{name} says:", *lines]))
    return "\n\n".join(filter(None, parts))


def _truth(tool: Mapping[str, Any], figures: Sequence[tuple[str, str, float, int]]) -> str:
    rows = [
        [
            name,
            shown(_times(tool["said"][key], factor), decimals, with_range=True),
            shown(_times(tool["logged"][key], factor), decimals, with_range=True),
            _signed(_times(tool["difference"][key], factor), decimals),
        ]
        for name, key, factor, decimals in figures
    ]
    return table((OURS, "shown", "logged", "difference"), rows)


def _times(of: Mapping[str, float] | None, factor: float) -> dict[str, float] | None:
    return None if of is None else {name: factor * value for name, value in of.items()}


def _signed(of: Mapping[str, float] | None, decimals: int) -> str:
    return NOTHING if of is None else f"{of['median']:+,.{decimals}f}"


if __name__ == "__main__":
    main()
