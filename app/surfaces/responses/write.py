"""Writing a Responses answer: the frames of one stream, or one body."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.core.errors import ApiError
from app.core.events import Closed, Delta, Event, Failed, Finished, FinishReason, Opened, Started
from app.core.generation import Generation
from app.core.request import GenerationRequest
from app.core.surface import NewId, SealText
from app.core.usage import Usage
from app.surfaces.responses import record
from app.surfaces.responses.frames import WORDS, Numbered, Words, delta_prefix, place
from app.surfaces.responses.items import Item, ItemKind, Status, new_item, summary_part
from app.surfaces.responses.read import ResponsesRequest
from app.surfaces.responses.tools import Toolbox, read_tools
from app.wire.codec import decode, encode
from app.wire.sse import DONE


class _Live:
    """An item that is being written."""

    __slots__ = ("body", "index", "item", "pieces", "prefix")

    def __init__(self, item: Item, index: int, words: Mapping[ItemKind, Words]) -> None:
        self.item = item
        self.index = index
        self.pieces: list[str] = []
        # A custom tool's input can be read from the arguments only when they are complete.
        self.prefix = b"" if item.kind == "custom" else delta_prefix(item, index, words)
        self.body: dict[str, Any] | None = None

    def text(self) -> str:
        text = "".join(self.pieces)
        try:
            text.encode()
        except UnicodeEncodeError:
            # Half a character in a token was sent as U+FFFD, and the whole must be what was sent.
            return "".join(decode(encode(piece)) for piece in self.pieces)
        return text


class ResponsesWriter:
    """Turns events into the frames of one stream.

    The closing frames of the last item wait for the next event: only then is it known whether the item is complete
    or was cut off.

    Args:
        request: The request that is answered.
        model: What the answer calls the model.
        new_id: Makes ids.
        now: When the answer began, in Unix seconds.
        clock: Tells the Unix time when the answer ends; without it the end is the beginning.
        seal: Seals the reasoning, where the client asked to keep it.
        words: What the events are called.

    Attributes:
        final: The Response object as it ended; ``None`` before.
    """

    def __init__(
        self,
        request: GenerationRequest,
        model: str,
        new_id: NewId,
        now: float,
        clock: Callable[[], float] | None = None,
        seal: SealText | None = None,
        words: Mapping[ItemKind, Words] = WORDS,
    ) -> None:
        self.final: dict[str, Any] | None = None
        self._words = words
        self._seal = seal if record.wants_sealed(request) else None
        self._new_id = new_id
        self._toolbox = _toolbox(request)
        self._summarise = record.wants_summary(request)
        self._created = int(now)
        self._clock = clock
        self._record = record.begun(request, new_id("resp_"), model, self._created)
        self._frames = Numbered()
        self._live: list[_Live] = []
        self._held: _Live | None = None
        self._before_end: tuple[int, _Live | None] = (0, None)
        self._usage: Usage | None = None

    def feed(self, event: Event, choice: int = 0) -> bytes:  # noqa: ARG002 - this API has one choice
        """Take the next event: whole frames, or nothing."""
        if type(event) is Delta:
            live = self._live[event.part]
            live.pieces.append(event.text)
            return self._frames.text(live.prefix, event.text) if live.prefix else b""
        match event:
            case Started():
                return self._begin()
            case Opened():
                return self._release("completed") + self._open(event)
            case Closed(part=part):
                return self._close(self._live[part])
            case Finished(reason=reason, usage=usage):
                return self._finish(reason, usage)
            case Failed(error=error, usage=usage):
                return self._fail(error, usage)
        return b""

    def _begin(self) -> bytes:
        frame = self._frames.frame
        begun = self._record
        queued = {**begun, "status": "queued"} if begun["background"] else begun
        frames = frame("response.created", response=queued)
        if queued is not begun:
            frames += frame("response.queued", response=queued)
        return frames + frame("response.in_progress", response=begun)

    def _open(self, event: Opened) -> bytes:
        item = new_item(event.kind, event.call_id, event.name, self._toolbox, self._new_id)
        index = len(self._live)
        self._live.append(_Live(item, index, self._words))
        frames = self._frames.frame("response.output_item.added", output_index=index, item=item.begun())
        if self._words[item.kind].in_content:
            frames += self._frames.frame("response.content_part.added", **place(item, index), part=item.part(""))
        return frames

    def _close(self, live: _Live) -> bytes:
        # Only the last item of an answer may be incomplete; calls that were made side by side may end in any order.
        if live.index < len(self._live) - 1:
            return self._end_item(live, "completed")
        self._held = live
        return b""

    def _release(self, status: Status) -> bytes:
        held, self._held = self._held, None
        return b"" if held is None else self._end_item(held, status)

    def _end_item(self, live: _Live, status: Status) -> bytes:
        item, index = live.item, live.index
        frame = self._frames.frame
        words = self._words[item.kind]
        text = live.text()
        value = item.value(text, status)
        frames: list[bytes] = []
        if value and (item.kind == "custom" or not text):
            # What no frame of text has brought yet.
            frames.append(self._frames.text(live.prefix or delta_prefix(item, index, self._words), value))
        done = {**place(item, index), words.field: value}
        if item.kind == "text":
            done["logprobs"] = []
        elif item.kind == "function" and item.origin is not None:
            done["name"] = item.origin.name
        frames.append(frame(words.done, **done))
        if words.in_content:
            frames.append(frame("response.content_part.done", **place(item, index), part=item.part(value)))
        if item.kind == "reasoning" and self._summarise and value:
            frames.extend(self._summary(live, value))
        live.body = item.whole(value, status, summarise=self._summarise, seal=self._seal)
        frames.append(frame("response.output_item.done", output_index=index, item=live.body))
        return b"".join(frames)

    def _summary(self, live: _Live, text: str) -> list[bytes]:
        frame = self._frames.frame
        where = {"item_id": live.item.id, "output_index": live.index, "summary_index": 0}
        return [
            frame("response.reasoning_summary_part.added", **where, part=summary_part("")),
            frame("response.reasoning_summary_text.delta", **where, delta=text),
            frame("response.reasoning_summary_text.done", **where, text=text),
            frame("response.reasoning_summary_part.done", **where, part=summary_part(text)),
        ]

    def retract(self, error: ApiError) -> bytes:
        """Write a failure in place of the end that was written last, which nobody has seen."""
        self._frames.number, self._held = self._before_end
        usage = self._usage
        return self._fail(error, usage)

    def _finish(self, reason: FinishReason, usage: Usage | None) -> bytes:
        self._before_end = (self._frames.number, self._held)
        self._usage = usage
        frames = self._release(record.last_status(reason))
        now = self._created if self._clock is None else int(self._clock())
        response = self.final = record.finished(self._record, self._output(), reason, usage, now)
        return frames + self._frames.frame(f"response.{response['status']}", response=response) + DONE

    def _fail(self, error: ApiError, usage: Usage | None) -> bytes:
        # A stream that failed before it began still begins: clients insist on it.
        frames = self._release(record.last_status(None)) if self._frames.number else self._begin()
        frames += self._frames.error(error)
        response = self.final = record.failed(self._record, self._output(), error, usage)
        return frames + self._frames.frame("response.failed", response=response) + DONE

    def _output(self) -> list[dict[str, Any]]:
        return [live.body for live in self._live if live.body is not None]


def body(
    request: GenerationRequest,
    generation: Generation,
    model: str,
    new_id: NewId,
    now: float,
    clock: Callable[[], float] | None = None,
    seal: SealText | None = None,
) -> dict[str, Any]:
    """Write a finished generation as one Response object."""
    seal = seal if record.wants_sealed(request) else None
    toolbox = _toolbox(request)
    summarise = record.wants_summary(request)
    created = int(now)
    response = record.begun(request, new_id("resp_"), model, created)
    output: list[dict[str, Any]] = []
    last = len(generation.parts) - 1
    for index, part in enumerate(generation.parts):
        item = new_item(part.kind, part.call_id, part.name, toolbox, new_id)
        status = record.last_status(generation.reason) if index == last else "completed"
        output.append(item.whole(item.value(part.text, status), status, summarise=summarise, seal=seal))
    if generation.error is not None:
        return record.failed(response, output, generation.error, generation.usage)
    now_ended = created if clock is None else int(clock())
    return record.finished(response, output, generation.reason or "stop", generation.usage, now_ended)


def failure(begun: Mapping[str, Any], error: ApiError, last_number: int | None) -> tuple[dict[str, Any], bytes]:
    """Write the Response object and the last frames of an answer that came to nothing without its writer.

    Args:
        begun: The object as it was when the answer began.
        error: Why.
        last_number: The number of the last frame that was written; ``None`` when there was none.
    """
    frames = Numbered()
    written = b""
    if last_number is None:
        running = {**begun, "status": "in_progress"}
        written = frames.frame("response.created", response=begun)
        written += frames.frame("response.in_progress", response=running)
    else:
        frames.number = last_number + 1
    final = record.failed(begun, [], error, None)
    return final, written + frames.error(error) + frames.frame("response.failed", response=final)


def _toolbox(request: GenerationRequest) -> Toolbox:
    return request.toolbox if isinstance(request, ResponsesRequest) else read_tools(request.raw)
