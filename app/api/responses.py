"""``/v1/responses/{id}``: what was answered before, read, listed, cancelled and deleted."""

from __future__ import annotations

from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response

from app.api.caller import caller_id
from app.api.conversations import Keeping, answer
from app.api.follow import Follower, no_stream
from app.api.paging import page_body, read_cut
from app.api.routing import Routes
from app.core.errors import BadRequest, NotFound
from app.store.contract import StoredResponse
from app.wire.codec import decode, encode


def routes(keeping: Keeping, follower: Follower, stop: Callable[[str], None]) -> Routes:
    """Make the routes; ``stop`` is told of work that has been cancelled."""
    routes = Routes()

    async def retrieve(request: Request, response_id: str) -> Response:
        caller = caller_id(request)
        found = await keeping.store.responses.get(caller, response_id)
        if found is None:
            raise missing(response_id)
        if request.query_params.get("stream", "").lower() == "true":
            if not found.background or await follower.has_nothing(caller, response_id):
                raise no_stream(response_id)
            return follower.follow(caller, response_id, _starting_after(request))
        return answer(current_body(found))

    async def delete(request: Request, response_id: str) -> Response:
        if not await keeping.store.responses.delete(caller_id(request), response_id):
            raise missing(response_id)
        return answer({"id": response_id, "object": "response", "deleted": True})

    async def cancel(request: Request, response_id: str) -> Response:
        caller = caller_id(request)
        found = await keeping.store.responses.get(caller, response_id)
        if found is None:
            raise missing(response_id)
        if not found.background:
            raise BadRequest("Cannot cancel a synchronous response.", param="response_id")
        found = await keeping.store.work.cancel(caller, response_id)
        stop(response_id)
        if found is None:
            raise missing(response_id)
        return answer(current_body(found))

    async def input_items(request: Request, response_id: str) -> Response:
        cut = read_cut(request)
        page = await keeping.store.responses.input_items(
            caller_id(request), response_id, after=cut.after, limit=cut.limit, order=cut.order
        )
        if page is None:
            raise missing(response_id)
        return answer(page_body(page.items, has_more=page.has_more))

    for prefix in ("/v1", ""):
        one = f"{prefix}/responses/{{response_id}}"
        routes.add(one, retrieve, "GET")
        routes.add(one, delete, "DELETE")
        routes.add(f"{one}/cancel", cancel, "POST")
        routes.add(f"{one}/input_items", input_items, "GET")
    return routes


def missing(response_id: str) -> NotFound:
    """There is no such response, or it is another caller's."""
    return NotFound(f"Response with id '{response_id[:128]}' not found.")


def current_body(response: StoredResponse) -> bytes:
    """The Response object, with the status that it has now: the stored body may tell an earlier one."""
    body = decode(response.body)
    if body.get("status") == response.status:
        return response.body
    return encode({**body, "status": response.status})


def _starting_after(request: Request) -> int:
    text = request.query_params.get("starting_after") or "-1"
    if not text.removeprefix("-").isdecimal():
        raise BadRequest(
            "Invalid type for 'starting_after': expected an integer.", param="starting_after", code="invalid_type"
        )
    return int(text[:12])
