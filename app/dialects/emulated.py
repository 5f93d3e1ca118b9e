"""Readers that do to an answer what the upstream was not asked for: pure filters between the answer and the writer.

Calls that leaked as text come first, so that the others see them as calls; an answer that needs nothing has the bare
reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec.structs import replace

from app.core.events import Event, Failed, Finished
from app.core.model import Model
from app.core.upstream import Emulation, Reader, UpstreamRequest
from app.core.usage import Usage
from app.dialects.leaks import LeakFilter
from app.dialects.markup import MarkupFilter
from app.dialects.reader import AnswerReader
from app.dialects.single import SingleCallFilter
from app.dialects.stops import StopFilter


class Filter(Protocol):
    """Turns one lawful stream of events into another; made for each answer."""

    def feed(self, event: Event) -> Sequence[Event]:
        """Take the next event."""


class EmulatedReader:
    """A reader with filters behind it.

    Args:
        inner: Reads the answer.
        emulation: What is to be done to it.

    Attributes:
        stopped_early: A stop text has come: the upstream is to be closed.
    """

    __slots__ = ("_filters", "_inner", "_stop", "stopped_early")

    def __init__(self, inner: AnswerReader, emulation: Emulation) -> None:
        self.stopped_early = False
        self._inner = inner
        self._stop = StopFilter(emulation.stop) if emulation.stop else None
        self._filters: list[Filter] = []
        if emulation.tools:
            self._filters.append(MarkupFilter(emulation.tools))
            if emulation.forced:
                self._filters.append(LeakFilter(emulation.tools, emulation.only))
        if self._stop is not None:
            self._filters.append(self._stop)
        if emulation.one_call:
            self._filters.append(SingleCallFilter())

    def feed(self, frame: bytes) -> Sequence[Event]:
        """Take the data of one SSE frame."""
        return () if self.stopped_early else self._pass(self._inner.feed(frame))

    def close(self) -> Sequence[Event]:
        """Say that no more frames will come."""
        return () if self.stopped_early else self._pass(self._inner.close())

    def read(self, body: bytes) -> Sequence[Event]:
        """Take a whole unstreamed answer."""
        return self._pass(self._inner.read(body))

    def _pass(self, read: Sequence[Event]) -> Sequence[Event]:
        events = read
        for each in self._filters:
            if len(events) == 1:
                events = each.feed(events[0])
            elif events:
                events = [event for incoming in events for event in each.feed(incoming)]
        if self._stop is not None and self._stop.met:
            self.stopped_early = True
            usage = self._usage(read)
            events = [replace(event, usage=usage) if type(event) is Finished else event for event in events]
        return events

    def _usage(self, read: Sequence[Event]) -> Usage | None:
        """What an answer that was cut at a stop text has cost, as far as the upstream has told."""
        last = read[-1]
        if isinstance(last, Finished | Failed):
            return last.usage
        return self._inner.usage_so_far()


def reader_for(sent: UpstreamRequest, model: Model, now: float) -> Reader:
    """Make the reader for the answer to a request.

    Args:
        sent: What was sent, and what is to be done to the answer.
        model: The model that answers.
        now: The Unix time, for errors that name a deadline.
    """
    reader = AnswerReader(max_tokens=sent.max_tokens, thinks_inline=model.thinks_inline, now=now)
    emulation = sent.emulation
    needed = emulation.stop or emulation.one_call or emulation.tools
    return EmulatedReader(reader, emulation) if needed else reader
