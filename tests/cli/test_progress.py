"""What the progress line says."""

from __future__ import annotations

from pathlib import Path

from weave_async import Recipe, Run
from weave_async.cli.progress import figures


def test_the_line_tells_diversity_and_then_that_it_is_measured(tmp_path: Path) -> None:
    recipe = Recipe.parse("prompts: {source: seeds.jsonl}")
    run = Run(recipe, output_dir=tmp_path)
    run.metrics.start()
    assert "vendi" not in figures(run, 200)
    run.metrics.diversity = {"vendi_words": 12.74}
    assert "vendi of words 12.7" in figures(run, 200)
    run.metrics.stop()
    assert figures(run, 200) == "measuring what was written"
