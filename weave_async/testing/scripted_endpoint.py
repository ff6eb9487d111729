"""A real HTTP server on loopback that answers from a script: the provider test double.

::

    def test_a_429_carries_its_wait():
        with ScriptedEndpoint([error_reply(429, headers={"retry-after": "7"})]) as endpoint:
            provider = MyProvider(Endpoint("test", "mine", "m", base_url=endpoint.base_url))
            ...
        assert len(endpoint.requests) == 1

It runs in a thread with a loop of its own, so a slow or broken reply slows nobody else. A script is
a list of replies, given in order of arrival, after which ``echo`` answers; or a function from the
request to a reply. ``echo`` is deterministic: the same request, the same answer, streamed or not.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, Literal, Self

import orjson

Piece = bytes | float
"""A piece of a body: bytes to send, or a number of seconds to pause before the next one."""
Framing = Literal["content-length", "chunked", "close"]

_NO_LINGER = struct.pack("ii", 1, 0)
_SILENCE_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to send for one request, and how badly.

    ``body`` in pieces (also from a generator, also endless) is sent ``chunked`` unless ``framing``
    says otherwise; ``close`` sends no length and ends the body by closing. ``content_length`` lies.
    ``head_delay_s`` passes before the status line, ``body_delay_s`` between head and body.
    ``cut_after`` ends the connection after that many bytes of body, with a reset if ``reset``;
    ``close_after`` ends it after a whole reply, unannounced, as an impatient server does.
    ``raw`` is sent as it stands, in place of all this.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[Piece] = b""
    framing: Framing | None = None
    content_length: int | None = None
    head_delay_s: float = 0.0
    body_delay_s: float = 0.0
    cut_after: int | None = None
    reset: bool = False
    close_after: bool = False
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """A request as it arrived. Header names are in lower case; ``arrived_s`` is monotonic."""

    method: str
    path: str
    headers: Mapping[str, str]
    raw_body: bytes
    arrived_s: float
    connection: int

    @property
    def body(self) -> Any:
        """The JSON in the body, ``None`` where there is none."""
        return orjson.loads(self.raw_body) if self.raw_body else None


Script = Callable[[RecordedRequest], Reply] | Sequence[Reply]


def json_reply(document: Any, status: int = 200, **options: Any) -> Reply:
    """``document`` as JSON. ``options`` are further fields of ``Reply``."""
    headers = {"content-type": "application/json", **options.pop("headers", {})}
    return Reply(status=status, headers=headers, body=orjson.dumps(document), **options)


def chat_reply(text: str, **options: Any) -> Reply:
    """A whole chat completion that says ``text``."""
    return json_reply(chat_completion(text), **options)


def error_reply(
    status: int, message: str = "scripted failure", code: str | None = None, **options: Any
) -> Reply:
    """An error in OpenAI's shape."""
    error = {"message": message, "type": "scripted", "param": None, "code": code}
    return json_reply({"error": error}, status, **options)


def sse_reply(
    events: Iterable[Any], *, done: bool = True, pause_s: float = 0.0, **options: Any
) -> Reply:
    """Server-sent events: a ``str`` or ``bytes`` is one event's data, anything else is JSON."""
    pieces: list[Piece] = []
    for event in [*events, "[DONE]"] if done else events:
        pieces += [_sse(event), pause_s] if pause_s else [_sse(event)]
    headers = {"content-type": "text/event-stream", **options.pop("headers", {})}
    return Reply(headers=headers, body=pieces, **options)


def dripped(body: bytes, every_s: float) -> Iterator[Piece]:
    """``body`` one byte at a time, with a pause after each."""
    for index in range(len(body)):
        yield body[index : index + 1]
        yield every_s


def silence() -> Iterator[Piece]:
    """A body of which nothing ever comes."""
    yield _SILENCE_S


def chat_completion(text: str, model: str = "scripted-model") -> dict[str, Any]:
    """A chat completion as OpenAI sends it, with all the fields that nobody reads."""
    return {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion",
        "created": 1_741_570_283,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": text,
                    "refusal": None,
                    "annotations": [],
                },
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 19,
            "completion_tokens": len(text.split()),
            "total_tokens": 19 + len(text.split()),
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": "fp_fc9f1d7035",
    }


