"""What is refused, and the field that is named."""

import pytest

from app.core.errors import BadRequest
from app.surfaces.chat.read import read_request
from app.wire.codec import decode, encode
from tests.surfaces.chat.test_read import HI, body, call, function, nested

CALLING = {"role": "assistant", "content": None, "tool_calls": [call("c1"), call("c2")]}


def result(call_id="c1"):
    return {"role": "tool", "tool_call_id": call_id, "content": "1"}


def user(content):
    return body({"role": "user", "content": content})


def paper(**more):
    return user([{"type": "file", "file": more}])


def picture(**more):
    return user([{"type": "image_url", "image_url": more}])


def custom(**more):
    return {"type": "custom", "custom": more}


def formed(form):
    return body(tools=[custom(name="c", format=form)])


def assistant(**more):
    return body({"role": "assistant", **more})


def schema(**more):
    return body(response_format={"type": "json_schema", **more})


def choosing(choice, *tools):
    return body(tools=list(tools or (function(),)), tool_choice=choice)


MISSING = "missing_required_parameter"
TYPE = "invalid_type"
VALUE = "invalid_value"

WRONG_TYPES = {
    "model": [1, True, [], {}],
    "messages": ["Hi", 1, {}],
    "stream": ["true", 1, {}],
    "stream_options": [True, "x", []],
    "max_completion_tokens": ["10", 1.5, True, []],
    "max_tokens": ["10", 1.5, {}],
    "tools": ["x", {}, 1],
    "tool_choice": [1, True, []],
    "parallel_tool_calls": ["yes", 1],
    "response_format": ["json_object", 1, []],
    "reasoning_effort": [1, {}, ["low"]],
    "prompt_cache_key": [1, {}],
    "user": [1, []],
    "temperature": ["hot", True, [], {}],
    "top_p": ["1", False],
    "frequency_penalty": ["0", {}],
    "presence_penalty": ["0", []],
    "seed": ["1", 1.5, True],
    "stop": [1, {}, True],
    "logit_bias": [[], "x", 1],
    "logprobs": [1, "yes"],
    "top_logprobs": ["1", 0.5],
    "verbosity": [1, []],
    "prediction": ["x", []],
    "n": ["1", 1.5],
    "modalities": ["text", {}],
    "metadata": ["x", [], 1],
    "functions": ["x", {"name": "f"}, 1],
    "function_call": [1, True, [[]]],
    "store": ["yes", 1],
    "service_tier": [1, {}],
    "moderation": ["x", []],
    "safety_identifier": [1, {}],
    "prompt_cache_options": ["x", []],
    "prompt_cache_retention": [1, []],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG_TYPES.items() for value in values])
def test_wrong_types(name, value):
    with pytest.raises(BadRequest) as caught:
        read_request(body() | {name: value})
    assert (caught.value.param, caught.value.code) == (name, TYPE)


