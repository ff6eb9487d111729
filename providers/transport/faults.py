"""What can go wrong with an exchange, each as one ``ProviderError``, on whatever transport."""

from __future__ import annotations

from dataclasses import dataclass, field

from weave_async.errors import (
    BadResponseError,
    ConnectError,
    DeadlineError,
    ProviderError,
    TlsError,
)

from ..wire.text import shown
from .interface import Limits


@dataclass(frozen=True, slots=True)
class Fault:
    kind: type[ProviderError]
    message: str
    may_be_billed: bool | None = None


CANNOT_CONNECT = Fault(
    ConnectError, "cannot connect to {url} ({why}): is the server running? {address_advice}"
)
SLOW_CONNECT = Fault(
    ConnectError,
    "no connection to {url} within {connect_timeout_s:g} s: is it reachable? {address_advice}",
)
NO_TLS = Fault(
    TlsError,
    (
        "no TLS with {url} ({why}): does it speak https, and under this name? {address_advice}; "
        "SSL_CERT_FILE names a file of certificates to trust, where the usual ones do not do"
    ),
)
HUNG_UP = Fault(ConnectError, "{url} hung up before it answered ({why})", may_be_billed=True)
LEFT = Fault(
    ConnectError, "the provider was closed while {url} was being asked", may_be_billed=True
)
SILENT = Fault(DeadlineError, "nothing came from {url} for timeout_s={timeout_s:g}")
LATE = Fault(DeadlineError, "no whole answer from {url} within deadline_s={deadline_s:g}")
NOT_HTTP = Fault(BadResponseError, "the answer from {url} is not HTTP ({why})")
CUT_SHORT = Fault(BadResponseError, "the answer from {url} was cut short ({why})")


@dataclass(frozen=True, slots=True)
class Faults:
    """Words a fault for one endpoint; needs to know its limits."""

    secret: str = field(repr=False)
    address_advice: str
    limits: Limits

    def error(self, fault: Fault, url: str, why: str = "") -> ProviderError:
        text = fault.message.format(
            url=url,
            why=shown(why, self.secret),
            address_advice=self.address_advice,
            connect_timeout_s=self.limits.connect_timeout_s,
            timeout_s=self.limits.timeout_s,
            deadline_s=self.limits.deadline_s,
        )
        return fault.kind(text, may_be_billed=fault.may_be_billed)