def chat_chunks(text: str, model: str = "scripted-model") -> list[dict[str, Any]]:
    """The same completion as chunks: the role, a chunk per word, the finish, the usage."""
    words = text.split(" ")
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word if i == 0 else " " + word} for i, word in enumerate(words)]
    chunks = [_chunk(model, [{"index": 0, "delta": d, "finish_reason": None}]) for d in deltas]
    chunks.append(_chunk(model, [{"index": 0, "delta": {}, "finish_reason": "stop"}]))
    return [*chunks, _chunk(model, []) | {"usage": chat_completion(text)["usage"]}]


def echo(request: RecordedRequest) -> Reply:
    """The default answer: what was asked, and why it is said again; 404 for an unknown path."""
    if request.path.endswith("/models"):
        return json_reply({"object": "list", "data": [{"id": "scripted-model"}]})
    if not request.path.endswith("/completions"):
        return error_reply(404, f"no such path: {request.path}")
    asked = request.body
    text = _echoed(asked)
    if "messages" not in asked:
        return _text_reply(text, streamed=bool(asked.get("stream")))
    return sse_reply(chat_chunks(text)) if asked.get("stream") else chat_reply(text)


class ScriptedEndpoint:
    """The server; a context manager. ``base_url`` ends in ``/v1``, ``requests`` is its log.

    Name the ``port`` of an earlier one to be that one again, after an outage.
    """

    def __init__(
        self,
        script: Script = echo,
        *,
        ssl_context: ssl.SSLContext | None = None,
        port: int = 0,
    ) -> None:
        self.requests: list[RecordedRequest] = []
        self.num_connections = 0
        self.num_open_connections = 0
        self._script = script if callable(script) else _in_order(script)
        self._ssl_context = ssl_context
        self._port = port
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        self._conversations: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="scripted-endpoint", daemon=True)

    def __repr__(self) -> str:
        return f"<ScriptedEndpoint {self.base_url} {len(self.requests)} requests>"

    @property
    def base_url(self) -> str:
        scheme = "https" if self._ssl_context else "http"
        return f"{scheme}://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        if self._loop is None:
            raise RuntimeError("the scripted endpoint did not start") from self._failure
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop at once, whatever is being answered. Raises what the script raised, if it did."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        if self._failure is not None and exc is None:
            raise self._failure

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as exc:  # shown to whoever enters or leaves
            self._failure = exc
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        server = await asyncio.start_server(
            self._accept, "127.0.0.1", self._port, ssl=self._ssl_context, backlog=1024
        )
        self._port = server.sockets[0].getsockname()[1]
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        async with server:
            await self._stopping.wait()
        for task in self._conversations:
            task.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.num_connections += 1
        task = asyncio.create_task(self._converse(reader, writer, self.num_connections))
        self._conversations.add(task)
        task.add_done_callback(self._conversations.discard)

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> None:
        """Answer one connection's requests in turn, until either side has had enough."""
        self.num_open_connections += 1
        early: bytes | None = b""
        try:
            while early is not None:
                request = await _read_request(reader, early, connection)
                self.requests.append(request)
                early = await _send_while_watched(self._script(request), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass  # the client has left
        except Exception as exc:  # the script's own mistake; raised again on leaving
            self._failure = exc
        finally:
            self.num_open_connections -= 1
            writer.close()


async def _read_request(
    reader: asyncio.StreamReader, early: bytes, connection: int
) -> RecordedRequest:
    head = early + await reader.readuntil(b"\r\n\r\n")
    arrived_s = time.monotonic()
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines if line)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return RecordedRequest(method, path, headers, body, arrived_s, connection)


