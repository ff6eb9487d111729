"""Which rules decide something: each one's samples, and those that refuse all or nothing."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Iterable, Iterator

from weave_async.records import Sample

logger = logging.getLogger(__name__)

SAMPLES_BEFORE_A_LOOK = 100


class RuleWatch:
    """How many samples each rule has judged, and refused; names those that decide nothing.

    A sample is judged by every rule up to the one that refuses it, so that the refusals alone tell
    all the figures. ``rules`` are their names in the order in which they are applied; of
    those ``unnamed`` nothing is said, and those ``asking`` judge nothing again.
    """

    def __init__(
        self,
        rules: Iterable[tuple[str, str]],
        unnamed: Collection[str] = (),
        asking: Collection[str] = (),
    ) -> None:
        self._rules = list(rules)
        self._unnamed = frozenset(unnamed)
        self._asking = frozenset(asking)
        self._refused_again: Counter[tuple[str, str]] = Counter()
        self._num_judged_again = 0
        self._refused: Counter[tuple[str, str]] = Counter()
        self._num_judged = 0
        self._to_look_at = [rule for rule in self._rules if rule[1] not in self._unnamed]

    def __repr__(self) -> str:
        return f"<RuleWatch {self._num_judged} judged, {self._refused.total()} refused>"

    def count(self, samples: Iterable[Sample]) -> None:
        """Take samples after validation. Logs, once, a rule that refuses all or nothing."""
        for sample in samples:
            if sample.failure is not None:
                continue
            self._num_judged += 1
            if (rejection := sample.rejection) is not None:
                self._refused[rejection.stage, rejection.rule] += 1
        if self._to_look_at and self._num_judged >= SAMPLES_BEFORE_A_LOOK:
            self._look()

    def count_again(self, sample: Sample) -> None:
        """Take one that noise has changed, which the rules have judged once more."""
        rejection = sample.rejection
        if rejection is not None and rejection.stage == "noise":
            return
        self._num_judged_again += 1
        if rejection is not None:
            self._refused_again[rejection.stage, rejection.rule] += 1

    def as_dict(self) -> dict[str, dict[str, int]]:
        """``judged`` and ``rejected`` by rule."""
        return {
            name: {"judged": judged, "rejected": self._num_refused((kind, name))}
            for (kind, name), judged in self._judged()
        }

    @property
    def idle(self) -> list[str]:
        """Rules that have rejected none of the hundred samples and more that they have judged."""
        return [
            name
            for (kind, name), judged in self._judged()
            if judged >= SAMPLES_BEFORE_A_LOOK
            and not self._num_refused((kind, name))
            and name not in self._unnamed
        ]

    def _judged(self) -> Iterator[tuple[tuple[str, str], int]]:
        left, again = self._num_judged, self._num_judged_again
        for rule in self._rules:
            yield rule, left + (0 if rule[1] in self._asking else again)
            left -= self._refused[rule]
            again -= self._refused_again[rule]

    def _num_refused(self, rule: tuple[str, str]) -> int:
        return self._refused[rule] + self._refused_again[rule]

    def _look(self) -> None:
        due = {rule: n for rule, n in self._judged() if n >= SAMPLES_BEFORE_A_LOOK}
        for kind, name in [rule for rule in self._to_look_at if rule in due]:
            judged, refused = due[kind, name], self._num_refused((kind, name))
            if refused == judged:
                logger.warning(
                    "%s '%s' has rejected all of the first %d it judged: is it set too strictly? "
                    "`weave-async preview` shows why",
                    kind,
                    name,
                    judged,
                )
            elif not refused:
                logger.info(
                    "%s '%s' has rejected none of the first %d it judged", kind, name, judged
                )
        self._to_look_at = [rule for rule in self._to_look_at if rule not in due]
