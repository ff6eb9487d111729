"""The app over a `FakeEngine`, without a process or a model: each step is the test's."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette

from providers.local.server.app import build_app
from providers.local.server.service import ServedModel, Service
from providers.local.server.vocabulary import Vocabulary
from tiny_models import MAX_CONTEXT, make_tokenizer

from .fake_engine import FakeEngine

RUST = make_tokenizer().backend_tokenizer
END_ID = 1


class TinyCodec:
    """One token per byte; a chat is its messages' contents."""

    vocabulary = Vocabulary(RUST)

    def encode(self, text: str) -> list[int]:
        return list(RUST.encode(text).ids)

    def encode_chat(self, messages: Sequence[dict[str, str]]) -> list[int]:
        return self.encode("\n".join(message["content"] for message in messages))


def make_service(engine: FakeEngine) -> Service:
    model = ServedModel(
        name="tiny",
        codec=TinyCodec(),
        end_ids=frozenset({END_ID}),
        vocab_size=RUST.get_vocab_size(),
        context_tokens=MAX_CONTEXT,
        fingerprint="fake",
        created=0,
    )
    return Service(model, engine)


def make_app(engine: FakeEngine) -> Starlette:
    return build_app(make_service(engine), api_key=None, allowed_hosts=["*"])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # they are pytest's


@asynccontextmanager
async def listening(engine: FakeEngine) -> AsyncIterator[httpx.AsyncClient]:
    """The app behind uvicorn on a real socket, as in `server.py`, and a client for it."""
    config = uvicorn.Config(
        make_app(engine), http="h11", lifespan="off", ws="none", log_config=None
    )
    server = _Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve([listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=url, timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            await serving


def chat_body(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "hello"}], **fields}
