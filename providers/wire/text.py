"""What arrived, made safe to keep: JSON out of bytes, and text that any file can hold.

Servers send byte order marks, stray bytes, ``NaN`` and halves of surrogate pairs. orjson refuses
all of these, and is right on the hot path; the standard library is asked second. Some proxies
compress what we have asked them not to.
"""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import orjson

from weave_async.errors import ResponseTooLargeError

MAX_INFLATED_BYTES = 16 * 1024 * 1024
MAX_SHOWN_CHARS = 2_000

GZIP_MAGIC = b"\x1f\x8b\x08"
_BOM = b"\xef\xbb\xbf"
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+"
)
_KEY_SHAPES = re.compile(r"(?i)\bbearer\s+[^\s\"']+|\b(?:sk|gsk|hf|xai|key)[-_][\w\-]{8,}")
_HTML_START = re.compile(r"\s*(?:<!doctype html|<html|<head|<body)", re.IGNORECASE)
_HTML_TITLE = re.compile(r"<title[^>]*>([^<]{1,200})", re.IGNORECASE)


def parse_json(data: bytes | memoryview) -> Any:
    """Decode one JSON document; raise ``ValueError`` when there is none in it."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return _parse_sloppy_json(bytes(data))


def _parse_sloppy_json(data: bytes) -> Any:
    if data.startswith(GZIP_MAGIC):
        data = Inflater().feed(data)
    try:
        return json.loads(data.removeprefix(_BOM).decode(errors="replace"))
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def as_json(document: Any) -> bytes:
    """A part of what ``parse_json`` gave, as JSON again; empty where it is nested too deeply.

    orjson writes less than was read: no half of a surrogate pair, no large integer, little depth.
    """
    try:
        return orjson.dumps(document)
    except TypeError:
        pass
    try:
        return json.dumps(document).encode()
    except RecursionError:
        return b""


class Inflater:
    """Undoes gzip, a piece at a time, up to a bound: 400 kB of it can hold 400 MB."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def feed(self, piece: bytes) -> bytes:
        """What is certain by now. Raises ``ValueError`` for what is not gzip after all."""
        try:
            inflated = self._inflater.decompress(piece, MAX_INFLATED_BYTES)
        except zlib.error as exc:
            raise ValueError(f"not gzip: {exc}") from exc
        if self._inflater.unconsumed_tail:
            raise ResponseTooLargeError(
                f"a compressed answer inflates to more than {MAX_INFLATED_BYTES} bytes"
            )
        return inflated


def encodable(text: str) -> str:
    """``text`` with surrogate pairs joined, and lone halves replaced by U+FFFD."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def string(value: object) -> str:
    """``value`` if it is text, else nothing: absent, null and the wrong type read alike."""
    return encodable(value) if isinstance(value, str) else ""


def shown(text: str, secret: str = "") -> str:
    """Foreign ``text`` as it may stand in an error: no key, no control characters, at most 2 kB."""
    if secret:
        text = text.replace(secret, "***")
    if _HTML_START.match(text):
        title = _HTML_TITLE.search(text)
        text = f"an HTML page titled {title[1].strip()!r}" if title else "an HTML page"
    text = _KEY_SHAPES.sub("***", text)
    text = _UNPRINTABLE.sub(" ", encodable(text)).strip()
    return text if len(text) <= MAX_SHOWN_CHARS else text[: MAX_SHOWN_CHARS - 1] + "…"


class SurrogateJoiner:
    """Joins a surrogate pair whose halves stand in two chunks (elizaOS #30904)."""

    def __init__(self) -> None:
        self._high = ""

    def feed(self, text: str) -> str:
        """The text that is complete by now; a trailing high half waits for the next call."""
        if not self._high and text.isascii():
            return text
        text = self._high + text
        self._high = ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            self._high = text[-1]
            text = text[:-1]
        return encodable(text)

    def close(self) -> str:
        """What is left: U+FFFD when the second half never came."""
        left, self._high = self._high, ""
        return encodable(left)
