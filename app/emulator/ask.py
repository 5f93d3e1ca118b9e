"""A text request, whatever form and route it came by."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from app.emulator.catalogue import Model
from app.emulator.jsonvalue import Json
from app.emulator.tokens import prompt_tokens, text_of

Route = Literal["run", "chat", "responses"]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool on offer.

    Attributes:
        name: Its name.
        parameters: JSON Schema of its arguments.
        custom: Whether it takes free text instead.
        description: What it says it does.
    """

    name: str
    parameters: Mapping[str, Any]
    custom: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Ask:
    """What a text model is asked to do.

    Attributes:
        model: The model.
        route: The endpoint: `run`, `chat` or `responses`.
        form: The body form: `prompt`, `messages` or `input`.
        messages: The conversation, in chat form.
        tools: Tools on offer.
        choice: `none`, `auto` or `required`.
        forced: Name of the one tool that has to be called.
        parallel: Whether several calls may be made.
        limit: Most tokens to generate; `None` means as many as fit.
        stream: Whether a stream is asked for.
        schema: Schema of JSON mode, `{}` for any object, `None` when JSON mode is off.
        effort: Reasoning effort.
        stop: Stop sequences, where the model knows them.
        prompt: Tokens of the prompt.
    """

    model: Model
    route: Route
    form: Literal["prompt", "messages", "input"]
    messages: list[dict[str, Any]]
    tools: tuple[Tool, ...]
    choice: str
    forced: str | None
    parallel: bool
    limit: int | None
    stream: bool
    schema: Mapping[str, Any] | None
    effort: str
    stop: tuple[str, ...]
    prompt: tuple[str, ...]

    @property
    def prompt_count(self) -> int:
        """Number of prompt tokens."""
        return len(self.prompt)

    @property
    def asked(self) -> str:
        """The text of the last user message."""
        from_user = [message for message in self.messages if message.get("role") == "user"]
        return text_of(from_user[-1].get("content")) if from_user else ""


def read_ask(body: Mapping[str, Any], model: Model, route: Route) -> Ask:
    """Read a validated body.

    Args:
        body: The parsed JSON.
        model: A text model.
        route: The endpoint it came by.
    """
    assert model.traits is not None  # noqa: S101 - only text models come here
    if "input" in body:
        form: Literal["prompt", "messages", "input"] = "input"
        messages = _messages_from_input(body)
    elif "messages" in body:
        form, messages = "messages", list(body["messages"])
    else:
        form, messages = "prompt", [{"role": "user", "content": body.get("prompt", "")}]
    tools = body.get("tools") or []
    choice, forced = _choice(body.get("tool_choice"))
    parallel = not (model.traits.form == "chat" and body.get("parallel_tool_calls") is False)
    stop = body.get("stop") if model.traits.form == "chat" else None
    return Ask(
        model=model,
        route=route,
        form=form,
        messages=messages,
        tools=tuple(tool for tool in map(_tool, tools) if tool is not None),
        choice=choice,
        forced=forced,
        parallel=parallel,
        limit=_limit(body, model, route, form),
        stream=bool(body.get("stream")),
        schema=_schema(body),
        effort=_effort(body, model),
        stop=tuple(mark for mark in ([stop] if isinstance(stop, str) else stop or []) if isinstance(mark, str)),
        prompt=tuple(prompt_tokens(messages, tools)),
    )


def _limit(body: Mapping[str, Any], model: Model, route: str, form: str) -> int | None:
    assert model.traits is not None  # noqa: S101 - only text models come here
    if form == "input":
        return body.get("max_output_tokens")
    keys = ["max_tokens"]
    if route == "chat" or model.traits.form == "chat":
        keys.insert(0, "max_completion_tokens")
    stated = next((body[key] for key in keys if body.get(key) is not None), None)
    return model.traits.default_limit if stated is None else int(stated)


def _schema(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    if isinstance(body.get("guided_json"), dict):
        return dict(body["guided_json"])
    text = body.get("text")
    wanted = text.get("format") if isinstance(text, dict) else body.get("response_format")
    if not isinstance(wanted, dict):
        return None
    if wanted.get("type") == "json_object":
        return {}
    if wanted.get("type") != "json_schema":
        return None
    schema = wanted.get("json_schema", wanted.get("schema"))
    if isinstance(schema, dict) and isinstance(schema.get("schema"), dict) and "name" in schema:
        schema = schema["schema"]
    return schema if isinstance(schema, dict) else {}


def _effort(body: Mapping[str, Any], model: Model) -> str:
    facts = model.facts.get("reasoning_effort", {})
    asked = body.get("reasoning_effort")
    if isinstance(reasoning := body.get("reasoning"), dict):
        asked = reasoning.get("effort")
    switches = body.get("chat_template_kwargs")
    if isinstance(switches, dict) and not facts.get("mandatory"):
        toggles = [switches[name] for name in ("enable_thinking", "thinking") if name in switches]
        if toggles and not all(toggles):
            return "none"
        if toggles and asked is None and facts.get("default_enabled") is False:
            return "high"
    if asked is None:
        if facts.get("default_enabled") is False:
            return "none"
        return str(facts.get("default_effort", "medium"))
    return str(facts.get("normalizes_to", {}).get(str(asked), asked))


def _choice(choice: Json) -> tuple[str, str | None]:
    if isinstance(choice, dict):
        if choice.get("type") == "allowed_tools":
            return str(choice.get("allowed_tools", choice).get("mode", "auto")), None
        named = choice.get("function") or choice.get("custom") or choice
        return "required", str(named.get("name"))
    return (choice if choice in ("none", "required") else "auto"), None


def _tool(tool: Json) -> Tool | None:
    if not isinstance(tool, dict):
        return None
    if isinstance(custom := tool.get("custom"), dict):
        return Tool(custom["name"], {}, custom=True, description=str(custom.get("description", "")))
    function = tool.get("function", tool)
    return Tool(function["name"], function.get("parameters") or {}, description=function.get("description") or "")


def _messages_from_input(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    if body.get("instructions"):
        messages.append({"role": "system", "content": body["instructions"]})
    items = body["input"]
    if isinstance(items, str):
        return [*messages, {"role": "user", "content": items}]
    for item in items:
        match item.get("type", "message"):
            case "function_call":
                function = {"name": item.get("name"), "arguments": item.get("arguments", "")}
                call = {"id": item.get("call_id"), "type": "function", "function": function}
                messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
            case "function_call_output":
                output = item.get("output")
                content = output if isinstance(output, str) else orjson.dumps(output).decode()
                messages.append({"role": "tool", "content": content})
            case "message":
                messages.append({"role": item.get("role", "user"), "content": item.get("content", "")})
            case _:
                continue
    return messages
