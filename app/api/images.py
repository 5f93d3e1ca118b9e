"""The routes for pictures: making them, and serving those that an answer names by its URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api.caller import PICTURES
from app.api.running import Running
from app.core.errors import NotFound
from app.core.task import TaskReply
from app.exchange.run import Run, Service
from app.exchange.wiring import Wiring
from app.files.temporary import LIFE_SECONDS, TemporaryPictures
from app.surfaces.images.write import UrlReply
from app.wire.kinds import HEAD_BYTES, picture_kind

_HEADERS: Final = {
    "cache-control": f"private, max-age={int(LIFE_SECONDS)}",
    # What a model made is shown as the picture that it is, and as nothing else.
    "x-content-type-options": "nosniff",
    "content-security-policy": "default-src 'none'; sandbox",
}


class PictureRun(Run):
    """A run whose pictures may be wanted by their URLs. Use: ``serve_at`` before it is run."""

    _pictures: TemporaryPictures
    _base: str

    def serve_at(self, pictures: TemporaryPictures, base: str) -> None:
        """Say where pictures are kept, and at which address they are served.

        Args:
            pictures: Keeps them.
            base: The address of this server, without a slash at the end.
        """
        self._pictures = pictures
        self._base = base

    async def answer(self, body: bytes | Mapping[str, Any]) -> TaskReply:
        """Serve the request, and keep the pictures where the client wants their URLs.

        Raises:
            ApiError: It cannot be served, or the pictures cannot be kept.
        """
        reply = await super().answer(body)
        if not isinstance(reply, UrlReply):
            return reply
        names = [await self._pictures.keep(picture.data) for picture in reply.pictures]
        return reply.with_urls([f"{self._base}{PICTURES}{name}" for name in names])


class _Endpoint:
    """Serves one of the endpoints. A plain ASGI application, like those of other runs."""

    def __init__(
        self,
        service: Service[Any, Any],
        wiring: Wiring,
        running: Running,
        pictures: TemporaryPictures,
        public_url: str | None,
        max_upload_bytes: int,
    ) -> None:
        self._service = service
        self._wiring = wiring
        self._running = running
        self._pictures = pictures
        self._public_url = public_url
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        run = PictureRun(self._wiring, self._service, state["caller"], state["request_id"], asked=state["headers"])
        run.serve_at(self._pictures, self._public_url or _base_of(scope))
        form = self._service.surface.form
        await self._running.serve(run, form, self._max_upload_bytes, scope, receive, send)


def routes(
    services: Mapping[str, Service[Any, Any]],
    wiring: Wiring,
    running: Running,
    pictures: TemporaryPictures,
    *,
    public_url: str | None,
    max_upload_bytes: int,
) -> list[Route]:
    """The routes of all endpoints for pictures, with and without the version in front.

    Args:
        services: By their paths, such as ``/images/edits``.
        wiring: What their runs work with.
        running: Serves them.
        pictures: Keeps what is served by its URL.
        public_url: The address at which clients reach this server; ``None`` for the one that each of them calls.
        max_upload_bytes: All files of one form together; they are kept in memory.
    """

    async def temporary(request: Request) -> Response:
        data = await pictures.find(request.path_params["name"])
        if data is None:
            raise NotFound("There is no such image, or not any more: they are served for an hour, by who made them.")
        return Response(data, media_type=picture_kind(data[:HEAD_BYTES]), headers=_HEADERS)

    made = [Route(PICTURES + "{name}", temporary, methods=["GET", "HEAD"])]
    for path, service in services.items():
        endpoint = _Endpoint(service, wiring, running, pictures, public_url, max_upload_bytes)
        made += [Route(prefix + path, endpoint, methods=["POST"]) for prefix in ("/v1", "")]
    return made


def _base_of(scope: Scope) -> str:
    """The address at which the client has reached this server."""
    host = scope["state"]["headers"].get(b"host", b"").decode("latin-1")
    if not host:
        name, port = scope.get("server") or ("localhost", 80)
        host = f"{name}:{port}"
    return f"{scope['scheme']}://{host}"
