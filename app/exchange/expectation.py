"""What an answer has to be, beyond being one: a call where one was demanded, JSON where JSON was asked for."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from app.core.errors import UpstreamBroken
from app.core.events import Closed, Delta, Event, Failed, Opened, Started
from app.core.generation import Generation
from app.core.request import GenerationRequest, Message, NamedTool
from app.dialects.structured import problem, unfenced

EMPTY = "upstream_empty"
UNMET = "json_mode_not_met"

LEAST_TOKENS = 16
"""A second try with fewer tokens left than this is not worth its prompt."""


class Expectation:
    """What one answer has to be.

    Such an answer is held back until it is known to be right, and asked for once more when it is not.

    Args:
        request: What was asked.
    """

    def __init__(self, request: GenerationRequest) -> None:
        self._request = request
        self._format = request.response_format
        self._call = (
            request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool)
        ) and request.messages[-1].role != "tool"

    @property
    def holds(self) -> bool:
        """The answer has to be held back."""
        return self._call or self._format is not None

    def is_met_by(self, event: Event) -> bool:
        """This event alone shows that the answer is what it has to be."""
        return type(event) is Opened and event.kind == "tool_call" and (self._call or self._format is not None)

    def disappointment(self, answer: Generation) -> str | None:
        """What is wrong with a whole answer; ``None`` when nothing is, or when no other try would change it."""
        if answer.error is not None:
            return "nothing was generated" if answer.error.code == EMPTY else None
        if answer.tool_calls() or answer.reason in {"length", "content_filter"} or answer.text("refusal"):
            return None
        if self._call:
            return "no tool was called"
        return problem(answer.text("text"), self._format) if self._format is not None else None

    def again(self, answer: Generation, wrong: str) -> GenerationRequest:
        """The request for a second try, which tells the model what was wrong with the first."""
        if self._call:
            advice = "Call one of the tools now; do not answer in text."
        elif self._format is not None and answer.error is None:
            advice = f"That was not what was asked for: {wrong}. Answer again, with the JSON only."
        else:
            return self._request
        text = answer.text("text")
        said = (Message("assistant", text),) if text else ()
        return replace(self._request, messages=(*self._request.messages, *said, Message("user", advice)))

    def accepted(self, events: Sequence[Event], answer: Generation, wrong: str | None) -> Sequence[Event]:
        """The events of the answer that the client gets after all.

        JSON comes without the fence that models like to put around it. JSON that is still wrong is a failure and never
        passed off as right; a call that still did not come leaves the text that came in its place.
        """
        if self._format is None or answer.error is not None or answer.tool_calls():
            return events
        if wrong is not None:
            message = f"The model's answer was not the JSON that was asked for, twice: {wrong}."
            return [Started(), Failed(UpstreamBroken(message, code="invalid_structured_output"), answer.usage)]
        text = answer.text("text")
        bare = unfenced(text)
        return events if bare == text or answer.reason == "length" else _with_text(events, bare)


def _with_text(events: Sequence[Event], text: str) -> Sequence[Event]:
    """The same events with another text in the first text part, and none in further ones."""
    texts = [event.part for event in events if type(event) is Opened and event.kind == "text"]
    written: list[Event] = []
    for event in events:
        if type(event) is Delta and event.part in texts:
            continue
        if type(event) is Closed and texts and event.part == texts[0]:
            written.append(Delta(event.part, text))
        written.append(event)
    return written
