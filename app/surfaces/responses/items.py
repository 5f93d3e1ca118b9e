"""Output items: one for each part of the answer, the same in a stream and in a body."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from app.core.events import PartKind
from app.core.surface import NewId, SealText
from app.surfaces.custom import custom_input
from app.surfaces.responses.tools import Origin, Toolbox

ItemKind = Literal["text", "refusal", "reasoning", "function", "custom"]

Status = Literal["in_progress", "completed", "incomplete"]

_PREFIXES: dict[ItemKind, str] = {
    "text": "msg_",
    "refusal": "msg_",
    "reasoning": "rs_",
    "function": "fc_",
    "custom": "ctc_",
}


class Item(Struct, frozen=True):
    """What does not change about an item while its text grows.

    Attributes:
        id: Ours, made once.
        kind: What it holds.
        call_id: Of a call: the upstream's id for it, or ours where it gave none. Never the same as ``id``.
        origin: Of a call: the client's side of the tool.
    """

    id: str
    kind: ItemKind
    call_id: str = ""
    origin: Origin | None = None

    def value(self, text: str, status: Status) -> str:
        """Read what the client is to see from what the model wrote."""
        if self.kind == "custom":
            return custom_input(text)
        if self.kind == "function" and status == "completed":
            return text or "{}"
        return text

    def part(self, value: str) -> dict[str, Any]:
        """Write the content part of a message or of reasoning."""
        if self.kind == "text":
            return {"type": "output_text", "text": value, "annotations": [], "logprobs": []}
        if self.kind == "refusal":
            return {"type": "refusal", "refusal": value}
        return {"type": "reasoning_text", "text": value}

    def begun(self) -> dict[str, Any]:
        """Write the item as it is before any text."""
        return self._body("in_progress", "", [], [])

    def whole(self, value: str, status: Status, *, summarise: bool, seal: SealText | None = None) -> dict[str, Any]:
        """Write the item with all its text.

        Args:
            value: What the client is to see.
            status: How far it came.
            summarise: The client asked for a summary of the reasoning: it gets the reasoning itself.
            seal: The client keeps the reasoning for us, sealed by this.
        """
        summary = [summary_part(value)] if summarise and value else []
        body = self._body(status, value, [self.part(value)], summary)
        if seal is not None and self.kind == "reasoning":
            body["encrypted_content"] = seal("reasoning", value)
        return body

    def _body(self, status: Status, value: str, content: list[Any], summary: list[Any]) -> dict[str, Any]:
        if self.kind == "reasoning":
            body = {"id": self.id, "type": "reasoning", "summary": summary, "content": content, "status": status}
            if status == "in_progress":
                del body["content"]
            return body
        if self.origin is None:
            return {"id": self.id, "type": "message", "role": "assistant", "status": status, "content": content}
        call: dict[str, Any] = {"id": self.id, "call_id": self.call_id, "name": self.origin.name, "status": status}
        if self.kind == "custom":
            call |= {"type": "custom_tool_call", "input": value}
        else:
            call |= {"type": "function_call", "arguments": value}
        if self.origin.namespace is not None:
            call["namespace"] = self.origin.namespace
        return call


def summary_part(text: str) -> dict[str, str]:
    """Write one part of a reasoning summary."""
    return {"type": "summary_text", "text": text}


def new_item(kind: PartKind, call_id: str | None, name: str | None, toolbox: Toolbox, new_id: NewId) -> Item:
    """Make the item for a part of the answer."""
    if kind != "tool_call":
        return Item(new_id(_PREFIXES[kind]), kind)
    origin = toolbox.origin(name or "")
    return Item(new_id(_PREFIXES[origin.kind]), origin.kind, call_id or new_id("call_"), origin)
