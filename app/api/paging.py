"""Lists that are read page by page, as the SDK pages through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from starlette.requests import Request

from app.core.errors import BadRequest

DEFAULT_LIMIT = 20
MAX_LIMIT = 100


class Cut(Struct, frozen=True):
    """Which part of a list is wanted.

    Attributes:
        after: The id after which it begins; ``None`` for the beginning.
        limit: How many items.
        order: The newest first, or the oldest.
    """

    after: str | None
    limit: int
    order: Literal["asc", "desc"]


def read_cut(request: Request, *, default: int = DEFAULT_LIMIT, most: int = MAX_LIMIT) -> Cut:
    """Read ``after``, ``limit`` and ``order`` from the query.

    Args:
        request: The request.
        default: The limit where none is given.
        most: The highest limit.

    Raises:
        BadRequest: One of them is not what it has to be.
    """
    query = request.query_params
    order = query.get("order", "desc")
    if order not in {"asc", "desc"}:
        raise BadRequest(
            "Invalid value for 'order'. Supported values are: 'asc' and 'desc'.", param="order", code="invalid_value"
        )
    return Cut(
        query.get("after") or None, _limit(query.get("limit"), default, most), "asc" if order == "asc" else "desc"
    )


def _limit(text: str | None, default: int, most: int) -> int:
    if not text:
        return default
    if not text.isascii() or not text.isdecimal():
        raise BadRequest("Invalid type for 'limit': expected an integer.", param="limit", code="invalid_type")
    limit = int(text[:9])
    if limit < 1:
        raise BadRequest("Invalid 'limit': expected a value >= 1.", param="limit", code="integer_below_min_value")
    if limit > most:
        raise BadRequest(f"Invalid 'limit': expected a value <= {most}.", param="limit", code="integer_above_max_value")
    return limit


def page_body(items: Sequence[Mapping[str, Any]], *, has_more: bool) -> dict[str, Any]:
    """OpenAI's list object."""
    return {
        "object": "list",
        "data": items,
        "first_id": items[0]["id"] if items else None,
        "last_id": items[-1]["id"] if items else None,
        "has_more": has_more,
    }
