"""What Cloudflare refuses before a model sees it: 5006 by schema, 8001 by rule, 8007 by the engine."""

from collections.abc import Mapping
from typing import Any

from app.emulator.ask import Ask
from app.emulator.catalogue import Model
from app.emulator.errors import CloudflareError, bad_input, engine_refused, invalid
from app.emulator.jsonvalue import Json
from app.emulator.schema import Mismatch, check, kind_of
from app.emulator.schemas import input_schema, responses_schema
from app.emulator.tokens import images_of

_FORMS = {
    "legacy": {"prompt", "messages"},
    "chat": {"prompt", "messages"},
    "gpt-oss": {"prompt", "messages", "input", "requests"},
}
# A forced call needs room for its name and arguments at least.
_SMALLEST_FORCED = 16


def check_body(body: Json, model: Model, route: str) -> None:
    """Check a text model's request body.

    Args:
        body: The parsed JSON.
        model: The model asked for.
        route: `run`, `chat` or `responses`.

    Raises:
        CloudflareError: 8001 for tools and choices no schema can express, 5006 for the rest.
    """
    if not isinstance(body, dict):
        raise bad_input(f"Type mismatch of '/', '{kind_of(body)}' not in 'object'")
    _check_choice(body.get("tool_choice"))
    if route != "responses":
        _check_tools(body)
        _check_one_form(body, model)
    schema = responses_schema() if route == "responses" else input_schema(model, chat_route=route == "chat")
    try:
        check(body, schema)
    except Mismatch as finding:
        raise bad_input(str(finding)) from finding
    if route == "chat" and "messages" not in body:
        raise bad_input("required properties at '/' are 'messages'")
    _check_response_format(body, model, route)
    if route == "run":
        _check_properties_told(body, model)


def check_ask(ask: Ask, body: Mapping[str, Any]) -> None:
    """Check what only the serving engine notices: roles, images, efforts, budgets.

    Raises:
        CloudflareError: 8007, 8006, 5004 or 8005.
    """
    _check_roles(ask)
    _check_images(ask, body)
    _check_effort(ask, body)
    if ask.limit is not None and ask.limit < 1:
        raise engine_refused(f"max_tokens must be at least 1, got {ask.limit}.")
    _check_window(ask)
    if ask.forced and ask.limit is not None and ask.limit < _SMALLEST_FORCED:
        raise CloudflareError(400, 8006, "AiError: max_tokens is too small for the forced tool call")
    if ask.forced and not any(tool.name == ask.forced for tool in ask.tools):
        raise engine_refused("The tool specified in `tool_choice` does not match any of the specified `tools`")


def _check_one_form(body: Mapping[str, Any], model: Model) -> None:
    """Refuse two body forms at once, even where another field would rule one of them out (Q7)."""
    assert model.traits is not None  # noqa: S101 - only text models come here
    forms = _FORMS[model.traits.form] & body.keys()
    if len(forms) > 1:
        raise bad_input(f"oneOf at '/' not met, {len(forms)} matches")


def _check_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools")
    for place, tool in enumerate(tools if isinstance(tools, list) else []):
        if not isinstance(tool, dict):
            continue
        function = tool.get("function", tool)
        if isinstance(function, dict):
            _check_described(function, f"/tools/{place}")
            _check_parameters(function.get("parameters"), f"/tools/{place}/parameters")


def _check_choice(choice: Json) -> None:
    """Refuse `any` and everything else that is neither a mode, a named tool nor a list of allowed tools."""
    if choice is None or (isinstance(choice, str) and choice in {"none", "auto", "required"}):
        return
    if isinstance(choice, dict):
        kind = choice.get("type")
        named = choice.get(kind, choice) if isinstance(kind, str) else None
        if isinstance(named, dict) and isinstance(named.get("mode" if kind == "allowed_tools" else "name"), str):
            return
    raise invalid("tool_choice must be one of none, auto, required or a named tool")


def _check_described(holder: Mapping[str, Any], path: str) -> None:
    if "description" in holder and not isinstance(holder["description"], str):
        raise invalid(f"'{path}/description' is {kind_of(holder['description'])}, expected string")


def _check_parameters(schema: Json, path: str) -> None:
    if not isinstance(schema, dict):
        return
    _check_described(schema, path)
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise invalid(f"'{path}/properties' is {kind_of(properties)}, expected object")
    for name, part in properties.items():
        _check_parameters(part, f"{path}/properties/{name}")
    _check_parameters(schema.get("items"), f"{path}/items")
    for keyword in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(keyword)
        for place, part in enumerate(branches if isinstance(branches, list) else []):
            _check_parameters(part, f"{path}/{keyword}/{place}")


