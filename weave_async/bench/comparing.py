"""Two results of the same loads: what has changed, and whether for the worse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from weave_async.errors import UsageError

WORTH_SAYING = 0.05
"""A change of less, even where the intervals are apart: no machine is as quiet as that."""
_COMPARED = (
    ("requests_per_s", ("requests_per_s",), True),
    ("ttft_s p50", ("latencies", "ttft_s", "p50"), False),
    ("itl_s p50", ("latencies", "itl_s", "p50"), False),
    ("e2e_s p50", ("latencies", "e2e_s", "p50"), False),
    ("e2e_s p99", ("latencies", "e2e_s", "p99"), False),
)
"""Name, place in a step, and whether more is better."""


def compared(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A change for each figure that both have. ``is_worse`` where the intervals are apart, in the
    wrong direction, by 5 % and more.
    """
    require_comparable(before, after["workload"])
    changes = []
    earlier = dict(_steps(before))
    for key, step in _steps(after):
        if key not in earlier:
            continue
        for name, place, more_is_better in _COMPARED:
            was, now = _figure(earlier[key], place), _figure(step, place)
            if was is not None and now is not None:
                changes.append(_change(key, name, was, now, more_is_better))
    return changes


def require_comparable(before: Mapping[str, Any], workload: str) -> None:
    """Raises ``UsageError`` where something else was asked before."""
    if before["workload"] != workload:
        raise UsageError(
            f"--compare: other workloads cannot be compared: before, '{before['workload']}'; now, "
            f"'{workload}'"
        )


def _steps(result: Mapping[str, Any]) -> Iterator[tuple[tuple[str, str, float], Mapping[str, Any]]]:
    for backend in result["backends"]:
        for step in backend["steps"]:
            yield (backend["name"], step["load"]["kind"], step["load"]["level"]), step


def _figure(step: Mapping[str, Any], place: tuple[str, ...]) -> Mapping[str, Any] | None:
    found: Any = step
    for key in place:
        found = found.get(key) if isinstance(found, Mapping) else None
    if not isinstance(found, Mapping):
        return None
    is_told = all(isinstance(found.get(key), int | float) for key in ("value", "low", "high"))
    return found if is_told and found["value"] else None


def _change(
    key: tuple[str, str, float],
    name: str,
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    more_is_better: bool,
) -> dict[str, Any]:
    relative = now["value"] / was["value"] - 1
    low, high = now["low"] / was["high"] - 1, now["high"] / was["low"] - 1 if was["low"] else None
    is_apart = now["low"] > was["high"] or now["high"] < was["low"]
    is_worse = is_apart and abs(relative) >= WORTH_SAYING and (relative > 0) != more_is_better
    backend, kind, level = key
    interval = "" if high is None else f" ({low:+.1%} to {high:+.1%})"
    mark = (
        ", WORSE" if is_worse else ", better" if is_apart and abs(relative) >= WORTH_SAYING else ""
    )
    return {
        "backend": backend,
        "load": {"kind": kind, "level": level},
        "figure": name,
        "before": was["value"],
        "after": now["value"],
        "relative": relative,
        "low": low,
        "high": high,
        "is_worse": is_worse,
        "in_words": f"{backend}, {kind} {level:g}, {name}: "
        f"{was['value']:.4g} → {now['value']:.4g}, {relative:+.1%}{interval}{mark}",
    }
