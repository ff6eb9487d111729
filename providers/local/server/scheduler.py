"""Who gets what in the next step: plain decisions over sequences and cells, no tensors.

A sequence is waiting, then running, then finished. Every step goes on with all that generate
already, one token each, and reads prompts with what is left of the step's budget, the oldest first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from .generation import Generation, GenerationRequest, Matcher, TokenLogprobs
from .kv_cache import Cells, Span
from .prefixes import BLOCK_TOKENS, PrefixIndex


@dataclass(slots=True, eq=False)
class Sequence:
    """One generation as the engine's thread sees it."""

    generation: Generation
    request: GenerationRequest
    tokens: list[int] = field(default_factory=list)  # generated so far
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    num_told: int = 0  # tokens that the reader was told of
    matcher: Matcher | None = None
    span: Span | None = None

    @property
    def num_tokens(self) -> int:
        return len(self.request.prompt_ids) + len(self.tokens)

    @property
    def num_computed(self) -> int:
        return 0 if self.span is None else self.span.num_computed

    def ids(self, start: int, end: int) -> list[int]:
        """The tokens at these places of prompt and generated text together."""
        prompt = self.request.prompt_ids
        size = len(prompt)
        return [*prompt[start:end], *self.tokens[max(start - size, 0) : max(end - size, 0)]]


@dataclass(frozen=True, slots=True)
class Chunk:
    """The tokens of one sequence to compute in a step; a token is picked after its last one."""

    sequence: Sequence
    span: Span
    start: int
    end: int

    @property
    def picks(self) -> bool:
        return self.end == self.sequence.num_tokens


@dataclass(frozen=True, slots=True)
class Copy:
    """`num_tokens` of the cache, from one place to another, before the step."""

    source: int
    target: int
    num_tokens: int


@dataclass(frozen=True, slots=True)
class Step:
    """Chunks ordered by where they lie; those of one token come first."""

    chunks: list[Chunk]
    copies: list[Copy]


class Scheduler:
    def __init__(self, cells: Cells, *, max_running: int, step_tokens: int) -> None:
        self.cells = cells
        self.max_running = max_running
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []
        self.num_tokens_reused = 0
        self._step_tokens = step_tokens
        self._prefixes = PrefixIndex(max_nodes=4 * cells.num_tokens // BLOCK_TOKENS + 1024)

    def __repr__(self) -> str:
        return f"<Scheduler {len(self.running)} running, {len(self.waiting)} waiting, {self.cells}>"

    def add(self, sequences: Iterable[Sequence]) -> None:
        self.waiting.extend(sequences)

    def schedule(self) -> Step:
        """The next step; without chunks when there is nothing to do."""
        self._admit()
        copies = [] if self.waiting else self._move_together()
        decoding: list[Sequence] = []
        reading: list[Sequence] = []
        for sequence in self.running:
            missing = sequence.num_tokens - sequence.num_computed
            (decoding if missing == 1 else reading).append(sequence)
        chunks = [_chunk(sequence, 1) for sequence in decoding]
        budget = self._step_tokens - len(chunks)
        for sequence in reading:
            if budget <= 0:
                break
            if sequence.num_computed == 0 and not self._reuse(sequence, copies):
                continue
            chunk = _chunk(sequence, budget)
            budget -= chunk.end - chunk.start
            chunks.append(chunk)
        chunks.sort(key=lambda chunk: (chunk.end - chunk.start > 1, chunk.span.first))
        return Step(chunks, copies)

    def computed(self, step: Step) -> None:
        """Note that the step's keys and values are in the cache."""
        for chunk in step.chunks:
            chunk.span.num_computed = chunk.end
            prompt_ids = chunk.sequence.request.prompt_ids
            if chunk.start < len(prompt_ids) <= chunk.end:
                self._prefixes.prefer(prompt_ids, chunk.span)

    def undo(self, step: Step) -> None:
        """The step failed, perhaps before all was copied: what was to be copied is computed."""
        targets = {copy.target for copy in step.copies}
        for sequence in self.running:
            if sequence.span is not None and sequence.span.first in targets:
                sequence.span.num_computed = 0

    def remove(self, sequence: Sequence) -> None:
        """Finished, failed or cancelled, wherever it stands; harmless when it is gone already."""
        if sequence.span is not None:
            self.running.remove(sequence)
            self._give_back(sequence)
        elif sequence in self.waiting:
            self.waiting.remove(sequence)

    def preempt(self, num_sequences: int) -> None:
        """Put the youngest running ones back to the front of the queue; they begin again, and
        say the same, since their tokens are kept and picked by place."""
        for _ in range(num_sequences):
            sequence = self.running.pop()
            self._give_back(sequence)
            self.waiting.appendleft(sequence)

    def _admit(self) -> None:
        """First come, first served: nobody overtakes one that waits for more room."""
        while self.waiting and len(self.running) < self.max_running:
            sequence = self.waiting[0]
            prompt_ids = sequence.request.prompt_ids
            match = self._prefixes.match(prompt_ids)
            span = self.cells.lend(sequence.request.num_tokens)
            if span is None:
                return
            if match.span is not None and not match.span.alive and match.span.first == span.first:
                self._count_reused(span, match.num_tokens)  # it lies where it is wanted
            sequence.span = span
            self.running.append(self.waiting.popleft())
            self._prefixes.add(prompt_ids, span)

    def _give_back(self, sequence: Sequence) -> None:
        assert sequence.span is not None
        self.cells.give_back(sequence.span)
        sequence.span = None

    def _reuse(self, sequence: Sequence, copies: list[Copy]) -> bool:
        """Copy what another has computed of this prompt. False: it is worth waiting for more."""
        span = sequence.span
        assert span is not None
        match = self._prefixes.match(sequence.request.prompt_ids)
        if match.num_tokens_soon > match.num_tokens and match.span_soon is not span:
            return False
        if match.span is not None:
            copies.append(Copy(match.span.first, span.first, match.num_tokens))
            self._count_reused(span, match.num_tokens)
        return True

    def _count_reused(self, span: Span, num_tokens: int) -> None:
        span.num_computed = num_tokens
        self.num_tokens_reused += num_tokens

    def _move_together(self) -> list[Copy]:
        """Nobody waits, so the holes that finished sequences leave stay: fill the lowest one.

        Attention runs over adjacent cells in one go. One move a step is enough, and costs little.
        """
        last = max(self.running, key=_place, default=None)
        if last is None or last.span is None or not last.tokens or last.num_computed == 0:
            return []  # what no token was picked from yet may be NaN, and would stay behind
        lower = self.cells.lend(last.span.capacity, below=last.span.first)
        if lower is None:
            return []
        copy = Copy(last.span.first, lower.first, last.span.num_computed)
        lower.num_computed = last.span.num_computed
        self._give_back(last)
        last.span = lower
        self._prefixes.prefer(last.request.prompt_ids, lower)
        return [copy]


def _place(sequence: Sequence) -> int:
    return -1 if sequence.span is None else sequence.span.first


def _chunk(sequence: Sequence, most: int) -> Chunk:
    assert sequence.span is not None
    start = sequence.span.num_computed
    return Chunk(sequence, sequence.span, start, min(sequence.num_tokens, start + most))
