"""Run folders whose rows, figures and journal a test chooses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from weave_async.journal import frames

STEMS = {"written": "samples", "rejected": "rejected", "failed": "failed"}
BEGUN_AT = 1795423548.5


def row(
    sample_id: str = "p-0",
    answer: str = "Because of this.",
    *,
    ask: str = "Why?",
    model: str = "m",
    why: Sequence[str] = (),
    attributes: Mapping[str, Any] | None = None,
    noise: Sequence[Mapping[str, Any]] = (),
    **lineage: Any,
) -> dict[str, Any]:
    """``why``: the stage, rule and reason of a rejection; or the error and message of a failure."""
    told: dict[str, Any] = {"sample_id": sample_id}
    turns = [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
    if len(why) == 3:
        told |= {"stage": why[0], "rule": why[1], "reason": why[2], "evidence": {"found": why[2]}}
    elif len(why) == 2:
        told |= {"error": why[0], "message": why[1], "attempts": 3}
        turns = turns[:1]
    told["messages"] = turns
    told["lineage"] = {
        "prompt_id": sample_id,
        "sample_index": 0,
        "source": "seeds.jsonl:1",
        "attributes": dict(attributes or {}),
        "endpoint": "e",
        "model": model,
        "params": {"max_tokens": 9},
        "seed": 1,
        "request_id": "r",
        "finish_reason": None if len(why) == 2 else "stop",
        "input_tokens": 3,
        "output_tokens": 4,
        "regenerations": 0,
        "noise": list(noise),
        "verdicts": [],
        "repairs": 0,
        **lineage,
    }
    return told


def rows(num: int, **options: Any) -> list[dict[str, Any]]:
    return [row(f"{options.get('model', 'm')}{number}-0", **options) for number in range(num)]


def ending_of(told: Mapping[str, Any]) -> str:
    return "rejected" if "stage" in told else "failed" if "error" in told else "written"


def answer(at_s: float, e2e_s: float | None, **options: Any) -> dict[str, Any]:
    return {
        "kind": "answer",
        "sample_id": "p-0",
        "attempt_id": "r-1.1",
        "request_id": "r",
        "endpoint": options.get("endpoint", "e"),
        "model": options.get("model", "m"),
        "at_s": at_s,
        "response": {
            "text": "Because.",
            "finish_reason": "stop",
            "usage": {"input_tokens": 3, "output_tokens": options.get("output_tokens", 4)},
            "e2e_s": e2e_s,
        },
    }


def missed(at_s: float, error: str = "server") -> dict[str, Any]:
    failure = {"error": error, "message": "500"}
    told = {"attempt_id": "r-1.1", "request_id": "r", "at_s": at_s, "failure": failure}
    return {"kind": "missed", **told}


def write_segment(
    run: Path, number: int, entries: Iterable[Mapping[str, Any]], **opening: Any
) -> Path:
    told = {"format_version": 2, "epoch": number, "started_at": BEGUN_AT, "asks": {}, **opening}
    path = run / "journal" / f"{number:06d}.log"
    records = [{"kind": "open", **told}, *entries]
    path.write_bytes(b"".join(frames.encode(dict(each)) for each in records))
    return path


def make_run(
    folder: Path,
    told: Sequence[Mapping[str, Any]],
    *,
    metrics: Mapping[str, Any] | None = None,
    journal: Sequence[Mapping[str, Any]] = (),
    recipe: str = "name: demo\n",
    is_finished: bool = True,
    **manifest: Any,
) -> Path:
    """A run that has published these rows; or was killed before, where it is not finished."""
    (folder / "journal").mkdir(parents=True)
    write_segment(folder, 1, journal)
    (folder / "recipe.yaml").write_text(recipe)
    counts = dict.fromkeys(STEMS, 0)
    for ending, stem in STEMS.items():
        lines = [json.dumps(each) + "\n" for each in told if ending_of(each) == ending]
        counts[ending] = len(lines)
        name = f"{stem}.jsonl" if is_finished else f"{stem}.jsonl.part"
        (folder / name).write_text("".join(lines))
    if is_finished:
        whole = {"format_version": 2, "name": "demo", "seed": 7, "status": "complete", "pending": 0}
        whole |= {"asked": sum(counts.values()), **counts, **manifest}
        (folder / "manifest.json").write_text(json.dumps(whole))
        (folder / "metrics.json").write_text(json.dumps(metrics or {}))
    return folder
