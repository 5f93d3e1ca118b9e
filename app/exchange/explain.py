"""What would be sent for a request, and why: all of it worked out, none of it sent, and nothing taken of any limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from msgspec.structs import replace

from app.cloudflare.documents import to_text
from app.core.caller import Caller
from app.core.cost import USD_PER_NEURON, rates
from app.core.errors import BadRequest
from app.core.model import Model
from app.core.request import Content, FileContent, GenerationRequest, ImageContent, Message, TextContent
from app.core.surface import Surface
from app.core.upstream import UpstreamRequest
from app.dialects.choice import is_raw
from app.exchange.bodies import refuse_changes
from app.exchange.counting import count_input
from app.exchange.differences import MOST, inner_differences, shortened
from app.exchange.drafting import Draft, Drafting
from app.exchange.expectation import Expectation
from app.exchange.leg import Leg
from app.exchange.wiring import Wiring
from app.surfaces.fates import Fate

OBJECT: Final = "flarelay.explanation"

STAND_IN: Final = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
"""The smallest picture, in the place of one that would be fetched."""

_UNKNOWN: Final = Fate("relayed", "OpenAI's schema does not know it.")

_CONVERSATION: Final = "messages"

LIMITS: Final = ("max_completion_tokens", "max_output_tokens", "max_tokens")
"""What the APIs call the token limit."""


async def explain(
    wiring: Wiring, surface: Surface, caller: Caller, request: GenerationRequest, headers: Mapping[str, str], now: float
) -> dict[str, Any]:
    """Work out what a request would become.

    Images and files that the conversation only names are neither fetched nor converted; what stands in for them is
    told among the notes. The limits are not asked, and what is known of the upstream's health is not looked at.

    Args:
        wiring: What exchanges work with.
        surface: What the client speaks.
        caller: Who asks.
        request: What was asked, read with ``Exchange.read``.
        headers: See ``app.exchange.drafting.upstream_headers``.
        now: Unix seconds.

    Returns:
        The object ``flarelay.explanation``, as the README describes it.

    Raises:
        ApiError: What the client would get in place of an answer.
    """
    model = wiring.catalogue().resolve(request.model)
    standing, notes = await _standing_in(request, fetches=wiring.images.enabled)
    drafting = Drafting(wiring, caller, standing, dict(headers), now)
    draft = await drafting.draft(model)
    dropped, adjusted = (*request.dropped, *draft.dropped), draft.adjusted
    if wiring.strict:
        refuse_changes(dropped, adjusted)
    fates: Mapping[str, Fate] = getattr(surface, "fates", {})
    sent = draft.legs[0].sent
    wants = surface.wants(request.raw)
    if wiring.memory.store is None and (wants.previous or wants.conversation):
        notes.append("What came before is kept by the running server and not known here: ask it, with the header.")
    return {
        "object": OBJECT,
        "surface": surface.name,
        "model": {"asked": request.model, "id": model.id, "why": _why_model(wiring, request.model, model)},
        "dialect": {"name": draft.legs[0].dialect.name, "why": _why_dialect(standing, model, draft.legs[0])},
        "requests": [_upstream_request(wiring, leg) for leg in draft.legs],
        "dropped": [
            *({"field": name, "why": _fate(fates, name).what} for name in request.dropped),
            *({"field": name, "why": f"{model.id} does not take it."} for name in draft.dropped),
        ],
        "adjusted": [_adjusted(name, request, sent, fates) for name in adjusted],
        "normalised": [*_normalised(request, sent, fates, {*map(_root, dropped), *map(_root, adjusted)})],
        "added": [name for name in sent.json if name not in request.raw],
        "emulated": [*_emulated(standing, draft)],
        **_price(standing, model, draft, wiring.default_max_tokens),
        "fallbacks": await _fallbacks(drafting, draft),
        "notes": notes,
    }


def _why_model(wiring: Wiring, asked: str, model: Model) -> str:
    catalogue = wiring.catalogue()
    aliases = {name.lower() for name in catalogue.aliases()}
    if asked.lower() in aliases:
        return "an alias of the settings"
    if all(model.id != known.id for known in catalogue.models()):
        return "not in the catalogue: asked for as it is, with every ability assumed"
    return "the model's own id" if asked == model.id else "another name of the model"


def _why_dialect(request: GenerationRequest, model: Model, leg: Leg) -> str:
    if model.shape != "openai" and (is_raw(request) or "lora" in request.extra):
        return "`raw` and `lora` are there on the native route only"
    if request.tools and model.tools_dialect == leg.dialect.name:
        return "the model calls tools there only"
    return "the model's own, by the catalogue or the settings"


def _upstream_request(wiring: Wiring, leg: Leg) -> dict[str, Any]:
    sent = leg.calls.to_be_sent()
    path, headers = leg.calls.route.account.client.shown(sent)
    return {
        "method": "POST",
        "path": path,
        "headers": headers,
        "json": sent.json,
        "through_gateway": wiring.upstream.through_gateway,
    }


def _adjusted(
    name: str, request: GenerationRequest, sent: UpstreamRequest, fates: Mapping[str, Fate]
) -> dict[str, Any]:
    known = _root(name) in request.raw
    told: dict[str, Any] = {"field": name, "why": _fate(fates, name).what if known else "What the model takes."}
    if name in request.raw:
        told["asked"] = shortened(request.raw[name])
    if name in sent.json:
        told["sent"] = shortened(sent.json[name])
    elif name.startswith("max_"):
        told["sent"] = sent.max_tokens
    return told


def _normalised(
    request: GenerationRequest, sent: UpstreamRequest, fates: Mapping[str, Fate], told: set[str]
) -> Iterator[dict[str, Any]]:
    """What is sent in another form or another place than it was asked in, or not at all because nothing needs it."""
    for name, value in request.raw.items():
        if name in told or name == "model" or value is None:
            continue
        if name == _CONVERSATION and name in sent.json:
            yield from islice(inner_differences(value, sent.json[name], name), MOST)
        elif name not in sent.json or sent.json[name] != value:
            fate = _fate(fates, name)
            yield {"field": name, "kind": fate.kind, "how": fate.what}


def _emulated(request: GenerationRequest, draft: Draft) -> Iterator[str]:
    """What is done to the answer instead of by the upstream."""
    emulation, sent = draft.legs[0].sent.emulation, draft.legs[0].sent
    if len(draft.legs) > 1:
        yield f"{len(draft.legs)} calls make the choices of one answer"
    if emulation.stop:
        yield "the answer ends before the first of the stop texts"
    if emulation.one_call:
        yield "only the first tool call counts"
    if emulation.tools:
        yield "calls of the tools that come as text become calls"
    if Expectation((request.branches or (request,))[0]).holds:
        yield "the answer is held back until it is what was demanded, and asked for once more if it is not"
    if sent.stream and not request.stream:
        yield "the upstream streams, and the answer is put together here"
    if request.stream and not sent.stream:
        yield "the upstream does not stream this, and the whole answer is streamed at once"


def _price(request: GenerationRequest, model: Model, draft: Draft, default: int | None) -> dict[str, Any]:
    by, estimate = rates(model), draft.estimate
    prompts = [count_input(branch) for branch in request.branches or (request,)]
    least = sum(prompts) * min(by.input, by.cached_input) + len(prompts) * by.output
    most = sum(prompts) * by.input + estimate.max_tokens * by.output
    known = model.neurons_per_million is not None
    return {
        "tokens": {
            "prompt": sum(prompts),
            "prompt_source": "estimated",
            "limit": draft.legs[0].sent.max_tokens,
            "limit_from": _limit_from(request, default),
            "context_window": model.context_window,
        },
        "neurons": {"least": round(least, 6), "most": round(most, 6)} if known else None,
        "usd": {"least": round(least * USD_PER_NEURON, 9), "most": round(most * USD_PER_NEURON, 9)} if known else None,
    }


def _limit_from(request: GenerationRequest, default: int | None) -> str:
    """Who has set the token limit."""
    if any(request.raw.get(name) is not None for name in LIMITS):
        return "the request"
    if request.max_tokens is not None:
        return "the API's own default"
    return "the settings" if default is not None else "what the model's window leaves"


async def _fallbacks(drafting: Drafting, draft: Draft) -> list[dict[str, Any]]:
    """Where else the request may be sent, in order."""
    written: dict[str, BadRequest | None] = {draft.model.id: None}
    told: list[dict[str, Any]] = []
    for account, model in draft.legs[0].calls.route.others:
        if model.id not in written:
            try:
                await drafting.draft(model)
                written[model.id] = None
            except BadRequest as error:
                written[model.id] = error
        refusal = written[model.id]
        one = {"account": account.name, "model": model.id}
        told.append(one if refusal is None else {**one, "unfit": refusal.message})
    return told


class _WouldConvertError(Exception):
    """A file has to be converted by Cloudflare."""


class _NoConverter:
    """Stands where files would be sent to be converted."""

    async def post_files(self, path: str, files: Sequence[tuple[str, bytes, str]]) -> bytes:  # noqa: ARG002
        """Refuse to."""
        raise _WouldConvertError


async def _standing_in(request: GenerationRequest, *, fetches: bool) -> tuple[GenerationRequest, list[str]]:
    """The request with stand-ins for what would have to be fetched or converted, and what they stand for.

    Raises:
        BadRequest: A file cannot be read.
    """
    notes: dict[str, None] = {}
    messages = await _replaced(request.messages, notes, fetches=fetches)
    branches = [
        replace(one, messages=await _replaced(one.messages, notes, fetches=fetches)) for one in request.branches
    ]
    return replace(request, messages=messages, branches=tuple(branches)), list(notes)


async def _replaced(messages: Sequence[Message], notes: dict[str, None], *, fetches: bool) -> tuple[Message, ...]:
    made: list[Message] = []
    for message in messages:
        if not isinstance(message.content, str):
            content = [await _stand_in(part, notes, fetches=fetches) for part in message.content]
            message = replace(message, content=tuple(content))  # noqa: PLW2901
        made.append(message)
    return tuple(made)


async def _stand_in(part: Content, notes: dict[str, None], *, fetches: bool) -> Content:
    if isinstance(part, FileContent):
        try:
            await to_text(_NoConverter(), [part])
        except _WouldConvertError:
            notes[f"{part.param}: a stand-in; Cloudflare would make it text, which has more tokens."] = None
            return TextContent(f"[the text of {part.name}]")
    elif isinstance(part, ImageContent) and fetches and part.url[:8].lower().startswith(("http://", "https://")):
        notes[f"{part.param}: a stand-in; the image would be fetched and put here."] = None
        return replace(part, url=STAND_IN)
    return part


def _root(name: str) -> str:
    """The field of a path: ``tools`` of ``tools[2].type``."""
    return name.partition("[")[0].partition(".")[0]


def _fate(fates: Mapping[str, Fate], name: str) -> Fate:
    return fates.get(_root(name), _UNKNOWN)
