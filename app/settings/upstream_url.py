"""The upstream's address, put right where more or less of it was pasted than is wanted."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

DEFAULT_UPSTREAM_URL = "https://api.cloudflare.com/client/v4"

_CLOUDFLARE = "api.cloudflare.com"
_GATEWAY = "gateway.ai.cloudflare.com"
_PASTED = re.compile(r"/(?:accounts(?:/|$)|ai(?:/v1|/run)(?:/|$)).*|/ai$")


def tidy(url: str) -> tuple[str, str | None]:
    """Bring an upstream's address into the form that paths are added to.

    Args:
        url: As it was given.

    Returns:
        The address, and a sentence for the log if more than a slash had to be changed.

    Raises:
        ValueError: It is no such address; the message is the rest of a sentence about it.
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ValueError("is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be a URL that begins with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password: the API token is a setting of its own")
    if parts.query or parts.fragment:
        raise ValueError("must end before any '?' or '#'")
    if parts.hostname == _GATEWAY:
        raise ValueError(f"is an AI Gateway, which has other paths: give {DEFAULT_UPSTREAM_URL}")
    path = _PASTED.sub("", parts.path)
    if parts.hostname == _CLOUDFLARE and path in {"", "/client"}:
        path = "/client/v4"
    tidied = parts._replace(path=path.rstrip("/")).geturl()
    if tidied == url:
        return url, None
    return tidied, f"the upstream URL should be given as {tidied}: the account and the rest of the path are added to it"


def is_cloudflare(url: str) -> bool:
    """The address is Cloudflare's own, and not an emulator's or a gateway's of somebody else."""
    return urlsplit(url).hostname == _CLOUDFLARE
