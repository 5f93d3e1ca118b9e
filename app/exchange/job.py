"""What a worker needs to do a request without its client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from app.core.caller import Caller
from app.wire.codec import decode, encode


@dataclass(frozen=True, slots=True)
class Job:
    """A request for a worker.

    Attributes:
        body: The raw body, as text.
        caller: Who asked.
        request_id: What the client saw as ``x-request-id``.
    """

    body: str
    caller: Caller
    request_id: str

    def encoded(self) -> bytes:
        """As it is stored."""
        caller = {"id": self.caller.id, "name": self.caller.name}
        return encode({"body": self.body, "caller": caller, "request_id": self.request_id})

    @classmethod
    def decoded(cls, data: bytes) -> Self:
        """From what was stored."""
        fields = decode(data)
        return cls(fields["body"], Caller(**fields["caller"]), fields["request_id"])
