"""One choice of an answer: heard, judged, and asked for once more where it came to nothing."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec.structs import replace

from app.cloudflare.answer import CACHE_STATUS, Answer
from app.core.caller import ANONYMOUS, Caller
from app.core.errors import ApiError, UpstreamBroken
from app.core.events import Event, Failed, Finished, Opened
from app.core.generation import Generation
from app.core.model import Model
from app.core.request import GenerationRequest
from app.core.upstream import Dialect, Reader, UpstreamRequest
from app.core.usage import Usage, summed
from app.exchange.calls import Calls
from app.exchange.counting import count_input
from app.exchange.expectation import EMPTY, LEAST_TOKENS, UNMET, Expectation
from app.exchange.gate import Gate
from app.exchange.wiring import Wiring
from app.wire.sse import Framer, FrameTooLargeError

OVERFLOW: Final = "context_length_exceeded"

SLOW_CLIENT_SECONDS: Final = 0.05
"""What lies between two network reads is work of far less than this, or waiting for the client to take what it got."""


class Leg:
    """One choice of an answer. Use: ``open``, then ``hear_more`` until it has ended; always ``close``.

    Args:
        wiring: What it works with.
        request: What to generate.
        model: What generates it.
        headers: Sent to the upstream beside those of every request.
        now: When the exchange began, in Unix seconds.
        caller: Who asks.

    Attributes:
        generation: What the client has got.
    """

    def __init__(
        self,
        wiring: Wiring,
        request: GenerationRequest,
        model: Model,
        headers: Mapping[str, str],
        now: float,
        caller: Caller = ANONYMOUS,
    ) -> None:
        self._wiring = wiring
        self._request = request
        self._now = now
        self.generation = Generation()
        self._calls = Calls(wiring, request, model, headers, caller)
        self._expectation = Expectation(request)
        self._prompt_tokens = count_input(request)
        self._answer: Answer | None = None
        self._reader: Reader | None = None
        self._framer: Framer | None = None
        # What the upstream says now, until it is known to be what it has to be.
        self._heard: Generation | None = Generation() if self._expectation.holds else None
        self._held: list[Event] = []
        self._spent: list[Usage] = []
        self._tried_again = False
        self._timer = wiring.timer
        self._heard_at = math.inf
        self._client_seconds = 0.0
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

    @property
    def model(self) -> Model:
        """The model that serves it: another one than was wanted, when that could not be had."""
        return self._calls.model

    @property
    def account(self) -> str:
        """The account that serves it, by its name."""
        return self._calls.account

    @property
    def calls(self) -> Calls:
        """The calls to the upstream that it takes."""
        return self._calls

    @property
    def dialect(self) -> Dialect:
        """What is spoken to the model."""
        return self._calls.dialect

    @property
    def sent(self) -> UpstreamRequest:
        """What was sent last."""
        return self._calls.sent

    @property
    def attempts(self) -> int:
        """How many times the upstream was called."""
        return len(self._calls.statuses)

    @property
    def statuses(self) -> Sequence[int]:
        """What the upstream answered to every call; 0 where it did not."""
        return self._calls.statuses

    @property
    def upstream_seconds(self) -> float:
        """How long the upstream was waited for."""
        return self._calls.upstream.seconds

    @property
    def queue_seconds(self) -> float:
        """How long a turn at the account's own limits was waited for."""
        return self._calls.queue.seconds

    @property
    def waited_seconds(self) -> float:
        """Both of these, and the waits for a client that was slow to take the answer."""
        return self.upstream_seconds + self.queue_seconds + self._client_seconds

    @property
    def status(self) -> int | None:
        """The upstream's last status; ``None`` before there was one."""
        return self._calls.status

    @property
    def upstream_request_id(self) -> str | None:
        """Cloudflare's id of the last call."""
        return self._calls.request_id

    @property
    def gateway(self) -> Mapping[str, str]:
        """What the AI Gateway said about the last call, as headers."""
        return self._calls.gateway

    async def open(self, gate: Gate | None = None) -> None:
        """Call the upstream; return when its answer has begun.

        Args:
            gate: Is passed before the first call.

        Raises:
            ApiError: It refused, failed or was not reached.
        """
        self._calls.start(gate)
        try:
            self._listen(await self._calls.make(self._request))
        except ApiError as error:
            if error.code == OVERFLOW and self._request.max_tokens is None and self.sent.max_tokens:
                # The limit is ours, and made for an estimate of the prompt; a smaller one leaves more room for it.
                again = replace(self._request, max_tokens=self.sent.max_tokens // 2)
            elif error.code == UNMET and not self._tried_again:
                self._tried_again = True
                again = self._request
            else:
                raise
            self._listen(await self._calls.make(again))

    async def hear_more(self) -> Sequence[Event]:
        """Wait for the next events for the client; there may be none yet. The terminal one comes in the end."""
        events = await self._pull()
        if events and type(events[-1]) is Failed:
            recovered = await self._recover(events[-1], events)
            if recovered is not None:
                return recovered
        if self._heard is None:
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
        began = self._timer()
        if finished and not stopped and self.generation.reason is not None:
            await self._answer.finish()
        else:
            await self._answer.aclose()
        self._calls.upstream.seconds += self._timer() - began

    def break_off(self, error: ApiError) -> Sequence[Event]:
        """End an answer here that has begun and not ended; the events that say so to the client."""
        closing = _broken_off(self._reader, error) if self._reader is not None else [Failed(error)]
        return self._release([*self._held, *closing])

    def settled_usage(self) -> Usage | None:
        """What this choice cost, also when it was given up half-way; ``None`` when the upstream was never asked."""
        if self.attempts == 0:
            return None
        heard = self._heard if self._heard is not None else self.generation
        if self._reader is not None and not heard.ended:
            for event in self._reader.close():
                heard.hear(event)
        if self.generation.ended:
            return self.generation.settled_usage(self._prompt_tokens)
        return summed([*self._spent, self._used(heard)])

    def _used(self, heard: Generation) -> Usage:
        """What the last answer used; one that the gateway had kept costs nothing, whatever it cost when it was made."""
        usage = heard.settled_usage(self._prompt_tokens)
        return replace(usage, neurons=0.0) if self._calls.gateway.get(CACHE_STATUS) == "HIT" else usage

    def _listen(self, answer: Answer) -> None:
        calls = self._calls
        self._answer = answer
        self._reader = calls.dialect.reader(calls.sent, calls.model, self._now)
        self._framer = Framer() if answer.content_type == "text/event-stream" else None

    async def _recover(self, failed: Failed, events: Sequence[Event]) -> Sequence[Event] | None:
        """After an answer broke off, begin anew if the client has got nothing of it; ``None`` if it has to be told."""
        error, heard = failed.error, self._heard
        if self._calls.given_up:
            return None
        if self.generation.parts or (heard is None and any(type(event) is Opened for event in events)):
            self._calls.broke_off(error)
            return None
        wait: float | None = 0.0
        if error.code == EMPTY:
            # An answer that is held is judged, which finds the same.
            if heard is not None or self._tried_again:
                return None
            self._tried_again = True
        else:
            wait = self._calls.after(error)
        if wait is None:
            return None
        spent = failed.usage
        if heard is not None:
            for event in events:
                heard.hear(event)
            spent = self._used(heard) if heard.parts or heard.usage is not None else None
            self._held, self._heard = [], Generation()
        if spent is not None:
            self._spent.append(spent)
        return self._told(await self._begin_again(partial(self._calls.again, wait)))

    async def _begin_again(self, call: Callable[[], Awaitable[Answer]]) -> ApiError | None:
        """Give the answer up for another one; returns why there is none."""
        await self.close(finished=False)
        self._answer = self._reader = self._framer = None
        try:
            self._listen(await call())
        except ApiError as error:
            return error
        return None

    def _told(self, error: ApiError | None) -> Sequence[Event]:
        """What the client gets at once when another answer was asked for: nothing, or that there is none."""
        return () if error is None else self._release([Failed(error)])

    async def _pull(self) -> Sequence[Event]:
        """What the upstream says next."""
        assert self._answer is not None  # noqa: S101 - set by open()
        assert self._reader is not None  # noqa: S101 - set by open()
        if self._framer is None:
            return await self._pull_body(self._answer, self._reader)
        try:
            block = await self._read(self._answer)
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

    async def _read(self, answer: Answer) -> bytes:
        """The next network read, and how long it was waited for: plain numbers, since this runs once per token."""
        began = self._timer()
        if began - self._heard_at > SLOW_CLIENT_SECONDS:
            self._client_seconds += began - self._heard_at
        try:
            return await answer.read()
        finally:
            self._heard_at = self._timer()
            self._calls.upstream.seconds += self._heard_at - began

    async def _pull_body(self, answer: Answer, reader: Reader) -> Sequence[Event]:
        """Hear an unstreamed answer, which the upstream may also give to a request for a stream."""
        try:
            events = reader.read(await self._calls.upstream.of(answer.read_all()))
        except ApiError as error:
            return [Failed(error)]
        if self.sent.stream and _is_empty(events):
            # Some models answer a request for a stream with an empty JSON result: they must be asked without.
            failure = await self._begin_again(self._calls.unstreamed)
            return () if failure is None else [Failed(failure)]
        return events

    async def _judge(self, heard: Generation) -> Sequence[Event]:
        """Give the whole held answer, or ask once more."""
        wrong = self._expectation.disappointment(heard)
        if wrong is None or not self._may_try_again(heard):
            events = self._expectation.accepted(self._held, heard, wrong)
            return self._release(events)
        self._tried_again = True
        self._calls.succeeded()
        usage = self._used(heard)
        self._spent.append(usage)
        again = self._expectation.again(heard, wrong)
        if self.sent.max_tokens is not None and self._request.max_tokens is not None:
            again = replace(again, max_tokens=self.sent.max_tokens - usage.completion_tokens)
        self._held, self._heard = [], Generation()
        return self._told(await self._begin_again(partial(self._calls.make, again)))

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
            self._calls.succeeded()
            self.generation.usage = self._used(self.generation)
        if self._spent:
            self.generation.usage = summed([*self._spent, self._used(self.generation)])
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
