"""``/v1/files``: uploaded, listed, read and deleted by their owners."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final
from urllib.parse import quote

from msgspec import Struct, field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse

from app.api.caller import caller_id
from app.api.conversations import answer
from app.api.forms import Form, read_form
from app.api.paging import page_body, read_cut
from app.api.routing import Routes
from app.core.errors import BadRequest, NotFound
from app.core.surface import NewId
from app.exchange.memory import Memory
from app.files.contract import BlobMissing, Blobs, BlobWriter, FilesUnavailable
from app.store.contract import Store, StoreUnavailable
from app.store.filing import StoredFile
from app.surfaces.files.shapes import Upload, file_object, read_upload
from app.wire.multipart import Part

MAX_PAGE: Final = 10_000
FILE_FIELD: Final = "file"
MAX_NAME: Final = 1_024
"""Characters of a filename; no file system has longer ones."""


class Filing(Struct):
    """What the routes of files work with.

    Attributes:
        memory: Has the store.
        new_id: Makes ids.
        clock: Unix seconds.
        max_bytes: The largest file.
        blobs: Where the bytes are; ``None`` until that has been opened.
    """

    memory: Memory
    new_id: NewId
    clock: Callable[[], float]
    max_bytes: int
    blobs: Blobs | None = None

    @property
    def store(self) -> Store:
        """The open store."""
        if self.memory.store is None:
            raise StoreUnavailable
        return self.memory.store

    @property
    def place(self) -> Blobs:
        """Where the bytes are."""
        if self.blobs is None:
            raise FilesUnavailable
        return self.blobs


def routes(filing: Filing) -> Routes:
    """Make the routes."""
    routes = Routes()

    async def create(request: Request) -> Response:
        uploading = _Uploading(filing, caller_id(request))
        try:
            form = await read_form(request, uploading.open, max_file_bytes=filing.max_bytes)
            made = await uploading.complete(form)
        except ClientDisconnect:
            await uploading.discard()
            # Nobody reads it.
            return Response(status_code=400)
        except BaseException:
            await uploading.discard()
            raise
        return answer(_object(made))

    async def listed(request: Request) -> Response:
        cut = read_cut(request, default=MAX_PAGE, most=MAX_PAGE)
        page = await filing.store.files.page(
            caller_id(request),
            filing.clock(),
            purpose=request.query_params.get("purpose") or None,
            after=cut.after,
            limit=cut.limit,
            order=cut.order,
        )
        return answer(page_body([_object(file) for file in page.files], has_more=page.has_more))

    async def found(request: Request, file_id: str) -> StoredFile:
        file = await filing.store.files.get(caller_id(request), file_id, filing.clock())
        if file is None:
            raise missing(file_id)
        return file

    async def retrieve(request: Request, file_id: str) -> Response:
        return answer(_object(await found(request, file_id)))

    async def content(request: Request, file_id: str) -> Response:
        file = await found(request, file_id)
        pieces = filing.place.read(file.id)
        try:
            # What fails here is still a status.
            first = await anext(pieces, b"")
        except BlobMissing:
            raise missing(file_id) from None
        return StreamingResponse(
            _all(first, pieces),
            media_type="application/octet-stream",
            headers={
                "content-length": str(file.bytes),
                "content-disposition": f"attachment; filename*=UTF-8''{quote(file.filename, safe='')}",
                "x-content-type-options": "nosniff",
            },
        )

    async def delete(request: Request, file_id: str) -> Response:
        if not await filing.store.files.delete(caller_id(request), file_id, filing.clock()):
            raise missing(file_id)
        return answer({"id": file_id, "object": "file", "deleted": True})

    for prefix in ("/v1", ""):
        one = f"{prefix}/files/{{file_id}}"
        routes.add(f"{prefix}/files", create, "POST")
        routes.add(f"{prefix}/files", listed, "GET")
        routes.add(one, retrieve, "GET")
        routes.add(one, delete, "DELETE")
        routes.add(f"{one}/content", content, "GET")
    return routes


class _Uploading(Struct):
    """One file on its way from the client to its place."""

    filing: Filing
    caller: str
    size: int = 0
    file_id: str | None = None
    filename: str = ""
    writer: BlobWriter | None = field(default=None)

    async def open(self, part: Part) -> _Uploading:
        """Begin the file; there is one in an upload.

        Raises:
            BadRequest: It is another field, or a second file.
        """
        if part.name != FILE_FIELD or self.file_id is not None:
            raise BadRequest(f"Unexpected file in the field '{part.name[:64]}'.", param=part.name[:64])
        file_id = self.filing.new_id("file-")
        await self.filing.store.files.begin(self.caller, file_id, self.filing.clock())
        self.file_id = file_id
        self.filename = (part.filename or "")[:MAX_NAME] or "upload"
        self.writer = await self.filing.place.writer(file_id)
        return self

    async def write(self, piece: bytes) -> None:
        """Take some bytes."""
        assert self.writer is not None  # noqa: S101 - open() came before
        self.size += len(piece)
        await self.writer.write(piece)

    async def finish(self) -> None:
        """The file is whole; it is kept when its other fields are known to be right."""

    async def complete(self, form: Form) -> StoredFile:
        """Keep it; it is there for good when this returns.

        Raises:
            BadRequest: A field is missing or wrong.
        """
        upload = read_upload(
            form.last("purpose"), form.last("expires_after[anchor]"), form.last("expires_after[seconds]")
        )
        if self.file_id is None or self.writer is None:
            raise BadRequest("Missing required parameter: 'file'.", param=FILE_FIELD, code="missing_required_parameter")
        await self.writer.finish()
        made = self._made(self.file_id, upload)
        if not await self.filing.store.files.complete(made):
            raise StoreUnavailable
        return made

    async def discard(self) -> None:
        """Forget what came; whatever cannot be forgotten now is purged later."""
        if self.writer is not None:
            await self.writer.abandon()
        if self.file_id is not None:
            await self.filing.store.files.discard(self.caller, self.file_id)

    def _made(self, file_id: str, upload: Upload) -> StoredFile:
        now = self.filing.clock()
        until = None if upload.seconds is None else int(now) + upload.seconds
        return StoredFile(file_id, self.caller, now, upload.purpose, self.size, self.filename, until)


async def _all(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


def missing(file_id: str) -> NotFound:
    """There is no such file, or it is another caller's."""
    return NotFound(f"No such File object: {file_id[:128]}", param="id")


def _object(file: StoredFile) -> dict[str, Any]:
    return file_object(
        file.id,
        size=file.bytes,
        created_at=file.created_at,
        filename=file.filename,
        purpose=file.purpose,
        expires_at=file.expires_at,
    )
