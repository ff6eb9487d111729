"""Every shape in which OpenAI-like servers report a failure, as one ``ProviderError``.

The class follows from an exact code where the server gave one that we know, else from the status.
A message is for people: it does not stop an endpoint, but for two sentences of Anthropic's. It only
tells an over-long prompt from other refusals, and how long to wait when no header does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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

from .durations import Header
from .retry_after import retry_after_in_text, retry_after_s
from .text import MAX_SHOWN_CHARS, encodable, parse_json, shown

CODES: Mapping[str, type[ProviderError]] = {
    "insufficient_quota": QuotaError,
    "insufficient_balance": QuotaError,
    "insufficient_credits": QuotaError,
    "billing_hard_limit_reached": QuotaError,
    "billing_not_active": QuotaError,
    "exceeded_current_quota_error": QuotaError,  # Moonshot
    "invalid_api_key": AuthenticationError,
    "invalid_authentication": AuthenticationError,
    "authentication_error": AuthenticationError,
    "account_deactivated": AuthenticationError,
    "unauthenticated": AuthenticationError,
    "model_not_found": ModelNotFoundError,
    "model_not_available": ModelNotFoundError,
    "context_length_exceeded": ContextLengthError,
    "exceed_context_size_error": ContextLengthError,  # llama.cpp
    "content_filter": ContentFilterError,
    "content_policy_violation": ContentFilterError,
    "responsibleaipolicyviolation": ContentFilterError,  # Azure
    "flagged_input": ContentFilterError,  # OpenRouter says 403 for it
    "rate_limit_exceeded": RateLimitError,
    "rate_limit_error": RateLimitError,
    "too_many_requests": RateLimitError,
    "resource_exhausted": RateLimitError,  # Gemini
    "overloaded_error": ServerError,
    "server_error": ServerError,
    "internal_server_error": ServerError,
    "unavailable": ServerError,
}

STATUSES: Mapping[int, type[ProviderError]] = {
    401: AuthenticationError,
    402: QuotaError,
    403: AuthenticationError,
    404: ModelNotFoundError,
    407: AuthenticationError,
    408: ServerError,
    409: ServerError,
    410: ModelNotFoundError,
    425: ServerError,
    429: RateLimitError,
}

_CONTEXT_PHRASES = re.compile(
    r"maximum context length|context (?:size|length|window) (?:has been |is |was )?exceeded"
    r"|exceeds? the (?:available |maximum )?context|prompt is too long|input is too long"
    r"|(?:longer|greater) than the (?:maximum )?(?:model(?:'s)? )?(?:context )?length"
    r"|ContextWindowExceeded|exceeds the maximum number of tokens"  # litellm, Gemini
    r"|context the overflows|n_keep|inputs`? tokens \+ `?max_new_tokens",  # LM Studio, TGI
    re.IGNORECASE,
)
_SPENT = re.compile(
    "Your credit balance is too low to access|You have reached your specified API usage limits"
)
"""How Anthropic's messages begin when the account is spent: it has no code and no status for it."""


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a server said went wrong: codes in lower case, its words, a status if it named one."""

    codes: tuple[str, ...] = ()
    message: str = ""
    status: int | None = None
    retry_after_s: float | None = None


_OVERLOADED = (503, 529)
"""Turned away before any work was done."""


@dataclass(frozen=True, slots=True)
class ErrorReader:
    """Turns an error of one endpoint into an exception. ``secret`` never shows in any of them."""

    secret: str = field(default="", repr=False)
    key_advice: str = "set the API key"
    address_advice: str = "does the base URL end where it should, mostly in /v1?"

    def from_reply(self, status: int, url: str, header: Header, body: bytes) -> ProviderError:
        """The exception for a reply whose status is not a success."""
        if 300 <= status < 400:
            return self._redirect(status, url, header("location") or "nowhere")
        complaint = complaint_in(body)
        wait_s = retry_after_s(header)
        if wait_s is None:
            wait_s = complaint.retry_after_s
        where = f"HTTP {status} from {url}"
        return self._error(complaint, status, where, wait_s, header("x-should-retry"))

    def from_document(self, document: Any, url: str) -> ProviderError:
        """The exception for an error that came inside a 200, whole or in the middle of a stream."""
        complaint = _complaint(document)
        where = f"{url} answered 200 with an error inside"
        return self._error(complaint, complaint.status or 500, where, complaint.retry_after_s)

    def bad_response(self, url: str, fault: str, body: bytes | memoryview = b"") -> ProviderError:
        """The exception for an answer that cannot be used, with the beginning of it."""
        text = shown(bytes(body[:MAX_SHOWN_CHARS]).decode(errors="replace"), self.secret)
        return BadResponseError(f"{url} {fault}" + (f": {text[:200]}" if text else ""))

    def without_secret(self, text: str) -> str:
        """A server knows our key, and may repeat it anywhere."""
        return text.replace(self.secret, "***") if self.secret else text

    def _error(
        self,
        complaint: Complaint,
        status: int,
        where: str,
        wait_s: float | None,
        should_retry: str | None = None,
    ) -> ProviderError:
        kind = error_class(status, complaint)
        if should_retry is not None:
            kind = _as_told(kind, should_retry.strip().lower(), wait_s)
        message = ": ".join(filter(None, (where, shown(complaint.message, self.secret))))
        if kind is AuthenticationError and status != 407:
            message += f" ({self.key_advice})"
        if status == 404 and "model_not_found" not in complaint.codes:
            message += f" ({self.address_advice})"
        return kind(
            message,
            status_code=status,
            retry_after_s=wait_s,
            may_be_billed=False if 400 <= status < 500 or status in _OVERLOADED else None,
        )

    def _redirect(self, status: int, url: str, target: str) -> ProviderError:
        target = shown(re.sub(r"[?#].*|//[^/@]*@", "", target), self.secret)
        return ModelNotFoundError(
            f"HTTP {status}: {url} redirects to {target}; redirects are not followed, so that the "
            "key stays where it was meant to go. Set base_url to the address that answers.",
            status_code=status,
        )


def error_class(status: int, complaint: Complaint) -> type[ProviderError]:
    """A known code decides, then the status; a 4xx that is not in the table is this request's."""
    for code in complaint.codes:
        if code in CODES:
            return CODES[code]
    kind = STATUSES.get(status) or (ServerError if status >= 500 else RequestRefusedError)
    speaks_of_length = _CONTEXT_PHRASES.search(complaint.message) is not None
    if speaks_of_length and kind in (RequestRefusedError, ServerError):
        return ContextLengthError
    if kind is RequestRefusedError and _SPENT.match(complaint.message):
        return QuotaError
    return kind


