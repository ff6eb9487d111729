"""Everything a client can be told went wrong, in OpenAI's shape.

ApiError
├── InvalidRequest   400  the body asks for something we cannot or will not do
├── Unauthorized     401
├── ModelNotFound    404
├── BodyTooLarge     413
├── QueueFull        429  with Retry-After
├── GenerationFailed 500  this request broke (NaN logits, …); others go on
├── OutOfMemory      503  it does not fit, even alone; others go on
└── EngineStopped    503  nothing will be generated any more by this process
"""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer other than 200. `param` names the field of the body that is to blame, if one is."""

    status_code = 500
    type = "server_error"
    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        if code is not None:
            self.code = code

    @property
    def headers(self) -> dict[str, str]:
        return {}

    def body(self) -> dict[str, Any]:
        return {
            "error": {
                "message": self.message,
                "type": self.type,
                "param": self.param,
                "code": self.code,
            }
        }


class InvalidRequest(ApiError):
    status_code = 400
    type = "invalid_request_error"
    code = "invalid_value"


class Unauthorized(ApiError):
    status_code = 401
    type = "authentication_error"
    code = "invalid_api_key"

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class ModelNotFound(ApiError):
    status_code = 404
    type = "invalid_request_error"
    code = "model_not_found"


class BodyTooLarge(ApiError):
    status_code = 413
    type = "invalid_request_error"
    code = "body_too_large"


class QueueFull(ApiError):
    status_code = 429
    type = "rate_limit_error"
    code = "queue_full"
    retry_after_s = 1

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after_s)}


class GenerationFailed(ApiError):
    code = "generation_failed"


class OutOfMemory(ApiError):
    status_code = 503
    code = "out_of_memory"


class EngineStopped(ApiError):
    status_code = 503
    code = "engine_stopped"
