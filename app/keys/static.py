"""Keys that are set once, when the server starts."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from app.core.caller import ANONYMOUS, Caller

_ID_DIGITS = 8


class StaticKeys:
    """Knows callers by their keys, of which it keeps only the SHA-256 digests.

    Args:
        keys: The keys themselves; without any, everybody is let in as the anonymous caller.

    Raises:
        ValueError: A key is empty.
    """

    __slots__ = ("_callers",)

    def __init__(self, keys: Iterable[str] = ()) -> None:
        callers: dict[bytes, Caller] = {}
        for key in keys:
            if not key:
                raise ValueError("a key must not be empty")
            digest = _digest(key)
            public = f"key-{digest.hex()[:_ID_DIGITS]}"
            callers[digest] = Caller(public, public)
        self._callers = tuple(callers.items())

    @property
    def accepts_anyone(self) -> bool:
        """There are no keys, so none is asked for."""
        return not self._callers

    def find(self, secret: str) -> Caller | None:
        """The caller with this key; ``None`` when nobody has it.

        The time taken does not depend on which key it is, nor on how much of it is right.
        """
        if not self._callers:
            return ANONYMOUS
        digest = _digest(secret)
        found: Caller | None = None
        for known, caller in self._callers:
            if hmac.compare_digest(known, digest):
                found = caller
        return found


def _digest(secret: str) -> bytes:
    # A header can hold bytes that decode to lone surrogates; those match no key, and must not raise.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()