def _as_told(
    kind: type[ProviderError], should_retry: str, wait_s: float | None
) -> type[ProviderError]:
    """``kind``, unless the header ``x-should-retry`` says otherwise."""
    if should_retry == "true" and kind is RequestRefusedError:
        return ServerError
    if should_retry == "false" and kind is ServerError:
        return RequestRefusedError
    if should_retry == "false" and kind is RateLimitError and wait_s is None:
        return QuotaError  # no other row would fare better: they wait, and the endpoint stops
    return kind


def complaint_in(body: bytes) -> Complaint:
    """What an error body says, whatever it is: JSON of any shape, HTML, plain text, nothing."""
    try:
        document = parse_json(body)
    except ValueError:
        return Complaint(message=body[: 2 * MAX_SHOWN_CHARS].decode(errors="replace").strip())
    return _complaint(document)


def holds_error(document: Mapping[str, Any]) -> bool:
    """Whether a 200 is an error after all."""
    return bool(document.get("error")) or document.get("object") == "error"


def _complaint(document: Any) -> Complaint:
    parts = list(_parts(document))
    codes = tuple(code for part in parts for code in _codes(part))
    message = next(filter(None, map(_message, parts)), "")
    statuses = (part.get(key) for part in parts for key in ("code", "status", "status_code"))
    return Complaint(
        codes=codes,
        message=message,
        status=next(filter(None, map(_status, statuses)), None),
        retry_after_s=_retry_delay(parts) or retry_after_in_text(message),
    )


def _parts(document: Any) -> Iterator[Mapping[str, Any]]:
    """The objects that may describe the error, the innermost first; bare text becomes a message."""
    if isinstance(document, list):
        document = document[0] if document else {}
    if isinstance(document, str):
        yield {"message": document}
    if not isinstance(document, dict):
        return
    for key in ("innererror", "metadata", "error", "message", "detail"):
        inner = document.get(key)
        if isinstance(inner, (dict, list)):
            yield from _parts(inner) if _is_shallow(inner) else ()
        elif key in ("error", "detail") and isinstance(inner, str):
            yield {"message": inner}
    yield document


def _is_shallow(document: dict[str, Any] | list[Any]) -> bool:
    """Nobody wraps an error in itself twenty times, except to exhaust the stack of the reader."""
    depth = 0
    layer: list[Any] = [document]
    while layer and depth < 20:
        depth += 1
        children = [list(d.values()) if isinstance(d, dict) else d for d in layer]
        layer = [child for group in children for child in group if isinstance(child, (dict, list))]
    return not layer


def _codes(part: Mapping[str, Any]) -> Iterator[str]:
    for key in ("code", "type", "status", "error_type"):
        value = part.get(key)
        if isinstance(value, str):
            yield value.lower()
    if "flagged_input" in part:
        yield "flagged_input"


def _message(part: Mapping[str, Any]) -> str:
    for key in ("message", "msg", "detail", "title", "error_description"):
        value = part.get(key)
        if isinstance(value, str) and value.strip():
            return encodable(value)
    return ""


def _status(value: object) -> int | None:
    if isinstance(value, str) and re.fullmatch("[45][0-9]{2}", value):
        value = int(value)
    is_status = isinstance(value, int) and 400 <= value < 600
    return value if is_status else None  # type: ignore[return-value]


def _retry_delay(parts: list[Mapping[str, Any]]) -> float | None:
    """Gemini's ``details: [{"@type": "…RetryInfo", "retryDelay": "34s"}]``."""
    for part in parts:
        details = part.get("details")
        for detail in details if isinstance(details, list) else ():
            delay = detail.get("retryDelay") if isinstance(detail, dict) else None
            if isinstance(delay, str):
                return retry_after_in_text(f"retry after {delay}")
    return None
