"""Run folders whose rows a test chooses."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

RECIPE = "name: demo\nprompts: {source: /home/somebody/seeds.jsonl}\n"


def row(
    sample_id: str,
    answer: str,
    *,
    ask: str | Sequence[dict[str, str]] = "Why?",
    model: str = "m",
    rejected: tuple[str, str] | None = None,
    score: float | None = None,
    noise: Sequence[dict[str, Any]] = (),
    parent: str | None = None,
) -> dict[str, Any]:
    """``rejected``: the stage and the reason. ``score`` is a judge's."""
    asked = [{"role": "user", "content": ask}] if isinstance(ask, str) else list(ask)
    evidence = {} if score is None else {"score": score}
    judged = {"rule": "judge", "passed": True, "reason": "", "mended": False}
    verdicts = [judged | {"evidence": json.dumps(evidence)}] if evidence and not rejected else []
    lineage: dict[str, Any] = {
        "prompt_id": sample_id.partition("~")[0].rpartition("-")[0],
        "model": model,
        "noise": list(noise),
        "verdicts": verdicts,
    }
    if parent is not None:
        lineage |= {"generation": 1, "parent": parent}
    told = {
        "sample_id": sample_id,
        "messages": [*asked, {"role": "assistant", "content": answer}],
        "lineage": lineage,
    }
    if rejected is not None:
        stage, reason = rejected
        told |= {"stage": stage, "rule": "judge", "reason": reason, "evidence": evidence}
    return told


def changed(index: int, start: int, before: str, after: str) -> dict[str, Any]:
    """What noise did to one turn."""
    change = {"start": start, "before": before, "after": after}
    return {"noise": "typos", "message_index": index, "changes": [change]}


def make_run(folder: Path, rows: Sequence[dict[str, Any]], **manifest: Any) -> Path:
    """A run that has published these rows: those with a stage in ``rejected``."""
    (folder / "journal").mkdir(parents=True)
    (folder / "recipe.yaml").write_text(RECIPE)
    files = {}
    for stem, is_rejected in (("samples", False), ("rejected", True)):
        lines = [json.dumps(each) + "\n" for each in rows if ("stage" in each) == is_rejected]
        content = "".join(lines).encode()
        (folder / f"{stem}.jsonl").write_bytes(content)
        files[f"{stem}.jsonl"] = {"rows": len(lines), "sha256": sha256(content).hexdigest()}
    told = {"format_version": 2, "name": "demo", "seed": 7, "files": files, **manifest}
    (folder / "manifest.json").write_text(json.dumps(told))
    return folder
