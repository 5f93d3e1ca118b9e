"""What clients may say to the operator's AI Gateway, through the headers of their requests."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Final

from app.core.caller import Caller

CACHE_KEY: Final = b"cf-aig-cache-key"

PASSED: Final = (
    b"cf-aig-skip-cache",
    b"cf-aig-cache-ttl",
    CACHE_KEY,
    b"cf-aig-collect-log",
    b"cf-aig-metadata",
    b"cf-aig-event-id",
    b"cf-aig-custom-cost",
    b"cf-aig-request-timeout",
    b"cf-aig-max-attempts",
    b"cf-aig-retry-delay",
    b"cf-aig-backoff",
)
"""All that is passed on. What chooses the gateway, its credentials or its keys is the operator's alone."""


def passed_on(asked: Mapping[bytes, bytes], secret: bytes, caller: Caller) -> dict[str, str]:
    """The headers of a client's request that its gateway is to see.

    A cache key is made the caller's own: the gateway keeps one cache for all who come with this proxy's token, and
    nobody is to read there what was answered to somebody else.

    Args:
        asked: The request's headers, names in lower case.
        secret: The key of the hash that makes a cache key a caller's own.
        caller: Who asks.
    """
    headers = {name.decode(): asked[name].decode("latin-1") for name in PASSED if name in asked}
    key = asked.get(CACHE_KEY)
    if key is not None:
        digest = hmac.new(secret, caller.id.encode() + b"\0" + key, "sha256")
        headers[CACHE_KEY.decode()] = digest.hexdigest()[:32]
    return headers
