"""What an error of the transport (pyreqwest) means, as one ``ProviderError``.

Its type does not tell connecting from waiting for the head, nor always a broken head from a broken
body: reqwest says these in the causes only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from pyreqwest.exceptions import (
    ClientClosedError,
    DecodeError,
    DetailedPyreqwestError,
    PyreqwestError,
    RequestTimeoutError,
)

from weave_async.errors import (
    BadResponseError,
    ConnectError,
    DeadlineError,
    ProviderError,
    TlsError,
)

from .text import shown

_TLS_SIGNS = re.compile(
    r"invalid peer certificate|corrupt message|peer (?:is incompatible|misbehaved)"
    r"|received fatal alert: (?!InternalError|UserCanceled)|No CA certificates",
)
"""What another try cannot mend. A handshake that was cut short (a reset, an early end) is not."""


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: type[ProviderError]
    message: str
    may_be_billed: bool | None = None


_CANNOT_CONNECT = _Fault(
    ConnectError, "cannot connect to {url} ({why}): is the server running? {address_advice}"
)
_SLOW_CONNECT = _Fault(
    ConnectError,
    "no connection to {url} within {connect_timeout_s:g} s: is it reachable? {address_advice}",
)
_NO_TLS = _Fault(
    TlsError,
    (
        "no TLS with {url} ({why}): does it speak https, and under this name? {address_advice}; "
        "SSL_CERT_FILE names a file of certificates to trust, where the usual ones do not do"
    ),
)
_CUT_SHORT = _Fault(BadResponseError, "the answer from {url} was cut short ({why})")
_LATE = _Fault(DeadlineError, "no whole answer from {url} within deadline_s={deadline_s:g}")
_SILENT = _Fault(DeadlineError, "nothing came from {url} for timeout_s={timeout_s:g}")
_LEFT = _Fault(
    ConnectError, "the provider was closed while {url} was being asked", may_be_billed=True
)
_NOT_HTTP = _Fault(BadResponseError, "the answer from {url} is not HTTP ({why})")
_HUNG_UP = _Fault(ConnectError, "{url} hung up before it answered ({why})", may_be_billed=True)


@dataclass(frozen=True, slots=True)
class FaultReader:
    """Turns a transport error of one endpoint into an exception; needs to know its limits."""

    secret: str
    address_advice: str
    connect_timeout_s: float
    timeout_s: float
    deadline_s: float

    def read(self, exc: PyreqwestError, url: str, elapsed_s: float = 0.0) -> ProviderError:
        causes = _causes(exc)
        fault = self._fault(exc, " ".join(causes), elapsed_s)
        text = fault.message.format(
            url=url,
            why=shown(causes[-1] if causes else exc.message, self.secret),
            address_advice=self.address_advice,
            connect_timeout_s=self.connect_timeout_s,
            timeout_s=self.timeout_s,
            deadline_s=self.deadline_s,
        )
        return fault.kind(text, may_be_billed=fault.may_be_billed)

    def _fault(self, exc: PyreqwestError, causes: str, elapsed_s: float) -> _Fault:
        if isinstance(exc, RequestTimeoutError):
            return self._timeout(elapsed_s)
        if "builder error" in causes or "(Connect)" in causes:
            return _NO_TLS if _TLS_SIGNS.search(causes) else _CANNOT_CONNECT
        if "response body" in causes:
            return _CUT_SHORT
        if isinstance(exc, ClientClosedError):
            return _LEFT
        return _NOT_HTTP if isinstance(exc, DecodeError) else _HUNG_UP

    def _timeout(self, elapsed_s: float) -> _Fault:
        """Which limit it was: the transport has one name for all of them before the head."""
        if elapsed_s >= self.deadline_s:
            return _LATE
        return _SILENT if elapsed_s >= self.timeout_s else _SLOW_CONNECT


def _causes(exc: PyreqwestError) -> list[str]:
    details = exc.details if isinstance(exc, DetailedPyreqwestError) else None
    return [cause["message"] for cause in (details and details["causes"]) or ()]
