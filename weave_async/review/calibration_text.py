"""A calibration as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from weave_async.metrics.bias.intervals import Estimate
from weave_async.review.thresholds import Threshold

if TYPE_CHECKING:
    from weave_async.review.calibration import Calibration, RuleCalibration

_HEADER = ("rule", "judged", "rejected", "precision", "recall", "kappa")


def lines_of(found: Calibration) -> Iterator[str]:
    people = "1 person" if found.num_reviewers == 1 else f"{found.num_reviewers} people"
    yield (
        f"{found.num_decided} rows decided by {people}; {found.num_bad} of them are to be rejected "
        "or edited"
    )
    yield ""
    told = [rule for rule in found.rules if rule.num_rejected]
    yield from _aligned([_HEADER, *map(_line, told)])
    if silent := [rule.rule for rule in found.rules if not rule.num_rejected]:
        yield f"have rejected none of these rows: {', '.join(silent)}"
    yield "precision: of what a rule rejects, how much is bad; recall: of what is bad, how much it"
    yield "rejects; kappa: how far it agrees with people, 0 as by chance, 1 always"
    for rule in found.rules:
        for threshold in rule.thresholds:
            yield ""
            yield from _threshold(rule.rule, threshold)


def _line(rule: RuleCalibration) -> tuple[str, ...]:
    return (
        rule.rule,
        str(rule.num_judged),
        str(rule.num_rejected),
        _figure(rule.precision),
        _figure(rule.recall),
        _figure(rule.kappa),
    )


def _threshold(rule: str, threshold: Threshold) -> Iterator[str]:
    gain = ""
    if threshold.gain is not None:
        gain = f"; gain {_figure(threshold.gain)}"
    yield f"{rule}, {threshold.option} {threshold.now:g}: {threshold.why}{gain}"
    if threshold.is_one_sided:
        yield "  it tells no values of rows that it passes: stricter ones cannot be judged"
    header = (threshold.option, "rejects", "bad ones rejected", "good ones passed", "J", "")
    marks = {threshold.now: "now", threshold.proposed: "proposed"}
    rows = [
        (
            f"{split.threshold:g}",
            _percent(split.rejects),
            _percent(split.finds),
            _percent(split.spares),
            _number(split.youden),
            marks.get(split.threshold, ""),
        )
        for split in threshold.splits
    ]
    yield from (f"  {line}" for line in _aligned([header, *rows]))


def _aligned(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first and an unnamed last column to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    names = lines[0]
    for line in lines:
        cells = [
            cell.ljust(width) if n == 0 or not names[n] else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def _figure(found: Estimate | None) -> str:
    if found is None:
        return "–"
    return f"{_number(found.value)} ({_number(found.low)} to {_number(found.high)})"


def _number(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no -0


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"
