"""A real HTTP server on loopback with OpenAI's files and batches: the test double of a batch API.

::

    with BatchEndpoint(num_polls=2) as endpoint:
        ...  # ask endpoint.base_url in mode batch
    assert len(endpoint.batches) == 1

Each request of a batch file is answered as the ``answer`` script would answer it live, at the same
address too, so that both ways can be compared. Batches and files outlive the clients that made
them, as at any provider.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self
from urllib.parse import parse_qs, urlsplit

import orjson

from weave_async.testing.scripted_endpoint import (
    RecordedRequest,
    Reply,
    ScriptedEndpoint,
    echo,
    error_reply,
    json_reply,
)

End = Literal["completed", "failed", "expired", "cancelled"]
Lines = list[bytes]
Edit = Callable[[Lines], Lines]
"""What happens to the lines of a file of answers before anybody sees it."""

_MULTIPART = re.compile(rb'name="([^"]+)"[^\r]*(?:\r\n[^\r]+)*\r\n\r\n')
_PAGE = 20


@dataclass(slots=True)
class ScriptedBatch:
    """One batch as the server knows it."""

    id: str
    input_file_id: str
    url: str
    metadata: dict[str, str]
    created_at: int
    num_polls: int = 0
    document: dict[str, Any] = field(default_factory=dict)
    """What is answered of it, once it has ended."""


class BatchEndpoint:
    """The server; a context manager. Change its attributes at any time.

    A batch ends at the ``num_polls``-th look at it, as ``end_as``; one that has expired or was
    cancelled has answered ``num_answered`` of its requests, and the rest stand in its error file.
    ``faults`` are the ``errors.data`` of one that failed. ``edit_output`` and ``edit_errors`` get
    the lines of those files. ``intercept`` may reply to any request in the server's place.
    """

    def __init__(
        self,
        answer: Callable[[RecordedRequest], Reply] = echo,
        *,
        num_polls: int = 1,
        end_as: End = "completed",
        port: int = 0,
    ) -> None:
        self.answer = answer
        self.num_polls = num_polls
        self.end_as: End = end_as
        self.num_answered = 0
        self.faults: Sequence[dict[str, Any]] = ()
        self.edit_output: Edit = lambda lines: lines
        self.edit_errors: Edit = lambda lines: lines
        self.intercept: Callable[[RecordedRequest], Reply | None] = lambda request: None
        self.files: dict[str, bytes] = {}
        self.batches: list[ScriptedBatch] = []
        self._server = ScriptedEndpoint(self._reply, port=port)

    def __repr__(self) -> str:
        return f"<BatchEndpoint {self.base_url} {len(self.batches)} batches>"

    @property
    def base_url(self) -> str:
        return self._server.base_url

    @property
    def requests(self) -> list[RecordedRequest]:
        return self._server.requests

    @property
    def asked(self) -> list[Any]:
        """The bodies of all requests that were bought: of every batch, and those asked live."""
        in_batches = [line["body"] for batch in self.batches for line in self._lines_of(batch)]
        live = [each.body for each in self.requests if each.path.endswith("/completions")]
        return in_batches + live

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.__exit__(exc_type, exc, traceback)

    def _reply(self, request: RecordedRequest) -> Reply:
        if (reply := self.intercept(request)) is not None:
            return reply
        url = urlsplit(request.path)
        route = url.path.removeprefix("/v1").strip("/").split("/")
        match request.method, route:
            case "POST", ["files"]:
                return self._take_file(request)
            case "GET", ["files", file_id, "content"] if file_id in self.files:
                return Reply(body=self.files[file_id])
            case "POST", ["batches"]:
                return self.create(request)
            case "GET", ["batches"]:
                return self._list(parse_qs(url.query))
            case "GET", ["batches", batch_id]:
                return self._look_at(batch_id)
        return self.answer(request)

    def create(self, request: RecordedRequest) -> Reply:
        """Take a batch, as ``POST /batches`` does."""
        asked = request.body
        if asked["input_file_id"] not in self.files:
            return error_reply(400, "no such file", code="invalid_file")
        batch = ScriptedBatch(
            id=f"batch_{len(self.batches) + 1}",
            input_file_id=asked["input_file_id"],
            url=asked["endpoint"],
            metadata=asked.get("metadata") or {},
            created_at=int(time.time()),
        )
        self.batches.append(batch)
        return json_reply(self._document(batch, status="validating"))

    def _take_file(self, request: RecordedRequest) -> Reply:
        parts = _form(request)
        if parts.get("purpose") != b"batch":
            return error_reply(400, "purpose must be batch")
        file_id = f"file-{len(self.files) + 1}"
        self.files[file_id] = parts["file"]
        return json_reply({"id": file_id, "object": "file", "bytes": len(parts["file"])})

    def _list(self, query: dict[str, list[str]]) -> Reply:
        newest_first = list(reversed(self.batches))
        ids = [batch.id for batch in newest_first]
        first = ids.index(query["after"][0]) + 1 if "after" in query else 0
        last = first + min(int(query.get("limit", ["20"])[0]), _PAGE)
        page = [self._document(batch) for batch in newest_first[first:last]]
        return json_reply({"object": "list", "data": page, "has_more": last < len(ids)})

    def _look_at(self, batch_id: str) -> Reply:
        batch = next((each for each in self.batches if each.id == batch_id), None)
        if batch is None:
            return error_reply(404, f"no batch {batch_id}")
        batch.num_polls += 1
        if batch.num_polls >= self.num_polls and not batch.document:
            batch.document = self._ended(batch)
        return json_reply(self._document(batch, status="in_progress"))

    def _document(self, batch: ScriptedBatch, status: str = "in_progress") -> dict[str, Any]:
        num_requests = len(self._lines_of(batch))
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": batch.url,
            "input_file_id": batch.input_file_id,
            "completion_window": "24h",
            "status": status,
            "created_at": batch.created_at,
            "metadata": batch.metadata,
            "request_counts": {"total": num_requests, "completed": 0, "failed": 0},
            **batch.document,
        }

    def _ended(self, batch: ScriptedBatch) -> dict[str, Any]:
        """What it came to, with its files."""
        if self.end_as == "failed":
            return {"status": "failed", "errors": {"object": "list", "data": list(self.faults)}}
        lines = self._lines_of(batch)
        num_served = len(lines) if self.end_as == "completed" else self.num_answered
        served = [self._answered(line) for line in lines[:num_served]]
        good = [line for line in served if line["response"]["status_code"] == 200]
        bad = [line for line in served if line["response"]["status_code"] != 200]
        bad += [_unserved(line, self.end_as) for line in lines[num_served:]]
        document: dict[str, Any] = {
            "status": self.end_as,
            "request_counts": {"total": len(lines), "completed": len(good), "failed": len(bad)},
        }
        for key, rows, edit in (
            ("output_file_id", good, self.edit_output),
            ("error_file_id", bad, self.edit_errors),
        ):
            written = edit([orjson.dumps(row) + b"\n" for row in rows])
            if written:
                document[key] = f"file-{len(self.files) + 1}"
                self.files[document[key]] = b"".join(written)
        return document

    def _answered(self, line: dict[str, Any]) -> dict[str, Any]:
        """The line of one answer, by the script."""
        body = orjson.dumps(line["body"])
        reply = self.answer(RecordedRequest(line["method"], line["url"], {}, body, 0.0, 0))
        assert isinstance(reply.body, bytes), "a batch answers whole"
        response = {
            "status_code": reply.status,
            "request_id": "req",
            "body": orjson.loads(reply.body),
        }
        return {"id": "batch_req", "custom_id": line["custom_id"], "response": response}

    def _lines_of(self, batch: ScriptedBatch) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.files[batch.input_file_id].splitlines()]


def _unserved(line: dict[str, Any], end: str) -> dict[str, Any]:
    error = {"code": f"batch_{end}", "message": "This request could not be executed in time."}
    return {
        "id": "batch_req",
        "custom_id": line["custom_id"],
        "response": None,
        "error": error,
    }


def _form(request: RecordedRequest) -> dict[str, bytes]:
    """The parts of a multipart form, by their names."""
    boundary = b"--" + request.headers["content-type"].partition("boundary=")[2].encode()
    parts = {}
    for part in request.raw_body.split(boundary)[1:-1]:
        head = _MULTIPART.search(part)
        assert head is not None, part[:200]
        parts[head[1].decode()] = part[head.end() :].removesuffix(b"\r\n")
    return parts
