"""Whatever comes and goes, in whatever order: room is never lent twice, and everybody ends."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from providers.local.server.generation import Generation, GenerationRequest, Sampling
from providers.local.server.kv_cache import Cells, Span
from providers.local.server.prefixes import BLOCK_TOKENS, PrefixIndex
from providers.local.server.scheduler import Scheduler, Sequence, Step

CELL_TOKENS, NUM_CELLS, MAX_RUNNING, STEP_TOKENS = 64, 6, 4, 40

PROMPTS = st.tuples(st.integers(0, 2), st.integers(0, 50), st.integers(0, 1000)).map(
    lambda drawn: (
        [drawn[0]] * 48 * bool(drawn[0]) + [7 + (drawn[2] + i) % 90 for i in range(drawn[1] + 1)]
    )
)
ARRIVALS = st.lists(st.tuples(PROMPTS, st.integers(1, 40), st.integers(0, 6)), max_size=14)
EVENTS = st.lists(st.sampled_from(["step", "step", "step", "cancel", "preempt"]), max_size=60)


def sequence(prompt: list[int], max_tokens: int) -> Sequence:
    request = GenerationRequest(prompt, max_tokens, Sampling(), frozenset())
    return Sequence(Generation("", request, asyncio.Event()), request)


class Room:
    """The cache as what lies where: tokens in the place of their keys and values."""

    def __init__(self) -> None:
        self.tokens: list[int | None] = [None] * (NUM_CELLS * CELL_TOKENS)

    def take(self, step: Step) -> None:
        for copy in step.copies:
            moved = self.tokens[copy.source : copy.source + copy.num_tokens]
            self.tokens[copy.target : copy.target + copy.num_tokens] = moved
        for chunk in step.chunks:
            ids = chunk.sequence.ids(chunk.start, chunk.end)
            first = chunk.span.first
            # all that attention will look at is what this sequence has said so far
            before = self.tokens[first : first + chunk.start]
            assert before == chunk.sequence.ids(0, chunk.start)
            self.tokens[first + chunk.start : first + chunk.end] = ids


def check(scheduler: Scheduler, step: Step) -> None:
    spans = sorted((c.span.first, c.span.first + c.span.capacity) for c in step.chunks)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert sum(chunk.end - chunk.start for chunk in step.chunks) <= max(STEP_TOKENS, MAX_RUNNING)
    for chunk in step.chunks:
        assert chunk.start < chunk.end <= chunk.span.capacity
        assert chunk.span is chunk.sequence.span
    singles = [chunk.end - chunk.start == 1 for chunk in step.chunks]
    assert singles == sorted(singles, reverse=True)
    assert len(scheduler.running) <= MAX_RUNNING


@settings(max_examples=200, deadline=None)
@given(ARRIVALS, EVENTS, st.randoms(use_true_random=False))
def test_all_end_and_all_room_comes_back(arrivals, events, draw) -> None:  # type: ignore[no-untyped-def]
    scheduler = Scheduler(
        Cells(NUM_CELLS, CELL_TOKENS), max_running=MAX_RUNNING, step_tokens=STEP_TOKENS
    )
    room = Room()
    coming = [sequence(prompt, most) for prompt, most, _ in arrivals]
    unfinished: list[Sequence] = []
    admitted: list[Sequence] = []
    idle = 0
    events = iter(events)
    while coming or unfinished:
        event = next(events, "step")
        if coming and (event == "step" or not unfinished):
            unfinished.append(coming[0])
            scheduler.add([coming.pop(0)])
        if event == "cancel" and unfinished:
            scheduler.remove(unfinished.pop(draw.randrange(len(unfinished))))
        if event == "preempt" and len(scheduler.running) > 1:
            scheduler.preempt(len(scheduler.running) // 2)
        step = scheduler.schedule()
        check(scheduler, step)
        admitted += [c.sequence for c in step.chunks if c.sequence not in admitted]
        room.take(step)
        scheduler.computed(step)
        idle = 0 if step.chunks else idle + 1
        assert idle < 3 or not unfinished, f"nobody goes on: {scheduler}"
        for chunk in step.chunks:
            if chunk.picks:
                chunk.sequence.tokens.append(100 + draw.randrange(50))
                if len(chunk.sequence.tokens) == chunk.sequence.request.max_tokens:
                    scheduler.remove(chunk.sequence)
                    unfinished.remove(chunk.sequence)
    assert scheduler.cells.num_tokens_lent == 0
    assert not scheduler.running
    assert not scheduler.waiting


def test_a_prompt_that_begins_as_another_is_not_computed_twice() -> None:
    scheduler = Scheduler(Cells(4, 64), max_running=4, step_tokens=64)
    shared = list(range(40))
    scheduler.add([sequence([*shared, 50], 5), sequence([*shared, 60], 5)])
    first = scheduler.schedule()
    assert len(first.chunks) == 1  # the second waits for what the first computes
    scheduler.computed(first)
    (chunk,) = first.chunks
    chunk.sequence.tokens.append(1)
    second = scheduler.schedule()
    (copy,) = second.copies
    assert (copy.source, copy.num_tokens) == (0, 2 * BLOCK_TOKENS)
    assert {(c.start, c.end) for c in second.chunks} == {(41, 42), (2 * BLOCK_TOKENS, 41)}
    assert scheduler.num_tokens_reused == 2 * BLOCK_TOKENS


def test_nobody_waits_for_a_prefix_whose_owner_left() -> None:
    scheduler = Scheduler(Cells(4, 256), max_running=4, step_tokens=32)
    owner, other = sequence(list(range(200)), 5), sequence([*range(200), 7], 5)
    scheduler.add([owner, other])
    scheduler.computed(scheduler.schedule())
    scheduler.remove(owner)
    step = scheduler.schedule()
    assert [chunk.sequence for chunk in step.chunks] == [other]
    assert [copy.num_tokens for copy in step.copies] == [32]


def test_what_lies_in_room_that_was_lent_again_is_no_match() -> None:
    index = PrefixIndex(100)
    prompt = list(range(64))
    span = Span(0, 64, num_computed=64)
    index.add(prompt, span)
    assert index.match([*prompt, 1]).num_tokens == 64
    assert index.match(prompt).num_tokens == 48  # its last token must be computed for its logits
    span.alive = False
    assert index.match([*prompt, 1]).span is None


def test_a_hole_is_filled_when_nobody_waits() -> None:
    scheduler = Scheduler(Cells(4, 64), max_running=4, step_tokens=64)
    low, high = sequence([1, 2, 3], 20), sequence([4, 5, 6], 20)
    scheduler.add([low, high])
    step = scheduler.schedule()
    scheduler.computed(step)
    for chunk in step.chunks:
        chunk.sequence.tokens.append(9)
    scheduler.remove(low)
    step = scheduler.schedule()
    assert [(c.source, c.target, c.num_tokens) for c in step.copies] == [(64, 0, 3)]
    assert [(c.span.first, c.start, c.end) for c in step.chunks] == [(0, 3, 4)]
