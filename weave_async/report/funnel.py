"""From asked to written: what was lost on the way, where, and how sure that share is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from weave_async.metrics.wilson import wilson
from weave_async.report.reading import Reading
from weave_async.report.told import count_in

MOST_LOSSES = 40
MOST_REASONS, MOST_MODELS, MOST_ATTRIBUTES, MOST_VALUES = 60, 40, 12, 20


@dataclass(frozen=True, slots=True)
class Share:
    """``num`` of ``total``, with the 95 % interval by Wilson's score."""

    num: int
    total: int

    @property
    def value(self) -> float:
        return self.num / self.total if self.total else 0.0

    @property
    def low(self) -> float:
        return wilson(self.num, self.total)[0]

    @property
    def high(self) -> float:
        return wilson(self.num, self.total)[1]


@dataclass(frozen=True, slots=True)
class Step:
    """A loss on the way (``is_loss``), or what is left after those above it."""

    name: str
    num: int
    left: int
    is_loss: bool
    total: int

    @property
    def share(self) -> Share:
        return Share(self.num, self.total)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why answers were rejected, or samples failed; of those that came so far."""

    stage: str
    rule: str
    reason: str
    share: Share
    example: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """How the samples of one model, or with one value of an attribute, have ended."""

    name: str
    written: int
    rejected: int
    failed: int

    @property
    def total(self) -> int:
        return self.written + self.rejected + self.failed

    @property
    def accepted(self) -> Share:
        return Share(self.written, self.written + self.rejected)


def steps_of(run: Reading) -> list[Step]:
    """Asked, answered and written, and between them what was lost: by error, and by rule in the
    order of the journey. They add up: each loss is what the line before has more.
    """
    tally = run.tally
    pending = count_in(run.manifest, "pending") if run.is_finished else 0
    asked = tally.total + pending
    steps = [Step("Asked" if run.is_finished else "Ended so far", asked, asked, False, asked)]
    left = asked

    def lose(name: str, num: int) -> None:
        nonlocal left
        left -= num
        if num:
            steps.append(Step(name, num, left, True, asked))

    lose("not ended yet", pending)
    lose("failed", tally.num_ended["failed"])
    if left < asked:
        steps.append(Step("Answered", left, left, False, asked))
    for (stage, rule), num in _losses(run):
        lose(f"{stage}: {rule}", num)
    steps.append(Step("Written", left, left, False, asked))
    return fewer(steps, MOST_LOSSES)


def fewer(steps: Sequence[Step], most_losses: int) -> list[Step]:
    """The largest losses each for itself, the others as one, last."""
    losses = sorted((step for step in steps if step.is_loss), key=lambda step: -step.num)
    small = losses[most_losses:]
    if not small:
        return list(steps)
    last = steps[-1]
    num = sum(step.num for step in small)
    told, left = list[Step](), steps[0].num
    for step in [
        *(step for step in steps[:-1] if step not in small),
        Step(f"{len(small):,} smaller losses", num, 0, True, last.total),
    ]:
        left -= step.num if step.is_loss else 0
        told.append(replace(step, left=left))
    return [*told, last]


def _losses(run: Reading) -> Iterator[tuple[tuple[str, str], int]]:
    lost: Counter[tuple[str, str]] = Counter()
    for (stage, rule, _), num in run.tally.whys.items():
        lost[stage, rule] += num
    stages = run.metrics.get("stages")
    order = {name: place for place, name in enumerate(stages if isinstance(stages, dict) else ())}
    last = len(order)
    yield from sorted(
        lost.items(), key=lambda each: (order.get(":".join(each[0]), last), -each[1], each[0])
    )


def rejections_of(run: Reading) -> tuple[list[Reason], int]:
    """The most common reasons, and how many others there are."""
    found = run.tally.whys.most_common()
    told = [
        Reason(stage, rule, reason, Share(num, run.tally.num_judged))
        for (stage, rule, reason), num in found[:MOST_REASONS]
    ]
    return told, max(0, len(found) - MOST_REASONS)


def failures_of(run: Reading) -> list[Reason]:
    tally = run.tally
    return [
        Reason("", "", error, Share(num, tally.total), tally.error_examples.get(error, ""))
        for (error,), num in tally.errors.most_common(MOST_REASONS)
    ]


def models_of(run: Reading) -> list[Group]:
    """The most asked first."""
    counts: dict[str, Counter[str]] = {}
    for (model, ending), num in run.tally.by_model.items():
        counts.setdefault(model, Counter())[ending] += num
    return _groups(counts)[:MOST_MODELS]


def finish_reasons_of(run: Reading) -> list[Group]:
    counts: dict[str, Counter[str]] = {}
    for (reason, ending), num in run.tally.by_finish_reason.items():
        counts.setdefault(reason, Counter())[ending] += num
    return _groups(counts)[:MOST_MODELS]


def attributes_of(run: Reading) -> list[tuple[str, list[Group], int]]:
    """Each attribute, its most common values, and how many others it has."""
    told = []
    for name, counted in list(run.tally.by_attribute.items())[:MOST_ATTRIBUTES]:
        counts: dict[str, Counter[str]] = {}
        for (value, ending), num in counted.items():
            counts.setdefault(value, Counter())[ending] += num
        groups = _groups(counts)
        told.append((name, groups[:MOST_VALUES], max(0, len(groups) - MOST_VALUES)))
    return told


def _groups(counts: Mapping[str, Counter[str]]) -> list[Group]:
    groups = [
        Group(name, each["written"], each["rejected"], each["failed"])
        for name, each in counts.items()
    ]
    return sorted(groups, key=lambda group: (-group.total, group.name))
