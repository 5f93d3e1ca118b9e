"""From a request that was read to the calls that answer it: translated, priced, and within the account's day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from app.cloudflare.documents import inline_files
from app.core.caller import Caller
from app.core.cost import rates
from app.core.errors import BadRequest, QuotaExhausted
from app.core.model import Model
from app.core.request import FileContent, GenerationRequest, ImageContent, Message
from app.exchange.affinity import HEADER, affinity
from app.exchange.gateway import passed_on
from app.exchange.leg import Leg
from app.exchange.wiring import Wiring
from app.fetch.inline import inline_images
from app.limits.admission import Estimate
from app.limits.buckets import Hold


class Draft(NamedTuple):
    """A request, ready to be sent.

    Attributes:
        model: What is to answer.
        legs: One for each choice of the answer.
        estimate: What it may cost.
    """

    model: Model
    legs: Sequence[Leg]
    estimate: Estimate

    @property
    def dropped(self) -> tuple[str, ...]:
        """Fields that cannot be sent."""
        return self.legs[0].sent.dropped

    @property
    def adjusted(self) -> tuple[str, ...]:
        """Fields whose value had to be changed."""
        return self.legs[0].sent.adjusted


class Drafting:
    """Makes drafts of one request, for one model or another.

    Args:
        wiring: What it works with.
        caller: Who asks.
        request: What was asked.
        headers: Sent to the upstream beside those of every request.
        now: When the exchange began, in Unix seconds.
    """

    def __init__(
        self, wiring: Wiring, caller: Caller, request: GenerationRequest, headers: dict[str, str], now: float
    ) -> None:
        self._wiring = wiring
        self._caller = caller
        self._request = request
        self._headers = headers
        self._now = now

    async def draft(self, model: Model) -> Draft:
        """Translate the request for a model.

        Raises:
            ApiError: The model cannot serve it.
        """
        wiring, request = self._wiring, self._request
        legs: list[Leg] = []
        made: dict[int, tuple[Message, ...]] = {}
        for branch in request.branches or (request,):
            # Choices of one answer share their conversation; what it names is fetched once.
            messages = made.get(id(branch.messages))
            if messages is None:
                messages = made[id(branch.messages)] = await self._inlined(branch.messages, model)
            limit = wiring.default_max_tokens if branch.max_tokens is None else branch.max_tokens
            if messages is not branch.messages or limit != branch.max_tokens:
                branch = replace(branch, messages=messages, max_tokens=limit)  # noqa: PLW2901
            legs.append(Leg(wiring, branch, model, self._headers, self._now, self._caller))
        estimate = Estimate(
            sum(leg.prompt_tokens for leg in legs),
            sum(leg.sent.max_tokens or 0 for leg in legs),
            stated=request.max_tokens is not None or wiring.default_max_tokens is not None,
            rates=rates(model),
        )
        return Draft(model, legs, estimate)

    async def affordable(self, model: Model) -> tuple[Draft, Hold | None]:
        """A draft for which the account's neurons of the day are enough, and what it has taken of them.

        When they are not enough for the model, the first fallback model is taken that costs less, that the caller may
        use, and for which they are.

        Raises:
            ApiError: The model cannot serve the request.
            QuotaExhausted: The neurons are enough for none of them.
        """
        draft = await self.draft(model)
        quota = self._wiring.quota
        if quota is None:
            return draft, None
        try:
            return draft, await quota.admit(draft.estimate)
        except QuotaExhausted as refusal:
            for other in self._wiring.fallbacks(model):
                if not (0 < rates(other).output < rates(model).output and self._caller.may_use(*other.names)):
                    continue
                try:
                    draft = await self.draft(other)
                    return draft, await quota.admit(draft.estimate)
                except (BadRequest, QuotaExhausted):
                    # It cannot serve this request, or is too dear as well; perhaps the next one.
                    continue
            raise refusal from None

    async def _inlined(self, messages: tuple[Message, ...], model: Model) -> tuple[Message, ...]:
        """The conversation with everything in it that it only names."""
        # For a model without eyes nothing is fetched: its dialect refuses images by name.
        if model.vision and _holds(messages, ImageContent):
            messages = await inline_images(messages, self._wiring.images)
        if _holds(messages, FileContent):
            messages = await inline_files(messages, self._wiring.upstream)
        return messages


def upstream_headers(
    wiring: Wiring,
    caller: Caller,
    request: GenerationRequest,
    conversation: str | None,
    asked: Mapping[bytes, bytes] | None,
) -> dict[str, str]:
    """The headers of a request to the upstream beside those of every request.

    Args:
        wiring: What the exchange works with.
        caller: Who asks.
        request: What was asked.
        conversation: What the client calls the conversation in the upstream's own header, if it does.
        asked: The headers of the client's request, names in lower case.
    """
    headers = {HEADER: affinity(wiring.affinity_secret, caller, request, conversation)}
    if asked is not None and wiring.upstream.through_gateway:
        headers.update(passed_on(asked, wiring.affinity_secret, caller))
    return headers


def _holds(messages: Sequence[Message], kind: type[ImageContent | FileContent]) -> bool:
    return any(type(part) is kind for message in messages if type(message.content) is tuple for part in message.content)
