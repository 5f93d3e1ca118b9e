"""The form in which calls come back: that of the tools that were offered."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from app.core.events import FinishReason
from app.core.generation import Part
from app.core.request import GenerationRequest
from app.core.surface import NewId
from app.surfaces.chat.functions import uses_functions
from app.surfaces.chat.tools import custom_names
from app.surfaces.custom import custom_input

EMPTY_ARGUMENTS = "{}"
"""The arguments of a call that has none: clients parse them."""


class CallForms(Struct, frozen=True):
    """How the calls of one answer are written.

    Attributes:
        custom: Names of the custom tools.
        single: The deprecated form, ``function_call``, which has room for one call.
    """

    custom: frozenset[str]
    single: bool

    @classmethod
    def of(cls, request: GenerationRequest) -> CallForms:
        """Read them from what the client sent."""
        return cls(custom_names(request.raw), uses_functions(request.raw))

    def reason(self, reason: FinishReason) -> str:
        """Write why the model stopped."""
        return "function_call" if self.single and reason == "tool_calls" else reason

    def begun(self, name: str | None, call_id: str) -> dict[str, Any]:
        """Write a call before its arguments have come; in the deprecated form a call has no id."""
        if name in self.custom:
            return {"id": call_id, "type": "custom", "custom": {"name": name, "input": ""}}
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}

    def message(self, calls: list[Part], new_id: NewId) -> dict[str, Any]:
        """Write the fields of a message that has calls."""
        if self.single:
            return {"function_call": {"name": calls[0].name, "arguments": calls[0].text or EMPTY_ARGUMENTS}}
        return {"tool_calls": [self._whole(call, new_id) for call in calls]}

    def _whole(self, call: Part, new_id: NewId) -> dict[str, Any]:
        written = self.begun(call.name, call.call_id or new_id("call_"))
        if written["type"] == "custom":
            written["custom"]["input"] = custom_input(call.text) if call.text else ""
        else:
            written["function"]["arguments"] = call.text or EMPTY_ARGUMENTS
        return written
