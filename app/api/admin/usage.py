"""``/admin/usage`` (what was used, and what it will come to) and ``/admin/limits`` (how limiting goes)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import date, timedelta
from typing import Any, Final, cast, get_args

from starlette.requests import Request
from starlette.responses import Response

from app.api.admin.reading import query_integer, refuse_unknown
from app.api.routing import Routes
from app.catalog.catalogue import Catalogue
from app.core.errors import NotFound
from app.exchange.accounting import Accounting
from app.exchange.usage import Breakdown, day_of, first_day, report
from app.store.accounts import UsageRow
from app.surfaces import fields
from app.wire.codec import encode

DEFAULT_DAYS: Final = 30
MOST_DAYS: Final = 400


def routes(
    accounting: Accounting,
    catalogue: Callable[[], Catalogue],
    clock: Callable[[], float],
    allocation: float | None,
    stats: Mapping[str, Callable[[], Mapping[str, Any]]],
) -> Routes:
    """Make the routes.

    Args:
        accounting: Knows what was used.
        catalogue: The catalogue as it is now.
        clock: Unix seconds.
        allocation: Neurons that the account may use in a day; ``None`` where there is no such limit.
        stats: By name, what tells how a part of the limiting stands, JSON-ready.
    """
    routes = Routes()

    async def usage(request: Request) -> Response:
        refuse_unknown(request.query_params, ("days", "by", "key", "model"))
        days = query_integer(request, "days", default=DEFAULT_DAYS, minimum=1, maximum=MOST_DAYS)
        by = fields.one_of(request.query_params, "by", get_args(Breakdown)) or "day"
        key = request.query_params.get("key") or None
        model = _model_id(catalogue(), request.query_params.get("model") or None)
        now = clock()
        rows: list[UsageRow] = []
        for since, until in _weeks(first_day(now, days), day_of(now)):
            rows += await accounting.rows(since, until, caller=key, model=model)
        # The allocation is everybody's together: of one key's or one model's part nothing is left or not.
        whole = allocation if key is None and model is None else None

        def written() -> bytes:
            return encode(report(rows, now, whole, days=days, breakdown=cast("Breakdown", by)).as_dict())

        return _answer(await asyncio.to_thread(written))

    async def limits(_: Request) -> Response:
        return _answer(encode({"object": "limits", **{name: stat() for name, stat in stats.items()}}))

    routes.add("/admin/usage", usage, "GET")
    routes.add("/admin/limits", limits, "GET")
    return routes


def _model_id(catalogue: Catalogue, name: str | None) -> str | None:
    """Cloudflare's id of a model by any of its names; an unknown name as it is, for the model may be gone by now."""
    if name is None:
        return None
    try:
        return catalogue.resolve(name).id
    except NotFound:
        return name


def _weeks(first: str, last: str) -> Iterator[tuple[str, str]]:
    """A time in pieces: a year of many keys, read at once, would hold up the tokens of everybody."""
    since, end = date.fromisoformat(first), date.fromisoformat(last)
    while since <= end:
        until = min(since + timedelta(days=6), end)
        yield since.isoformat(), until.isoformat()
        since = until + timedelta(days=1)


def _answer(body: bytes) -> Response:
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})
