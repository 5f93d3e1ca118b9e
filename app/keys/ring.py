"""All keys that open the door, from wherever they come, and whom each belongs to."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Final, Literal, NamedTuple, Protocol

from msgspec.structs import replace

from app.core.caller import ANONYMOUS, Caller
from app.core.errors import ApiError
from app.core.key import ApiKey
from app.core.limits import UNLIMITED_SPEC, LimitSpec
from app.keys.file import KeyFile
from app.keys.secret import digest

EVERY_SECONDS: Final = 0.4
"""How often files and stores are looked at: with reading them, a revoked key is refused within a second."""

Refusal = Literal["unknown", "revoked", "expired"]

_INDEX_BYTES: Final = 8

_log = logging.getLogger(__name__)


class Changes(Protocol):
    """What has happened to the keys of a source."""

    @property
    def revision(self) -> int:
        """Counts all changes ever made."""

    @property
    def keys(self) -> Sequence[ApiKey]:
        """The keys that were added or changed, as they are now."""


class Source(Protocol):
    """Where keys are kept that come and go while the server runs."""

    async def changes(self, since: int) -> Changes:
        """What has changed since a revision; 0 is the beginning.

        Of a revision that is still to come, as after a backup was put back, all keys are given, and their revision.
        """


class _Entry(NamedTuple):
    """One digest.

    Attributes:
        digest: All of it.
        caller: Whose it is.
        until: From when on it is refused, in Unix seconds.
        refusal: Why, from then on.
    """

    digest: bytes
    caller: Caller
    until: float
    refusal: Refusal


class _Index:
    """Keys by id, and their digests by the first bytes.

    Looking up the first bytes takes a time that depends on them, and tells nobody anything: who tries keys cannot
    choose how their SHA-256 begins short of trying 2**64, the table is in an order that is drawn anew by every process,
    and from a digest nobody gets to its key. All of it is then compared in constant time.
    """

    __slots__ = ("_buckets", "_default", "_entries", "keys")

    def __init__(self, default: LimitSpec, keys: Iterable[ApiKey] = ()) -> None:
        self._default = default
        self._buckets: dict[bytes, tuple[_Entry, ...]] = {}
        self._entries: dict[str, tuple[_Entry, ...]] = {}
        self.keys: dict[str, ApiKey] = {}
        for key in keys:
            self.put(key)

    def put(self, key: ApiKey) -> None:
        """Add a key, or take it for the one with the same id."""
        for entry in self._entries.get(key.id, ()):
            start = entry.digest[:_INDEX_BYTES]
            self._buckets[start] = tuple(other for other in self._buckets[start] if other is not entry)
            if not self._buckets[start]:
                del self._buckets[start]
        self.keys[key.id] = key
        self._entries[key.id] = entries = tuple(_entries(key, self._default))
        for entry in entries:
            start = entry.digest[:_INDEX_BYTES]
            self._buckets[start] = (*self._buckets.get(start, ()), entry)

    def find(self, wanted: bytes) -> _Entry | None:
        """What is known of a digest."""
        for entry in self._buckets.get(wanted[:_INDEX_BYTES], ()):
            if hmac.compare_digest(entry.digest, wanted):
                return entry
        return None

    def of(self, key_id: str) -> _Entry | None:
        """The present digest of a key."""
        entries = self._entries.get(key_id)
        return entries[0] if entries else None


def _entries(key: ApiKey, default: LimitSpec) -> Iterable[_Entry]:
    caller = key.caller(default)
    end: tuple[float, Refusal] = (inf if key.expires_at is None else key.expires_at, "expired")
    if key.revoked_at is not None:
        # At once, whatever the time says: the clock of the machine that revoked it may be ahead of ours.
        end = (-inf, "revoked")
    yield _Entry(key.digest, caller, *end)
    if key.previous_digest is not None:
        replaced: tuple[float, Refusal] = (-inf if key.previous_until is None else key.previous_until, "revoked")
        yield _Entry(key.previous_digest, caller, *min(end, replaced))


class KeyRing:
    """Finds callers by their keys, of which it keeps only the SHA-256 digests.

    What is set goes before what is in the file, and the file before the store: of two keys with the same id or the same
    digest the first is taken, and that is logged.

    Args:
        static: Keys that are set once.
        file: A file of keys, which is followed; it closes the door even while it declares none.
        default: The limits that hold where a key has none of its own.
        clock: Unix seconds.
        required: A key is asked for even if there has never been one.
    """

    def __init__(
        self,
        static: Iterable[ApiKey] = (),
        file: KeyFile | None = None,
        *,
        default: LimitSpec = UNLIMITED_SPEC,
        clock: Callable[[], float],
        required: bool = False,
    ) -> None:
        self._static = {key.id: key for key in static}
        self._file = file
        self._default = default
        self._anonymous = replace(ANONYMOUS, limits=default)
        self._clock = clock
        self._source: Source | None = None
        self._revision = 0
        self._taking = asyncio.Lock()
        self._away = False
        self._told: set[str] = set()
        self._stored = _Index(default)
        self._declared = self._declaration()
        self._open = not (required or file is not None or self._static)

    @property
    def accepts_anyone(self) -> bool:
        """No key is asked for, because there has never been one. A revoked one has been."""
        return self._open

    def find(self, secret: str) -> Caller | None:
        """The caller with this key; ``None`` when it is refused, and ``refusal`` says why.

        The time taken does not depend on how much of the key is right.
        """
        if self._open:
            return self._anonymous
        entry = self._entry(secret)
        return entry.caller if entry is not None and self._clock() < entry.until else None

    def refusal(self, secret: str) -> Refusal:
        """Why a key was refused. A client may be told of one that has expired; all others are just incorrect."""
        entry = self._entry(secret)
        return "unknown" if entry is None else entry.refusal

    def by_id(self, caller_id: str) -> Caller | None:
        """The caller with this id, for work that outlives its request; ``None`` when its key is not accepted any more.

        Args:
            caller_id: As in ``Caller.id``.
        """
        if self._open:
            return self._anonymous if caller_id == ANONYMOUS.id else None
        entry = self._declared.of(caller_id) or self._stored.of(caller_id)
        return entry.caller if entry is not None and self._clock() < entry.until else None

    async def attach(self, source: Source) -> None:
        """Take in the keys of a source; ``keep_fresh`` follows it from then on. It is called once, before any request.

        Raises:
            ApiError: It cannot be read now. The door stays closed then.
        """
        was_open, self._open = self._open, False
        self._source = source
        await self.refresh()
        self._open = was_open and not self._stored.keys

    async def refresh(self) -> None:
        """See at once what has changed in the source.

        Raises:
            ApiError: It cannot be read now.
        """
        if self._source is None:
            return
        # One at a time: the answer to an earlier question would be taken for one from a database that was put back.
        async with self._taking:
            changes = await self._source.changes(self._revision)
            if changes.revision < self._revision:
                self._stored = _Index(self._default)
            for key in changes.keys:
                self._stored.put(key)
            self._revision = changes.revision
        if changes.keys:
            if self._open:
                self._open = False
                _log.info("there is a first key: from now on everybody needs one")
            self._tell_of_shadowed(changes.keys)

    def fixed(self) -> Iterator[tuple[Literal["settings", "file"], ApiKey]]:
        """The keys that are not in the source, each with where it is set."""
        for key_id, key in self._declared.keys.items():
            yield ("settings" if key_id in self._static else "file"), key

    async def keep_fresh(self, seconds: float = EVERY_SECONDS) -> None:
        """Follow the file and the source, for ever. What was last known stays in use while one cannot be read.

        Args:
            seconds: How long to wait between two looks.
        """
        async with asyncio.TaskGroup() as group:
            if self._file is not None:
                group.create_task(self._follow_file(self._file, seconds))
            if self._source is not None:
                group.create_task(self._follow_source(seconds))

    def _entry(self, secret: str) -> _Entry | None:
        wanted = digest(secret)
        entry = self._declared.find(wanted)
        if entry is not None:
            return entry
        entry = self._stored.find(wanted)
        return None if entry is None or entry.caller.id in self._declared.keys else entry

    async def _follow_file(self, file: KeyFile, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                if await asyncio.to_thread(file.refresh):
                    self._declared = self._declaration()
                    self._tell_of_shadowed(self._stored.keys.values())
            except Exception:  # noqa: BLE001 - a defect; but if this ended, keys would be taken away in vain
                _log.exception("the key file could not be followed")

    async def _follow_source(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.refresh()
            except Exception as error:  # noqa: BLE001 - if this ended, keys would be revoked in vain
                if not self._away:
                    self._away = True
                    reason = error.message if isinstance(error, ApiError) else type(error).__name__
                    _log.warning(
                        "the stored keys cannot be read, the last known ones stay in use: %s",
                        reason,
                        exc_info=not isinstance(error, ApiError),
                    )
            else:
                if self._away:
                    self._away = False
                    _log.warning("the stored keys can be read again")

    def _declaration(self) -> _Index:
        """All that is set or in the file."""
        index = _Index(self._default, self._static.values())
        for key in self._file.keys if self._file is not None else ():
            if clash := _clash(index, key):
                self._tell(f"key {key.id} of the key file {clash} a key that is set, which is taken instead")
            if key.id not in self._static:
                index.put(key)
        return index

    def _tell_of_shadowed(self, stored: Iterable[ApiKey]) -> None:
        for key in stored:
            if clash := _clash(self._declared, key):
                self._tell(
                    f"key {key.id} of the store {clash} a key that is set or in the file, which is taken instead"
                )

    def _tell(self, sentence: str) -> None:
        if sentence not in self._told:
            self._told.add(sentence)
            _log.warning(sentence)


def _clash(index: _Index, key: ApiKey) -> str | None:
    """What a key has in common with one in the index."""
    if key.id in index.keys:
        return "has the id of"
    if index.find(key.digest) or (key.previous_digest is not None and index.find(key.previous_digest)):
        return "has the hash of"
    return None
