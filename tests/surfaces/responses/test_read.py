import pytest

from app.core.errors import BadRequest
from app.core.request import FileContent, ImageContent, Message, NamedTool, ResponseFormat, TextContent, Tool, ToolCall
from app.surfaces.responses.read import read_request

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
USER = {"role": "user", "content": "hi"}
F = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True}
G = {"type": "function", "name": "g"}


def read(**body):
    return read_request({"model": "m", "input": "hi", **body})


def messages(*items, **body):
    return read(input=list(items), **body).messages


def test_the_smallest_request():
    request = read()
    assert request.messages == (Message("user", "hi"),)
    assert (request.model, request.stream, request.max_tokens, request.tools) == ("m", False, None, ())
    assert request.dropped == ()
    assert request.extra == {}


def test_instructions_come_first():
    assert read(instructions="Be brief.").messages[0] == Message("system", "Be brief.")
    assert read(instructions="").messages == (Message("user", "hi"),)


def test_every_setting_arrives():
    request = read(
        stream=True,
        max_output_tokens=16.0,
        temperature=0,
        top_p=0.5,
        frequency_penalty=1,
        presence_penalty=-1,
        text={"verbosity": "low", "format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}}},
        reasoning={"effort": "xhigh", "summary": "auto", "context": "all_turns"},
        parallel_tool_calls=False,
        prompt_cache_key="k",
        top_k=40,
    )
    assert request.stream
    assert request.max_tokens == 16
    assert request.knobs == {
        "temperature": 0,
        "top_p": 0.5,
        "frequency_penalty": 1,
        "presence_penalty": -1,
    }
    assert request.response_format == ResponseFormat("json_schema", {"type": "object"}, "n")
    assert request.reasoning_effort == "xhigh"
    assert request.parallel_tool_calls is False
    assert request.cache_key == "k"
    assert request.extra == {"top_k": 40}
    assert request.dropped == ("text.verbosity",)


@pytest.mark.parametrize("text", [{}, {"format": None}, {"format": {"type": "text"}}, None])
def test_plain_text_is_no_format(text):
    assert read(text=text).response_format is None


def test_nulls_are_absent():
    names = [
        *("instructions", "previous_response_id", "conversation", "prompt", "background", "include", "store", "stream"),
        *("stream_options", "metadata", "truncation", "user", "tools", "tool_choice", "reasoning", "text", "top_p"),
        *("temperature", "max_output_tokens", "top_logprobs", "parallel_tool_calls", "safety_identifier", "moderation"),
        *("prompt_cache_key", "service_tier", "max_tool_calls", "context_management"),
    ]
    request = read(**dict.fromkeys(names))
    assert request.knobs == {}
    assert request.dropped == ()


def test_what_cannot_be_done_and_may_be_left_out_is_told():
    request = read(
        store=True,
        truncation="auto",
        top_logprobs=3,
        include=["file_search_call.results", "reasoning.encrypted_content"],
        max_tokens=5,
        context_management=[{"type": "compaction"}],
    )
    assert set(request.dropped) == {
        "store",
        "truncation",
        "top_logprobs",
        "include[1]",
        "max_tokens",
        "context_management",
    }
    assert request.extra == {}


def test_messages_with_and_without_a_type():
    assert messages(
        {"role": "developer", "content": [{"type": "input_text", "text": "d"}]},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "u"}], "id": "msg_1"},
        {
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "phase": "commentary",
            "content": [{"type": "output_text", "text": "a", "annotations": []}],
        },
        {"role": "system", "content": "s"},
    ) == (Message("developer", "d"), Message("user", "u"), Message("assistant", "a"), Message("system", "s"))


def test_images_and_several_texts():
    (message,) = messages(
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                {"type": "input_image", "image_url": "https://x.test/a.png", "file_id": None},
            ],
        }
    )
    assert message.content == (
        TextContent("a"),
        ImageContent("data:image/png;base64,AA==", "low", "input[0].content[1].image_url"),
        ImageContent("https://x.test/a.png", param="input[0].content[2].image_url"),
    )


def test_files():
    (message,) = messages(
        {
            "role": "user",
            "content": [
                {"type": "input_file", "file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
                {"type": "input_file", "file_data": "JVBERi0=", "file_id": None, "detail": "low"},
                {"type": "input_image", "image_url": "http://x.test/a.png"},
            ],
        }
    )
    assert message.content == (
        FileContent("a.pdf", b"%PDF-", "input[0].content[0]"),
        FileContent("file.pdf", b"%PDF-", "input[0].content[1]"),
        ImageContent("http://x.test/a.png", param="input[0].content[2].image_url"),
    )


def test_a_tool_may_put_out_a_file():
    part = {"type": "input_file", "file_data": "aGk=", "filename": "a.txt"}
    (_, tool) = messages(CALL, {**OUTPUT, "output": [part]})
    assert tool.content == (FileContent("a.txt", b"hi", "input[1].output[0]"),)


def test_a_refusal_is_what_the_assistant_said():
    assert messages(USER, {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]})[1].content == "no"