def _check_properties_told(body: Mapping[str, Any], model: Model) -> None:
    """Hold `/run` to its schema's letter: each property of a legacy or gpt-oss tool tells type and meaning."""
    if model.traits is None or model.traits.form == "chat" or "messages" not in body:
        return
    for place, tool in enumerate(body.get("tools", [])):
        nested = "function" in tool
        path = f"/tools/{place}{'/function' if nested else ''}/parameters/properties"
        for name, part in tool.get("function", tool)["parameters"]["properties"].items():
            if not isinstance(part, dict) or not {"type", "description"} <= set(part):
                raise bad_input(f"required properties at '{path}/{name}' are 'type,description'")


def _check_response_format(body: Mapping[str, Any], model: Model, route: str) -> None:
    """Refuse OpenAI's envelope where the bare schema belongs (Q25).

    gpt-oss takes either on `/v1`; the shape of the other form (OpenAI's envelope only) is in its schema.
    """
    assert model.traits is not None  # noqa: S101 - only text models come here
    wanted = body.get("response_format")
    if route == "responses" or model.traits.form == "chat" or not isinstance(wanted, dict):
        return
    schema = wanted.get("json_schema")
    if wanted.get("type") == "json_schema" and not isinstance(schema, dict):
        raise bad_input("required properties at '/response_format' are 'json_schema'")
    enveloped = isinstance(schema, dict) and isinstance(schema.get("schema"), dict) and "name" in schema
    if enveloped and not (route == "chat" and model.traits.form == "gpt-oss"):
        raise bad_input("required properties at '/response_format/json_schema' are 'type'")


def _check_roles(ask: Ask) -> None:
    if ask.model.traits is None or ask.model.traits.form != "legacy":
        return
    for message in ask.messages:
        if message.get("role") not in {"system", "user", "assistant", "tool"}:
            raise engine_refused(f"Unexpected message role '{message.get('role')}' in the chat template")


def _check_images(ask: Ask, body: Mapping[str, Any]) -> None:
    facts = ask.model.facts
    images = [image for message in ask.messages for image in images_of(message.get("content"))]
    if (images or "image" in body) and not (facts.get("vision") or facts.get("image_parts")):
        raise engine_refused(f"{ask.model.id} is not a multimodal model")
    for image in images:
        if image.startswith("data:image/svg"):
            raise CloudflareError(500, 8005, "AiError: Internal error during inference")
        if not image.startswith("data:image/") or ";base64," not in image:
            raise CloudflareError(
                400, 5004, "AiError: Invalid data for image - reason expected `;base64,` in the image data"
            )


def _check_effort(ask: Ask, body: Mapping[str, Any]) -> None:
    traits = ask.model.traits
    if traits is None or traits.form == "legacy" or ask.form == "input":
        return
    effort = body.get("reasoning_effort")
    allowed = ask.model.efforts
    if effort is None or not allowed or effort in allowed:
        return
    if isinstance(effort, str) and effort in ask.model.facts.get("reasoning_effort", {}).get("normalizes_to", {}):
        return
    names = [f"'{name}'" for name in allowed]
    shown = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
    raise engine_refused(f"Input should be {shown}")


def _check_window(ask: Ask) -> None:
    window = ask.model.window
    wanted = ask.limit or 0
    if ask.prompt_count + wanted <= window and ask.prompt_count < window:
        return
    form = ask.model.traits.form if ask.model.traits else "legacy"
    if form == "legacy":
        raise engine_refused(
            f"The estimated number of input and maximum output tokens ({ask.prompt_count + wanted}) "
            f"exceeded this model context window limit ({window})."
        )
    if form == "chat" and wanted > window:
        raise engine_refused(
            f"max_completion_tokens is too large: {wanted}. This model's maximum context length is {window} "
            f"tokens and your request has {ask.prompt_count} input tokens."
        )
    raise engine_refused(
        f"This model's maximum context length is {window} tokens. However, you requested {wanted} output "
        f"tokens and your prompt contains {ask.prompt_count} input tokens, for a total of "
        f"{ask.prompt_count + wanted} tokens. Please reduce the length of the input prompt or the number of "
        f"requested output tokens."
    )
