"""One step of preprocessing as a script: it reads a file, works on each row, and writes a file.

    python benchmarks/preprocessing_steps.py noise recipe.yaml clean.jsonl noisy.jsonl --processes 2

The same parts as in a run, so that the same rows come out; written as such scripts are, with
nothing in them that a run has besides: no journal, no evidence on disk, no metrics.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import orjson

from weave_async.parts.staging import selectors_of, stage_spec_of
from weave_async.recipe import Recipe
from weave_async.records import Message, Prompt, Request, Response, Sample, SamplingParams
from weave_async.stages.building import AnyStage, stages_of
from weave_async.stages.guard import has_ended

CHUNK_ROWS = 256
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=sorted(STEPS))
    parser.add_argument("recipe", type=Path)
    parser.add_argument("input", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--processes", type=int, default=1, help="for noise and validate")
    given = parser.parse_args()
    with given.input.open("rb") as lines, given.output.open("wb") as file:
        rows = STEPS[given.step](given.recipe, lines, given.processes)
        file.writelines(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def validated(recipe: Path, lines: Iterator[bytes], processes: int) -> Iterator[Row]:
    return _by_chunks(partial(_validated, recipe), lines, processes)


def noised(recipe: Path, lines: Iterator[bytes], processes: int) -> Iterator[Row]:
    """What noise has changed is checked again, as in a run."""
    return _by_chunks(partial(_noised, recipe), lines, processes)


def deduplicated(recipe: Path, lines: Iterator[bytes], processes: int) -> Iterator[Row]:
    """Row by row, as it keeps an index of what it has let through."""
    selectors = selectors_of(Recipe.load(recipe))
    for chunk in _chunks(lines):
        rows = list(map(orjson.loads, chunk))
        samples = list(map(_sample_in, rows))
        features = [selector.features_of(samples) for selector in selectors]
        for row, sample, found in zip(rows, samples, zip(*features, strict=True), strict=True):
            pairs = list(zip(selectors, found, strict=True))
            if all(selector.verdict(sample, each).passed for selector, each in pairs):
                for selector, each in pairs:
                    selector.keep(sample, each)
                yield row


def formatted(recipe: Path, lines: Iterator[bytes], processes: int) -> Iterator[Row]:
    for line in lines:
        row = orjson.loads(line)
        yield {"messages": row["messages"], "sample_id": row["sample_id"]}


STEPS: dict[str, Callable[[Path, Iterator[bytes], int], Iterator[Row]]] = {
    "validate": validated,
    "noise": noised,
    "deduplicate": deduplicated,
    "format": formatted,
}


def _by_chunks(
    work: Callable[[Sequence[bytes]], list[Row]], lines: Iterator[bytes], processes: int
) -> Iterator[Row]:
    if processes == 1:
        yield from chain.from_iterable(map(work, _chunks(lines)))
        return
    with get_context("fork").Pool(processes) as pool:
        yield from chain.from_iterable(pool.imap(work, _chunks(lines)))


def _validated(recipe: Path, lines: Sequence[bytes]) -> list[Row]:
    rules = _stages(recipe, "validation")
    return [row for row in map(orjson.loads, lines) if _passes(rules, _sample_in(row))]


def _noised(recipe: Path, lines: Sequence[bytes]) -> list[Row]:
    rules, noises = _stages(recipe, "validation"), _stages(recipe, "noise")
    rows = []
    for row in map(orjson.loads, lines):
        samples: Sequence[Sample] = [_sample_in(row)]
        for noise in noises:
            samples = [after for sample in samples for after in noise.apply(sample)]
        for sample in samples:
            if not sample.edits or _passes(rules, sample):
                turns = [{"role": turn.role, "content": turn.content} for turn in sample.messages]
                rows.append({**row, "messages": turns})
    return rows


_BUILT: dict[tuple[Path, str], list[Any]] = {}


def _stages(recipe: Path, kind: str) -> list[Any]:
    """Built once in each process."""
    if (recipe, kind) not in _BUILT:
        built: Sequence[AnyStage] = stages_of(stage_spec_of(Recipe.load(recipe)))
        _BUILT[recipe, kind] = [stage for stage in built if stage.kind == kind]
    return _BUILT[recipe, kind]


def _passes(rules: Sequence[Any], sample: Sample) -> bool:
    for rule in rules:
        [sample] = rule.apply(sample)
        if has_ended(sample):
            return False
    return True


def _sample_in(row: Row) -> Sample:
    lineage = row["lineage"]
    messages = tuple(Message(turn["role"], turn["content"]) for turn in row["messages"])
    params = SamplingParams(max_tokens=lineage["params"]["max_tokens"])
    asked = messages[:-1]
    return Sample(
        ordinal=0,
        prompt=Prompt(lineage["prompt_id"], lineage["sample_index"], asked, {}, lineage["source"]),
        request=Request(lineage["request_id"], lineage["model"], asked, params),
        endpoint=lineage["endpoint"],
        seed=lineage["seed"],
        messages=messages,
        response=Response(messages[-1].content, lineage["finish_reason"]),
    )


def _chunks(lines: Iterator[bytes]) -> Iterator[list[bytes]]:
    while chunk := list(islice(lines, CHUNK_ROWS)):
        yield chunk


if __name__ == "__main__":
    main()
