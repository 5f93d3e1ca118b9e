"""Sealing what clients keep for us: encrypted and authenticated, so that it can be read back and not forged.

The Responses API gives clients opaque texts (encrypted reasoning, compacted conversations) that come back in a later
request. A sealed text is ``fl1.`` and the base64url of a 12-byte nonce, the AES-256-GCM ciphertext and its tag. Who it
was made for and what it is are authenticated with it: one caller cannot use another's, nor one kind in another's place.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections.abc import Callable
from typing import Final

VERSION: Final = "fl1."
NONCE_BYTES: Final = 12
MAX_OPENED_BYTES: Final = 16 * 1024 * 1024


class Seal:
    """Seals and opens texts.

    Args:
        secret: The key's source, of any length; the same one in every replica.
        random_bytes: Makes so many random bytes.
    """

    def __init__(self, secret: bytes, random_bytes: Callable[[int], bytes]) -> None:
        # Here and not above: the library takes longer to load than most requests need it for.
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # noqa: PLC0415

        self._cipher = AESGCM(hashlib.sha256(b"flarelay seal\0" + secret).digest())
        self._forged = InvalidTag
        self._random_bytes = random_bytes

    def seal(self, caller: str, kind: str, text: str) -> str:
        """Seal a text for a caller."""
        nonce = self._random_bytes(NONCE_BYTES)
        packed = zlib.compress(text.encode("utf-8", "replace"), 1)
        sealed = self._cipher.encrypt(nonce, packed, _about(caller, kind))
        return VERSION + base64.urlsafe_b64encode(nonce + sealed).decode()

    def open(self, caller: str, kind: str, sealed: str) -> str | None:
        """Open what was sealed for this caller; ``None`` for anything else."""
        if not sealed.startswith(VERSION):
            return None
        try:
            raw = base64.urlsafe_b64decode(sealed[len(VERSION) :])
            packed = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], _about(caller, kind))
        except (binascii.Error, ValueError, self._forged):
            return None
        # It is authentic, so it is ours, and was never larger than an answer; the bound is for a key that got out.
        return zlib.decompressobj().decompress(packed, MAX_OPENED_BYTES).decode("utf-8", "replace")


def _about(caller: str, kind: str) -> bytes:
    return f"{kind}\0{caller}".encode()
