"""Which instance should answer: the one that has the beginning of the conversation in its prefix cache."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from app.core.caller import Caller
from app.core.request import GenerationRequest, TextContent

HEADER = "x-session-affinity"

SEEN_CHARACTERS = 2048
"""How much of each of the first messages tells one conversation from another."""


def affinity(secret: bytes, caller: Caller, request: GenerationRequest, named: str | None) -> str:
    """Name a conversation to the upstream.

    The name is a keyed hash per caller: it says nothing about who somebody is, and no caller can meet, or measure, what
    another one has in the cache.

    Args:
        secret: The key of the hash: at most 64 bytes.
        caller: Who asks.
        request: What is asked: its cache key, or else its first messages, are the conversation's name.
        named: What the client itself calls the conversation, in the upstream's own header.
    """
    name = named or request.cache_key
    parts = [name] if name else list(_beginning(request))
    words = "\0".join([caller.id, *parts]).encode("utf-8", "surrogatepass")
    return blake2b(words, key=secret, digest_size=16).hexdigest()


def _beginning(request: GenerationRequest) -> Iterator[str]:
    """The instructions and the first turn: what stays the same however long a conversation becomes."""
    yield request.model
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            yield content[:SEEN_CHARACTERS]
        else:
            yield "".join(part.text for part in content if type(part) is TextContent)[:SEEN_CHARACTERS]
        if message.role == "user":
            return
