"""What a worker needs to do a request without its client."""

from __future__ import annotations

from typing import Self

from msgspec import Struct

from app.wire.codec import decode, encode


class Job(Struct, frozen=True):
    """A request for a worker.

    Attributes:
        body: The raw body, as text.
        caller_id: Who asked.
        request_id: What the client saw as ``x-request-id``.
    """

    body: str
    caller_id: str
    request_id: str

    def encoded(self) -> bytes:
        """As it is stored."""
        return encode({"body": self.body, "caller": self.caller_id, "request_id": self.request_id})

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """From what was stored."""
        fields = decode(data)
        return cls(fields["body"], fields["caller"], fields["request_id"])
