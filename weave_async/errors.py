"""The one error tree.

::

    WeaveError                      .exit_code  (sysexits.h, as listed in the README)
    ├── UsageError                  2   the command line
    ├── RecipeError                 78  the recipe or the settings
    ├── InputError                  65  a source, a row, a template
    ├── RunFolderError              73  the run folder cannot be made or used
    ├── StorageError                74  a write or a sync failed
    ├── RunLockedError              75  somebody else is writing this run
    ├── BudgetError                 1   the tokens or the money of the run are spent
    ├── ConsultationError           69  a stage asked a model, and has no answer: caught there
    │   └── ConsultationNeeded      69  nothing may be asked now, and the journal has no answer
    └── ProviderError               69  .retryable .retry_after_s .status_code .stops_endpoint
        │                               .may_be_billed
        ├── ConnectError                retryable   refused, DNS; reset before any answer: billed?
        │   └── TlsError            78  endpoint    certificate expired, foreign, untrusted; no TLS
        ├── DeadlineError               retryable   no answer in time: billed?
        ├── RateLimitError          75  retryable   429
        ├── ServerError                 retryable   5xx, an error inside a 200: billed?; 408, 409
        ├── BadResponseError            retryable   not JSON, cut short, nothing in it: billed?
        ├── ResponseTooLargeError       this row    over the cap on the body: billed?
        ├── RequestRefusedError     65  this row    400, 413, 422 and kin
        │   ├── FieldRefusedError       at once     a field is not taken; the next try leaves it out
        │   ├── ContextLengthError      this row
        │   ├── ContentFilterError      this row
        │   └── RequestTooLargeError    this row    more tokens than a minute has; never sent
        ├── AuthenticationError     77  endpoint    401, 403
        ├── QuotaError              78  endpoint    402, insufficient_quota
        ├── ModelNotFoundError      78  endpoint    404 for the model or the address
        ├── EndpointGoneError       69  endpoint    it has ended, and will not come back
        └── OutageError             75  endpoint    it has failed for too long

Providers raise only from the ``ProviderError`` branch; ``retryable`` and ``retry_after_s`` are all
that the retry policy looks at. "endpoint" means that every further request would end the same way:
the run stops asking and keeps its rows pending. "billed?" marks ``may_be_billed``: the request was
sent, and nobody has said that it was not served, so that a budget must count it at its worst cost.
"""

from __future__ import annotations

from typing import ClassVar


class WeaveError(Exception):
    """Base of all that we raise on purpose. Its text is shown to people as it stands."""

    exit_code: ClassVar[int] = 70


class Unsent(Exception):
    """The request was not sent, or will not be sent again, because the run is stopping.

    None of the tree: nobody is told of it, and the sample stays pending.
    """


class UsageError(WeaveError):
    exit_code = 2


class RecipeError(WeaveError):
    exit_code = 78


class InputError(WeaveError):
    exit_code = 65


class RunFolderError(WeaveError):
    exit_code = 73


class StorageError(WeaveError):
    exit_code = 74


class ConsultationError(WeaveError):
    exit_code = 69


class ConsultationNeeded(ConsultationError):
    pass


class RunLockedError(WeaveError):
    exit_code = 75


class BudgetError(WeaveError):
    exit_code = 1


class ProviderError(WeaveError):
    """An attempt that brought no usable answer."""

    exit_code = 69
    retryable: ClassVar[bool] = False
    stops_endpoint: ClassVar[bool] = False
    may_be_billed: bool = True
    """The class's own value, unless the one who raised it knew better."""

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        retry_after_s: float | None = None,
        may_be_billed: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.retry_after_s = retry_after_s
        if may_be_billed is not None:
            self.may_be_billed = may_be_billed


class ConnectError(ProviderError):
    retryable = True
    may_be_billed = False


class TlsError(ConnectError):
    exit_code = 78
    retryable = False
    stops_endpoint = True


class DeadlineError(ProviderError):
    retryable = True


class RateLimitError(ProviderError):
    exit_code = 75
    retryable = True
    may_be_billed = False


class ServerError(ProviderError):
    retryable = True


class BadResponseError(ProviderError):
    retryable = True


class ResponseTooLargeError(ProviderError):
    pass


class RequestRefusedError(ProviderError):
    exit_code = 65
    may_be_billed = False


class FieldRefusedError(RequestRefusedError):
    """The endpoint does not take a field that was sent, and the provider has learned it.

    The same request, sent again, goes without that field. That is no attempt of the request's own:
    nothing was wrong with it.
    """

    retryable = True


class ContextLengthError(RequestRefusedError):
    pass


class ContentFilterError(RequestRefusedError):
    pass


class RequestTooLargeError(RequestRefusedError):
    pass


class AuthenticationError(ProviderError):
    exit_code = 77
    stops_endpoint = True
    may_be_billed = False


class QuotaError(ProviderError):
    exit_code = 78
    stops_endpoint = True
    may_be_billed = False


class ModelNotFoundError(ProviderError):
    exit_code = 78
    stops_endpoint = True
    may_be_billed = False


class EndpointGoneError(ProviderError):
    stops_endpoint = True


class OutageError(ProviderError):
    exit_code = 75
    stops_endpoint = True
