"""What an upload says of its file, and the File object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from app.core.errors import BadRequest
from app.surfaces import fields

PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
"""What a file may be uploaded for."""

BATCH: Final = "batch"
BATCH_OUTPUT: Final = "batch_output"

LEAST_SECONDS: Final = 3_600
MOST_SECONDS: Final = 2_592_000
"""How soon and how late a file may expire."""

BATCH_SECONDS: Final = MOST_SECONDS
"""When a file of a batch expires, if nothing else is said. Others never do."""


class Upload(Struct, frozen=True):
    """What an upload says of its file.

    Attributes:
        purpose: What it is for.
        seconds: How long it is kept; ``None`` for ever.
    """

    purpose: str
    seconds: int | None


def read_upload(purpose: str | None, anchor: str | None, seconds: str | None) -> Upload:
    """Read the plain fields of an upload.

    Args:
        purpose: The field ``purpose``.
        anchor: The field ``expires_after[anchor]``.
        seconds: The field ``expires_after[seconds]``.

    Raises:
        BadRequest: One of them is not what it has to be.
    """
    if not purpose:
        raise fields.missing(("purpose",))
    if purpose not in PURPOSES:
        raise fields.wrong_value(("purpose",), purpose, PURPOSES)
    if anchor is None and seconds is None:
        return Upload(purpose, default_seconds(purpose))
    path = ("expires_after",)
    if seconds is not None and (not seconds.isascii() or not seconds.isdecimal()):
        raise fields.wrong_type((*path, "seconds"), "an integer", seconds)
    stated = {"anchor": anchor, "seconds": None if seconds is None else int(seconds[:12])}
    return Upload(purpose, expiry({"expires_after": stated}, "expires_after"))


def expiry(body: Mapping[str, Any], key: str) -> int | None:
    """Read a policy of expiry; the seconds that a file is kept, ``None`` when nothing is said.

    Raises:
        BadRequest: It is malformed.
    """
    policy = fields.object_(body, key)
    if policy is None:
        return None
    anchor = fields.need(fields.string(policy, "anchor", (key,)), "anchor", (key,))
    if anchor != "created_at":
        raise fields.wrong_value((key, "anchor"), anchor, ("created_at",))
    seconds = fields.need(fields.integer(policy, "seconds", (key,)), "seconds", (key,))
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise BadRequest(
            f"Invalid '{key}.seconds': expected a value between {LEAST_SECONDS} and {MOST_SECONDS}.",
            param=f"{key}.seconds",
            code="invalid_value",
        )
    return seconds


def default_seconds(purpose: str) -> int | None:
    """How long a file is kept when nothing is said; ``None`` for ever."""
    return BATCH_SECONDS if purpose in {BATCH, BATCH_OUTPUT} else None


def file_object(
    file_id: str, *, size: int, created_at: float, filename: str, purpose: str, expires_at: float | None
) -> dict[str, Any]:
    """OpenAI's File object."""
    return {
        "id": file_id,
        "object": "file",
        "bytes": size,
        "created_at": int(created_at),
        "expires_at": None if expires_at is None else int(expires_at),
        "filename": filename,
        "purpose": purpose,
        "status": "processed",
        "status_details": None,
    }
