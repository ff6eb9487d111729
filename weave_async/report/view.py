"""A run as the page tells it: everything worked out, nothing left to a template but its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from weave_async.report import accounts, funnel, measures, speed
from weave_async.report.reading import Reading
from weave_async.review.results import Results
from weave_async.visible import cut

_STATUS = {
    "complete": ("✓", "Complete"),
    "unmet": ("!", "Requirements missed"),
    "incomplete": ("!", "Samples missing"),
    "interrupted": ("!", "Interrupted"),
    "stopped": ("✕", "Stopped"),
    "unfinished": ("!", "Unfinished"),
}
MOST_FILES, MAX_NAME_CHARS = 40, 120
WORD_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True)
class Card:
    """One of the figures at the top."""

    name: str
    value: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Words of the answers with one ending: the quantiles of ``WORD_QUANTILES``."""

    ending: str
    num: int
    quantiles: Sequence[int | None]


@dataclass(frozen=True)
class RunView:
    """``label`` is empty for the only run of a page, else ``A`` or ``B``."""

    run: Reading
    label: str = ""
    reviews: Results | None = None

    @property
    def title(self) -> str:
        return f"{self.label}: {self.run.name}" if self.label else self.run.name

    @property
    def status(self) -> tuple[str, str, str]:
        """Its class, its mark and its name."""
        status = self.run.manifest.get("status") if self.run.is_finished else "unfinished"
        if not isinstance(status, str) or status not in _STATUS:
            return "", "", "Ended"
        return (status, *_STATUS[status])

    @cached_property
    def steps(self) -> list[funnel.Step]:
        return funnel.steps_of(self.run)

    @cached_property
    def rejections(self) -> tuple[list[funnel.Reason], int]:
        return funnel.rejections_of(self.run)

    @cached_property
    def failures(self) -> list[funnel.Reason]:
        return funnel.failures_of(self.run)

    @cached_property
    def models(self) -> list[funnel.Group]:
        return funnel.models_of(self.run)

    @cached_property
    def finish_reasons(self) -> list[funnel.Group]:
        return funnel.finish_reasons_of(self.run)

    @cached_property
    def attributes(self) -> list[tuple[str, list[funnel.Group], int]]:
        return funnel.attributes_of(self.run)

    @cached_property
    def diversity(self) -> list[measures.Measured]:
        return measures.diversity_of(self.run)

    @cached_property
    def absences(self) -> list[str]:
        return measures.absences_of(self.run)

    @cached_property
    def openings(self) -> list[measures.Measured]:
        return measures.openings_of(self.run)

    @cached_property
    def representation(self) -> list[measures.Panel]:
        return measures.representation_of(self.run)

    @cached_property
    def bias(self) -> list[measures.Panel]:
        return measures.bias_of(self.run)

    @cached_property
    def stages(self) -> list[accounts.StageTime]:
        return accounts.stages_of(self.run)

    @cached_property
    def rules(self) -> list[tuple[str, funnel.Share]]:
        """What each has rejected of what it has judged."""
        rules = accounts.rules_of(self.run)
        return [(rule.name, funnel.Share(rule.rejected, rule.judged)) for rule in rules]

    @cached_property
    def noise(self) -> list[accounts.NoiseCount]:
        return accounts.noise_of(self.run)

    @cached_property
    def spent(self) -> list[accounts.Spent]:
        return accounts.spent_by(self.run)

    @cached_property
    def latencies(self) -> list[speed.Latencies]:
        return speed.latencies_of(self.run.calls)

    @cached_property
    def slices(self) -> speed.Slices | None:
        return speed.slices_of(self.run.calls)

    @cached_property
    def lengths(self) -> list[Lengths]:
        tally = self.run.tally
        return [
            Lengths(
                ending,
                int(words.sum()),
                [tally.quantile_of_words(ending, share) for share in WORD_QUANTILES],
            )
            for ending, words in sorted(tally.num_words.items(), reverse=True)
        ]

    @cached_property
    def missed(self) -> list[tuple[str, int]]:
        return self.run.calls.missed.most_common(20)

    @property
    def begun_at(self) -> str | None:
        return speed.begun_at(self.run.calls)

    @property
    def num_sessions(self) -> int:
        return len(self.run.calls.begun_s)

    @property
    def version(self) -> str | None:
        version = self.run.manifest.get("weave_async")
        return version if isinstance(version, str) else None

    @property
    def cost_usd(self) -> float | None:
        return accounts.amount_in(self.run, "cost_usd")

    @property
    def elapsed_s(self) -> float | None:
        return accounts.amount_in(self.run, "elapsed_s")

    @property
    def seed(self) -> int | None:
        seed = accounts.amount_in(self.run, "seed")
        return None if seed is None else int(seed)

    @property
    def num_recalled(self) -> int:
        return int(accounts.amount_in(self.run, "recalled") or 0)

    @property
    def cautions(self) -> list[str]:
        return accounts.texts_in(self.run, "cautions")

    @property
    def idle_rules(self) -> list[str]:
        return accounts.texts_in(self.run, "idle_rules")

    @property
    def output_tokens(self) -> int:
        return sum(each.output_tokens for each in self.latencies)

    @property
    def input_tokens(self) -> int:
        return sum(each.input_tokens for each in self.latencies)

    @property
    def files(self) -> list[tuple[str, int, int, str]]:
        """Name, rows, bytes and SHA-256 of what was published."""
        files = self.run.manifest.get("files")
        return [
            (cut(name, MAX_NAME_CHARS), rows, num_bytes, cut(digest, MAX_NAME_CHARS))
            for name, told in list(files.items() if isinstance(files, dict) else ())[:MOST_FILES]
            if isinstance(told, dict)
            and isinstance(rows := told.get("rows"), int)
            and isinstance(num_bytes := told.get("bytes"), int)
            and isinstance(digest := told.get("sha256"), str)
        ]

    @property
    def mix(self) -> list[dict[str, Any]]:
        """Whom it has asked."""
        mix = self.run.manifest.get("mix")
        shown = mix[:MOST_FILES] if isinstance(mix, list) else []
        return [each for each in shown if isinstance(each, dict)]
