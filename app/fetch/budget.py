"""How much one request may bring in, and how it is told that it may not."""

from __future__ import annotations

from app.core.errors import BadRequest


class Budget:
    """How many bytes of images one request may still bring in.

    Args:
        max_bytes: The most.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._left = max_bytes

    def spend(self, size: int, param: str) -> None:
        """Take bytes.

        Raises:
            BadRequest: There are not so many left.
        """
        self._left -= size
        if self._left < 0:
            raise self.exceeded(param)

    def exceeded(self, param: str) -> BadRequest:
        """The error for more bytes than there are."""
        return refused(f"The images of this request are larger than {self._max_bytes // 1024**2} MiB in all.", param)


def refused(message: str, param: str) -> BadRequest:
    """The error for an image that may not, or cannot, be had."""
    return BadRequest(message, param=param, code="invalid_image_url")
