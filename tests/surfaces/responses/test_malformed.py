"""Bodies that are wrong, each refused with the name of the field at fault."""

import pytest

from app.core.errors import BadRequest
from app.surfaces.responses.read import read_request

F = {"type": "function", "name": "f"}
CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}


def item(**fields):
    return {"input": [fields]}


def part(**fields):
    return item(role="user", content=[fields])


def tool(**fields):
    return {"tools": [fields]}


BODIES = [
    ({"model": None}, "model", "missing_required_parameter"),
    ({"model": 3}, "model", "invalid_type"),
    ({"model": ""}, "model", "empty_string"),
    ({"input": None}, "input", "missing_required_parameter"),
    ({"input": 3}, "input", "invalid_type"),
    ({"input": {}}, "input", "invalid_type"),
    ({"input": True}, "input", "invalid_type"),
    ({"input": []}, "input", "empty_array"),
    ({"input": ["hi"]}, "input[0]", "invalid_type"),
    ({"input": [None]}, "input[0]", "invalid_type"),
    ({"input": [[]]}, "input[0]", "invalid_type"),
    ({"input": [{}]}, "input[0].type", "missing_required_parameter"),
    ({"input": [{"type": 3}]}, "input[0].type", "invalid_type"),
    (item(role="tool", content="x"), "input[0].role", "invalid_value"),
    (item(role=["user"], content="x"), "input[0].role", "invalid_type"),
    (item(type="message", content="x"), "input[0].role", "missing_required_parameter"),
    (item(role="user"), "input[0].content", "missing_required_parameter"),
    (item(role="user", content=3), "input[0].content", "invalid_type"),
    (item(role="user", content={"type": "input_text"}), "input[0].content", "invalid_type"),
    (item(role="user", content=["x"]), "input[0].content[0]", "invalid_type"),
    (part(), "input[0].content[0].type", "missing_required_parameter"),
    (part(type=3), "input[0].content[0].type", "invalid_type"),
    (part(type="image_url"), "input[0].content[0].type", "invalid_value"),
    (part(type="input_text"), "input[0].content[0].text", "missing_required_parameter"),
    (part(type="input_text", text=3), "input[0].content[0].text", "invalid_type"),
    (part(type="input_file"), "input[0].content[0].file_data", "missing_required_parameter"),
    (part(type="input_file", file_id="f"), "input[0].content[0].file_id", "unsupported_value"),
    (part(type="input_file", file_id="f", file_data="aGk="), "input[0].content[0].file_id", "unsupported_value"),
    (part(type="input_file", file_url="https://x.test/"), "input[0].content[0].file_url", "unsupported_value"),
    (part(type="input_file", file_data=3), "input[0].content[0].file_data", "invalid_type"),
    (part(type="input_file", file_data="hello!", filename="a"), "input[0].content[0].file_data", "invalid_value"),
    (part(type="input_file", file_data="data:text/plain,hi"), "input[0].content[0].file_data", "invalid_value"),
    (part(type="input_file", file_data="aGk="), "input[0].content[0].filename", "missing_required_parameter"),
    (part(type="input_file", file_data="aGk=", filename=3), "input[0].content[0].filename", "invalid_type"),
    (part(type="input_file", file_data="aGk=", filename="a\n"), "input[0].content[0].filename", "invalid_value"),
    (part(type="input_image", image_url=""), "input[0].content[0].image_url", "empty_string"),
    (part(type="input_image", image_url="ftp://x.test/"), "input[0].content[0].image_url", "invalid_image_url"),
    (part(type="input_image", image_url="data:text/html,x"), "input[0].content[0].image_url", "invalid_image_url"),
    (part(type="input_audio", input_audio={}), "input[0].content[0].type", "unsupported_value"),
    (part(type="input_image"), "input[0].content[0].image_url", "missing_required_parameter"),
    (part(type="input_image", file_id="f"), "input[0].content[0].file_id", "unsupported_parameter"),
    (part(type="input_image", image_url={"url": "x"}), "input[0].content[0].image_url", "invalid_type"),
    (part(type="input_image", image_url="file:///etc/passwd"), "input[0].content[0].image_url", "invalid_image_url"),
    (
        part(type="input_image", image_url="https://x.test/", detail="huge"),
        "input[0].content[0].detail",
        "invalid_value",
    ),
    (item(type="function_call", name="f", arguments="{}"), "input[0].call_id", "missing_required_parameter"),
    (item(type="function_call", call_id="c", arguments="{}"), "input[0].name", "missing_required_parameter"),
    (item(type="function_call", call_id="c", name="f"), "input[0].arguments", "missing_required_parameter"),
    (item(type="function_call", call_id="c", name="f", arguments={}), "input[0].arguments", "invalid_type"),
    (item(type="function_call", call_id="", name="f", arguments="{}"), "input[0].call_id", "empty_string"),
    (item(type="custom_tool_call", call_id="c", name="f"), "input[0].input", "missing_required_parameter"),
    ({"input": [CALL]}, "input", None),
    ({"input": [CALL, {"role": "user", "content": "x"}]}, "input", None),
    ({"input": [{"type": "function_call_output", "call_id": "c2", "output": "x"}]}, "input", None),
    ({"input": [{"type": "function_call_output", "call_id": "c1", "output": "x"}, CALL]}, "input", None),
    (
        {"input": [CALL, {"type": "function_call_output", "call_id": "c1"}]},
        "input[1].output",
        "missing_required_parameter",
    ),
    (
        {"input": [CALL, {"type": "function_call_output", "call_id": 1, "output": ""}]},
        "input[1].call_id",
        "invalid_type",
    ),
    (
        {"input": [CALL, {"type": "function_call_output", "call_id": "c1", "output": 3}]},
        "input[1].output",
        "invalid_type",
    ),
    (
        {"input": [CALL, {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_file"}]}]},
        "input[1].output[0].file_data",
        "missing_required_parameter",
    ),
    (item(type="reasoning", content="x"), "input[0].content", "invalid_type"),
    (item(type="reasoning", summary=[{"text": 3}]), "input[0].summary[0].text", "invalid_type"),
    (item(type="reasoning", summary=["x"]), "input[0].summary[0]", "invalid_type"),
    (item(type="item_reference", id="rs_1"), "input", "item_not_found"),
    (item(type="item_reference"), "input[0].id", "missing_required_parameter"),
    (item(type="additional_tools", tools=3), "input[0].tools", "invalid_type"),
    (
        item(type="additional_tools", tools=[{"type": "function"}]),
        "input[0].tools[0].name",
        "missing_required_parameter",
    ),
    ({"instructions": 3}, "instructions", "invalid_type"),
    ({"instructions": []}, "instructions", "invalid_type"),
    ({"stream": "true"}, "stream", "invalid_type"),
    ({"stream": 1}, "stream", "invalid_type"),
    ({"stream_options": []}, "stream_options", "invalid_type"),
    ({"stream_options": {"include_obfuscation": "no"}}, "stream_options.include_obfuscation", "invalid_type"),
    ({"max_output_tokens": 0}, "max_output_tokens", "integer_below_min_value"),
    ({"max_output_tokens": 1.5}, "max_output_tokens", "invalid_type"),
    ({"max_output_tokens": "9"}, "max_output_tokens", "invalid_type"),
    ({"max_output_tokens": True}, "max_output_tokens", "invalid_type"),
    ({"temperature": -0.1}, "temperature", "decimal_below_min_value"),
    ({"temperature": 2.1}, "temperature", "decimal_above_max_value"),
    ({"temperature": "1"}, "temperature", "invalid_type"),
    ({"top_p": 1.1}, "top_p", "decimal_above_max_value"),
    ({"top_p": False}, "top_p", "invalid_type"),
    ({"presence_penalty": 3}, "presence_penalty", "decimal_above_max_value"),
    ({"frequency_penalty": -3}, "frequency_penalty", "decimal_below_min_value"),
    ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
    ({"top_logprobs": -1}, "top_logprobs", "integer_below_min_value"),
    ({"max_tool_calls": 0}, "max_tool_calls", "integer_below_min_value"),
    ({"metadata": {"a": 1}}, "metadata.a", "invalid_type"),
    ({"metadata": {"a": "x" * 513}}, "metadata.a", "string_above_max_length"),
    ({"metadata": {str(n): "" for n in range(17)}}, "metadata", "object_above_max_properties"),
    ({"metadata": "x"}, "metadata", "invalid_type"),
    ({"truncation": "middle"}, "truncation", "invalid_value"),
    ({"service_tier": 3}, "service_tier", "invalid_type"),
    ({"user": 3}, "user", "invalid_type"),
    ({"safety_identifier": {}}, "safety_identifier", "invalid_type"),
    ({"prompt_cache_key": []}, "prompt_cache_key", "invalid_type"),
    ({"include": "x"}, "include", "invalid_type"),
    ({"include": [3]}, "include[0]", "invalid_type"),
    ({"store": "yes"}, "store", "invalid_type"),
    ({"background": "yes"}, "background", "invalid_type"),
    ({"background": True}, "background", "unsupported_parameter"),
    ({"previous_response_id": 3}, "previous_response_id", "invalid_type"),
    ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_parameter"),
    ({"conversation": 3}, "conversation", "invalid_type"),
    ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
    ({"prompt": "p"}, "prompt", "invalid_type"),
    ({"prompt": {"id": "p"}}, "prompt", "unsupported_parameter"),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls", "invalid_type"),
    ({"reasoning": "high"}, "reasoning", "invalid_type"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort", "invalid_value"),
    ({"reasoning": {"effort": 3}}, "reasoning.effort", "invalid_type"),
    ({"reasoning": {"summary": True}}, "reasoning.summary", "invalid_type"),
    ({"reasoning": {"summary": "long"}}, "reasoning.summary", "invalid_value"),
    ({"text": "plain"}, "text", "invalid_type"),
    ({"text": {"verbosity": "huge"}}, "text.verbosity", "invalid_value"),
    ({"text": {"format": "json"}}, "text.format", "invalid_type"),
    ({"text": {"format": {}}}, "text.format.type", "missing_required_parameter"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type", "invalid_value"),
    ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema", "missing_required_parameter"),
    ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format.name", "missing_required_parameter"),
    ({"text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}, "text.format.name", "invalid_value"),
    ({"text": {"format": {"type": "json_schema", "name": "n", "schema": []}}}, "text.format.schema", "invalid_type"),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": "x"}}},
        "text.format.strict",
        "invalid_type",
    ),
    ({"tools": {}}, "tools", "invalid_type"),
    ({"tools": [3]}, "tools[0]", "invalid_type"),
    (tool(), "tools[0].type", "missing_required_parameter"),
    (tool(type=[]), "tools[0].type", "invalid_type"),
    (tool(type="function"), "tools[0].name", "missing_required_parameter"),
    (tool(type="function", function={"name": "f"}), "tools[0].name", "missing_required_parameter"),
    (tool(type="function", name=""), "tools[0].name", "empty_string"),
    (tool(type="function", name="a b"), "tools[0].name", "invalid_value"),
    (tool(type="function", name="f" * 129), "tools[0].name", "string_above_max_length"),
    (tool(type="function", name="f", parameters=[]), "tools[0].parameters", "invalid_type"),
    (tool(type="function", name="f", strict="x"), "tools[0].strict", "invalid_type"),
    (tool(type="custom", name="c", format="text"), "tools[0].format", "invalid_type"),
    (tool(type="custom", name="c", format={"type": "ebnf"}), "tools[0].format.type", "invalid_value"),
    (
        tool(type="custom", name="c", format={"type": "grammar", "syntax": "peg"}),
        "tools[0].format.syntax",
        "invalid_value",
    ),
    (
        tool(type="custom", name="c", format={"type": "grammar", "syntax": "lark"}),
        "tools[0].format.definition",
        "missing_required_parameter",
    ),
    (
        tool(type="custom", name="c", format={"type": "grammar", "grammar": {"syntax": "lark"}}),
        "tools[0].format.grammar.definition",
        "missing_required_parameter",
    ),
    (tool(type="namespace", name="n"), "tools[0].tools", "missing_required_parameter"),
    (tool(type="namespace", tools=[F]), "tools[0].name", "missing_required_parameter"),
    (tool(type="namespace", name="n", tools=[{}]), "tools[0].tools[0].type", "missing_required_parameter"),
    (tool(type="namespace", name="n", tools=[{**F, "name": 3}]), "tools[0].tools[0].name", "invalid_type"),
    ({"tool_choice": "maybe"}, "tool_choice", "invalid_value"),
    ({"tool_choice": 3}, "tool_choice", "invalid_type"),
    ({"tool_choice": []}, "tool_choice", "invalid_type"),
    ({"tool_choice": {}}, "tool_choice.type", "missing_required_parameter"),
    ({"tool_choice": "required"}, "tool_choice", "invalid_value"),
    ({"tool_choice": "required", "tools": [{"type": "web_search"}]}, "tool_choice", "invalid_value"),
    ({"tool_choice": {"type": "web_search"}, "tools": [F]}, "tool_choice.type", "unsupported_value"),
    ({"tool_choice": {"type": "function"}, "tools": [F]}, "tool_choice.name", "missing_required_parameter"),
    ({"tool_choice": {"type": "function", "name": "g"}, "tools": [F]}, "tool_choice", "invalid_value"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "none", "tools": [F]}}, "tool_choice.mode", "invalid_value"),
    ({"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []}}, "tool_choice.tools", "empty_array"),
    (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [F]}, "tools": []},
        "tool_choice.tools[0]",
        "invalid_value",
    ),
    (
        {
            "tool_choice": {"type": "allowed_tools", "mode": "required", "tools": [{"type": "mcp"}]},
            "tools": [F, {"type": "mcp"}],
        },
        "tool_choice",
        "invalid_value",
    ),
]


@pytest.mark.parametrize(("body", "param", "code"), BODIES)
def test_a_malformed_body_is_refused_with_the_field_at_fault(body, param, code):
    with pytest.raises(BadRequest) as caught:
        read_request({"model": "m", "input": "hi", **body})
    assert (caught.value.param, caught.value.code) == (param, code)
    assert len(caught.value.message) < 400


def test_there_are_enough_of_them():
    assert len(BODIES) >= 100


def test_openais_words_for_a_call_without_output():
    with pytest.raises(BadRequest) as caught:
        read_request({"model": "m", "input": [CALL]})
    assert caught.value.message == "No tool output found for function call c1."
