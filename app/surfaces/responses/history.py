"""Reading ``input``: OpenAI's flat list of items becomes turns of a conversation.

What the assistant did between two other turns (reasoning, text, calls) is one turn. The outputs of its calls follow
it at once, wherever they stood in the list.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

from msgspec import Struct, field

from app.core.errors import BadRequest
from app.core.request import Content, Message, TextContent, ToolCall
from app.core.surface import NO_PAST, Past
from app.surfaces import fields
from app.surfaces.custom import custom_arguments
from app.surfaces.fields import Path
from app.surfaces.responses.content import read_content
from app.surfaces.responses.tools import Toolbox
from app.surfaces.responses.unserved import unknown_reference
from app.wire.codec import CodecError, decode

_Text = str | tuple[Content, ...]


class _Call(Struct):
    call: ToolCall
    bare_name: str
    outputs: list[_Text] = field(default_factory=list)


class _Turn(Struct):
    """What the assistant did before somebody else spoke."""

    texts: list[_Text] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    calls: list[_Call] = field(default_factory=list)

    def messages(self) -> list[Message]:
        if not self.texts and not self.calls:
            # Thoughts that nothing came of say nothing to the next turn.
            return []
        turn = Message(
            "assistant",
            _joined(self.texts),
            tool_calls=tuple(call.call for call in self.calls),
            reasoning="\n".join(self.reasoning) or None,
        )
        outputs = [
            Message("tool", output, tool_call_id=call.call.call_id) for call in self.calls for output in call.outputs
        ]
        return [turn, *outputs]


class _Stray(Struct):
    """An output that does not say which call it answers."""

    output: _Text
    name: str | None
    namespace: str | None
    calls_before: int
    note: Message | None = None


class _History:
    def __init__(self, toolbox: Toolbox, past: Past) -> None:
        self._toolbox = toolbox
        self._past = past
        self._turns: list[Message | _Turn | _Stray] = []
        self._turn: _Turn | None = None
        self._calls: list[_Call] = []
        self._by_id: dict[str, list[_Call]] = {}
        self.dropped: list[str] = []

    def item(self, item: Mapping[str, Any], path: Path) -> None:
        kind = fields.string(item, "type", path)
        if kind is None:
            if "role" not in item:
                raise fields.missing((*path, "type"))
            kind = "message"
        read = _READERS.get(kind)
        if read is None:
            self.dropped.append(fields.text_of(path))
        else:
            read(self, item, path)

    def message(self, item: Mapping[str, Any], path: Path) -> None:
        role = fields.need(fields.string(item, "role", path), "role", path)
        content = read_content(item, "content", path)
        match role:
            case "assistant":
                # An assistant's turn without text happens; OpenAI's own output has it.
                self._assistant().texts.append(content or "")
            case "user" | "system" | "developer":
                if content is None:
                    raise fields.missing((*path, "content"))
                self._say(role, content)
            case _:
                raise fields.wrong_value((*path, "role"), role, ("assistant", "system", "developer", "user"))

    def reasoning(self, item: Mapping[str, Any], path: Path) -> None:
        text = _texts(item, "content", path) or self._opened(item, path) or _texts(item, "summary", path)
        if text:
            self._assistant().reasoning.append(text)

    def function_call(self, item: Mapping[str, Any], path: Path) -> None:
        # A call without arguments is an empty object to the model.
        arguments = fields.need(fields.string(item, "arguments", path), "arguments", path).strip() or "{}"
        self._call(item, path, arguments)

    def custom_call(self, item: Mapping[str, Any], path: Path) -> None:
        self._call(item, path, custom_arguments(fields.need(fields.string(item, "input", path), "input", path)))

    def output(self, item: Mapping[str, Any], path: Path) -> None:
        output = read_content(item, "output", path)
        if output is None:
            raise fields.missing((*path, "output"))
        self._turn = None
        call_id = fields.string(item, "call_id", path)
        if call_id is None:
            name, namespace = fields.string(item, "name", path), fields.string(item, "namespace", path)
            self._turns.append(_Stray(output, name, namespace, len(self._calls)))
            return
        calls = self._by_id.get(call_id)
        if calls is None:
            raise BadRequest(f"No tool call found for function call output with call_id {call_id[:64]}.", param="input")
        # Some models number their calls anew in each turn: the oldest call that waits is the one that is answered.
        next((call for call in calls if not call.outputs), calls[-1]).outputs.append(output)

    def reference(self, item: Mapping[str, Any], path: Path) -> None:
        found = self._past.items.get(fields.string(item, "id", path) or "")
        if found is None:
            raise unknown_reference(item, path)
        self.item(found, path)

    def compaction(self, item: Mapping[str, Any], path: Path) -> None:
        """A conversation that was compacted here before; one that was compacted elsewhere says nothing to us."""
        try:
            items = decode(self._opened(item, path) or "null")
        except CodecError:
            items = None
        if not isinstance(items, list):
            self.dropped.append(fields.text_of(path))
            return
        for inner in items:
            self.item(inner, path)

    def _opened(self, item: Mapping[str, Any], path: Path) -> str:
        return self._past.opened.get(fields.string(item, "encrypted_content", path) or "", "")

    def skip(self, item: Mapping[str, Any], path: Path) -> None:
        """Items whose content is read elsewhere."""

    def messages(self) -> list[Message]:
        for turn in self._turns:
            if isinstance(turn, _Stray):
                self._place(turn)
        for call in self._calls:
            if not call.outputs:
                call_id = call.call.call_id[:64]
                raise BadRequest(f"No tool output found for function call {call_id}.", param="input")
        messages: list[Message] = []
        for turn in self._turns:
            if isinstance(turn, _Turn):
                messages.extend(turn.messages())
            elif isinstance(turn, _Stray):
                if turn.note is not None:
                    messages.append(turn.note)
            else:
                messages.append(turn)
        return messages

    def _assistant(self) -> _Turn:
        if self._turn is None:
            self._turn = _Turn()
            self._turns.append(self._turn)
        return self._turn

    def _say(self, role: Literal["user", "system", "developer"], content: _Text) -> None:
        self._turn = None
        self._turns.append(Message(role, content))

    def _call(self, item: Mapping[str, Any], path: Path, arguments: str) -> None:
        call_id = fields.need(fields.string(item, "call_id", path, min_length=1), "call_id", path)
        name = fields.need(fields.string(item, "name", path, min_length=1), "name", path)
        wire_name = self._toolbox.name_of_call(name, fields.string(item, "namespace", path))
        call = _Call(ToolCall(call_id, wire_name, arguments), name)
        self._assistant().calls.append(call)
        self._calls.append(call)
        self._by_id.setdefault(call_id, []).append(call)

    def _place(self, stray: _Stray) -> None:
        """Tie an output to the only call that it can answer; otherwise keep it as a note."""
        waiting = [call for call in self._calls[: stray.calls_before] if not call.outputs]
        if stray.name is not None:
            waiting = [call for call in waiting if call.bare_name == stray.name]
        if len(waiting) == 1:
            waiting[0].outputs.append(stray.output)
            return
        name = ".".join(part for part in (stray.namespace, stray.name) if part) or "a tool"
        # A user's words: what a tool says must not gain the authority of the developer.
        if isinstance(stray.output, str):
            stray.note = Message("user", f"Output of {name}:\n{stray.output}")
        else:
            stray.note = Message("user", (TextContent(f"Output of {name}:"), *stray.output))


_READERS: Final[Mapping[str, Callable[[_History, Mapping[str, Any], Path], None]]] = {
    "message": _History.message,
    "reasoning": _History.reasoning,
    "function_call": _History.function_call,
    "custom_tool_call": _History.custom_call,
    "function_call_output": _History.output,
    "custom_tool_call_output": _History.output,
    "item_reference": _History.reference,
    "additional_tools": _History.skip,
    "compaction": _History.compaction,
}
"""What is made of each kind of item; every other kind is left out, and the client is told."""


def read_history(
    body: Mapping[str, Any], toolbox: Toolbox, past: Past = NO_PAST
) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """Read ``instructions``, what came before, and ``input``.

    Returns:
        The conversation, and the paths of the items that were left out.

    Raises:
        BadRequest: An item is malformed, or calls and outputs do not match.
    """
    instructions = fields.string(body, "instructions")
    first = [Message("system", instructions)] if instructions else []
    value = body.get("input")
    if value is None and not past.context:
        raise fields.missing(("input",))
    if isinstance(value, str):
        if not past.context:
            return (*first, Message("user", value)), ()
        value = [{"role": "user", "content": value}]
    if value is None:
        value = []
    if not isinstance(value, list):
        raise fields.wrong_type(("input",), "one of a string or array of objects", value)
    history = _History(toolbox, past)
    for item in past.context:
        history.item(item, ("input",))
    for index, item in enumerate(value):
        path: Path = ("input", index)
        if not isinstance(item, dict):
            raise fields.wrong_type(path, "an object", item)
        history.item(item, path)
    messages = (*first, *history.messages())
    if not messages:
        raise fields.invalid(("input",), "there is no message to answer.", "empty_array")
    return messages, tuple(history.dropped)


def _texts(item: Mapping[str, Any], key: str, path: Path) -> str:
    here: Path = (*path, key)
    parts = fields.objects(item, key, path) or ()
    return "\n".join(fields.string(part, "text", (*here, index)) or "" for index, part in enumerate(parts))


def _joined(texts: list[_Text]) -> _Text:
    if not texts:
        return ""
    if len(texts) == 1:
        return texts[0]
    plain = [text for text in texts if isinstance(text, str)]
    if len(plain) == len(texts):
        return "\n\n".join(plain)
    parts: list[Content] = []
    for text in texts:
        parts.extend((TextContent(text),) if isinstance(text, str) else text)
    return tuple(parts)
