"""One choice of an answer: a call to the upstream, and a second one where the first came to nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from app.cloudflare.client import Answer
from app.core.errors import ApiError, UpstreamBroken
from app.core.events import Event, Failed, Finished, Opened, Started
from app.core.generation import Generation
from app.core.model import Model
from app.core.request import GenerationRequest
from app.core.upstream import Dialect, Reader, UpstreamRequest
from app.core.usage import Usage, summed
from app.dialects.choice import choose
from app.dialects.messages import estimate_messages
from app.exchange.expectation import EMPTY, LEAST_TOKENS, UNMET, Expectation
from app.exchange.wiring import Wiring
from app.wire.sse import Framer, FrameTooLargeError

OVERFLOW = "context_length_exceeded"


class Leg:
    """One choice of an answer. Use: ``prepare``, ``open``, then ``hear_more`` until it has ended; always ``close``.

    Args:
        wiring: What it works with.
        request: What to generate.
        model: What generates it.
        headers: Sent to the upstream beside those of every request.
        now: When the exchange began, in Unix seconds.

    Attributes:
        generation: What the client has got.
        sent: What was sent last.
        status: The upstream's last status; ``None`` before there was one.
        upstream_request_id: Cloudflare's id of the last call.
        calls: How many times the upstream was called.
    """

    def __init__(
        self, wiring: Wiring, request: GenerationRequest, model: Model, headers: dict[str, str], now: float
    ) -> None:
        self._wiring = wiring
        self._request = request
        self._model = model
        self._headers = headers
        self._now = now
        self.dialect: Dialect = wiring.dialects[choose(request, model)]
        self.generation = Generation()
        self.sent = self._write(request, stream=True)
        self.status: int | None = None
        self.upstream_request_id: str | None = None
        self.calls = 0
        self._expectation = Expectation(request)
        self._prompt_tokens = estimate_messages(request.messages)
        self._answer: Answer | None = None
        self._reader: Reader | None = None
        self._framer: Framer | None = None
        # What the upstream says now, until it is known to be what it has to be.
        self._heard: Generation | None = Generation() if self._expectation.holds else None
        self._held: list[Event] = []
        self._spent: list[Usage] = []
        self._tried_again = False
        # Some models count their calls anew in every answer; clients tell calls apart by their ids.
        self._taken = {call.call_id for message in request.messages for call in message.tool_calls}

    @property
    def ended(self) -> bool:
        """The terminal event has been given."""
        return self.generation.ended

    @property
    def prompt_tokens(self) -> int:
        """The input, estimated."""
        return self._prompt_tokens

    async def open(self) -> None:
        """Call the upstream; return when its answer has begun.

        Raises:
            ApiError: It refused, failed or was not reached.
        """
        try:
            await self._call(self.sent)
        except ApiError as error:
            if error.code == OVERFLOW and self._request.max_tokens is None and self.sent.max_tokens:
                # The limit is ours, and made for an estimate of the prompt; a smaller one leaves more room for it.
                again = self._write(replace(self._request, max_tokens=self.sent.max_tokens // 2), stream=True)
            elif error.code == UNMET and not self._tried_again:
                self._tried_again = True
                again = self.sent
            else:
                raise
            await self._call(again)

    async def hear_more(self) -> Sequence[Event]:
        """Wait for the next events for the client; there may be none yet. The terminal one comes in the end."""
        events = await self._pull()
        if self._heard is None:
            if events and _is_empty(events) and not self.generation.parts and not self._tried_again:
                # Nothing came, so nothing has been given: asking again cannot contradict anything.
                self._tried_again = True
                await self.close(finished=False)
                return await self._call_again(self._request)
            return self._give(events)
        self._held.extend(events)
        for event in events:
            self._heard.hear(event)
        if any(self._expectation.is_met_by(event) for event in events):
            return self._release(self._held)
        return await self._judge(self._heard) if self._heard.ended else ()

    async def close(self, *, finished: bool) -> None:
        """Let go of the upstream.

        Args:
            finished: The answer was wanted to its end; if not, the upstream has to stop at once.
        """
        if self._answer is None:
            return
        stopped = self._reader is not None and self._reader.stopped_early
        if finished and not stopped and self.generation.reason is not None:
            await self._answer.finish()
        else:
            await self._answer.aclose()

    def settled_usage(self) -> Usage | None:
        """What this choice cost, also when it was given up half-way; ``None`` when the upstream was never asked."""
        if self.calls == 0:
            return None
        heard = self._heard if self._heard is not None else self.generation
        if self._reader is not None and not heard.ended:
            for event in self._reader.close():
                heard.hear(event)
        if self.generation.ended:
            return self.generation.settled_usage(self._prompt_tokens)
        return summed([*self._spent, heard.settled_usage(self._prompt_tokens)])

    def _write(self, request: GenerationRequest, *, stream: bool) -> UpstreamRequest:
        sent = self.dialect.write(request, self._model, stream=stream)
        return replace(sent, headers={**sent.headers, **self._headers})

    async def _call(self, sent: UpstreamRequest) -> None:
        self.sent = sent
        self.calls += 1
        answer = self._answer = await self._wiring.upstream.open(sent)
        self.upstream_request_id = answer.request_id
        self.status = answer.status
        self._reader = self.dialect.reader(sent, self._model, self._now)
        self._framer = Framer() if answer.content_type == "text/event-stream" else None

    async def _pull(self) -> Sequence[Event]:
        """What the upstream says next."""
        assert self._answer is not None  # noqa: S101 - set by open()
        assert self._reader is not None  # noqa: S101 - set by open()
        if self._framer is None:
            return await self._pull_body(self._answer, self._reader)
        try:
            block = await self._answer.read()
            frames = self._framer.feed(block) if block else self._framer.close()
        except FrameTooLargeError:
            error = UpstreamBroken("Workers AI sent a frame that is too large to read.")
            return _broken_off(self._reader, error)
        except ApiError as error:
            return _broken_off(self._reader, error)
        feed = self._reader.feed
        events = [event for frame in frames for event in feed(frame)]
        if not block:
            events.extend(self._reader.close())
        return events

    async def _pull_body(self, answer: Answer, reader: Reader) -> Sequence[Event]:
        """Hear an unstreamed answer, which the upstream may also give to a request for a stream."""
        try:
            events = reader.read(await answer.read_all())
        except ApiError as error:
            return [Failed(error)]
        if self.sent.stream and _is_empty(events):
            # Some models answer a request for a stream with an empty JSON result: they must be asked without.
            await answer.aclose()
            try:
                await self._call(self._write(self._request, stream=False))
            except ApiError as error:
                return [Failed(error)]
            return await self._pull()
        return events

    async def _judge(self, heard: Generation) -> Sequence[Event]:
        """Give the whole held answer, or ask once more."""
        wrong = self._expectation.disappointment(heard)
        if wrong is None or not self._may_try_again(heard):
            events = self._expectation.accepted(self._held, heard, wrong)
            return self._release(events)
        self._tried_again = True
        usage = heard.settled_usage(self._prompt_tokens)
        self._spent.append(usage)
        again = self._expectation.again(heard, wrong)
        if self.sent.max_tokens is not None and self._request.max_tokens is not None:
            again = replace(again, max_tokens=self.sent.max_tokens - usage.completion_tokens)
        await self.close(finished=False)
        self._held = []
        self._heard = Generation()
        return await self._call_again(again)

    async def _call_again(self, request: GenerationRequest) -> Sequence[Event]:
        try:
            await self._call(self._write(request, stream=True))
        except ApiError as error:
            return self._release([Started(), Failed(error)])
        return ()

    def _may_try_again(self, heard: Generation) -> bool:
        if self._tried_again:
            return False
        if self._request.max_tokens is None or self.sent.max_tokens is None:
            return True
        spent = heard.settled_usage(self._prompt_tokens).completion_tokens
        return self.sent.max_tokens - spent >= LEAST_TOKENS

    def _release(self, events: Sequence[Event]) -> Sequence[Event]:
        self._heard = None
        self._held = []
        return self._give(events)

    def _give(self, events: Sequence[Event]) -> Sequence[Event]:
        hear = self.generation.hear
        if self._taken:
            events = [self._renamed(event) if type(event) is Opened else event for event in events]
        for event in events:
            hear(event)
        if not self.generation.ended:
            return events
        if self.generation.reason is not None:
            self.generation.usage = self.generation.settled_usage(self._prompt_tokens)
        if self._spent and self.generation.usage is not None:
            self.generation.usage = summed([*self._spent, self.generation.usage])
        usage = self.generation.usage
        return [replace(event, usage=usage) if type(event) is Finished else event for event in events]

    def _renamed(self, event: Opened) -> Opened:
        """A call whose id the conversation has already gets another one."""
        return replace(event, call_id=self._wiring.new_id("call_")) if event.call_id in self._taken else event


def _broken_off(reader: Reader, error: ApiError) -> Sequence[Event]:
    """The reader's closing events, with the real reason in place of its own."""
    return [replace(event, error=error) if type(event) is Failed else event for event in reader.close()]


def _is_empty(events: Sequence[Event]) -> bool:
    last = events[-1]
    return isinstance(last, Failed) and last.error.code == EMPTY
