"""The closed loop: what became of samples decides what is asked next.

::

    plan ──▶ engine ──▶ stages ──▶ observe ──▶ (a round is whole) ──▶ decide ──▶ decisions.jsonl
      ▲                                                                  │
      └────────────────────── weights of a later round ──────────────────┘

A sample's reward is what its text adds to the dataset (see ``novelty``), and nothing where it was
rejected or failed; its cost are the tokens of question and answer. Each dimension is a bandit of
its own (see ``bandit``).
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any

from weave_async.controller.bandit import ArmEvidence, next_weights
from weave_async.controller.decisions import Decision, DecisionLog
from weave_async.controller.steering import Steering
from weave_async.records import Sample
from weave_async.seeding import fraction_for

if TYPE_CHECKING:
    from weave_async.controller.novelty import Novelty

logger = logging.getLogger(__name__)

CHARS_PER_TOKEN = 4
"""Where an endpoint does not count: the usual figure for English."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one answer: the arms it was drawn by, what it took, and its text if that was
    accepted. ``tokens`` is ``None`` where no answer came.
    """

    arms: Mapping[str, int]
    tokens: float | None
    text: str | None


@dataclass(slots=True)
class Controller:
    """Decides the weights of round after round. ``observe`` it in the order of asking.

    ``endpoints`` are the names in the mix, in its order; ``group_size`` samples share their draws.
    """

    steering: Steering
    log: DecisionLog
    run_seed: int
    num_samples: int
    endpoints: Sequence[str]
    group_size: int
    floor: float
    step: float
    memory: float
    _rounds: dict[int, list[Outcome]] = field(default_factory=lambda: defaultdict(list), repr=False)
    _num_closed: int = 0
    _evidence: dict[str, list[ArmEvidence]] = field(init=False, repr=False)
    _novelty: Novelty | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._evidence = {
            name: [ArmEvidence() for _ in dimension.labels]
            for name, dimension in self.steering.dimensions.items()
        }

    @property
    def num_decided(self) -> int:
        """Samples that may be drawn: the weights of their rounds are decided, and durable."""
        return self.steering.num_decided

    async def observe(self, judged: Sequence[Sample], selected: Sequence[Sample]) -> None:
        """Take a batch that has been through the stages, and the same as selection has left it;
        what a final selector holds back is in the first alone, and counts as accepted.

        Returns once what follows from it is durable. Raises ``StorageError``.
        """
        if self.num_decided >= self.num_samples:  # as in a replay: nothing is left to decide
            return
        ended = {sample.sample_id: sample for sample in selected}
        by_ordinal: dict[int, list[Sample]] = defaultdict(list)
        for sample in judged:
            by_ordinal[sample.ordinal].append(ended.get(sample.sample_id, sample))
        for ordinal, copies in by_ordinal.items():
            outcome = self._outcome_of(ordinal, copies)
            self._rounds[ordinal // self.steering.round_size].append(outcome)
        while len(self._rounds[self._num_closed]) == self.steering.round_size:
            # Loads numpy, and takes milliseconds: the loop belongs to the network meanwhile.
            await asyncio.to_thread(self._close, self._rounds.pop(self._num_closed))

    def as_dict(self) -> dict[str, Any]:
        """How far it has come, and the weights of the last round that was decided."""
        last = min(self.steering.num_decided_rounds, -(-self.num_samples // self._size)) - 1
        weights = self.steering.weights(last)
        return {
            "rounds_decided": len(self.log.decisions),
            "weights": {
                name: _rounded(dict(zip(dimension.labels, weights[name], strict=True)))
                for name, dimension in self.steering.dimensions.items()
            },
        }

    @property
    def _size(self) -> int:
        return self.steering.round_size

    def _outcome_of(self, ordinal: int, copies: Sequence[Sample]) -> Outcome:
        """Copies are of one answer; the first that was accepted stands for them."""
        first = copies[0]
        accepted = (each for each in copies if each.rejection is None and each.failure is None)
        text = next((each.completion for each in accepted), None)
        return Outcome(self._arms_of(first), _tokens_of(first), text)

    def _arms_of(self, sample: Sample) -> dict[str, int]:
        """By which arms it was drawn; of the mix, who has answered, as where one was down."""
        prompt, ordinal = sample.prompt, sample.ordinal
        group_index = prompt.sample_index - prompt.sample_index % self.group_size
        arms = {
            name: self.steering.arm(
                name, fraction_for(self.run_seed, prompt.prompt_id, group_index, name), ordinal
            )
            for name in self.steering.dimensions
        }
        if (arm := arms.get("mix")) is not None:
            is_known = sample.endpoint in self.endpoints
            if is_known and self.endpoints[arm] != sample.endpoint:
                arms["mix"] = self.endpoints.index(sample.endpoint)
        return arms

    def _close(self, outcomes: Sequence[Outcome]) -> None:
        """Take the evidence of the next round, and decide what follows from it, unless that has
        been decided by an earlier run.
        """
        self._learn(outcomes)
        number = self._num_closed + self.steering.num_free_rounds
        self._num_closed += 1
        if number < self.steering.num_decided_rounds or number * self._size >= self.num_samples:
            return
        decision = Decision(number, number * self._size, self._decided(number), self._told())
        self.log.append(decision)
        self.steering.take([decision])
        logger.debug("round %d is drawn by %s", number, decision.weights)

    def _learn(self, outcomes: Sequence[Outcome]) -> None:
        if self._novelty is None:
            from weave_async.controller.novelty import Novelty

            self._novelty = Novelty()
        for arms in self._evidence.values():
            for arm in arms:
                arm.discount(self.memory)
        texts = [each.text for each in outcomes if each.text is not None]
        scores = iter(self._novelty.scores(texts))
        rewards = [0.0 if each.text is None else next(scores) for each in outcomes]
        usual_reward = fmean(rewards)
        if not usual_reward:
            return  # nothing was accepted: that tells no arm from another
        counted = [each.tokens for each in outcomes if each.tokens is not None]
        usual_tokens = fmean(counted) or 1.0
        for outcome, reward in zip(outcomes, rewards, strict=True):
            tokens = 1.0 if outcome.tokens is None else outcome.tokens / usual_tokens
            for name, number in outcome.arms.items():
                self._evidence[name][number].add(reward / usual_reward, tokens)

    def _decided(self, number: int) -> dict[str, list[float]]:
        before = self.steering.weights(number - 1)
        return {
            name: next_weights(
                dimension.prior,
                before[name],
                self._evidence[name],
                floor=self.floor,
                step=self.step,
            )
            for name, dimension in self.steering.dimensions.items()
        }

    def _told(self) -> dict[str, Any]:
        """The evidence, for people: discounted counts, and yields beside the usual of 1."""
        return {
            name: [
                {
                    "arm": label,
                    "samples": round(arm.num, 1),
                    "accepted": round(arm.accepted, 1),
                    "yield": round(arm.relative_yield, 3),
                }
                for label, arm in zip(
                    self.steering.dimensions[name].labels, self._evidence[name], strict=True
                )
            ]
            for name in self._evidence
        }


def _tokens_of(sample: Sample) -> float | None:
    response = sample.response
    if response is None:
        return None
    usage = response.usage
    sent, received = usage.input_tokens, usage.output_tokens
    if sent is None:
        sent = sum(len(each.content) for each in sample.request.messages) // CHARS_PER_TOKEN
    if received is None:
        received = len(response.text) // CHARS_PER_TOKEN
    return float(sent + received)


def _rounded(weights: Mapping[str, float]) -> dict[str, float]:
    return {label: round(weight, 4) for label, weight in weights.items()}
