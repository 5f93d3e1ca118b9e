"""What is to be generated, in words that belong to no surface and no dialect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

Role = Literal["system", "developer", "user", "assistant", "tool"]


class TextContent(Struct, frozen=True):
    """A piece of text in a message."""

    text: str


class ImageContent(Struct, frozen=True):
    """An image in a message.

    Attributes:
        url: An ``https:`` URL or a ``data:`` URI.
        detail: ``low``, ``high``, ``auto`` or ``original``.
        param: Where it stood in the request, for errors: ``messages[0].content[1].image_url``.
    """

    url: str
    detail: str | None = None
    param: str = "messages"


class FileContent(Struct, frozen=True):
    """A document in a message, to be turned into text before a model can read it.

    Attributes:
        name: Its file name, with the extension that tells its kind.
        data: Its bytes.
        param: Where it stood in the request, for errors: ``messages[0].content[1].file``.
    """

    name: str
    data: bytes
    param: str


Content: TypeAlias = TextContent | ImageContent | FileContent


class ToolCall(Struct, frozen=True):
    """A call that the model made in an earlier turn.

    Attributes:
        call_id: Ties the call to its result.
        name: The tool's name.
        arguments: A JSON text.
    """

    call_id: str
    name: str
    arguments: str


class Message(Struct, frozen=True):
    """One turn of the conversation.

    Attributes:
        role: Who speaks.
        content: A text, or pieces of several kinds; ``""`` where an assistant only called tools.
        tool_calls: The calls that an assistant made.
        tool_call_id: Of a tool's message: the call it answers.
        reasoning: What an assistant thought, sent back so that it can go on thinking.
        name: The participant's name, when the client gave one.
    """

    role: Role
    content: str | tuple[Content, ...]
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    reasoning: str | None = None
    name: str | None = None


class Tool(Struct, frozen=True):
    """A function that the model may call.

    Attributes:
        name: Its name.
        description: What it is for; ``""`` when the client said nothing.
        parameters: The JSON schema of its arguments; ``None`` when it takes none.
        strict: The arguments must match the schema.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    strict: bool | None = None


class NamedTool(Struct, frozen=True):
    """A tool choice that forces one tool."""

    name: str


ToolChoice: TypeAlias = Literal["none", "auto", "required"] | NamedTool


class ResponseFormat(Struct, frozen=True):
    """A shape that the answer must have.

    Attributes:
        kind: Any JSON object, or one that matches a schema.
        schema: The JSON schema.
        name: The schema's name.
        description: What the schema is for.
        strict: The answer must match the schema exactly.
    """

    kind: Literal["json_object", "json_schema"]
    schema: Mapping[str, Any] | None = None
    name: str = ""
    description: str = ""
    strict: bool | None = None


class GenerationRequest(Struct, frozen=True):
    """One request for text, read from any surface.

    Attributes:
        model: As the client named it: an id, a short name or an alias.
        messages: The conversation, oldest first.
        stream: The client wants a stream.
        max_tokens: The most tokens to produce, reasoning included; ``None`` for as many as fit.
        knobs: Tuning values by OpenAI's names (``temperature``, ``top_p``, ``seed`` …), checked against OpenAI's
            ranges; values that the client left out or sent as null are absent.
        tools: What the model may call.
        tool_choice: Whether it must; ``None`` when the client did not say.
        parallel_tool_calls: Whether it may call several at once.
        response_format: A shape that the answer must have.
        reasoning_effort: How long to think, in OpenAI's words.
        cache_key: What the client says this conversation is known by, for the upstream's prefix cache.
        extra: Fields that OpenAI's schema does not know; they travel on to models that speak OpenAI's shape.
        raw: The body as it came, for the surface that echoes it.
        branches: The requests that this one stands for, one per choice of the answer; empty when it stands for itself.
        keep: The answer is to be kept, so that it can be fetched and continued later.
        dropped: Paths of the fields that the surface had to leave out, such as ``tools[2]``, for the header that
            tells the client.
    """

    model: str
    messages: tuple[Message, ...]
    stream: bool = False
    max_tokens: int | None = None
    knobs: Mapping[str, Any] = field(default_factory=dict)
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None
    cache_key: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    raw: Mapping[str, Any] = field(default_factory=dict)
    keep: bool = False
    dropped: tuple[str, ...] = ()
    branches: tuple[GenerationRequest, ...] = ()
