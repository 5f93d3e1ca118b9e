"""Compacting a conversation: its model writes a summary, which takes the place of all but what the user said last.

What the client gets back is the user's latest messages and one sealed item. The sealed item holds further input items:
what the developer said, the summary, and what came after the user's last message, so nothing of the last turn is lost.
It is read back in ``app.surfaces.responses.history``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec.structs import fields

from app.core.errors import ApiError, UpstreamBroken
from app.core.generation import Generation
from app.core.request import GenerationRequest, Message
from app.core.surface import NO_PAST, NewId, Past, SealText, Wants, Writer
from app.core.usage import estimate_tokens
from app.surfaces.responses import frames
from app.surfaces.responses.read import ResponsesRequest, read_request
from app.surfaces.responses.record import usage_body
from app.surfaces.responses.stored import input_items, to_store
from app.surfaces.responses.wants import COMPACTION, find_wants
from app.wire.codec import CodecError, decode, encode

SUMMARY_TOKENS: Final = 8192
"""The most that a summary may cost, its model's thoughts included."""

KEPT_TOKENS: Final = 16_384
"""The most of the user's own words that are kept as they are; the same again of the last turn, and of the developer."""

ASK: Final = (
    "What stands above is about to be replaced by a summary, and whoever goes on will know that summary only. Write it "
    "now. Say what the user wants and has decided; what was done and what came of it, with every name, path, number "
    "and wording that still matters, exactly; what is open; and what the next step was to be. Write plain text without "
    "any preamble. Do not go on with the conversation itself, and call no tools."
)

HEAD: Final = "Summary of the conversation so far, which it replaces:\n\n"

_ASKED: Final = ("model", "input", "instructions", "previous_response_id", "prompt_cache_key")
"""The fields that have a meaning here; all others that OpenAI has are about its own machinery."""

_AFTER: Final = frozenset({"message", "function_call", "custom_tool_call"})
_OUTPUTS: Final = frozenset({"function_call_output", "custom_tool_call_output"})


class CompactionRequest(ResponsesRequest, frozen=True):
    """A request for a summary.

    Attributes:
        items: The whole conversation as items, for what is kept of it; an earlier compaction is an item like others.
        inner: What was in the earlier compactions among them, by their sealed text.
    """

    items: tuple[Mapping[str, Any], ...] = ()
    inner: Mapping[str, tuple[Mapping[str, Any], ...]] | None = None


class CompactSurface:
    """``POST /v1/responses/compact``.

    Args:
        stores: Answers are stored, so they can be compacted by their id.
    """

    name = "compact"

    def __init__(self, *, stores: bool) -> None:
        self._stores = stores

    def wants(self, body: Mapping[str, Any]) -> Wants:
        """What has to be fetched before the body can be read."""
        return find_wants(body)

    def read(self, body: Mapping[str, Any], past: Past = NO_PAST) -> CompactionRequest:
        """Check a request and make it one for a summary.

        Raises:
            BadRequest: With the path of the field at fault.
        """
        asked = {name: body[name] for name in _ASKED if name in body}
        read = read_request(asked, past, stores=self._stores, seals=True)
        values = {field.name: getattr(read, field.name) for field in fields(read)}
        values |= {
            "messages": (*read.messages, Message("user", ASK)),
            "max_tokens": SUMMARY_TOKENS,
            "keep": False,
            # Tools that came as items are not on offer: what is wanted is a text.
            "tools": (),
            "tool_choice": None,
        }
        items = (*past.context, *input_items(body, past.items))
        return CompactionRequest(**values, items=items, inner=_inner(past))

    def writer(
        self, request: GenerationRequest, model: str, new_id: NewId, now: float, seal: SealText | None = None
    ) -> Writer:
        """There are no streams here, and ``read`` makes no request for one."""
        raise NotImplementedError

    def body(
        self,
        request: GenerationRequest,
        generations: Sequence[Generation],
        model: str,
        new_id: NewId,
        now: float,
        seal: SealText | None = None,
    ) -> dict[str, Any]:
        """Write the compacted conversation.

        Raises:
            UpstreamBroken: There is no summary.
        """
        del model
        assert isinstance(request, CompactionRequest)  # noqa: S101 - read() makes no other
        assert seal is not None  # noqa: S101 - the exchange always has one
        summary = generations[0].text("text").strip()
        if not summary:
            raise UpstreamBroken("The model wrote no summary.", code="upstream_empty")
        kept, rest = _split(request)
        hidden = [
            *_fitting(item for item in _flat(request.items, request.inner or {}) if _says(item, "developer", "system")),
            {"type": "message", "role": "user", "content": HEAD + summary},
            *rest,
        ]
        sealed = seal(COMPACTION, encode(hidden).decode())
        compaction = {"id": new_id("cmp_"), "type": "compaction", "encrypted_content": sealed}
        return {
            "id": new_id("resp_"),
            "object": "response.compaction",
            "created_at": int(now),
            "output": [*to_store(kept, new_id), compaction],
            "usage": usage_body(generations[0].usage),
        }

    def error_frames(self, error: ApiError) -> bytes:
        """A failure after the first byte; there is none here."""
        return frames.error_frames(error)


def _split(request: CompactionRequest) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Find what is kept: the user's latest messages, and what came after the last of them."""
    said = [number for number, item in enumerate(request.items) if _says(item, "user")]
    after = list(_flat(request.items[said[-1] + 1 if said else 0 :], request.inner or {}))
    # A summary that an earlier compaction made is in the new one.
    after = [item for item in after if item.get("type", "message") in _AFTER | _OUTPUTS and not _says(item, "user")]
    after = _paired([item for item in after if not _says(item, "developer", "system")])
    rest = after if _size(after) <= KEPT_TOKENS else _fitting(item for item in after if _says(item, "assistant"))
    return _fitting(request.items[number] for number in said), rest


def _fitting(items: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The latest of some items, as many as fit."""
    kept: list[Mapping[str, Any]] = []
    left = KEPT_TOKENS
    for item in reversed(list(items)):
        left -= _size([item])
        if left < 0:
            break
        kept.append(item)
    return kept[::-1]


def _paired(items: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without calls whose output is not there, and the other way round: neither could be read back alone."""
    calls = {item.get("call_id") for item in items if str(item.get("type")).endswith("_call")}
    outputs = {item.get("call_id") for item in items if item.get("type") in _OUTPUTS}
    both = (calls & outputs) - {None}
    return [item for item in items if item.get("type", "message") == "message" or item.get("call_id") in both]


def _flat(
    items: Iterable[Mapping[str, Any]], inner: Mapping[str, tuple[Mapping[str, Any], ...]]
) -> Iterable[Mapping[str, Any]]:
    for item in items:
        if item.get("type") == "compaction":
            yield from inner.get(str(item.get("encrypted_content")), ())
        else:
            yield item


def _inner(past: Past) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """The earlier compactions; other sealed texts, such as reasoning, are not lists of items."""
    found: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for sealed, text in past.opened.items():
        try:
            items = decode(text)
        except CodecError:
            continue
        if isinstance(items, list):
            found[sealed] = tuple(item for item in items if isinstance(item, dict))
    return found


def _says(item: Mapping[str, Any], *roles: str) -> bool:
    return item.get("type", "message") == "message" and item.get("role") in roles


def _size(items: Sequence[Mapping[str, Any]]) -> int:
    return estimate_tokens(encode(items).decode())
