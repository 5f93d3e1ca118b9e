"""Tools and conversations that several quirks are about."""

from __future__ import annotations

import json


def function(name, description="What it is for.", **properties):
    schema = {key: {"type": kind, "description": key} for key, kind in properties.items()}
    parameters = {"type": "object", "properties": schema, "required": list(schema)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


WEATHER = function("get_weather", city="string")
CLOCK = function("get_time", zone="string")
BOTH = [WEATHER, CLOCK]

ASK_ONE = 'Please call get_weather({"city": "Oslo"}) for me.'
ASK_BOTH = 'Call get_weather({"city": "Oslo"}) and get_time({"zone": "CET"}) at once.'
ONE = [("get_weather", {"city": "Oslo"})]
TWO = [("get_weather", {"city": "Oslo"}), ("get_time", {"zone": "CET"})]

NAMED = {"type": "function", "function": {"name": "get_weather"}}


def made(view):
    """The calls of an answer, without their ids."""
    return [(call.name, call.arguments) for call in view.calls]


def assistant(view, **more):
    """An answer with calls, as a client replays it."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
        for call in view.calls
    ]
    return {"role": "assistant", "tool_calls": calls, **more}


def results(view, *contents):
    return [
        {"role": "tool", "tool_call_id": call.id, "content": content}
        for call, content in zip(view.calls, contents, strict=True)
    ]
