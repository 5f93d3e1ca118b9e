"""Keys as texts: made, recognised, and digested. Nothing but the digest of a key is ever kept.

A key is ``sk-fl-``, the public part of its id, ``-``, and 256 random bits as 43 digits of base 62. Scanners that look
for secrets in repositories and logs can find it by ``PATTERN``. The public part says which key it is without trying.
"""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable
from typing import Final

PREFIX: Final = "sk-fl-"
ID_PREFIX: Final = "key-"

PATTERN: Final = r"\bsk-fl-[0-9a-z]{12}-[0-9A-Za-z]{43}\b"
"""A regular expression for scanners of secrets: it finds every key that was made here."""

_ID_DIGITS: Final = string.digits + string.ascii_lowercase
_ID_LENGTH: Final = 12
_ID_BYTES: Final = 16
_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_BYTES: Final = 32
_SECRET_LENGTH: Final = 43

RandomBytes = Callable[[int], bytes]
"""Makes so many random bytes, such as ``os.urandom``."""


def new_key_id(random_bytes: RandomBytes) -> str:
    """Make a public id: ``key-`` and 12 lower-case letters and digits."""
    # Twice the bits that are needed, so that no id is noticeably likelier than another.
    number = int.from_bytes(random_bytes(_ID_BYTES))
    return ID_PREFIX + _written(number % len(_ID_DIGITS) ** _ID_LENGTH, _ID_DIGITS, _ID_LENGTH)


def new_secret(key_id: str, random_bytes: RandomBytes) -> str:
    """Make the key itself for an id; each call makes another one."""
    number = int.from_bytes(random_bytes(_SECRET_BYTES))
    return f"{PREFIX}{key_id.removeprefix(ID_PREFIX)}-{_written(number, _DIGITS, _SECRET_LENGTH)}"


def digest(secret: str) -> bytes:
    """The SHA-256 of a key: 32 bytes. It is fast, and may be: nobody can guess 256 bits, however fast."""
    # A header can hold bytes that decode to lone surrogates; those match no key, and must not raise.
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _written(number: int, digits: str, length: int) -> str:
    written = []
    for _ in range(length):
        number, digit = divmod(number, len(digits))
        written.append(digits[digit])
    return "".join(reversed(written))
