"""Continuous batching: sequences join and leave between two steps of one thread.

The event loop hands sequences over and takes their news; the engine's own thread schedules,
computes and samples. Neither waits for the other.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from .batch import LENGTH_STEP, make_batch
from .decoder import Decoder
from .errors import (
    ApiError,
    EngineStopped,
    InvalidRequest,
    OutOfMemory,
    QueueFull,
)
from .generation import (
    Capacity,
    EngineState,
    FinishReason,
    Generation,
    GenerationGroup,
    GenerationRequest,
    TokenLogprobs,
    nothing_to_say,
)
from .kv_cache import Cells
from .sampling import Sampled, Sampler
from .scheduler import Chunk, Scheduler, Step
from .scheduler import Sequence as Running

logger = logging.getLogger(__name__)

STEP_TOKENS = 512  # most tokens in one step, so a long prompt delays the others' next token little
STOP_TIMEOUT_S = 10.0  # a step on a slow CPU with a full prefill takes about a second
STEPS_UNTIL_REGROWTH = 1000  # without running out of memory, before more is tried again


@dataclass(frozen=True, slots=True)
class News:
    """What a step brought to one sequence."""

    generation: Generation
    tokens: list[int]
    logprobs: list[TokenLogprobs]
    finish_reason: FinishReason | None = None
    error: ApiError | None = None


class BatchingEngine:
    """An `Engine` (see generation.py). `start` and all later calls belong to one event loop."""

    name = "slots"

    @classmethod
    def on_one_thread(
        cls, make_decoder: Callable[[], Decoder], capacity: Capacity, num_threads: int
    ) -> BatchingEngine:
        """Made by the thread that will run it, which thus is the only one with a pool of helpers.

        A second pool, even an idle one, makes a process have more threads than there are cores,
        and OpenMP then puts helpers to sleep between any two operations: every step takes 1.6
        times as long. The caller has torch use one thread as long as it works with it itself.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

        def make() -> BatchingEngine:
            torch.set_num_threads(num_threads)
            return cls(make_decoder(), capacity, thread)

        try:
            return thread.submit(make).result()
        except BaseException:
            thread.shutdown(wait=False)
            raise

    def __init__(
        self, decoder: Decoder, capacity: Capacity, thread: ThreadPoolExecutor | None = None
    ) -> None:
        """Takes the room of the KV cache: here, and not at the first request, memory runs out."""
        self._decoder = decoder
        self._capacity = capacity
        cells = _make_cells(capacity)
        self._cache = decoder.sizes.make_cache(cells.num_tokens)
        self._exact_sizes = decoder.exact_sizes()
        self._scheduler = Scheduler(
            cells,
            max_running=capacity.max_concurrency,
            step_tokens=_step_tokens(capacity.max_concurrency, self._exact_sizes),
        )
        self._sampler = Sampler(decoder.sizes.vocab_size, decoder.sizes.device)
        self._steps_since_shrinking = 0
        self._ids = itertools.count()
        self._unfinished: dict[str, Generation] = {}  # the event loop's view
        self._failure: str | None = None
        self._generated_tokens = self._prompt_tokens = self._num_steps = 0
        self._commands: deque[Callable[[], None]] = deque()
        self._woken = threading.Condition()
        self._stopping = False
        self._running: dict[str, Running] = {}  # the engine thread's view
        self._thread = thread or ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._ended: Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<BatchingEngine {self._scheduler}>"

    # --- on the event loop

    def start(self) -> None:
        """Start the generation thread and bring its news to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._ended = self._thread.submit(self._run)

    async def stop(self) -> None:
        """Fail what is unfinished, end the thread and wait for it: at most one step long."""
        self.abort("the server is stopping")
        self._stopping = True
        self._tell(lambda: None)
        self._thread.shutdown(wait=False)
        if self._ended is not None:
            await asyncio.wait([asyncio.wrap_future(self._ended)], timeout=STOP_TIMEOUT_S)

    def state(self) -> EngineState:
        # Those cancelled just now are no longer counted, though a step with them may be under way.
        num_running = min(len(self._scheduler.running), len(self._unfinished))
        return EngineState(
            num_running=num_running,
            num_waiting=len(self._unfinished) - num_running,
            generated_tokens=self._generated_tokens,
            failure=self._failure,
            kv_tokens_used=self._scheduler.cells.num_tokens_lent,
            kv_tokens_total=self._scheduler.cells.num_tokens,
            prompt_tokens=self._prompt_tokens,
            prefix_tokens_reused=self._scheduler.num_tokens_reused,
            num_steps=self._num_steps,
        )

    @contextmanager
    def submit(self, requests: Sequence[GenerationRequest]) -> Iterator[GenerationGroup]:
        self.require_room(len(requests))
        changed = asyncio.Event()
        members = [Generation(f"seq-{next(self._ids)}", r, changed) for r in requests]
        self._unfinished.update({member.id: member for member in members})
        self._tell(lambda: self._take_in(members))
        try:
            yield GenerationGroup(members, changed, self._cancel)
        finally:
            for member in members:
                self._cancel(member)

    def require_room(self, num_requests: int) -> None:
        if self._failure is not None:
            raise EngineStopped(f"no text is generated any more: {self._failure}")
        most = self._capacity.max_concurrency + self._capacity.max_queue
        if num_requests > most:
            raise InvalidRequest(f"{num_requests} sequences in one request; at most {most} here")
        if num_requests > most - len(self._unfinished):
            state = self.state()
            raise QueueFull(
                f"{state.num_running} sequences are running and {state.num_waiting} waiting "
                f"(at most {self._capacity.max_concurrency} and {self._capacity.max_queue}); "
                f"no room for {num_requests} more. Retry later, or start the server with a "
                "larger --max-queue"
            )

    def abort(self, failure: str) -> None:
        """Fail everything unfinished and accept nothing more; the first reason given stays."""
        self._failure = self._failure or failure
        unfinished = list(self._unfinished.values())
        for generation in unfinished:
            self._cancel(generation)
            generation.fail(EngineStopped(f"generation was broken off: {self._failure}"))

    def _cancel(self, generation: Generation) -> None:
        """Forget a sequence wherever it stands; harmless once it ended."""
        if self._unfinished.pop(generation.id, None) is not None:
            self._tell(lambda: self._drop(generation.id))

    def _deliver(self, news: Sequence[News]) -> None:
        for item in news:
            if item.generation.id not in self._unfinished:
                continue  # cancelled while the step was under way
            if item.error is not None:
                del self._unfinished[item.generation.id]
                item.generation.fail(item.error)
                continue
            if item.finish_reason is not None:
                del self._unfinished[item.generation.id]
            item.generation.extend(item.tokens, item.finish_reason, item.logprobs)

    def _tell(self, command: Callable[[], None]) -> None:
        """Have the engine's thread do something before its next step."""
        with self._woken:
            self._commands.append(command)
            self._woken.notify()

    # --- on the engine's thread

    def _run(self) -> None:
        cause = "the engine was stopped"
        try:
            while self._heed_commands():
                self._step()
        except BaseException as exc:
            logger.exception("the generation thread ended")
            cause = f"{type(exc).__name__}: {exc}"
        finally:
            self._post(self.abort, cause)

    def _heed_commands(self) -> bool:
        """Do what was told; wait while there is nothing to generate. False: it is time to end."""
        with self._woken:
            while not (self._commands or self._running or self._stopping):
                self._woken.wait()
            commands = list(self._commands)
            self._commands.clear()
        for command in commands:
            command()
        return not self._stopping

    def _take_in(self, members: Sequence[Generation]) -> None:
        for generation in members:
            grammar = generation.request.grammar
            matcher = None if grammar is None else grammar.matcher()
            running = Running(generation, generation.request, matcher=matcher)
            self._running[generation.id] = running
            self._scheduler.add([running])

    def _drop(self, generation_id: str) -> None:
        if (running := self._running.pop(generation_id, None)) is not None:
            if not running.tokens:
                self._clear_if_broken(running)
            self._scheduler.remove(running)

    def _step(self) -> None:
        step = self._scheduler.schedule()
        if not step.chunks:
            return
        for chunk in step.chunks:
            if (generation := chunk.sequence.generation).admitted_s is None:
                generation.admit()
                self._prompt_tokens += len(generation.request.prompt_ids)
        try:
            sampled = self._compute(step)
        except (MemoryError, RuntimeError) as exc:
            if not _is_out_of_memory(exc):
                raise
            self._scheduler.undo(step)
            self._shrink(exc)
            return
        self._scheduler.computed(step)
        self._num_steps += 1
        news = [
            self._apply(chunk, sampled, number)
            for number, chunk in enumerate(chunk for chunk in step.chunks if chunk.picks)
        ]
        self._regrow()
        if told := [item for item in news if item is not None]:
            self._post(self._deliver, told)

    def _compute(self, step: Step) -> Sampled:
        for copy in step.copies:
            self._cache.copy(copy.source, copy.target, copy.num_tokens)
        sizes = self._exact_sizes if _is_exact(step) else []
        batch = make_batch(step.chunks, self._cache, self._decoder.sizes.device, sizes)
        logits = self._decoder.forward(batch)
        return self._sampler.sample(logits, [c.sequence for c in step.chunks if c.picks])

    def _apply(self, chunk: Chunk, sampled: Sampled, number: int) -> News | None:
        """Give a sequence its token. None: its reader need not know yet."""
        running = chunk.sequence
        generation, request = running.generation, running.request
        if not sampled.finite[number]:
            self._cache.clear(chunk.span.first, chunk.span.capacity)
            chunk.span.num_computed = 0  # zeros are no prefix for anybody
            self._end(running)
            return News(generation, [], [], error=nothing_to_say(running.matcher))
        token = sampled.tokens[number]
        if not running.tokens:
            generation.first_token_s = time.monotonic()
        running.tokens.append(token)
        if running.matcher is not None:
            running.matcher.accept(token)
        self._generated_tokens += 1
        finish_reason: FinishReason | None = None
        if token in request.end_ids:
            finish_reason = "stop"
        elif len(running.tokens) >= request.max_tokens:
            finish_reason = "length"
        if (logprobs := sampled.logprobs[number]) is not None:
            running.logprobs.append(logprobs)
        if finish_reason is not None:
            self._end(running)
        elif not request.incremental:
            return None
        told, running.num_told = running.num_told, len(running.tokens)
        return News(generation, running.tokens[told:], running.logprobs[told:], finish_reason)

    def _clear_if_broken(self, running: Running) -> None:
        """No token was picked yet from what is in the cache, so nobody knows whether it is NaN,
        which would reach whoever has the room next."""
        if (span := running.span) is not None and not self._cache.is_finite(
            span.first, running.num_tokens
        ):
            self._cache.clear(span.first, running.num_tokens)
            span.num_computed = 0

    def _end(self, running: Running) -> None:
        del self._running[running.generation.id]
        self._scheduler.remove(running)

    def _shrink(self, cause: Exception) -> None:
        """Out of memory: half of the sequences wait from now on; one that is alone must fail."""
        running = self._scheduler.running
        self._steps_since_shrinking = 0
        if len(running) == 1:
            (alone,) = running
            self._clear_if_broken(alone)
            self._end(alone)
            error = OutOfMemory(f"this sequence alone is too much for the memory: {cause}")
            self._post(self._deliver, [News(alone.generation, [], [], error=error)])
            return
        kept = math.ceil(len(running) / 2)
        logger.warning("out of memory in a step of %d sequences: on with %d", len(running), kept)
        self._scheduler.max_running = kept
        for each in running[kept:]:
            self._clear_if_broken(each)
        self._scheduler.preempt(len(running) - kept)

    def _regrow(self) -> None:
        self._steps_since_shrinking += 1
        most = self._capacity.max_concurrency
        if self._scheduler.max_running < most and (
            self._steps_since_shrinking % STEPS_UNTIL_REGROWTH == 0
        ):
            self._scheduler.max_running = min(2 * self._scheduler.max_running, most)

    def _post(self, call: Callable[..., None], argument: object) -> None:
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(call, argument)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            self._stopping = True


