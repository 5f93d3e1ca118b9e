"""Failures as HTTP answers: always OpenAI's error object, whatever went wrong."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.api.listing import why_unserved
from app.core.errors import ApiError, Internal, MethodNotAllowed, NotFound
from app.wire.codec import encode

_log = logging.getLogger(__name__)


def error_headers(error: ApiError) -> dict[str, str]:
    """The headers by which the SDKs decide whether and when to try again."""
    headers = dict(error.headers)
    if error.retry_after is not None:
        headers["retry-after"] = str(math.ceil(error.retry_after))
        headers["retry-after-ms"] = str(math.ceil(error.retry_after * 1000))
    if error.should_retry is not None:
        headers["x-should-retry"] = "true" if error.should_retry else "false"
    return headers


def error_body(error: ApiError) -> bytes:
    """OpenAI's error object."""
    return encode({"error": error.body()})


def error_response(error: ApiError, headers: Mapping[str, str] | None = None) -> Response:
    """A whole answer."""
    return Response(
        error_body(error),
        status_code=error.status,
        media_type="application/json",
        headers={**error_headers(error), **(headers or {})},
    )


def install(app: FastAPI) -> None:
    """Teach an application to answer every failure so."""

    async def api_error(_: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)  # noqa: S101 - registered for it
        return error_response(error)

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for it
        return error_response(_of_http(request, error), error.headers)

    async def defect(_: Request, error: Exception) -> Response:
        _log.error("a defect of this proxy", exc_info=error)
        return error_response(Internal())

    app.add_exception_handler(ApiError, api_error)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, defect)


def _of_http(request: Request, error: HTTPException) -> ApiError:
    where = f"{request.method} {request.scope['path']}"
    if error.status_code == 404:
        return NotFound(f"Invalid URL ({where}). {_hint(request.scope['path'])}".strip())
    if error.status_code == 405:
        return MethodNotAllowed(f"Not allowed to {request.method} on {request.scope['path']}.")
    return ApiError(str(error.detail), status=error.status_code, type_="invalid_request_error")


def _hint(path: str) -> str:
    """What to set when a base URL was pasted twice, or with a part of a path; or why there is no such route here."""
    doubled = ("/v1/v1", "/chat/completions/chat/completions", "/responses/responses", "/chat/completions/responses")
    if any(part in path for part in doubled):
        return "The base URL is doubled: set it to end in /v1, without the rest of the path."
    reason = why_unserved(path)
    return f"This part of OpenAI's API is not served here: {reason}." if reason else ""