def test_what_the_assistant_did_at_once_is_one_turn():
    second = {**CALL, "call_id": "c2", "name": "g"}
    assert messages(
        USER,
        {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"role": "assistant", "content": "let me see"},
        CALL,
        second,
        {**OUTPUT, "call_id": "c2", "output": "g!"},
        OUTPUT,
        USER,
    ) == (
        Message("user", "hi"),
        Message(
            "assistant",
            "let me see",
            tool_calls=(ToolCall("c1", "f", '{"a":1}'), ToolCall("c2", "g", '{"a":1}')),
            reasoning="hm",
        ),
        Message("tool", "42", tool_call_id="c1"),
        Message("tool", "g!", tool_call_id="c2"),
        Message("user", "hi"),
    )


def test_outputs_part_the_turns():
    roles = [
        message.role for message in messages(USER, CALL, OUTPUT, {**CALL, "call_id": "c2"}, {**OUTPUT, "call_id": "c2"})
    ]
    assert roles == ["user", "assistant", "tool", "assistant", "tool"]


def test_outputs_follow_their_call_at_once():
    roles = [message.role for message in messages(CALL, USER, OUTPUT)]
    assert roles == ["assistant", "tool", "user"]


def test_two_texts_of_one_turn_are_kept_apart():
    assert messages({"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"})[0].content == "a\n\nb"


@pytest.mark.parametrize(
    ("item", "reasoning"),
    [
        ({"summary": [{"type": "summary_text", "text": "s"}], "encrypted_content": "xx"}, "s"),
        (
            {"summary": [{"type": "summary_text", "text": "s"}], "content": [{"type": "reasoning_text", "text": "c"}]},
            "c",
        ),
        ({"summary": [], "content": None, "encrypted_content": "xx"}, None),
        ({"status": None}, None),
    ],
)
def test_reasoning_is_read_where_it_can_be(item, reasoning):
    (message, _) = messages({"type": "reasoning", "id": "rs", **item}, CALL, OUTPUT)
    assert message.reasoning == reasoning