def _step_tokens(max_concurrency: int, exact_sizes: Sequence[int]) -> int:
    """Tokens of a step at most: of an exact size, if one leaves room to read prompts besides."""
    least = max_concurrency + LENGTH_STEP
    fitting = [size for size in exact_sizes if least <= size <= STEP_TOKENS]
    return max(fitting, default=max(STEP_TOKENS, 2 * max_concurrency))


def _is_exact(step: Step) -> bool:
    """Whether a text must not depend on the company it is made in: where a client gave a seed,
    and in prompts, which others may copy. It costs rows that only fill the batch up."""
    return any(
        chunk.sequence.request.sampling.seeded or chunk.end - chunk.start > 1
        for chunk in step.chunks
    )


def _make_cells(capacity: Capacity) -> Cells:
    """Each an even share of the room, in whole steps of length. Rounded up: a sequence that fills
    all of `kv_tokens` must find room, or it would wait for ever, and all others behind it."""
    share = capacity.kv_tokens // capacity.max_concurrency
    cell_tokens = max(share // LENGTH_STEP, 1) * LENGTH_STEP
    return Cells(math.ceil(capacity.kv_tokens / cell_tokens), cell_tokens)


def _is_out_of_memory(exc: Exception) -> bool:
    """torch has a class for it on CUDA; on CPU, a RuntimeError of its allocator."""
    known = isinstance(exc, MemoryError | torch.OutOfMemoryError)
    return known or "can't allocate memory" in str(exc)
