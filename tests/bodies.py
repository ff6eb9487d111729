"""Bodies of a 200 that servers have sent, or may: each with what must become of it.

A text is that answer's text; a class is the error it must be raised as.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from weave_async.errors import (
    AuthenticationError,
    BadResponseError,
    ContentFilterError,
    ContextLengthError,
    ModelNotFoundError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RequestRefusedError,
    ServerError,
)


def _answer(message: Any, finish: Any = "stop", **more: Any) -> bytes:
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return json.dumps({"choices": [choice], **more}).encode()


def _says(content: Any, **more: Any) -> bytes:
    return _answer({"role": "assistant", "content": content}, **more)


def _error(error: Any, **more: Any) -> bytes:
    return json.dumps({"error": error, **more}).encode()


_HI = _says("hi")

BODIES: Mapping[str, tuple[bytes, str | type[ProviderError]]] = {
    # not an answer at all
    "nothing": (b"", BadResponseError),
    "blanks": (b" \n\t ", BadResponseError),
    "html": (b"<!doctype html><title>Sign in</title><p>hi", BadResponseError),
    "html that says ok": (b"<html><body>ok</body></html>", BadResponseError),
    "plain text": (b"upstream connect error", BadResponseError),
    "xml": (b"<?xml version='1.0'?><choices/>", BadResponseError),
    "gzip": (b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", BadResponseError),
    "zeros": (b"\x00" * 1_000, BadResponseError),
    "utf-16": (_HI.decode().encode("utf-16"), BadResponseError),
    "two documents": (_HI + _HI, BadResponseError),
    "half a document": (_HI[:-20], BadResponseError),
    "a document and a tail": (_HI + b"</html>", BadResponseError),
    "python, not json": (b"{'choices': [{'message': {'content': 'hi'}}]}", BadResponseError),
    "trailing comma": (b'{"choices": [{"message": {"content": "hi"},}]}', BadResponseError),
    "null": (b"null", BadResponseError),
    "true": (b"true", BadResponseError),
    "a number": (b"200", BadResponseError),
    "a huge number": (b"9" * 10_000, BadResponseError),
    "a string": (b'"hi"', BadResponseError),
    "an empty list": (b"[]", BadResponseError),
    "a list in a list": (b"[[]]", BadResponseError),
    "an empty object": (b"{}", BadResponseError),
    "depth 100k, lists": (b"[" * 100_000, BadResponseError),
    "depth 100k, closed": (b"[" * 100_000 + b"]" * 100_000, BadResponseError),
    "depth 100k, objects": (b'{"choices":' * 100_000, BadResponseError),
    "depth 900 in a choice": (_says("hi")[:-3] + b',"x":' + b"[" * 900 + b"]" * 900 + b"}]}", "hi"),
    "an event stream": (b'data: {"choices": []}\n\n', BadResponseError),
    # no choice
    "choices missing": (b'{"id": "x", "usage": {}}', BadResponseError),
    "choices missing beside a lone surrogate": (b'{"id": "\\ud83d"}', BadResponseError),
    "choices missing beside a large integer": (b'{"id": %b}' % (b"9" * 400), BadResponseError),
    "choices null": (b'{"choices": null}', BadResponseError),
    "choices empty": (b'{"choices": []}', BadResponseError),
    "choices an object": (b'{"choices": {"0": {"message": {"content": "hi"}}}}', BadResponseError),
    "choices a text": (b'{"choices": "hi"}', BadResponseError),
    "choices of null": (b'{"choices": [null]}', BadResponseError),
    "choices of lists": (b'{"choices": [[]]}', BadResponseError),
    "choices of texts": (b'{"choices": ["hi"]}', BadResponseError),
    # a choice with nothing usable in it: an empty answer, for validation to reject
    "choice empty": (b'{"choices": [{}]}', ""),
    "message null": (_answer(None), ""),
    "message a text": (_answer("hi"), ""),
    "message a list": (_answer(["hi"]), ""),
    "content null": (_says(None), ""),
    "content missing": (_answer({"role": "assistant"}), ""),
    "content a number": (_says(42), ""),
    "content an object": (_says({"text": "hi"}), ""),
    "content a list of nonsense": (_says([None, 7, [], {"type": "text"}, "hi"]), ""),
    "content null beside tool calls": (_answer({"content": None, "tool_calls": [{}]}), ""),
    "text null": (b'{"choices": [{"text": null}]}', ""),
    # sloppy, and an answer nevertheless
    "byte order mark": (b"\xef\xbb\xbf" + _HI, "hi"),
    "blank lines first": (b"\n\n\r\n" + _HI, "hi"),
    "blank lines last": (_HI + b"\r\n\n", "hi"),
    "wrapped in a list": (b"[" + _HI + b"]", "hi"),
    "keys twice": (b'{"choices": [], ' + _HI[1:], "hi"),
    "bad utf-8": (b'{"choices": [{"message": {"content": "a\xff\xfeb"}}]}', "a\ufffd\ufffdb"),
    "lone surrogate": (_says("a\ud83db"), "a\ufffdb"),
    "surrogate pair": (_says("\ud83d\ude00"), "😀"),
    "surrogates the wrong way round": (_says("\ude00\ud83d"), "\ufffd\ufffd"),
    "surrogate in the model's name": (_says("hi", model="\ud83d"), "hi"),
    "surrogate in the finish reason": (_says("hi", finish="\ud83d"), "hi"),
    "NUL in the text": (_says("a\x00b"), "a\x00b"),
    "raw control character": (_says("ab").replace(b"ab", b"a\x01b"), BadResponseError),
    "NaN": (_says("hi", logprobs=float("nan")), "hi"),
    "Infinity": (_says("hi", score=float("-inf")), "hi"),
    "1e999": (_says("hi", created=7).replace(b"7", b"1e999"), "hi"),
    "an integer of 4,000 digits": (_says("hi", created=7).replace(b"7", b"9" * 4_000), "hi"),
    "an integer of 5,000 digits": (
        _says("hi", created=7).replace(b"7", b"9" * 5_000),
        BadResponseError,
    ),
    "content in blocks": (
        _says([{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]),
        "hi",
    ),
    "thinking in blocks": (
        _says([{"type": "thinking", "thinking": [{"type": "text", "text": "?"}]}]),
        "",
    ),
    "thinking in tags": (_says("<think>hm</think>\n\nhi"), "hi"),
    "thinking without an end": (_says("<think>hm"), ""),
    "legacy text": (b'{"choices": [{"text": "hi", "finish_reason": "eos"}]}', "hi"),
    "refusal": (_answer({"content": None, "refusal": "hi"}), "hi"),
    # fields beside the answer
    "usage missing": (_HI, "hi"),
    "usage null": (_says("hi", usage=None), "hi"),
    "usage a list": (_says("hi", usage=[1, 2]), "hi"),
    "usage of texts": (_says("hi", usage={"prompt_tokens": "3", "completion_tokens": "x"}), "hi"),
    "usage negative": (_says("hi", usage={"prompt_tokens": -3, "completion_tokens": -1}), "hi"),
    "usage of floats": (
        _says("hi", usage={"prompt_tokens": 1e300, "completion_tokens": 0.5}),
        "hi",
    ),
    "usage beyond counting": (_says("hi", usage={"prompt_tokens": 10**400}), "hi"),
    "usage true": (_says("hi", usage={"prompt_tokens": True}), "hi"),
    "model a number": (_says("hi", model=7), "hi"),
    "model null": (_says("hi", model=None), "hi"),
    "finish reason null": (_says("hi", finish=None), "hi"),
    "finish reason empty": (_says("hi", finish=""), "hi"),
    "finish reason a number": (_says("hi", finish=3), "hi"),
    "finish reason an object": (_says("hi", finish={"type": "stop"}), "hi"),
    "finish reason unheard of": (_says("hi", finish="tired"), "hi"),
    "error null": (_says("hi", error=None), "hi"),
    "error empty": (_says("hi", error={}), "hi"),
    # an error after all
    "broke down": (_says("hal", finish="error"), ServerError),
    "aborted": (_says("hal", finish="abort"), ServerError),
    "out of resources": (_says("", finish="insufficient_system_resource"), ServerError),
    "error with a status": (_error({"code": 429, "message": "slow down"}), RateLimitError),
    "error with a status in text": (_error({"code": "503"}), ServerError),
    "error beside an answer": (_says("hi", error={"message": "late"}), ServerError),
    "error true": (_error(True), ServerError),
    "error a text": (_error("out of memory"), ServerError),
    "error a list": (_error([{"message": "bad", "code": 400}]), RequestRefusedError),
    "error in a list": (b"[" + _error({"code": 400, "message": "no"}) + b"]", RequestRefusedError),
    "error of an old vllm": (
        b'{"object": "error", "message": "no", "code": 404}',
        ModelNotFoundError,
    ),
    "error of the key": (_error({"code": "invalid_api_key"}), AuthenticationError),
    "error of the quota": (_error({"code": "insufficient_quota"}), QuotaError),
    "error of the filter": (_error({"code": "content_filter"}), ContentFilterError),
    "error of the length": (
        _error({"message": "This model's maximum context length is 4096 tokens"}),
        ContextLengthError,
    ),
    "error with a code of 400 digits": (_error({"code": 10**400}), ServerError),
    "error nested without end": (
        _error({}).replace(b"{}", b'{"error":' * 900 + b"1" + b"}" * 900),
        ServerError,
    ),
    "error of surrogates": (_error({"message": "\ud83d", "code": "\udc00"}), ServerError),
    "error of 10 kB": (_error({"message": "x" * 10_000}), ServerError),
    "error of terminal escapes": (_error({"message": "\x1b]8;;http://x\x07\x1b[2J"}), ServerError),
}
