"""`serve`: load a model, listen, and block until told to stop. One call is one process's life."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import math
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import uvicorn

from .app import build_app
from .background import in_background
from .checkpoint import inspect
from .conversion import look_up
from .generation import Capacity, RunningEngine
from .machine import return_freed_memory, usable_cores
from .progress import Progress
from .service import ServedModel, Service
from .shutdown import (
    Stopped,
    calling_on_signals,
    exit_when_stdin_closes,
    exiting_on_signals,
    stopping_on_signals,
)
from .source import TooLittleMemory, WeightsError, find, require_known

if TYPE_CHECKING:  # torch and transformers take seconds to import: only `_load` does it
    from .weights import LoadedModel

API_KEY_VARIABLE = "WEAVE_ASYNC_SERVER_API_KEY"
EXIT_UNAVAILABLE = 69  # sysexits.h: the port is taken, memory ran out, …
EXIT_CONFIG = 78  # sysexits.h: no such model, a bad option, …
KV_TOKENS_EACH = 1024  # default share of the KV cache for one concurrent request
GRACE_S = 2.0  # how long requests under way may go on once the server was told to stop
KEEP_ALIVE_S = 75  # longer than clients keep idle connections, so they are the ones to close them
MAX_CONNECTIONS = 2048
MOST_THREADS = 1024
SPIN_COUNT = 20_000
"""How often an OpenMP helper looks for work before it sleeps. By default it goes on for so long
that, on a busy machine, it spins where another should compute: a step takes 30 times as long."""

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


@dataclass(frozen=True, slots=True)
class _Options:
    model: str
    host: str
    port: int
    device: str
    dtype: str
    max_concurrency: int
    max_queue: int
    max_context: int | None
    kv_tokens: int | None
    threads: int | None
    engine: str


class StartError(Exception):
    """The server cannot start; the message is one line for the person who started it."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def serve(
    *,
    model: str = "smollm2-135m",
    host: str = "127.0.0.1",
    port: int = 8000,
    device: str = "auto",
    dtype: str = "auto",
    max_concurrency: int = 64,
    max_queue: int = 256,
    max_context: int | None = None,
    kv_tokens: int | None = None,
    threads: int | None = None,
    engine: str = "auto",
    exit_on_stdin_close: bool = False,
    on_event: OnEvent | None = None,
) -> int:
    """Serve until SIGINT or SIGTERM, and return the exit code for the process.

    `port=0` takes any free one. `max_context` defaults to what the model was made for, `kv_tokens`
    (room of the KV cache, shared by all requests) to 1024 for each concurrent one, `threads` to
    the cores that we may use.

    The key, if one is wanted, comes from the environment (`WEAVE_ASYNC_SERVER_API_KEY`). Signals
    are handled only when called from the main thread. Never raises for a failed start: that is
    an `error` event and its exit code.
    """
    emit = on_event or (lambda event: None)
    options = _Options(
        model=model,
        host=host,
        port=port,
        device=device,
        dtype=dtype,
        max_concurrency=max_concurrency,
        max_queue=max_queue,
        max_context=max_context,
        kv_tokens=kv_tokens,
        threads=threads,
        engine=engine,
    )
    _prepare_libraries()
    if exit_on_stdin_close:
        threading.Thread(target=exit_when_stdin_closes, daemon=True).start()
    try:
        with stopping_on_signals(), contextlib.closing(_bind(options)) as listener:
            with _collector_resting():
                served, running = _load(options, emit)
            with Service(served, running) as service:
                return asyncio.run(_listen(options, service, running, listener, emit))
    except StartError as exc:
        emit({"event": "error", "message": str(exc), "exit_code": exc.exit_code})
        return exc.exit_code
    except Stopped as exc:
        return exc.exit_code


def _bind(options: _Options) -> socket.socket:
    """Take the port before the long load, but do not listen: clients are refused, not kept."""
    if not _is_loopback(options.host) and not os.environ.get(API_KEY_VARIABLE):
        raise StartError(
            f"host {options.host!r} can be reached from other machines: set {API_KEY_VARIABLE} "
            "to a key that clients must send, or use 127.0.0.1",
            EXIT_CONFIG,
        )
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    # With the protocol named, or else asyncio does not set TCP_NODELAY on what it accepts, and an
    # answer written as head and body waits 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((options.host, options.port))
    except OSError as exc:
        listener.close()
        raise _cannot_listen(options, exc) from exc
    return listener


