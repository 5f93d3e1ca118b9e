"""The input schemas of text models: the ones `/ai/models/schema` shows are the ones requests are held to."""

from typing import Any

from app.emulator.catalogue import Model

Schema = dict[str, Any]

# Ranges of the legacy and gpt-oss schemas; OpenAI's are wider in places (seed 0, top_p 0).
SAMPLING: Schema = {
    "temperature": {"type": "number", "minimum": 0, "maximum": 5, "default": 0.6},
    "top_p": {"type": "number", "minimum": 0.001, "maximum": 1},
    "top_k": {"type": "integer", "minimum": 1, "maximum": 50},
    "seed": {"type": "integer", "minimum": 1, "maximum": 9999999999},
    "repetition_penalty": {"type": "number", "minimum": 0, "maximum": 2},
    "frequency_penalty": {"type": "number", "minimum": -2, "maximum": 2},
    "presence_penalty": {"type": "number", "minimum": -2, "maximum": 2},
}
COMMON: Schema = {
    **SAMPLING,
    "raw": {"type": "boolean", "default": False},
    "stream": {"type": "boolean", "default": False},
    "max_tokens": {"type": "integer", "default": 256},
    "lora": {"type": "string"},
    "response_format": {
        "type": "object",
        "properties": {"type": {"type": "string", "enum": ["json_object", "json_schema"]}, "json_schema": {}},
    },
    "guided_json": {"type": "object"},
    "options": {"type": "object", "properties": {"rejectIfBusy": {"type": "boolean"}}},
}
_PARTS: Schema = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "text": {"type": "string"},
            "image_url": {"type": "object", "properties": {"url": {"type": "string"}}, "required": ["url"]},
        },
        "required": ["type"],
    },
}
_PARAMETERS: Schema = {
    "type": "object",
    "properties": {"type": {"type": "string"}, "properties": {"type": "object"}},
    "required": ["type", "properties"],
}
_FLAT_TOOL: Schema = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "description": {"type": "string"},
        "parameters": _PARAMETERS,
    },
    "required": ["name", "description", "parameters"],
}
# Under /v1 the validator overlooks a missing description or missing parameters; under /run it does not.
_LENIENT_FUNCTION: Schema = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
    "required": ["name"],
}
_EFFORT: Schema = {"type": ["string", "null"]}


def _nested_tool(function: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"type": {"type": "string", "enum": ["function"]}, "function": function},
        "required": ["type", "function"],
    }


_CUSTOM_TOOL: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": ["custom"]},
        "custom": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    },
    "required": ["type", "custom"],
}


def _legacy_messages(*, null_content: bool, array_content: bool) -> Schema:
    content: Schema = {"oneOf": [{"type": "string"}, _PARTS]} if array_content else {"type": "string"}
    item: Schema = {
        "type": "object",
        "properties": {"role": {"type": "string"}, "content": content, "tool_call_id": {"type": "string"}},
        "required": ["role", "content"],
    }
    if null_content:
        # Beside tool calls /v1 takes null; the key itself has to be there.
        silent: Schema = {
            "type": "object",
            "properties": {
                "role": {"type": "string", "enum": ["assistant"]},
                "content": {"type": "null"},
                "tool_calls": {"type": "array", "minItems": 1},
            },
            "required": ["role", "content", "tool_calls"],
        }
        item = {"oneOf": [item, silent]}
    return {"type": "array", "minItems": 1, "items": item}


def _legacy(model: Model, *, chat_route: bool) -> list[Schema]:
    assert model.traits is not None  # noqa: S101 - only text models come here
    tool: Schema = _nested_tool(_LENIENT_FUNCTION) if chat_route else {"oneOf": [_FLAT_TOOL, _nested_tool(_FLAT_TOOL)]}
    messages = _legacy_messages(null_content=chat_route, array_content=model.traits.array_content)
    function: Schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "code": {"type": "string"}},
        "required": ["name", "code"],
    }
    return [
        {
            "title": "Prompt",
            "type": "object",
            "properties": {"prompt": {"type": "string", "minLength": 1}, **COMMON},
            "required": ["prompt"],
        },
        {
            "title": "Messages",
            "type": "object",
            "properties": {
                "messages": messages,
                "tools": {"type": "array", "items": tool},
                "functions": {"type": "array", "items": function},
                **COMMON,
            },
            "required": ["messages"],
        },
    ]


_RESPONSES: Schema = {
    "title": "Responses",
    "type": "object",
    "properties": {
        "input": {"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
        "instructions": {"type": ["string", "null"]},
        "max_output_tokens": {"type": ["integer", "null"]},
        "reasoning": {
            "type": ["object", "null"],
            "properties": {
                "effort": {"type": "string", "enum": ["low", "medium", "high"]},
                "summary": {"type": "string", "enum": ["auto", "concise", "detailed"]},
            },
        },
        "stream": {"type": ["boolean", "null"]},
        "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 5},
        "top_p": {"type": ["number", "null"], "minimum": 0.001, "maximum": 1},
        "tools": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": ["function"]},
                    "name": {"type": "string"},
                    "parameters": {"type": ["object", "null"]},
                },
                "required": ["type", "name"],
            },
        },
    },
    "required": ["input"],
}
_REQUESTS: Schema = {
    "title": "Responses_Async",
    "type": "object",
    "properties": {
        "requests": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"input": _RESPONSES["properties"]["input"]},
                "required": ["input"],
            },
        }
    },
    "required": ["requests"],
}
_BATCH: Schema = {
    "title": "Async_Batch",
    "type": "object",
    "properties": {"requests": {"type": "array", "items": {"type": "object"}}},
    "required": ["requests"],
}