def test_thoughts_that_nothing_came_of_are_left_out():
    assert messages({"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}]}, USER) == (
        Message("user", "hi"),
    )


def test_ids_that_come_again_are_answered_in_order():
    got = messages(CALL, {**OUTPUT, "output": "1"}, CALL, {**OUTPUT, "output": "2"})
    assert [message.content for message in got] == ["", "1", "", "2"]


def test_an_output_of_parts():
    (_, tool) = messages(
        CALL, {**OUTPUT, "output": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}
    )
    assert tool.content == (TextContent("a"), TextContent("b"))


def test_an_output_without_a_call_id_answers_the_only_call_that_waits():
    assert messages(CALL, {"type": "function_call_output", "output": "x"})[1] == Message("tool", "x", tool_call_id="c1")


def test_codexs_output_that_answers_nothing_is_a_note():
    got = messages(
        CALL,
        OUTPUT,
        {
            "type": "function_call_output",
            "id": "fco_1",
            "name": "goal_objective",
            "namespace": "agent",
            "output": "x",
        },
        USER,
    )
    assert got[2] == Message("user", "Output of agent.goal_objective:\nx")
    assert len(got) == 4


def test_a_named_output_does_not_answer_another_tools_call():
    got = messages(CALL, {"type": "function_call_output", "name": "goal", "output": "x"}, OUTPUT)
    assert [message.role for message in got] == ["assistant", "tool", "user"]
    assert got[1].content == "42"


def test_custom_calls_are_calls_with_one_field():
    got = messages(
        {"type": "custom_tool_call", "call_id": "c", "name": "shell", "input": "ls\n"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "ok"},
    )
    assert got[0].tool_calls == (ToolCall("c", "shell", '{"input":"ls\\n"}'),)
    assert got[1] == Message("tool", "ok", tool_call_id="c")


def test_a_call_without_arguments_has_an_empty_object():
    assert messages({**CALL, "arguments": ""}, OUTPUT)[0].tool_calls[0].arguments == "{}"


def test_items_of_other_kinds_are_skipped_and_told():
    request = read(
        input=[USER, {"type": "web_search_call", "id": "ws"}, {"type": "compaction", "encrypted_content": "x"}]
    )
    assert request.messages == (Message("user", "hi"),)
    assert request.dropped == ("input[1]", "input[2]")


def test_tools():
    request = read(tools=[F, G, {"type": "web_search"}, {"type": "mcp", "server_label": "x"}], tool_choice="required")
    assert request.tools == (Tool("f", "d", {"type": "object"}, strict=True), Tool("g"))
    assert request.tool_choice == "required"
    assert request.dropped == ("tools[2]", "tools[3]")


def test_a_custom_tool_is_a_function_with_one_text():
    (tool,) = read(
        tools=[
            {
                "type": "custom",
                "name": "sql",
                "description": "d",
                "format": {"type": "grammar", "syntax": "lark", "definition": "start: WORD"},
            }
        ]
    ).tools
    assert (tool.name, tool.description) == ("sql", "d")
    assert tool.parameters["required"] == ["input"]
    assert "start: WORD" in tool.parameters["properties"]["input"]["description"]


NAMESPACE = {"type": "namespace", "name": "crm", "description": "d", "tools": [G, {"type": "custom", "name": "c"}]}


def test_a_namespace_becomes_longer_names():
    request = read(
        tools=[NAMESPACE, {**NAMESPACE, "name": "n" * 80}],
        input=[{**CALL, "name": "g", "namespace": "crm"}, OUTPUT, {**CALL, "name": "z", "namespace": "old"}, OUTPUT],
        tool_choice={"type": "function", "name": "g", "namespace": "crm"},
    )
    names = [tool.name for tool in request.tools]
    assert names[:2] == ["crm__g", "crm__c"]
    assert len(set(names)) == 4
    assert max(map(len, names)) <= 64
    assert request.messages[0].tool_calls[0].name == "crm__g"
    assert request.messages[2].tool_calls[0].name == "old__z"
    assert request.tool_choice == NamedTool("crm__g")


def test_flat_names_that_fall_together_are_told_apart():
    twin = {"type": "namespace", "name": "crm__a", "tools": [{"type": "function", "name": "b"}]}
    other = {"type": "namespace", "name": "crm", "tools": [{"type": "function", "name": "a__b"}]}
    assert len(read(tools=[twin, other, twin]).tools) == 2


def test_additional_tools_come_as_items():
    request = read(input=[{"type": "additional_tools", "role": "developer", "tools": [NAMESPACE, F]}, USER], tools=[G])
    assert [tool.name for tool in request.tools] == ["g", "crm__g", "crm__c", "f"]
    assert request.messages == (Message("user", "hi"),)
    assert request.dropped == ()


@pytest.mark.parametrize(
    ("choice", "read_as", "names"),
    [
        (None, None, "fg"),
        ("none", "none", "fg"),
        ("auto", "auto", "fg"),
        ({"type": "function", "name": "g"}, NamedTool("g"), "fg"),
        ({"type": "custom", "name": "g"}, NamedTool("g"), "fg"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}, "auto", "g"),
        ({"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "f"}]}, "required", "f"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp", "server_label": "x"}]}, None, ""),
    ],
)
def test_tool_choice(choice, read_as, names):
    request = read(tools=[F, G], tool_choice=choice)
    assert request.tool_choice == read_as
    assert "".join(tool.name for tool in request.tools) == names


@pytest.mark.parametrize("choice", ["none", "auto"])
def test_nothing_is_chosen_where_there_are_no_tools(choice):
    assert read(tool_choice=choice, tools=[{"type": "web_search"}]).tool_choice is None


@pytest.mark.parametrize("name", ["background", "previous_response_id", "conversation", "prompt"])
def test_what_needs_a_store_is_refused_by_name(name):
    value = {"background": True, "previous_response_id": "resp_1", "conversation": {"id": "c"}, "prompt": {"id": "p"}}
    with pytest.raises(BadRequest) as caught:
        read(**{name: value[name]})
    assert (caught.value.param, caught.value.code) == (name, "unsupported_parameter")


def test_what_codex_sends_is_read():
    request = read(
        stream=True,
        store=False,
        include=["reasoning.encrypted_content"],
        tool_choice="auto",
        parallel_tool_calls=True,
        reasoning={"summary": "auto"},
        prompt_cache_key="7d3e",
        client_metadata={"a": "b"},
        tools=[{**F, "strict": False}, NAMESPACE, {"type": "web_search"}],
        input=[
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "s"}]},
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "u"}]},
            {
                "type": "reasoning",
                "id": "rs",
                "summary": [],
                "content": [{"type": "reasoning_text", "text": "t"}],
                "encrypted_content": None,
            },
            {**CALL, "id": "fc_1", "status": "completed"},
            OUTPUT,
        ],
    )
    assert [message.role for message in request.messages] == ["developer", "user", "assistant", "tool"]
    assert request.extra == {}
    assert set(request.dropped) == {"include[0]", "tools[2]"}
