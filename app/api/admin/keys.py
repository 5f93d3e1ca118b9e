"""``/admin/keys``: making, listing, changing, rotating and revoking keys.

A key object never holds the key: that is shown once, when it is made and when it is rotated. Keys that are set, or
declared in a file, are listed too, and are changed where they are set.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from app.api.admin.reading import query_flag, read_edit, read_keep_seconds, read_new, refuse_unknown
from app.api.bodies import read_object
from app.api.paging import page_body, read_cut
from app.api.routing import Routes
from app.core.errors import BadRequest, Forbidden, NotFound
from app.core.key import ApiKey
from app.keys.record import Place, key_object, revoked, rotated
from app.keys.secret import digest, new_key_id, new_secret
from app.store.accounts import KeyRecords
from app.wire.codec import encode

FixedPlace: TypeAlias = Literal["settings", "file"]

_PLACES: Final[Mapping[FixedPlace, str]] = {
    "settings": "in the settings (FLARELAY_API_KEYS)",
    "file": "in the file of keys (FLARELAY_KEYS_FILE)",
}

NO_STORE: Final = (
    "Keys cannot be made or changed here, because nothing is stored (FLARELAY_STORE is false). Set them in "
    "FLARELAY_API_KEYS or FLARELAY_KEYS_FILE."
)

_log = logging.getLogger(__name__)


class KeyKeeping(Struct, frozen=True):
    """What the routes work with.

    Attributes:
        records: The stored keys; ``None`` when nothing is stored. Raises ``StoreUnavailable`` before the store is open.
        fixed: The keys that are not stored, with where they are set. They go before a stored one with the same id.
        changed: Makes this process see at once what has changed in the store.
        random_bytes: Makes so many random bytes.
        clock: Unix seconds.
    """

    records: Callable[[], KeyRecords | None]
    fixed: Callable[[], Iterable[tuple[FixedPlace, ApiKey]]]
    changed: Callable[[], Awaitable[None]]
    random_bytes: Callable[[int], bytes]
    clock: Callable[[], float]

    async def all(self) -> list[tuple[Place, ApiKey]]:
        """All keys."""
        found: dict[str, tuple[Place, ApiKey]] = {key.id: (place, key) for place, key in self.fixed()}
        records = self.records()
        for key in await records.all() if records is not None else ():
            found.setdefault(key.id, ("store", key))
        return list(found.values())

    async def find(self, key_id: str) -> tuple[Place, ApiKey]:
        """One key.

        Raises:
            NotFound: There is none.
        """
        for place, key in self.fixed():
            if key.id == key_id:
                return place, key
        records = self.records()
        found = await records.find(key_id) if records is not None else None
        if found is None:
            raise missing(key_id)
        return "store", found

    async def add(self, key: ApiKey) -> None:
        """Add a key, which is accepted when this returns.

        Raises:
            NotFound: There is no store.
        """
        records = self.records()
        if records is None:
            raise NotFound(NO_STORE)
        await records.add(key)
        await self._tell()

    async def change(self, key_id: str, change: Callable[[ApiKey], ApiKey]) -> ApiKey:
        """Change a key, which is seen when this returns.

        Raises:
            Forbidden: It is not one of the store's.
            NotFound: There is none, or no store.
        """
        for place, key in self.fixed():
            if key.id == key_id:
                raise Forbidden(
                    f"The API key '{key_id}' is set {_PLACES[place]}, and can be changed only there.",
                    code="key_is_read_only",
                )
        records = self.records()
        if records is None:
            raise NotFound(NO_STORE)
        changed = await records.change(key_id, change)
        if changed is None:
            raise missing(key_id)
        await self._tell()
        return changed

    async def _tell(self) -> None:
        try:
            await self.changed()
        except Exception as error:  # noqa: BLE001 - the change is made, and a new key is shown only in this answer
            _log.warning("a key was changed, and this process will see it a little later", exc_info=error)


def routes(keeping: KeyKeeping) -> Routes:
    """Make the routes."""
    routes = Routes()

    async def create(request: Request) -> Response:
        now = keeping.clock()
        edit = read_new(await read_object(request), now)
        key_id = new_key_id(keeping.random_bytes)
        secret = new_secret(key_id, keeping.random_bytes)
        key = edit.applied(ApiKey(key_id, "", digest(secret), now))
        await keeping.add(key)
        return _answer({**key_object("store", key, now), "key": secret}, 201)

    async def list_keys(request: Request) -> Response:
        refuse_unknown(request.query_params, ("after", "limit", "order", "include_revoked"))
        cut = read_cut(request)
        with_revoked = query_flag(request, "include_revoked")
        now = keeping.clock()
        found = await keeping.all()
        found.sort(key=lambda entry: (entry[1].created_at, entry[1].id), reverse=cut.order == "desc")
        if cut.after is not None:
            # A key that was revoked since the page before still says where the next one begins.
            begin = next((number for number, (_, key) in enumerate(found, 1) if key.id == cut.after), None)
            if begin is None:
                raise BadRequest(f"There is no API key with id '{cut.after[:128]}' in this list.", param="after")
            found = found[begin:]
        found = [entry for entry in found if with_revoked or entry[1].revoked_at is None]
        page = [key_object(place, key, now) for place, key in found[: cut.limit]]
        return _answer(page_body(page, has_more=len(found) > cut.limit))

    async def retrieve(_: Request, key_id: str) -> Response:
        place, key = await keeping.find(key_id)
        return _answer(key_object(place, key, keeping.clock()))

    async def update(request: Request, key_id: str) -> Response:
        now = keeping.clock()
        edit = read_edit(await read_object(request), now)
        changed = await keeping.change(key_id, lambda key: edit.applied(_not_revoked(key)))
        return _answer(key_object("store", changed, now))

    async def rotate(request: Request, key_id: str) -> Response:
        now = keeping.clock()
        seconds = read_keep_seconds(await read_object(request))
        secret = new_secret(key_id, keeping.random_bytes)
        changed = await keeping.change(key_id, lambda key: rotated(_not_revoked(key), digest(secret), now, seconds))
        return _answer({**key_object("store", changed, now), "key": secret})

    async def revoke(_: Request, key_id: str) -> Response:
        now = keeping.clock()
        await keeping.change(key_id, lambda key: revoked(key, now))
        return _answer({"id": key_id, "object": "api_key.deleted", "deleted": True})

    one = "/admin/keys/{key_id}"
    routes.add("/admin/keys", create, "POST")
    routes.add("/admin/keys", list_keys, "GET")
    routes.add(one, retrieve, "GET")
    routes.add(one, update, "POST", "PATCH")
    routes.add(one, revoke, "DELETE")
    routes.add(f"{one}/rotate", rotate, "POST")
    return routes


def missing(key_id: str) -> NotFound:
    """There is no such key."""
    return NotFound(f"API key with id '{key_id[:128]}' not found.")


def _not_revoked(key: ApiKey) -> ApiKey:
    if key.revoked_at is not None:
        raise BadRequest(f"The API key '{key.id}' is revoked, and stays so: make a new one.", code="key_is_revoked")
    return key


def _answer(body: Mapping[str, Any], status: int = 200) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(encode(body), status_code=status, media_type="application/json", headers=headers)
