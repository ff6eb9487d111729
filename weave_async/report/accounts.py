"""What a run's last session has taken and done: time by stage, tokens, rules, noises."""

from __future__ import annotations

from dataclasses import dataclass, replace

from weave_async.report.reading import Reading
from weave_async.report.told import (
    MAX_NAME_CHARS,
    MAX_TEXT_CHARS,
    count_in,
    finite,
    groups_in,
    mapping_at,
)
from weave_async.visible import cut

MOST_STAGES, MOST_TEXTS = 80, 50


@dataclass(frozen=True, slots=True)
class StageTime:
    """What a stage has taken."""

    name: str
    samples: int
    wall_s: float
    cpu_s: float

    @property
    def per_sample_s(self) -> float | None:
        return self.wall_s / self.samples if self.samples else None


@dataclass(frozen=True, slots=True)
class RuleCount:
    """What a rule has judged, and how much of that it has rejected."""

    name: str
    judged: int
    rejected: int


@dataclass(frozen=True, slots=True)
class NoiseCount:
    """What a noise has changed; or the samples that it has left as they were, and why."""

    name: str
    texts: int
    changes: int | None


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens that an endpoint has counted."""

    endpoint: str
    input_tokens: int
    output_tokens: int


def stages_of(run: Reading) -> list[StageTime]:
    """In the order of the journey."""
    told = []
    for name, each in groups_in(mapping_at(run.metrics, "stages"), MOST_STAGES):
        wall_s, cpu_s = finite(each.get("wall_s")), finite(each.get("cpu_s"))
        samples = finite(each.get("samples"))
        if wall_s is not None and cpu_s is not None and samples is not None:
            told.append(StageTime(name, int(samples), wall_s, cpu_s))
    return told


def rules_of(run: Reading) -> list[RuleCount]:
    """In the order of the journey."""
    return [
        RuleCount(name, count_in(each, "judged"), count_in(each, "rejected"))
        for name, each in groups_in(mapping_at(run.metrics, "rules"), MOST_STAGES)
        if count_in(each, "judged") >= count_in(each, "rejected")
    ]


def noise_of(run: Reading) -> list[NoiseCount]:
    noise = mapping_at(run.metrics, "noise")
    varied, changes = mapping_at(noise, "texts_varied"), mapping_at(noise, "changes")
    left = mapping_at(noise, "left_as_they_were")
    told = [NoiseCount(name, count_in(varied, name), count_in(changes, name)) for name in varied]
    told += [NoiseCount(f"left as it was by {name}", count_in(left, name), None) for name in left]
    return [replace(each, name=cut(each.name, MAX_NAME_CHARS)) for each in told[:MOST_STAGES]]


def spent_by(run: Reading) -> list[Spent]:
    return [
        Spent(name, int(finite(each.get("input")) or 0), int(finite(each.get("output")) or 0))
        for name, each in groups_in(mapping_at(run.metrics, "tokens"), MOST_STAGES)
    ]


def amount_in(run: Reading, name: str) -> float | None:
    """A number of the manifest."""
    return finite(run.manifest.get(name))


def texts_in(run: Reading, name: str) -> list[str]:
    told = run.manifest.get(name)
    texts = told[:MOST_TEXTS] if isinstance(told, list) else []
    return [cut(each, MAX_TEXT_CHARS) for each in texts if isinstance(each, str)]
