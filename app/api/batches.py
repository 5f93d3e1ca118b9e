"""``/v1/batches``: many requests in a file, answered when there is room for them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict
from starlette.requests import Request
from starlette.responses import Response

from app.api.bodies import read_object
from app.api.caller import caller_id
from app.api.conversations import answer
from app.api.files import Filing, missing
from app.api.paging import page_body, read_cut
from app.api.routing import Routes
from app.core.errors import BadRequest, NotFound
from app.store.batching import StoredBatch
from app.surfaces.batches.shapes import (
    WINDOW_SECONDS,
    BatchFigures,
    batch_object,
    cannot_be_cancelled,
    read_create,
)
from app.surfaces.files.shapes import BATCH


class BatchRoutes(Struct, frozen=True):
    """What the routes of batches work with.

    Attributes:
        filing: The files, and the store.
        wake: Says that there is a batch to take care of.
        stop: Told of a batch that was cancelled.
    """

    filing: Filing
    wake: Callable[[], None]
    stop: Callable[[str], Awaitable[None]]


def routes(batches: BatchRoutes) -> Routes:
    """Make the routes."""
    routes = Routes()
    filing = batches.filing

    async def create(request: Request) -> Response:
        asked = read_create(await read_object(request))
        caller, now = caller_id(request), filing.clock()
        file = await filing.store.files.get(caller, asked.input_file_id, now)
        if file is None:
            raise missing(asked.input_file_id)
        if file.purpose != BATCH:
            raise BadRequest(
                f"The file '{file.id}' was uploaded for the purpose '{file.purpose}', not '{BATCH}'.",
                param="input_file_id",
                code="invalid_value",
            )
        planned = {"output": filing.new_id("file-"), "error": filing.new_id("file-")}
        details = {"metadata": asked.metadata, "output_seconds": asked.output_seconds, "planned": planned}
        made = StoredBatch(
            filing.new_id("batch_"),
            caller,
            now,
            "validating",
            asked.endpoint,
            file.id,
            now + WINDOW_SECONDS,
            details,
        )
        await filing.store.batches.create(made)
        batches.wake()
        return answer(_object(made))

    async def retrieve(request: Request, batch_id: str) -> Response:
        return answer(_object(_found(await filing.store.batches.get(caller_id(request), batch_id), batch_id)))

    async def listed(request: Request) -> Response:
        cut = read_cut(request)
        page = await filing.store.batches.page(caller_id(request), after=cut.after, limit=cut.limit)
        return answer(page_body([_object(one) for one in page.batches], has_more=page.has_more))

    async def cancel(request: Request, batch_id: str) -> Response:
        found = _found(await filing.store.batches.cancel(caller_id(request), batch_id, filing.clock()), batch_id)
        if found.status not in {"cancelling", "cancelled"}:
            raise cannot_be_cancelled(found.status)
        await batches.stop(batch_id)
        batches.wake()
        return answer(_object(found))

    for prefix in ("/v1", ""):
        one = f"{prefix}/batches/{{batch_id}}"
        routes.add(f"{prefix}/batches", create, "POST")
        routes.add(f"{prefix}/batches", listed, "GET")
        routes.add(one, retrieve, "GET")
        routes.add(f"{one}/cancel", cancel, "POST")
    return routes


def _found(batch: StoredBatch | None, batch_id: str) -> StoredBatch:
    if batch is None:
        raise NotFound(f"No batch found with id '{batch_id[:128]}'.", param="batch_id")
    return batch


def _object(batch: StoredBatch) -> dict[str, Any]:
    return batch_object(
        batch.id,
        status=batch.status,
        endpoint=batch.endpoint,
        input_file_id=batch.input_file_id,
        created_at=batch.created_at,
        expires_at=batch.expires_at,
        details=batch.details,
        figures=BatchFigures(batch.total, batch.completed, batch.failed, **asdict(batch.usage)),
    )
