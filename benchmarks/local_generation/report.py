"""What was measured, as people read it: the table, the bars, and the roofline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from local_generation.compare import Comparison, Row
from local_generation.stacks import LLAMA, NAIVE, NAIVE_FP32, OPENVINO, OURS, SERVE, VLLM
from tables import NOTHING, shown, table

HEADER = (
    *("stack", "at", "path", "precision", "tok/s", "× naive", "ours × it", "of GEMM"),
    *("p50 s", "p99 s", "TTFT p50", "p99 s", "tokens", "peak MB", "CPU s/1k", "client", "start s"),
)
MAX_RSS_MB = 1200.0
RATIO_BARS = (  # at how many clients, over whom, at least how many times
    (64, "naive", 25.0),
    (64, VLLM, 1.7),
    (16, SERVE, 2.0),
    (16, LLAMA, 1.8),
    (1, "naive", 1.5),
)
AIMS = ((64, "naive", 35.0), (64, OPENVINO, 1.0))
Roofline = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bar:
    """``is_met`` is None where one side was not measured."""

    text: str
    needed: float
    found: float | None
    is_met: bool | None


def naive_row(comparison: Comparison) -> Row:
    """The quicker of the naive loops."""
    rows: list[Row] = [(name, 1) for name in (NAIVE, NAIVE_FP32)]
    return max(rows, key=lambda row: comparison.tokens_per_s(row) or 0)


def bars(comparison: Comparison) -> list[Bar]:
    found = [
        _ratio_bar(comparison, *bar, kind=kind)
        for kind, wanted in (("bar", RATIO_BARS), ("aim", AIMS))
        for bar in wanted
    ]
    rounds = comparison.rounds.get((OURS, 64), {})
    peak_mb = max((m.peak_rss_mb for m in rounds.values()), default=None)
    is_met = None if peak_mb is None else peak_mb < MAX_RSS_MB
    return [*found, Bar("bar: peak MB at 64, below", MAX_RSS_MB, peak_mb, is_met)]


def _ratio_bar(comparison: Comparison, at: int, over: str, needed: float, *, kind: str) -> Bar:
    other = naive_row(comparison) if over == "naive" else (over, at)
    ratio = comparison.ratio((OURS, at), other)
    text = f"{kind}: times {other[0]} at {at}, at least"
    return Bar(text, needed, ratio, None if ratio is None else ratio >= needed)


def show(comparison: Comparison, roofline: Roofline | None) -> str:
    naive = naive_row(comparison)
    rows = sorted(comparison.as_dict()["rows"], key=lambda row: row["concurrency"])
    lines = [_line(comparison, row, naive, roofline) for row in rows]
    parts = [table(HEADER, lines), ""]
    parts += [f"{name}: left out, {why}" for name, why in comparison.left_out.items()]
    parts += [_show_roofline(roofline), "", _show_bars(bars(comparison))]
    return "\n".join(part for part in parts)


def _line(
    comparison: Comparison, row: dict[str, Any], naive: Row, roofline: Roofline | None
) -> list[str]:
    name, at = row["stack"], row["concurrency"]
    share = gemm_share(row, roofline)
    return [
        name,
        str(at),
        row["path"],
        row["precision"],
        shown(row["tokens_per_s"], 1, with_range=True),
        shown(comparison.ratio((name, at), naive), 2),
        shown(comparison.ratio((OURS, at), (name, at)), 2),
        NOTHING if share is None else f"{share:.0%}",
        *(shown(row[f"e2e_{p}_s"], 2) for p in ("p50", "p99")),
        *(shown(row[f"ttft_{p}_s"], 2) for p in ("p50", "p99")),
        shown(row["output_tokens"]),
        shown(row["peak_rss_mb"]),
        shown(row["cpu_s_per_1000_tokens"], 1),
        shown(row["client_core"], 3),
        shown(row["start_s"], 1),
    ]


def gemm_share(row: dict[str, Any], roofline: Roofline | None) -> float | None:
    """Of the tokens per second that the linear layers alone would give.

    In float32 for a float32 row, else in bfloat16: above 1 is possible with smaller weights.
    """
    if roofline is None:
        return None
    dtype = "float32" if row["precision"].startswith("float32") else "bfloat16"
    ceiling = roofline["gemm_tokens_per_s"][dtype].get(str(row["concurrency"]))
    tokens_per_s: float = row["tokens_per_s"]["median"]
    return tokens_per_s / ceiling if ceiling else None


def _show_roofline(roofline: Roofline | None) -> str:
    if roofline is None:
        return "roofline: not measured"
    ceilings = "; ".join(
        f"{dtype} "
        + ", ".join(f"{found:,.0f} at {batch}" for batch, found in by_batch.items())
        + f" ({roofline['weights_mb'][dtype]:,.0f} MB of weights)"
        for dtype, by_batch in roofline["gemm_tokens_per_s"].items()
    )
    return (
        f"roofline: linear layers alone, tok/s: {ceilings}; "
        f"memory is read at {roofline['read_gb_per_s']:.1f} GB/s"
    )


def _show_bars(found: Sequence[Bar]) -> str:
    verdicts = {True: "met", False: "NOT met", None: "not measured"}
    lines = [[b.text, f"{b.needed:g}", shown(b.found, 2), verdicts[b.is_met]] for b in found]
    return table((f"{OURS}, over HTTP", "needed", "found", ""), lines)


def as_dict(comparison: Comparison, roofline: Roofline | None) -> dict[str, Any]:
    return {
        **comparison.as_dict(),
        "roofline": roofline,
        "bars": [asdict(bar) for bar in bars(comparison)],
    }