def _nullable(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


_CHAT_OPTIONS: Schema = {
    "frequency_penalty": _nullable(SAMPLING["frequency_penalty"]),
    "presence_penalty": _nullable(SAMPLING["presence_penalty"]),
    "temperature": {"type": ["number", "null"], "minimum": 0, "maximum": 2},
    "top_p": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
    "seed": {"type": ["integer", "null"]},
    "n": {"type": ["integer", "null"], "minimum": 1, "maximum": 128},
    "top_logprobs": {"type": ["integer", "null"], "minimum": 0, "maximum": 20},
    "max_tokens": {"type": ["integer", "null"]},
    "max_completion_tokens": {"type": ["integer", "null"]},
    "stream": {"type": ["boolean", "null"]},
    "stop": {"type": ["string", "array", "null"]},
    "parallel_tool_calls": {"type": ["boolean", "null"]},
    "reasoning_effort": _EFFORT,
    "chat_template_kwargs": {"type": ["object", "null"]},
    "response_format": {
        "oneOf": [
            {"type": "null"},
            {
                "type": "object",
                "properties": {"type": {"type": "string", "enum": ["text", "json_object"]}},
                "required": ["type"],
            },
            {
                "type": "object",
                "properties": {
                    "type": {"type": "string", "enum": ["json_schema"]},
                    "json_schema": {
                        "type": "object",
                        "properties": {"name": {"type": "string"}, "schema": {"type": "object"}},
                        "required": ["name"],
                    },
                },
                "required": ["type", "json_schema"],
            },
        ]
    },
    "tools": {"type": ["array", "null"], "items": {"oneOf": [_nested_tool(_LENIENT_FUNCTION), _CUSTOM_TOOL]}},
    "tool_choice": {"type": ["string", "object", "null"]},
    "options": COMMON["options"],
}


_PAST_CALL: Schema = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "type": {"type": "string", "enum": ["function", "custom"]},
        "function": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "arguments": {"type": "string"}},
        },
    },
    "required": ["id", "type"],
}


def _chat_message(roles: list[str], *, content: Schema, required: list[str], **more: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {"role": {"type": "string", "enum": roles}, "content": content, **more},
        "required": required,
    }


_CHAT_CONTENT: Schema = {"oneOf": [{"type": "string"}, _PARTS]}
_CHAT_MESSAGES: Schema = {
    "type": "array",
    "minItems": 1,
    "items": {
        "oneOf": [
            _chat_message(["developer", "system", "user"], content=_CHAT_CONTENT, required=["role", "content"]),
            _chat_message(
                ["assistant", "function"],
                content={"oneOf": [{"type": "string"}, {"type": "null"}, _PARTS]},
                required=["role"],
                tool_calls={"type": ["array", "null"], "items": _PAST_CALL},
            ),
            _chat_message(["tool"], content=_CHAT_CONTENT, required=["role", "content", "tool_call_id"]),
        ]
    },
}


def _chat() -> list[Schema]:
    return [
        {
            "title": "Prompt",
            "type": "object",
            "properties": {"prompt": {"type": "string", "minLength": 1}, **_CHAT_OPTIONS},
            "required": ["prompt"],
        },
        {
            "title": "Messages",
            "type": "object",
            "properties": {"messages": _CHAT_MESSAGES, **_CHAT_OPTIONS},
            "required": ["messages"],
        },
    ]


def input_schema(model: Model, *, chat_route: bool = False) -> Schema:
    """Return the input schema of a text model, a `oneOf` of its body forms.

    Args:
        model: A model with traits.
        chat_route: The more forgiving form that `/ai/v1/chat/completions` is held to.
    """
    assert model.traits is not None  # noqa: S101 - only text models have forms
    match model.traits.form:
        case "chat":
            branches = _chat()
        case "gpt-oss":
            branches = [*_legacy(model, chat_route=chat_route), _RESPONSES, _REQUESTS]
        case "legacy":
            branches = _legacy(model, chat_route=chat_route)
    if model.traits.form != "gpt-oss" and model.facts.get("batch"):
        branches.append(_BATCH)
    return {"type": "object", "oneOf": branches}


def responses_schema() -> Schema:
    """Return the schema of `/ai/v1/responses`."""
    return _RESPONSES


def output_schema() -> Schema:
    """Return a loose output schema."""
    return {"oneOf": [{"type": "object", "contentType": "application/json"}, {"type": "string"}]}
