"""Continuous batching on transformers' manager: requests join and leave between two steps.

The manager owns one thread that runs the model. This module decides what is handed to it (never
more than `max_concurrency` sequences, never more than the KV cache can hold to the end), and brings
its news back to the event loop.
"""

from __future__ import annotations

import asyncio
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.continuous_api import (
    BackgroundThreadStatus,
    ContinuousBatchingManager,
    OutputRouter,
)
from transformers.generation.continuous_batching.requests import GenerationOutput, RequestStatus

from .errors import ApiError, EngineStopped, GenerationFailed, InvalidRequest, QueueFull
from .generation import (
    Capacity,
    EngineState,
    FinishReason,
    Generation,
    GenerationGroup,
    GenerationRequest,
    nothing_to_say,
)
from .paged_sampler import PagedRow, RowSampler
from .weights import LoadedModel

PAGE_TOKENS = 32  # KV cache page: small pages waste little at the end of short sequences
BATCH_TOKENS = 512  # most tokens in one step, so a long prompt delays the others' next token little
STOP_TIMEOUT_S = 10.0  # a step on a slow CPU with a full prefill takes about a second


class PagedEngine:
    """An `Engine` (see generation.py). `start` and all later calls belong to one event loop."""

    name = "transformers"

    def __init__(self, loaded: LoadedModel, capacity: Capacity) -> None:
        """Allocates the KV cache: here, and not at the first request, is where memory runs out."""
        self._capacity = capacity
        self._waiting: deque[Generation] = deque()
        self._running: dict[str, Generation] = {}
        self._num_pages = math.ceil(capacity.kv_tokens / PAGE_TOKENS)
        self._free_pages = self._num_pages
        self._generated_tokens = 0
        self._failure: str | None = None
        self._ids = itertools.count()
        self._rows: dict[str, PagedRow] = {}  # of the running ones
        self._sampler = RowSampler(loaded.vocab_size, torch.device(loaded.device))
        self._router = _LoopRouter(self._on_outputs)
        self._status = _LoopStatus(self._on_thread_end)
        self._manager = self._make_manager(loaded)

    def __repr__(self) -> str:
        return (
            f"<PagedEngine {len(self._running)}/{self._capacity.max_concurrency} running, "
            f"{len(self._waiting)}/{self._capacity.max_queue} waiting, "
            f"{self._free_pages}/{self._num_pages} pages free>"
        )

    def _make_manager(self, loaded: LoadedModel) -> ContinuousBatchingManager:
        manager: ContinuousBatchingManager = loaded.model.init_continuous_batching(
            # The sampler picks; what remains for the manager is an argmax.
            GenerationConfig(do_sample=False, eos_token_id=-1),  # type: ignore[no-untyped-call]
            ContinuousBatchingConfig(
                page_size=PAGE_TOKENS,
                num_blocks=self._num_pages,
                max_batch_tokens=max(BATCH_TOKENS, self._capacity.max_concurrency),
                max_requests_per_batch=self._capacity.max_concurrency,
                # Reusing another request's prefix changes the shape of the prefill and so the last
                # bits of the logits: the same seed could then give another text.
                allow_block_sharing=False,
                safety_margin=0.0,  # room is reserved before admission, see `_admit`
                use_async_batching=False,  # see RowSampler
                use_cuda_graph=False,
                auto_switch_to_flash=False,  # it would fetch kernels from the hub; see weights.py
            ),
        )
        manager.logit_processor = self._sampler
        manager.output_router = self._router
        manager.background_thread_status = self._status
        manager.warmup()
        return manager

    def start(self) -> None:
        """Start the generation thread and bring its news to the running event loop."""
        loop = asyncio.get_running_loop()
        self._router.loop = self._status.loop = loop
        self._manager.start()

    async def stop(self) -> None:
        """Fail what is unfinished, end the thread and wait for it: at most one step long."""
        self.abort("the server is stopping")
        await asyncio.to_thread(self._manager.stop, timeout=STOP_TIMEOUT_S, hard_stop=True)

    def state(self) -> EngineState:
        return EngineState(
            num_running=len(self._running),
            num_waiting=len(self._waiting),
            generated_tokens=self._generated_tokens,
            failure=self._failure,
        )

    @contextmanager
    def submit(self, requests: Sequence[GenerationRequest]) -> Iterator[GenerationGroup]:
        self.require_room(len(requests))
        changed = asyncio.Event()
        members = [Generation(f"seq-{next(self._ids)}", r, changed) for r in requests]
        self._waiting.extend(members)
        self._admit()
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
        slots = self._capacity.max_concurrency - len(self._running)
        places = slots + self._capacity.max_queue - len(self._waiting)
        if num_requests > places:
            raise QueueFull(
                f"{len(self._running)} sequences are running and {len(self._waiting)} waiting "
                f"(at most {self._capacity.max_concurrency} and {self._capacity.max_queue}); "
                f"no room for {num_requests} more. Retry later, or start the server with a "
                "larger --max-queue"
            )

    def _admit(self) -> None:
        """Hand waiting sequences to the manager, first come first served, while all fits.

        A sequence reserves the pages of its longest possible end, so the manager never has to
        throw away the work of a running one to make room.
        """
        while self._waiting and len(self._running) < self._capacity.max_concurrency:
            pages = _pages(self._waiting[0].request)
            if pages > self._free_pages:
                return
            generation = self._waiting.popleft()
            self._free_pages -= pages
            self._running[generation.id] = generation
            row = self._rows[generation.id] = _row(generation.request)
            generation.admit()
            self._manager.add_request(
                list(generation.request.prompt_ids),
                request_id=generation.id,
                max_new_tokens=generation.request.max_tokens,
                streaming=True,
                eos_token_id=list(generation.request.end_ids) or -1,
                row=row,
            )

    def _cancel(self, generation: Generation) -> None:
        """Forget a sequence wherever it stands; harmless once it ended.

        The manager reads cancellations before new requests are scheduled, so the pages given back
        here are free by the time another sequence needs them.
        """
        if generation.id in self._running:
            self._manager.cancel_request(generation.id)
            self._release(generation)
            self._admit()
        elif not generation.done and generation in self._waiting:
            self._waiting.remove(generation)
            self._admit()

    def _release(self, generation: Generation) -> None:
        del self._running[generation.id], self._rows[generation.id]
        self._free_pages += _pages(generation.request)

    def _on_outputs(self, outputs: Sequence[GenerationOutput]) -> None:
        """One step's news. Runs on the event loop."""
        for output in outputs:
            generation = self._running.get(output.request_id)
            if generation is None:
                continue  # cancelled while the step was under way
            if error := self._error_in(output):
                self._cancel(generation)
                generation.fail(error)
                continue
            new = slice(len(generation.tokens), len(output.generated_tokens))
            logprobs = self._rows[generation.id].logprobs[new]
            self._generated_tokens += new.stop - new.start
            if output.is_finished():
                self._release(generation)
            finish_reason = _finish_reason(output, generation.request)
            generation.extend(output.generated_tokens[new], finish_reason, logprobs)
        self._admit()

    def _error_in(self, output: GenerationOutput) -> ApiError | None:
        if self._rows[output.request_id].poisoned:
            return nothing_to_say(self._rows[output.request_id].matcher)
        if output.status == RequestStatus.FAILED:
            return GenerationFailed(f"generation failed: {output.error}")
        return None

    def _on_thread_end(self, cause: BaseException | None) -> None:
        """The generation thread is gone: tell everyone who would otherwise wait forever."""
        self.abort(f"{type(cause).__name__}: {cause}" if cause else "the engine was stopped")

    def abort(self, failure: str) -> None:
        """Fail everything unfinished and accept nothing more; the first reason given stays."""
        self._failure = self._failure or failure
        unfinished = [*self._running.values(), *self._waiting]
        self._running.clear()
        self._rows.clear()
        self._waiting.clear()
        for generation in unfinished:
            generation.fail(EngineStopped(f"generation was broken off: {self._failure}"))