def _cannot_listen(options: _Options, exc: OSError) -> StartError:
    return StartError(
        f"cannot listen on {options.host}:{options.port}: {exc.strerror or exc}; "
        "choose another --port (0 takes any free one)",
        EXIT_UNAVAILABLE,
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _load(options: _Options, emit: OnEvent) -> tuple[ServedModel, RunningEngine]:
    """Seconds of work: import torch, read the weights, allocate the KV cache."""
    emit({"event": "loading", "model": options.model})
    began = time.monotonic()
    progress = Progress(emit)
    try:
        require_known(options.device, options.dtype)
        source = find(options.model)  # before the slow imports: a wrong name fails at once
        looked_up = in_background(partial(look_up, source.gguf)) if source.gguf else None
        if source.location and not source.gguf:
            inspect(source.location)
        importing = progress.step("importing", "importing torch and transformers")
        with importing, exiting_on_signals():
            import torch

            from .engines import ENGINES, make_engine
            from .weights import load

        if options.engine not in ENGINES:
            raise WeightsError(f"unknown engine {options.engine!r}; known: {', '.join(ENGINES)}")

        num_threads = options.threads or min(torch.get_num_threads(), usable_cores())
        if num_threads > MOST_THREADS:
            raise WeightsError(f"{num_threads} threads; at most {MOST_THREADS}, best the cores")
        torch.set_num_threads(1)  # see BatchingEngine.on_one_thread
        loaded = load(source, options.device, options.dtype, progress, looked_up)
        context_tokens, kv_tokens = _size(options, loaded.context_tokens)
        capacity = Capacity(options.max_concurrency, options.max_queue, kv_tokens)
        warn = partial(_warn, emit)
        with progress.step("loading", "laying out weights and KV cache"):
            engine = make_engine(options.engine, loaded, capacity, num_threads, warn)
            return_freed_memory()
    except TooLittleMemory as exc:
        raise StartError(str(exc), EXIT_UNAVAILABLE) from exc
    except WeightsError as exc:
        raise StartError(str(exc), EXIT_CONFIG) from exc
    except ImportError as exc:
        raise StartError(f"{exc}; run: pip install 'weave-async[local]'", EXIT_CONFIG) from exc
    except (RuntimeError, ValueError, OSError) as exc:  # out of memory, …
        raise StartError(
            f"no room for a KV cache of {kv_tokens} tokens, or this model cannot be batched: "
            f"{str(exc).partition(chr(10))[0]}; try a smaller --kv-tokens",
            EXIT_UNAVAILABLE,
        ) from exc
    emit(
        {
            "event": "loaded",
            "seconds": round(time.monotonic() - began, 3),
            "device": loaded.device,
            "dtype": loaded.dtype,
            "threads": num_threads,
        }
    )
    return _describe(loaded, engine, context_tokens), engine


@contextlib.contextmanager
def _collector_resting() -> Iterator[None]:
    """What a start allocates stays: looking through it for garbage costs a sixth of the imports.

    Nor is it looked through later, between two steps of a generation.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _warn(emit: OnEvent, message: str) -> None:
    emit({"event": "warning", "message": message})


def _size(options: _Options, model_context: int) -> tuple[int, int]:
    """Tokens of the longest sequence, and of the KV cache, which must hold at least that one."""
    context = min(options.max_context or model_context, model_context)
    kv_tokens = options.kv_tokens or max(context, options.max_concurrency * KV_TOKENS_EACH)
    return min(context, kv_tokens), kv_tokens


def _describe(loaded: LoadedModel, engine: RunningEngine, context_tokens: int) -> ServedModel:
    # Same fingerprint and seed, same text.
    return ServedModel(
        name=loaded.served_name,
        codec=loaded.codec,
        end_ids=loaded.end_ids,
        vocab_size=loaded.vocab_size,
        context_tokens=context_tokens,
        fingerprint=f"{engine.name}_{loaded.dtype}_{loaded.device}".replace(":", ""),
        created=int(time.time()),
    )


async def _listen(
    options: _Options,
    service: Service,
    engine: RunningEngine,
    listener: socket.socket,
    emit: OnEvent,
) -> int:
    """Answer requests until a signal, then give those under way `GRACE_S` more."""
    try:
        listener.listen(MAX_CONNECTIONS)
    except OSError as exc:  # another process bound the port at the same moment, and listened first
        raise _cannot_listen(options, exc) from exc
    url = _url(options.host, listener.getsockname()[1])
    server = _Server(
        uvicorn.Config(
            build_app(
                service,
                api_key=os.environ.get(API_KEY_VARIABLE) or None,
                allowed_hosts=_allowed_hosts(options.host),
            ),
            lifespan="off",
            http="h11",  # httptools, where it is installed, reads headers of any length
            ws="none",
            log_config=None,
            log_level="error",
            access_log=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=math.ceil(GRACE_S) + 1,
        ),
        on_ready=lambda: emit({"event": "ready", "url": url, "model": service.model.name}),
    )
    stop_signal: list[int] = []

    def stop(signum: int) -> None:
        server.force_exit = bool(stop_signal)  # a second signal: no more grace
        server.should_exit = True
        stop_signal.append(signum)
        asyncio.get_running_loop().call_later(GRACE_S, engine.abort, "the server is stopping")

    with calling_on_signals(stop):
        engine.start()
        try:
            await server.serve(sockets=[listener])
        finally:
            await engine.stop()
    return 128 + stop_signal[0] if stop_signal else 0


class _Server(uvicorn.Server):
    """uvicorn, but signals are ours and there is word of the moment it accepts requests."""

    def __init__(self, config: uvicorn.Config, *, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allowed_hosts(host: str) -> list[str]:
    """On loopback, only names of loopback: a web page that rebinds its DNS name gets nothing."""
    return ["localhost", "127.0.0.1", "[::1]", "::1", host] if _is_loopback(host) else ["*"]


def _prepare_libraries() -> None:
    """No progress bars, no chatter, no telemetry. Before torch or transformers is imported."""
    os.environ.update(
        DO_NOT_TRACK="1",
        HF_HUB_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        TOKENIZERS_PARALLELISM="false",
        TQDM_DISABLE="1",
        TRANSFORMERS_NO_ADVISORY_WARNINGS="1",
        TRANSFORMERS_VERBOSITY="error",
    )
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
