"""A ``Reply`` onto a connection, exactly as badly as it says."""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus

from .replies import Framing, Reply

_NO_LINGER = struct.pack("ii", 1, 0)


async def send(reply: Reply, writer: asyncio.StreamWriter) -> bool:
    """Send ``reply`` with all its faults; whether the connection may be used again."""
    if reply.head_delay_s:
        await asyncio.sleep(reply.head_delay_s)
    if reply.raw is not None:
        writer.write(reply.raw)
        await writer.drain()
        if reply.reset:
            reset_connection(writer)
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