def _row(request: GenerationRequest) -> PagedRow:
    return PagedRow(request, matcher=request.grammar.matcher() if request.grammar else None)


def _pages(request: GenerationRequest) -> int:
    return math.ceil(request.num_tokens / PAGE_TOKENS)


def _finish_reason(output: GenerationOutput, request: GenerationRequest) -> FinishReason | None:
    if not output.is_finished():
        return None
    return "stop" if output.generated_tokens[-1] in request.end_ids else "length"


class _LoopRouter(OutputRouter):
    """Brings a whole step's news to the event loop in one wake-up.

    The manager's own per-request handlers stay registered for ever when a request is cancelled.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, on_outputs: Callable[[Sequence[GenerationOutput]], None]) -> None:
        super().__init__()
        self._on_outputs = on_outputs

    def deliver_batch(self, outputs: list[GenerationOutput]) -> None:
        self.loop.call_soon_threadsafe(self._on_outputs, outputs)

    def deliver(self, output: GenerationOutput) -> None:
        self.deliver_batch([output])


class _LoopStatus(BackgroundThreadStatus):
    """Says so when the generation thread ends, on whichever path."""

    loop: asyncio.AbstractEventLoop

    def __init__(self, on_end: Callable[[BaseException | None], None]) -> None:
        super().__init__()
        self._on_end = on_end

    def mark_as_stopped(self) -> None:
        super().mark_as_stopped()
        self.loop.call_soon_threadsafe(self._on_end, self.fatal_error)
