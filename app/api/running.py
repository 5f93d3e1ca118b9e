"""The routes of models that answer in one piece: embeddings, moderation, ranking, sound and pictures."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import ClientDisconnect, Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.api.drain import Drain, shutting_down
from app.api.forms import read_form
from app.api.generation import EXPLAIN
from app.api.presence import Presence
from app.api.reply import ClientLeft, Replies, send_bytes, send_error
from app.core.errors import ApiError, BadRequest, Internal
from app.core.task import FormReader, TaskReply, Upload
from app.exchange.run import Run, Service
from app.exchange.wiring import Wiring
from app.wire.multipart import MEDIA_TYPE, Part

MAX_UPLOAD_BYTES: Final = 25 * 1024 * 1024
"""All files of one form together, in memory: OpenAI's own bound for a sound."""

NOT_WANTED: Final = frozenset({b"", b"false", b"0"})
"""Values of the header that asks for an explanation which do not ask for one."""


class Running:
    """Serves runs over HTTP.

    Args:
        replies: Reads bodies that are not forms.
        drain: Tells of the server's end.
    """

    def __init__(self, replies: Replies, drain: Drain) -> None:
        self._replies = replies
        self._drain = drain

    async def serve(
        self,
        run: Run,
        form: FormReader | None,
        max_upload_bytes: int,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Serve one request from its first byte to the answer's last.

        Args:
            run: The request.
            form: Makes a body of a form; ``None`` where only JSON is taken.
            max_upload_bytes: All files of the form together.
            scope: What the server says of the request.
            receive: Where its body comes from, and the news that the client has left.
            send: Where the answer goes.
        """
        try:
            try:
                body = await self._read(form, max_upload_bytes, scope, receive)
            except ApiError as error:
                run.fail(error)
                await send_error(error, {}, send)
                return
            except (ClientLeft, ClientDisconnect):
                run.leave()
                return
            presence = Presence(scope, receive, send, 0, self._drain, run)
            try:
                async with presence:
                    await self._answer(run, body, presence, send)
            finally:
                if presence.left:
                    run.leave()
        finally:
            await run.settle()

    async def _answer(self, run: Run, body: bytes | Mapping[str, Any], presence: Presence, send: Send) -> None:
        try:
            reply = await run.answer(body)
        except ApiError as error:
            run.fail(error)
            await send_error(error, run.headers, send)
            return
        except asyncio.CancelledError:
            if not presence.resume():
                raise
            ending = shutting_down()
            run.fail(ending)
            await send_error(ending, run.headers, send)
            return
        except Exception:
            run.fail(Internal())
            raise
        if reply.each is None:
            await send_bytes(200, reply.body, reply.content_type, run.headers, send)
        else:
            await _pass_on(run, reply, presence, send)

    async def _read(
        self, form: FormReader | None, max_upload_bytes: int, scope: Scope, receive: Receive
    ) -> bytes | Mapping[str, Any]:
        headers = scope["state"]["headers"]
        if headers.get(EXPLAIN.encode(), b"false").strip().lower() not in NOT_WANTED:
            # Sending what was not to be sent would cost something.
            raise BadRequest(f"The header {EXPLAIN} is for text generation only.", param=EXPLAIN, code="invalid_header")
        content_type = headers.get(b"content-type", b"").decode("latin-1")
        if content_type.partition(";")[0].strip().lower() != MEDIA_TYPE:
            return await self._replies.read(scope, receive)
        if form is None:
            raise BadRequest("This endpoint takes JSON, not a form. Send the body with Content-Type: application/json.")
        files: list[tuple[str, _InMemory]] = []

        async def open_file(part: Part) -> _InMemory:
            files.append((part.name, _InMemory(part)))
            return files[-1][1]

        read = await read_form(Request(scope, receive), open_file, max_file_bytes=max_upload_bytes)
        return form(read.fields, [(name, file.upload()) for name, file in files])


async def _pass_on(run: Run, reply: TaskReply, presence: Presence, send: Send) -> None:
    """Send an answer as it comes. One that breaks off is left unfinished, by which the client knows."""
    headers = {"content-type": reply.content_type, **run.headers}
    raw_headers = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": 200, "headers": raw_headers})
    piece = reply.body
    try:
        while piece:
            await presence.send(piece, more=True)
            piece = await run.more()
    except ApiError:
        return
    except asyncio.CancelledError:
        if not presence.resume():
            raise
        run.break_off(shutting_down())
        return
    await presence.send(reply.end, more=False)


class _InMemory:
    """Takes the bytes of one file of a form; how many may come is the form's bound."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._pieces: list[bytes] = []

    async def write(self, piece: bytes) -> None:
        self._pieces.append(piece)

    async def finish(self) -> None:
        """Nothing is left to do."""

    def upload(self) -> Upload:
        """The whole file."""
        return Upload(self._part.filename or "", self._part.content_type, b"".join(self._pieces))


class _Endpoint:
    """Serves one service. A plain ASGI application, like that of the routes that generate."""

    def __init__(self, service: Service[Any, Any], wiring: Wiring, running: Running, max_upload_bytes: int) -> None:
        self._service = service
        self._wiring = wiring
        self._running = running
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        state = scope["state"]
        run = Run(self._wiring, self._service, state["caller"], state["request_id"], asked=state["headers"])
        form = self._service.surface.form
        await self._running.serve(run, form, self._max_upload_bytes, scope, receive, send)


def routes(
    path: str,
    service: Service[Any, Any],
    wiring: Wiring,
    running: Running,
    *,
    max_upload_bytes: int = MAX_UPLOAD_BYTES,
) -> list[Route]:
    """The routes of one service, with and without the version in front.

    Args:
        path: Such as ``/embeddings``.
        service: What is served.
        wiring: What its runs work with.
        running: Serves them.
        max_upload_bytes: All files of one form together; they are kept in memory.
    """
    endpoint = _Endpoint(service, wiring, running, max_upload_bytes)
    return [Route(prefix + path, endpoint, methods=["POST"]) for prefix in ("/v1", "")]