CASES = {
    # What must be there.
    "nothing": ({}, "model", MISSING),
    "no model": ({"messages": [HI]}, "model", MISSING),
    "a null model": ({"model": None, "messages": [HI]}, "model", MISSING),
    "an empty model": ({"model": "", "messages": [HI]}, "model", "empty_string"),
    "no messages": ({"model": "m"}, "messages", MISSING),
    "empty messages": ({"model": "m", "messages": []}, "messages", "empty_array"),
    # Messages.
    "a message that is a text": ({"model": "m", "messages": ["Hi"]}, "messages[0]", TYPE),
    "a null message": ({"model": "m", "messages": [HI, None]}, "messages[1]", TYPE),
    "an empty message": ({"model": "m", "messages": [{}]}, "messages[0].role", MISSING),
    "an unknown role": (body({"role": "robot", "content": "x"}), "messages[0].role", VALUE),
    "a role that is a number": (body({"role": 1, "content": "x"}), "messages[0].role", TYPE),
    "a user without content": (body({"role": "user"}), "messages[0].content", MISSING),
    "a user with null": (user(None), "messages[0].content", MISSING),
    "a system with null": (body({"role": "system", "content": None}), "messages[0].content", MISSING),
    "a developer with a number": (body({"role": "developer", "content": 1}), "messages[0].content", TYPE),
    "content that is an object": (user({"type": "text", "text": "x"}), "messages[0].content", TYPE),
    "content that is false": (user(False), "messages[0].content", TYPE),
    "a name that is a number": (body({**HI, "name": 1}), "messages[0].name", TYPE),
    "an assistant's name": (assistant(content="a", name=[]), "messages[0].name", TYPE),
    "an assistant with nothing": (assistant(), "messages[0].content", MISSING),
    "an assistant with empty calls only": (assistant(content=None, tool_calls=[]), "messages[0].content", MISSING),
    "a refusal that is a number": (assistant(content=None, refusal=1), "messages[0].refusal", TYPE),
    # Parts.
    "a part that is a text": (user(["x"]), "messages[0].content[0]", TYPE),
    "a part without type": (user([{"text": "x"}]), "messages[0].content[0].type", MISSING),
    "an unknown part": (user([{"type": "video", "video": "x"}]), "messages[0].content[0].type", VALUE),
    "a part's type that is an array": (user([{"type": ["text"]}]), "messages[0].content[0].type", TYPE),
    "a text part without text": (user([{"type": "text"}]), "messages[0].content[0].text", MISSING),
    "a text part with null": (user([{"type": "text", "text": None}]), "messages[0].content[0].text", MISSING),
    "a text part with a number": (user([{"type": "text", "text": 1}]), "messages[0].content[0].text", TYPE),
    "the second part": (
        user([{"type": "text", "text": "x"}, {"type": "text", "text": {}}]), "messages[0].content[1].text", TYPE,
    ),
    "audio": (user([{"type": "input_audio", "input_audio": {}}]), "messages[0].content[0].type", "unsupported_value"),
    "a part that is a number": (user([1]), "messages[0].content[0]", TYPE),
    # Files.
    "a file without file": (user([{"type": "file"}]), "messages[0].content[0].file", MISSING),
    "a file that is a text": (user([{"type": "file", "file": "x"}]), "messages[0].content[0].file", TYPE),
    "a file without data": (paper(filename="a.pdf"), "messages[0].content[0].file.file_data", MISSING),
    "a file with empty data": (paper(file_data=""), "messages[0].content[0].file.file_data", "empty_string"),
    "a file with data that is bytes": (paper(file_data=[1]), "messages[0].content[0].file.file_data", TYPE),
    "a stored file": (paper(file_id="file-1"), "messages[0].content[0].file.file_id", "unsupported_value"),
    "a stored file with data": (
        paper(file_id="file-1", file_data="aGk="), "messages[0].content[0].file.file_id", "unsupported_value",
    ),
    "a stored file's id that is a number": (paper(file_id=1), "messages[0].content[0].file.file_id", TYPE),
    "a file elsewhere": (
        paper(file_url="https://x.test/a.pdf"), "messages[0].content[0].file.file_url", "unsupported_value",
    ),
    "a file that is not base64": (paper(file_data="hello!"), "messages[0].content[0].file.file_data", VALUE),
    "a file that is cut off": (paper(file_data="aGk"), "messages[0].content[0].file.file_data", VALUE),
    "a file with padding within": (paper(file_data="aA==aA=="), "messages[0].content[0].file.file_data", VALUE),
    "a file in the alphabet of URLs": (paper(file_data="-_-_"), "messages[0].content[0].file.file_data", VALUE),
    "a file with half a character": (paper(file_data="\ud83d"), "messages[0].content[0].file.file_data", VALUE),
    "a file of nothing": (
        paper(file_data="data:text/plain;base64,"), "messages[0].content[0].file.file_data", "empty_file",
    ),
    "a file with a data URL that is not base64": (
        paper(file_data="data:text/plain,hi"), "messages[0].content[0].file.file_data", VALUE,
    ),
    "a file with a data URL without data": (
        paper(file_data="data:text/plain;base64"), "messages[0].content[0].file.file_data", VALUE,
    ),
    "a file by its URL": (
        paper(file_data="https://x.test/a.pdf"), "messages[0].content[0].file.file_data", VALUE,
    ),
    "a file that does not say what it is": (
        paper(file_data="aGk="), "messages[0].content[0].file.filename", MISSING,
    ),
    "a file of an unknown type without name": (
        paper(file_data="data:video/mp4;base64,aGk="), "messages[0].content[0].file.filename", MISSING,
    ),
    "a file's name that is a number": (
        paper(file_data="aGk=", filename=1), "messages[0].content[0].file.filename", TYPE,
    ),
    "an endless file name": (
        paper(file_data="aGk=", filename="a" * 256), "messages[0].content[0].file.filename", "string_above_max_length",
    ),
    "a file's name with a line break": (
        paper(file_data="aGk=", filename='a"\r\nx: y'), "messages[0].content[0].file.filename", VALUE,
    ),
    "a file's name with half a character": (
        paper(file_data="aGk=", filename="a\ud83d.txt"), "messages[0].content[0].file.filename", VALUE,
    ),
    "a file of the system": (
        body({"role": "system", "content": [{"type": "file", "file": {}}]}), "messages[0].content[0].type", VALUE,
    ),
    "an image on this machine": (
        picture(url="file:///etc/passwd"), "messages[0].content[0].image_url.url", "invalid_image_url",
    ),
    "an image over FTP": (picture(url="ftp://x.test/a"), "messages[0].content[0].image_url.url", "invalid_image_url"),
    "an image without scheme": (picture(url="x.test/a"), "messages[0].content[0].image_url.url", "invalid_image_url"),
    "an image that is a text file": (
        picture(url="data:text/html;base64,AA=="), "messages[0].content[0].image_url.url", "invalid_image_url",
    ),
    "an image with a space before": (
        picture(url=" https://x.test/"), "messages[0].content[0].image_url.url", "invalid_image_url",
    ),
    "an unknown detail": (
        picture(url="https://x.test/", detail="huge"), "messages[0].content[0].image_url.detail", VALUE,
    ),
    "an image without image": (user([{"type": "image_url"}]), "messages[0].content[0].image_url", MISSING),
    "an image that is a text": (
        user([{"type": "image_url", "image_url": "https://x"}]), "messages[0].content[0].image_url", TYPE,
    ),
    "an image without url": (
        user([{"type": "image_url", "image_url": {}}]), "messages[0].content[0].image_url.url", MISSING,
    ),
    "an empty url": (
        user([{"type": "image_url", "image_url": {"url": ""}}]), "messages[0].content[0].image_url.url", "empty_string",
    ),
    "a detail that is a number": (
        picture(url="https://x.test/", detail=1),
        "messages[0].content[0].image_url.detail", TYPE,
    ),
    "an image of the system": (
        body({"role": "system", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}),
        "messages[0].content[0].type", VALUE,
    ),
    "a refusal of the user": (user([{"type": "refusal", "refusal": "x"}]), "messages[0].content[0].type", VALUE),
    # Calls and their results.
    "calls that are an object": (assistant(tool_calls={}), "messages[0].tool_calls", TYPE),
    "a call that is a text": (assistant(tool_calls=["x"]), "messages[0].tool_calls[0]", TYPE),
    "a call without id": (
        assistant(tool_calls=[{"type": "function", "function": {"name": "f"}}]),
        "messages[0].tool_calls[0].id", MISSING,
    ),
    "a call with an empty id": (assistant(tool_calls=[call("")]), "messages[0].tool_calls[0].id", "empty_string"),
    "a call with a number for an id": (assistant(tool_calls=[call(7)]), "messages[0].tool_calls[0].id", TYPE),
    "a call of an unknown type": (
        assistant(tool_calls=[{**call(), "type": "magic"}]), "messages[0].tool_calls[0].type", VALUE,
    ),
    "a call without function": (assistant(tool_calls=[{"id": "c1"}]), "messages[0].tool_calls[0].function", MISSING),
    "a call without name": (
        assistant(tool_calls=[{"id": "c1", "function": {}}]), "messages[0].tool_calls[0].function.name", MISSING,
    ),
    "a custom call without name": (
        assistant(tool_calls=[{"id": "c1", "type": "custom", "custom": {}}]),
        "messages[0].tool_calls[0].custom.name", MISSING,
    ),
    "arguments that are an object": (
        assistant(tool_calls=[call(arguments={"x": 1})]), "messages[0].tool_calls[0].function.arguments", TYPE,
    ),
    "two calls with one id": (assistant(tool_calls=[call("a"), call("a")]), "messages[0].tool_calls[1].id", VALUE),
    "a deprecated call without name": (assistant(function_call={}), "messages[0].function_call.name", MISSING),
    "a deprecated call that is a text": (assistant(function_call="f"), "messages[0].function_call", TYPE),
    "a result of nothing": (body(HI, result()), "messages.[1].role", None),
    "a result first": (body(result()), "messages.[0].role", None),
    "a result of another call": (body(CALLING, result("c3")), "messages.[1].role", None),
    "a result twice": (body(CALLING, result(), result(), result("c2")), "messages.[2].role", None),
    "a late result": (body(CALLING, result(), result("c2"), HI, result()), "messages.[4].role", None),
    "a call unanswered before the user": (body(HI, CALLING, result(), HI), "messages.[3].role", None),
    "a call unanswered before the assistant": (body(CALLING, CALLING), "messages.[1].role", None),
    "calls unanswered at the end": (body(HI, CALLING), "messages", None),
    "one call unanswered at the end": (body(HI, CALLING, result("c2")), "messages", None),
    "a result without id": (body(CALLING, {"role": "tool", "content": "1"}), "messages[1].tool_call_id", MISSING),
    "a result with a number for an id": (body(CALLING, result(1)), "messages[1].tool_call_id", TYPE),
    "a result without content": (
        body(CALLING, {"role": "tool", "tool_call_id": "c1", "content": None}), "messages[1].content", MISSING,
    ),
    "a function's result without name": (body({"role": "function", "content": "1"}), "messages[0].name", MISSING),
    "a function's result of nothing": (
        body({"role": "function", "name": "f", "content": "1"}), "messages.[0].role", None,
    ),
    # Tools.
    "a tool that is a text": (body(tools=["f"]), "tools[0]", TYPE),
    "a tool without type": (body(tools=[{"function": {"name": "f"}}]), "tools[0].type", MISSING),
    "a hosted tool": (body(tools=[function(), {"type": "web_search"}]), "tools[1].type", VALUE),
    "a custom tool that is a text": (body(tools=[{"type": "custom", "custom": "c"}]), "tools[0].custom", TYPE),
    "a custom tool without custom": (body(tools=[{"type": "custom"}]), "tools[0].custom.name", MISSING),
    "a custom tool without name": (body(tools=[custom()]), "tools[0].custom.name", MISSING),
    "a custom tool with an empty name": (body(tools=[custom(name="")]), "tools[0].custom.name", "empty_string"),
    "a custom tool described as a function": (
        body(tools=[{"type": "custom", "function": {"name": "f"}}]), "tools[0].custom.name", MISSING,
    ),
    "a custom tool by a function's name": (
        body(tools=[function("f"), custom(name="f")]), "tools[1].custom.name", VALUE,
    ),
    "a function by a custom tool's name": (
        body(tools=[{"type": "custom", "name": "f"}, function("f")]), "tools[1].function.name", VALUE,
    ),
    "a form that is a text": (formed("lark"), "tools[0].custom.format", TYPE),
    "a form without type": (formed({}), "tools[0].custom.format.type", MISSING),
    "a form of an unknown type": (formed({"type": "ebnf"}), "tools[0].custom.format.type", VALUE),
    "a form without grammar": (formed({"type": "grammar"}), "tools[0].custom.format.syntax", MISSING),
    "a grammar that is a text": (formed({"type": "grammar", "grammar": "x"}), "tools[0].custom.format.grammar", TYPE),
    "a grammar without syntax": (
        formed({"type": "grammar", "grammar": {"definition": "x"}}), "tools[0].custom.format.grammar.syntax", MISSING,
    ),
    "a grammar of an unknown syntax": (
        formed({"type": "grammar", "grammar": {"syntax": "peg"}}), "tools[0].custom.format.grammar.syntax", VALUE,
    ),
    "a grammar without definition": (
        formed({"type": "grammar", "grammar": {"syntax": "lark"}}),
        "tools[0].custom.format.grammar.definition", MISSING,
    ),
    "a custom call's input that is an object": (
        assistant(tool_calls=[{"id": "c", "type": "custom", "custom": {"name": "f", "input": {}}}]),
        "messages[0].tool_calls[0].custom.input", TYPE,
    ),
    "a tool without function": (body(tools=[{"type": "function"}]), "tools[0].function.name", MISSING),
    "a function that is a text": (body(tools=[{"type": "function", "function": "f"}]), "tools[0].function", TYPE),
    "a tool without name": (body(tools=[function(None)]), "tools[0].function.name", MISSING),
    "a tool with an empty name": (body(tools=[function("")]), "tools[0].function.name", "empty_string"),
    "a tool with an endless name": (
        body(tools=[function("f" * 257)]), "tools[0].function.name", "string_above_max_length",
    ),
    "a flat tool with a number for a name": (body(tools=[{"type": "function", "name": 1}]), "tools[0].name", TYPE),
    "parameters that are a text": (
        body(tools=[function(parameters="{}")]), "tools[0].function.parameters", "invalid_function_parameters",
    ),
    "parameters that are an array": (
        body(tools=[function(), function("g", parameters=[])]),
        "tools[1].function.parameters", "invalid_function_parameters",
    ),
    "parameters too deep to be sent": (
        body(tools=[function(parameters=nested(129))]), "tools[0].function.parameters", "invalid_function_parameters",
    ),
    "strict that is a text": (body(tools=[function(strict="yes")]), "tools[0].function.strict", TYPE),
    "too many tools": (body(tools=[function()] * 1025), "tools", "array_above_max_length"),
    "a custom choice without name": (
        choosing({"type": "custom"}, custom(name="c")), "tool_choice.custom.name", MISSING,
    ),
    "a custom choice that is not offered": (
        choosing(custom(name="d"), custom(name="c")), "tool_choice.custom.name", VALUE,
    ),
    "an allowed custom tool that is not offered": (
        choosing({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [custom(name="c")]}}),
        "tool_choice.allowed_tools.tools[0].custom.name", VALUE,
    ),
    "an allowed tool of an unknown type": (
        choosing({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [{"type": "mcp"}]}}),
        "tool_choice.allowed_tools.tools[0].type", VALUE,
    ),
    "an unknown choice": (choosing("any"), "tool_choice", VALUE),
    "a choice without type": (choosing({"function": {"name": "f"}}), "tool_choice.type", MISSING),
    "a choice of an unknown type": (choosing({"type": "auto"}), "tool_choice.type", VALUE),
    "a choice without name": (choosing({"type": "function"}), "tool_choice.function.name", MISSING),
    "a choice that is not offered": (choosing(function("g")), "tool_choice.function.name", VALUE),
    "a flat choice that is not offered": (choosing({"type": "function", "name": "g"}), "tool_choice.name", VALUE),
    "required without tools": (body(tool_choice="required"), "tool_choice", None),
    "a named choice without tools": (body(tool_choice=function()), "tool_choice.function.name", VALUE),
    "allowed tools without mode": (
        choosing({"type": "allowed_tools", "allowed_tools": {"tools": [function()]}}),
        "tool_choice.allowed_tools.mode", MISSING,
    ),
    "allowed tools without tools": (
        choosing({"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}),
        "tool_choice.allowed_tools.tools", MISSING,
    ),
    "no allowed tools": (
        choosing({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}),
        "tool_choice.allowed_tools.tools", "empty_array",
    ),
    "an allowed tool that is not offered": (
        choosing({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function(), function("g")]}}),
        "tool_choice.allowed_tools.tools[1].function.name", VALUE,
    ),
    # Formats.
    "a format without type": (body(response_format={}), "response_format.type", MISSING),
    "an unknown format": (body(response_format={"type": "xml"}), "response_format.type", VALUE),
    "a schema format without schema": (schema(), "response_format.json_schema", MISSING),
    "a schema format that is a text": (schema(json_schema="x"), "response_format.json_schema", TYPE),
    "a schema without name": (schema(json_schema={"schema": {}}), "response_format.json_schema.name", MISSING),
    "a schema with an empty name": (
        schema(json_schema={"name": "", "schema": {}}), "response_format.json_schema.name", "empty_string",
    ),
    "a schema with a name of words": (
        schema(json_schema={"name": "a b", "schema": {}}), "response_format.json_schema.name", VALUE,
    ),
    "a schema with an endless name": (
        schema(json_schema={"name": "a" * 65}), "response_format.json_schema.name", "string_above_max_length",
    ),
    "a schema that is an array": (
        schema(json_schema={"name": "a", "schema": []}), "response_format.json_schema.schema", TYPE,
    ),
    "a schema too deep to be sent": (
        schema(json_schema={"name": "a", "schema": nested(300)}), "response_format.json_schema.schema",
        "invalid_json_schema",
    ),
    "a strict that is a number": (
        schema(json_schema={"name": "a", "strict": 1}), "response_format.json_schema.strict", TYPE,
    ),
    # Values out of range.
    "too hot": (body(temperature=2.1), "temperature", "decimal_above_max_value"),
    "too cold": (body(temperature=-1), "temperature", "decimal_below_min_value"),
    "top_p": (body(top_p=1.01), "top_p", "decimal_above_max_value"),
    "frequency_penalty": (body(frequency_penalty=-2.5), "frequency_penalty", "decimal_below_min_value"),
    "presence_penalty": (body(presence_penalty=1e300), "presence_penalty", "decimal_above_max_value"),
    "top_logprobs": (body(top_logprobs=21), "top_logprobs", "integer_above_max_value"),
    "a limit of 0": (body(max_tokens=0), "max_tokens", "integer_below_min_value"),
    "a limit below 0": (body(max_completion_tokens=-1), "max_completion_tokens", "integer_below_min_value"),
    "an absurd limit": (body(max_tokens=1e30), "max_tokens", "integer_above_max_value"),
    "an absurd new limit": (body(max_completion_tokens=2**64), "max_completion_tokens", "integer_above_max_value"),
    "an absurd seed": (body(seed=2**70), "seed", "integer_above_max_value"),
    "an absurd negative seed": (body(seed=-1e300), "seed", "integer_below_min_value"),
    "no choice": (body(n=0), "n", "integer_below_min_value"),
    "too many choices": (body(n=17), "n", "integer_above_max_value"),
    "absurdly many choices": (body(n=1e300), "n", "integer_above_max_value"),
    "choices below 0": (body(n=-1), "n", "integer_below_min_value"),
    "five stops": (body(stop=list("abcde")), "stop", "array_above_max_length"),
    "a stop that is a number": (body(stop=["a", 1]), "stop[1]", TYPE),
    "a bias that is a text": (body(logit_bias={"1": "x"}), "logit_bias.1", TYPE),
    "a bias that is null": (body(logit_bias={"1": None}), "logit_bias.1", MISSING),
    "a bias out of range": (body(logit_bias={"1": 0, "2": 101}), "logit_bias.2", "decimal_above_max_value"),
    "an unknown effort": (body(reasoning_effort="extreme"), "reasoning_effort", VALUE),
    "an unknown verbosity": (body(verbosity="loud"), "verbosity", VALUE),
    "an unknown field too deep to be sent": (body(x=1, y=nested(900)), "y", VALUE),
    "include_usage that is a text": (
        body(stream_options={"include_usage": "yes"}), "stream_options.include_usage", TYPE,
    ),
    "too much metadata": (
        body(metadata={str(number): "v" for number in range(17)}), "metadata", "object_above_max_properties",
    ),
    "a long metadata key": (body(metadata={"k" * 65: "v"}), "metadata", "string_above_max_length"),
    "a long metadata value": (body(metadata={"k": "v" * 513}), "metadata.k", "string_above_max_length"),
    "metadata that is a number": (body(metadata={"k": 1}), "metadata.k", TYPE),
    "metadata that is null": (body(metadata={"k": None}), "metadata.k", MISSING),
    # What cannot be done.
    "spoken answers": (body(modalities=["text", "audio"]), "modalities", "unsupported_value"),
    "a modality that is a number": (body(modalities=[1]), "modalities[0]", TYPE),
    "audio settings": (body(audio={"voice": "alloy"}), "audio", "unsupported_parameter"),
    # The older form of tools.
    "the old functions beside the new ones": (body(functions=[{"name": "f"}], tools=[function()]), "functions", VALUE),
    "an old function that is a text": (body(functions=["f"]), "functions[0]", TYPE),
    "an old function without name": (body(functions=[{}]), "functions[0].name", MISSING),
    "an old function in the new form": (body(functions=[function()]), "functions[0].name", MISSING),
    "an old function with an empty name": (body(functions=[{"name": ""}]), "functions[0].name", "empty_string"),
    "an old function's parameters that are a text": (
        body(functions=[{"name": "f", "parameters": "{}"}]), "functions[0].parameters", "invalid_function_parameters",
    ),
    "too many old functions": (body(functions=[{"name": "f"}] * 1025), "functions", "array_above_max_length"),
    "an old choice without functions": (body(function_call={"name": "f"}), "function_call.name", VALUE),
    "an old choice without name": (body(functions=[{"name": "f"}], function_call={}), "function_call.name", MISSING),
    "an old choice that is not offered": (
        body(functions=[{"name": "f"}], function_call={"name": "g"}), "function_call.name", VALUE,
    ),
    "an unknown old choice": (body(functions=[{"name": "f"}], function_call="f"), "function_call", VALUE),
    "an old choice of the new form": (
        body(functions=[{"name": "f"}], function_call="required"), "function_call", VALUE,
    ),
    "web search": (body(web_search_options={}), "web_search_options", "unsupported_parameter"),
    # Characters.
    "a role with half a character": (body({"role": "\ud83d", "content": "x"}), "messages[0].role", VALUE),
    "a role with NUL": (body({"role": "user\x00", "content": "x"}), "messages[0].role", VALUE),
    "a metadata key with half a character": (body(metadata={"\ude00": 1}), "metadata.\ude00", TYPE),
    "an id with half a character": (body(HI, result("\ud83d")), "messages.[1].role", None),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "param", "code"), CASES.values(), ids=CASES)
def test_malformed_bodies(raw, param, code):
    with pytest.raises(BadRequest) as caught:
        read_request(raw)
    error = caught.value
    assert (error.param, error.code, error.status) == (param, code, 400)
    assert error.type == "invalid_request_error"
    assert error.message
    assert len(error.message) < 700
    assert decode(encode({"error": error.body()}))["error"]["code"] == code


def test_there_are_enough_of_them():
    assert len(CASES) >= 150


def test_an_unanswered_call_is_named():
    with pytest.raises(BadRequest, match=r"did not have response messages: c2$"):
        read_request(body(CALLING, result(), HI))


def test_a_quoted_value_is_cut_short():
    with pytest.raises(BadRequest) as caught:
        read_request(body(verbosity="secret " * 1000))
    assert len(caught.value.message) < 200


def test_the_refused_modality_is_the_one_that_was_asked_for():
    with pytest.raises(BadRequest, match="'image'"):
        read_request(body(modalities=["image"]))
