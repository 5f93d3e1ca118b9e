"""Cloudflare's own queue (``?queueRequest=true``): which requests can go there, in what form, and what comes back.

A request can go there if the form that its model takes there holds all that it says. The forms are narrower than those
of direct requests, and are told by the schemas of the models; a model that is not named here is not queued.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple

from app.core.model import Model

Form = Literal["input", "messages", "prompt", "text"]
"""What an item holds: Responses' ``input``, a conversation, one user message as ``prompt``, or texts to embed."""

FORMS: Final[Mapping[str, Form]] = {
    "@cf/openai/gpt-oss-120b": "input",
    "@cf/openai/gpt-oss-20b": "input",
    "@cf/meta/llama-4-scout-17b-16e-instruct": "messages",
    "@cf/qwen/qwen3-30b-a3b-fp8": "messages",
    "@cf/aisingapore/gemma-sea-lion-v4-27b-it": "messages",
    "@cf/meta/llama-3.3-70b-instruct-fp8-fast": "prompt",
    "@cf/baai/bge-small-en-v1.5": "text",
    "@cf/baai/bge-base-en-v1.5": "text",
    "@cf/baai/bge-large-en-v1.5": "text",
    "@cf/baai/bge-m3": "text",
}

MAX_BYTES: Final = 9_000_000
"""Of all items together: Cloudflare takes less than 10 MB."""

_EFFORTS: Final = ("low", "medium", "high")
_KNOBS: Final = frozenset(
    {"max_tokens", "temperature", "top_p", "seed", "repetition_penalty", "frequency_penalty", "presence_penalty"}
)
_CHAT_KEYS: Final = _KNOBS | {"messages"}
_NOT_SENT: Final = frozenset({"model", "stream", "stream_options"})
_TEXT_KEYS: Final = frozenset({"text", "pooling", "input"})


class Finished(NamedTuple):
    """What became of an item.

    Attributes:
        result: What a direct request would have been answered.
        failure: What a direct request would have been refused with, in Cloudflare's envelope; ``None`` for an answer.
        named: It names its request.
    """

    result: Mapping[str, Any]
    failure: Mapping[str, Any] | None
    named: bool


def item(model: Model, body: Mapping[str, Any], *, limited: bool) -> dict[str, Any] | None:
    """Write an item of the queue.

    Args:
        model: Who is to answer it.
        body: What would be sent directly.
        limited: Somebody has set a limit of tokens, which is to hold.

    Returns:
        The item; ``None`` when it cannot hold all that the body says.
    """
    rest = {name: value for name, value in body.items() if name not in _NOT_SENT}
    match FORMS.get(model.id):
        case "input":
            return None if limited else _input(rest)
        case "messages":
            return rest if _plain(rest.get("messages")) and rest.keys() <= _CHAT_KEYS else None
        case "prompt":
            return _prompt(rest)
        case "text" if rest.keys() <= _TEXT_KEYS and len(rest.keys() & {"text", "input"}) == 1:
            texts = rest.pop("input" if "input" in rest else "text")
            return {"text": texts, **rest}
    return None


def submission(items: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The body that queues items, by their references."""
    return {"requests": [{**one, "external_reference": reference} for reference, one in items.items()]}


def request_id(result: object) -> str | None:
    """What the queue calls what it has taken; ``None`` when it has not."""
    found = result.get("request_id") if isinstance(result, dict) else None
    return found if isinstance(found, str) and found else None


def finished(result: object, references: Sequence[str]) -> dict[str, Finished] | None:
    """Read what the queue says.

    The order of answers means nothing, and neither do their numbers when only some of a pack are still looked for.
    Answers that name no request, as the schema of gpt-oss has them, can be matched
    only where there is one of them: a wrong guess would give one request the answer of another.

    Args:
        result: What it said, out of Cloudflare's envelope.
        references: Of the items.

    Returns:
        What became of items, by their references; ``None`` when they are still being answered.
    """
    if not isinstance(result, dict):
        return None
    rows = next((result[name] for name in ("responses", "results") if isinstance(result.get(name), list)), None)
    if rows is None:
        return None
    found: dict[str, Finished] = {}
    for row in rows:
        named = reference = _reference(row, references)
        if reference is None and len(references) == len(rows) == 1:
            reference = references[0]
        if reference is not None and isinstance(row, dict):
            found[reference] = _finished(row, named=named is not None)
    return found


def _reference(row: object, references: Sequence[str]) -> str | None:
    if not isinstance(row, dict):
        return None
    named = row.get("external_reference")
    return str(named) if named in references else None


def _finished(row: Mapping[str, Any], *, named: bool) -> Finished:
    result: Any = row
    # Answers may be wrapped once, or twice.
    while isinstance(result, dict) and isinstance(result.get("result"), dict):
        result = result["result"]
    if row.get("success") is False:
        error = result.get("error") if isinstance(result.get("error"), dict) else {}
        told = {"code": error.get("code"), "message": str(error.get("message") or "The request was refused.")}
        return Finished({}, {"success": False, "result": None, "errors": [told], "messages": []}, named)
    return Finished(result, None, named)


def _input(rest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The form of gpt-oss, which has no limit of tokens: what we send directly without being asked is left out."""
    effort = rest.get("reasoning_effort")
    if not rest.keys() <= {"messages", "max_tokens", "reasoning_effort"} or effort not in {None, *_EFFORTS}:
        return None
    if not _plain(rest.get("messages")):
        return None
    made: dict[str, Any] = {"input": rest["messages"]}
    return made if effort is None else {**made, "reasoning": {"effort": effort}}


def _prompt(rest: Mapping[str, Any]) -> dict[str, Any] | None:
    """The form that has a prompt only: it is what the user says."""
    messages = rest.get("messages")
    if not _plain(messages) or not rest.keys() <= _CHAT_KEYS or [one["role"] for one in messages or ()] != ["user"]:
        return None
    assert messages is not None  # noqa: S101 - there is one
    return {"prompt": messages[0]["content"], **{name: rest[name] for name in rest.keys() & _KNOBS}}


def _plain(messages: Any) -> bool:  # noqa: ANN401 - any JSON
    """The conversation is of texts alone."""
    return isinstance(messages, list) and all(
        isinstance(one, dict) and one.keys() == {"role", "content"} and isinstance(one["content"], str)
        for one in messages
    )
