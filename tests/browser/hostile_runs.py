"""Run folders in which a stranger's text stands wherever a model, a file or a person writes."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

from export.made_runs import changed, make_run, row
from hostile_texts import payloads


def hostile_row(number: int, text: str) -> dict[str, Any]:
    """Odd ones are rejected."""
    is_rejected = bool(number % 2)
    made = row(
        f"{number:03d}-0",
        text,
        ask=text,
        model=text,
        noise=[changed(0, 0, text[:1], "")],
        rejected=("validation", text) if is_rejected else None,
    )
    made["messages"][0]["content"] = text[1:]
    lineage = made["lineage"]
    lineage |= {
        "source": f"{text}.jsonl:1",
        "endpoint": text,
        "attributes": {text: text},
        "finish_reason": text,
    }
    lineage["verdicts"] = [
        {
            "rule": text,
            "passed": True,
            "reason": text,
            "evidence": json.dumps({text: text, "error": text}),
            "mended": False,
        }
    ]
    if is_rejected:
        made |= {"rule": text, "evidence": {"of": "000-0", text: text}}
    return made


def hostile_run(folder: Path) -> Path:
    """Every payload in a row, and some in the files about the run."""
    texts = payloads()
    rows = [hostile_row(number, text) for number, text in enumerate(texts)]
    run = make_run(folder, rows, name=texts[0], mix=[{"provider": texts[1], "model": texts[2]}])
    (run / "recipe.yaml").write_text(
        json.dumps({"name": texts[3], "prompts": {"source": texts[4], "template": texts[5]}})
    )
    failed = [
        {
            **{name: made[name] for name in ("sample_id", "messages", "lineage")},
            "sample_id": f"9{made['sample_id']}",
            "error": text,
            "message": text,
            "attempts": 3,
        }
        for made, text in zip(rows, texts, strict=True)
    ]
    content = "".join(json.dumps(each) + "\n" for each in failed).encode()
    (run / "failed.jsonl").write_bytes(content)
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["files"]["failed.jsonl"] = {
        "rows": len(failed),
        "sha256": sha256(content).hexdigest(),
    }
    counts = {
        "written": len(rows[::2]),
        "rejected": len(rows[1::2]),
        "failed": len(failed),
        "pending": 0,
        "asked": len(rows) + len(failed),
        "failed_by_error": dict.fromkeys(texts, 1),
    }
    (run / "manifest.json").write_text(json.dumps({**manifest, **counts}))
    return run
