"""What the whole path costs over HTTP: ``weave-async run`` against a loopback server.

    python benchmarks/engine.py                                     rows/s, CPU, other stacks
    python benchmarks/engine.py --latency-ms 500 --in-flight 2000   what is added to a real latency
    python benchmarks/engine.py --rows 1000000 --memory             resident memory as rows go by
    python benchmarks/engine.py --startup                           first request, --help
    python benchmarks/engine.py --rpm 600 --seconds 60              a limit that the server enforces

Everything measured is a process of its own on one core, the server is on another, and both rate
limits of ours are on without binding. Figures are medians over the repeats, [least–most].
Comparators need the extra ``bench``; Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from processes import CLIENT_CORE, SERVER_CORE, ChildFailed
from scenarios import measure_limit, measure_memory, measure_startup
from stacks import STACKS
from tables import shown, table
from throughput import COMMAND_LINE, RATIOS_OVER, Conditions, compare

STACK_HEADER = (
    *("stack", "rows/s", "start to exit", "µs CPU/row", "core", "added p50 ms", "p99 ms"),
    *("settled p99", "failed", "peak MB", "server core", "× raw", "× openai SDK"),
)


def main() -> None:
    given = parse_arguments()
    with tempfile.TemporaryDirectory() as folder:
        try:
            result = measured(given, Path(folder))
        except ChildFailed as failure:
            raise SystemExit(str(failure)) from failure
    if given.json:
        print(json.dumps({"machine": machine(), **result}))
        return
    print(machine())
    for name, figures in result.items():
        print(f"\n{name}\n{SHOW[name](figures)}")


def parse_arguments() -> argparse.Namespace:
    assert __doc__ is not None
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--memory", action="store_true", help="watch resident memory")
    kind.add_argument("--startup", action="store_true", help="time to the first request")
    kind.add_argument("--rpm", type=float, help="a limit enforced by the server")
    parser.add_argument("--rows", type=int, default=60_000, help="rows of a run [60000]")
    parser.add_argument("--repeats", type=int, default=3, help="rounds [3]")
    parser.add_argument("--in-flight", type=int, default=256, help="requests in flight [256]")
    parser.add_argument(
        "--seconds", type=float, default=4, help="for each other stack; the whole run of --rpm [4]"
    )
    parser.add_argument("--latency-ms", type=float, default=0, help="of the server [0]")
    parser.add_argument("--tail", type=float, default=0, help="share of answers 10 × as late [0]")
    parser.add_argument("--error-rate", type=float, default=0, help="share of 500s [0]")
    parser.add_argument(
        "--stacks",
        default=",".join(STACKS),
        help=f"to compare with, by comma; may be empty [{','.join(STACKS)}]",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    given = parser.parse_args()
    given.stacks = [name for name in given.stacks.split(",") if name]
    if unknown := set(given.stacks) - set(STACKS):
        parser.error(f"unknown stacks {', '.join(sorted(unknown))}; there are {', '.join(STACKS)}")
    return given


def measured(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    if given.startup:
        return {"startup": measure_startup(given.rows, given.repeats, given.in_flight, folder)}
    if given.memory:
        return {"memory": measure_memory(given.rows, given.in_flight, folder)}
    if given.rpm:
        return {"limit": measure_limit(given.rpm, given.seconds, given.in_flight, folder)}
    names = (
        "rows",
        "repeats",
        "in_flight",
        "seconds",
        "latency_ms",
        "tail",
        "error_rate",
        "stacks",
    )
    conditions = Conditions(**{name: getattr(given, name) for name in names})
    return {"throughput": compare(conditions, folder).as_dict()}


def machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}; "
        f"client on core {CLIENT_CORE}, server on core {SERVER_CORE}, load {os.getloadavg()[0]:.1f}"
    )


def show_throughput(figures: dict[str, Any]) -> str:
    lines = []
    for name, stack in figures["stacks"].items():
        lines.append(
            [
                name,
                shown(stack["rows_per_s"], with_range=True),
                shown(stack["process_rows_per_s"]),
                shown(stack["cpu_us"]),
                shown(stack["core"], 2),
                shown(stack["added_p50_ms"], 1),
                shown(stack["added_p99_ms"], 1),
                shown(stack["settled_p99_ms"], 1),
                shown(stack["num_failed"]),
                shown(stack["peak_rss_mb"]),
                shown(stack["server_core"], 2),
                *(shown(stack[f"ratio_over_{over}"], 2) for over in RATIOS_OVER),
            ]
        )
    total_us = sum(figures["parts_us"].values())
    parts = [
        [part, shown(us, 1), f"{us / total_us:.0%}"] for part, us in figures["parts_us"].items()
    ]
    return "\n".join(
        [
            table(STACK_HEADER, lines),
            *(f"{name}: left out, {why}" for name, why in figures["left_out"].items()),
            "",
            table((f"{COMMAND_LINE}, by part", "µs CPU/row", "share"), parts),
            f"sampled: {shown(figures['sampled_cpu_us'])} µs/row in a run of its own; the shares "
            f"are of the {total_us:,.0f} µs/row without a profiler",
            f"server: {figures['server_loop']}",
        ]
    )


def show_startup(figures: dict[str, Any]) -> str:
    rows = [
        [
            f"first chat request of {figures['rows']:,} rows, s after start",
            shown(figures["first_request_s"], 3, with_range=True),
        ],
        ["--help, s", shown(figures["help_s"], 3, with_range=True)],
    ]
    return table(("", "median [least–most]"), rows)


def show_memory(figures: dict[str, Any]) -> str:
    rows = [[f"{int(n):,}", shown(mb, 1)] for n, mb in figures["rss_mb_by_rows"].items()]
    return "\n".join(
        [
            table(("rows answered", "RSS MB"), rows),
            f"{figures['growth_mb']:+.1f} MB from {figures['early_rows']:,} rows to the end; peak "
            f"{figures['peak_rss_mb']:.1f} MB; {figures['written']:,} of {figures['rows']:,} rows "
            f"written, {figures['process_rows_per_s']:,.0f} rows/s from start to exit",
        ]
    )


def show_limit(figures: dict[str, Any]) -> str:
    return (
        f"{figures['share_of_limit_used']:.1%} of {figures['rpm']:g} requests per minute used over "
        f"{figures['seconds']:.1f} s; {figures['share_refused']:.2%} of the requests refused; "
        f"{figures['failed']} rows failed"
    )


SHOW = {
    "throughput": show_throughput,
    "startup": show_startup,
    "memory": show_memory,
    "limit": show_limit,
}


if __name__ == "__main__":
    main()
