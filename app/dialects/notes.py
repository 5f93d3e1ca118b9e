"""What translation could not keep: noted by OpenAI's field names, so that the client can be told."""

from __future__ import annotations


class Notes:
    """Gathers the fields of one request that were dropped or changed.

    Attributes:
        dropped: Fields that could not be sent.
        adjusted: Fields whose value had to be changed.
    """

    __slots__ = ("adjusted", "dropped")

    def __init__(self) -> None:
        self.dropped: list[str] = []
        self.adjusted: list[str] = []

    def drop(self, field: str) -> None:
        """Note a field that is not sent."""
        if field not in self.dropped:
            self.dropped.append(field)

    def adjust(self, field: str) -> None:
        """Note a field that is sent with another value."""
        if field not in self.adjusted:
            self.adjusted.append(field)
