"""Every way in which a request can fail, as OpenAI's error object knows it.

The tree, with the status that each class answers:

    ApiError
    ├── BadRequest           400   the client's mistake, with the field's name in ``param``
    ├── Unauthorized         401   no key, or a key that we do not know
    ├── Forbidden            403   a known caller who may not do this
    ├── NotFound             404   an unknown model, object or path
    ├── MethodNotAllowed     405   a known path, another method
    ├── TooLarge             413   a body past the bound
    ├── RateLimited          429   too much at the moment: wait and try again
    ├── QuotaExhausted       429   a budget is spent: waiting a little does not help
    ├── Internal             500   our own fault
    ├── UpstreamBroken       502   the upstream failed, or answered what cannot be read
    │   └── UpstreamTruncated      … or stopped in the middle of an answer
    ├── UpstreamRefused      502   the upstream refuses *us*: our credentials or our account
    ├── Overloaded           503   this proxy, or the upstream's capacity, is full
    └── UpstreamTimeout      504   the upstream did not answer in time

An error knows its status, type, code and parameter, so nobody has to read its prose to act on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar


class ApiError(Exception):
    """A failure that is told to the client as OpenAI's error object.

    Args:
        message: One sentence for the person who reads it. It never holds a prompt, a secret or an account id.
        param: The path of the field at fault, such as ``messages[0].content``.
        code: OpenAI's machine-readable code; the class has a default.
        type_: OpenAI's error type; the class has a default.
        status: The HTTP status; the class has a default.
        retry_after: Seconds after which another try makes sense; ``None`` when unknown.
        should_retry: Overrides what the SDKs would decide by the status alone (header ``x-should-retry``).
        upstream_code: Cloudflare's own code, for the log.
        headers: More headers for the answer, such as those of the limit that was reached.

    Attributes:
        upstream_status: The upstream's HTTP status, for the log; ``None`` when the failure is not an answer of it.
        upstream_request_id: Cloudflare's ``cf-ray`` of the failed call, for the log.
    """

    status: int = 500
    type: str = "server_error"
    code: str | None = None
    retry_after: float | None = None
    should_retry: bool | None = None
    upstream_status: int | None = None
    upstream_request_id: str | None = None
    headers: Mapping[str, str] = MappingProxyType({})
    default_message: ClassVar[str] = "The server had an error while processing your request."

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        code: str | None = None,
        type_: str | None = None,
        status: int | None = None,
        retry_after: float | None = None,
        should_retry: bool | None = None,
        upstream_code: int | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.message = message or self.default_message
        super().__init__(self.message)
        self.param = param
        if code is not None:
            self.code = code
        if type_ is not None:
            self.type = type_
        if status is not None:
            self.status = status
        if retry_after is not None:
            self.retry_after = retry_after
        if should_retry is not None:
            self.should_retry = should_retry
        self.upstream_code = upstream_code
        if headers is not None:
            self.headers = headers

    def body(self) -> dict[str, str | None]:
        """The inner object of ``{"error": …}``: always all four keys."""
        return {"message": self.message, "type": self.type, "param": self.param, "code": self.code}


class BadRequest(ApiError):
    """400: the request itself is at fault."""

    status = 400
    type = "invalid_request_error"
    default_message = "The request is invalid."


class Unauthorized(ApiError):
    """401: the caller is not known."""

    status = 401
    type = "invalid_request_error"
    code = "invalid_api_key"
    default_message = "Incorrect API key provided."


class Forbidden(ApiError):
    """403: the caller is known and may not do this."""

    status = 403
    type = "invalid_request_error"
    code = "permission_denied"
    default_message = "You are not allowed to do this."


class NotFound(ApiError):
    """404: there is no such model, object or path."""

    status = 404
    type = "invalid_request_error"
    default_message = "Not found."


class MethodNotAllowed(ApiError):
    """405: the path exists, the method does not."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_supported"
    default_message = "Method not allowed."


class TooLarge(ApiError):
    """413: the body is larger than the bound."""

    status = 413
    type = "invalid_request_error"
    default_message = "Maximum content size limit exceeded."


class RateLimited(ApiError):
    """429: too many requests or tokens at the moment."""

    status = 429
    type = "requests"
    code = "rate_limit_exceeded"
    default_message = "Rate limit reached. Please try again later."


class QuotaExhausted(ApiError):
    """429: a budget is used up; trying again at once cannot help, and the SDKs are told so."""

    status = 429
    type = "insufficient_quota"
    code = "insufficient_quota"
    should_retry = False
    default_message = "You exceeded your current quota."


class Internal(ApiError):
    """500: a defect of ours."""


class UpstreamBroken(ApiError):
    """502: the upstream failed or sent something that cannot be read."""

    status = 502
    code = "upstream_error"
    default_message = "Workers AI failed to answer."


class UpstreamTruncated(UpstreamBroken):
    """The upstream stopped before its answer was complete."""

    code = "upstream_truncated"
    default_message = "Workers AI stopped in the middle of its answer."


class UpstreamRefused(ApiError):
    """502: the upstream refuses our credentials or account, which the client cannot mend; retrying is useless."""

    status = 502
    code = "upstream_unauthorized"
    should_retry = False
    default_message = "Workers AI refused this proxy's credentials."


class Overloaded(ApiError):
    """503: no capacity right now."""

    status = 503
    type = "service_unavailable_error"
    code = "server_is_overloaded"
    default_message = "The server is overloaded. Please try again later."


class UpstreamTimeout(ApiError):
    """504: the upstream did not answer in time."""

    status = 504
    code = "upstream_timeout"
    default_message = "Workers AI did not answer in time."