async def _send_while_watched(
    reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> bytes | None:
    """Send ``reply`` unless the client leaves first.

    Returns what came of the next request meanwhile; ``None`` when the connection is to end.
    """
    watching = asyncio.create_task(reader.read(1))
    sending = asyncio.create_task(_send(reply, writer))
    try:
        await asyncio.wait({watching, sending}, return_when=asyncio.FIRST_COMPLETED)
        if not sending.done() and watching.result() == b"":
            return None
        lives_on = await sending
        early = watching.result() if watching.done() else b""
        return early if lives_on else None
    finally:
        watching.cancel()
        sending.cancel()
        await asyncio.gather(watching, sending, return_exceptions=True)


async def _send(reply: Reply, writer: asyncio.StreamWriter) -> bool:
    """Send ``reply`` with all its faults; whether the connection may be used again."""
    if reply.head_delay_s:
        await asyncio.sleep(reply.head_delay_s)
    if reply.raw is not None:
        writer.write(reply.raw)
        await writer.drain()
        return False
    framing = _framing(reply)
    writer.write(_head(reply, framing))
    if reply.body_delay_s:
        await writer.drain()
        await asyncio.sleep(reply.body_delay_s)
    whole = await _send_body(reply, framing, writer)
    await writer.drain()
    if reply.reset:
        reset_connection(writer)
    return whole and framing != "close" and not reply.close_after


async def _send_body(reply: Reply, framing: Framing, writer: asyncio.StreamWriter) -> bool:
    """Send the body's pieces; whether all of it went out as the head had promised."""
    left = reply.cut_after
    for piece in [reply.body] if isinstance(reply.body, bytes) else reply.body:
        if not isinstance(piece, bytes):
            await writer.drain()
            await asyncio.sleep(piece)
            continue
        cut = piece if left is None else piece[:left]
        writer.write(_chunked(cut) if framing == "chunked" else cut)
        await writer.drain()
        left = None if left is None else left - len(cut)
        if left == 0:
            return False
    if framing == "chunked":
        writer.write(b"0\r\n\r\n")
    return reply.content_length is None


def _framing(reply: Reply) -> Framing:
    return reply.framing or ("content-length" if isinstance(reply.body, bytes) else "chunked")


def _head(reply: Reply, framing: Framing) -> bytes:
    phrase = HTTPStatus(reply.status).phrase if reply.status in _KNOWN_STATUSES else "Unknown"
    lines = [f"HTTP/1.1 {reply.status} {phrase}"]
    lines += [f"{name}: {value}" for name, value in reply.headers.items()]
    if framing == "chunked":
        lines.append("transfer-encoding: chunked")
    elif framing == "content-length":
        lines.append(f"content-length: {_content_length(reply)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


_KNOWN_STATUSES = frozenset(HTTPStatus)


def _content_length(reply: Reply) -> int:
    if reply.content_length is not None:
        return reply.content_length
    body = reply.body if isinstance(reply.body, bytes) else b""
    return len(body)


def _chunked(piece: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(piece), piece) if piece else b""


def reset_connection(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST: the peer loses what it has not read yet."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
    writer.transport.abort()


def _sse(event: Any) -> bytes:
    data = event.encode() if isinstance(event, str) else event
    return b"data: %b\n\n" % (data if isinstance(data, bytes) else orjson.dumps(event))


def _chunk(model: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": "chatcmpl-B9MHDbslfkBeAs8l4bebGdFOJ6PeG",
        "object": "chat.completion.chunk",
        "created": 1_741_570_283,
        "model": model,
        "system_fingerprint": "fp_fc9f1d7035",
        "choices": choices,
        "usage": None,
    }


def _text_reply(text: str, *, streamed: bool) -> Reply:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    completion = {**chat_completion(text), "object": "text_completion", "choices": [choice]}
    return sse_reply([completion]) if streamed else json_reply(completion)


def _echoed(asked: Mapping[str, Any]) -> str:
    if "messages" in asked:
        question = asked["messages"][-1]["content"] if asked["messages"] else ""
    else:
        question = asked.get("prompt", "")
    return f"You said: {question} {_PADDING}".strip()


_PADDING = (
    "I repeat it word for word, because an endpoint that plays from a script has nothing of its "
    "own to add; what it can add is length, so that an answer weighs as much as an answer does. "
    "A sentence more, and one after that, bring this to the size of a short reply of a model, "
    "with its usage counted in words, its fingerprint, its service tier and all the other fields "
    "that a client has to parse before it can throw them away. Whoever measures a client against "
    "this endpoint measures it on something like the bodies that it will meet outside, and whoever "
    "needs other sizes writes a script of two lines."
)


def _in_order(replies: Sequence[Reply]) -> Callable[[RecordedRequest], Reply]:
    waiting = iter(replies)
    return lambda request: next(waiting, None) or echo(request)
