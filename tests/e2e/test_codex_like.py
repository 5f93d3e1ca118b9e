"""A coding agent of ten turns that keeps everything itself: nothing stored, the whole transcript sent each time."""

import json
from contextlib import closing

import pytest

from tests.e2e.test_sdk import asked
from tests.e2e.test_websocket import Client
from tests.surfaces.responses.stream_rules import check

MODELS = ["@cf/openai/gpt-oss-120b", "@cf/zai-org/glm-5.3-flash", "@cf/meta/llama-3.3-70b-instruct-fp8-fast"]
THREAD = "0198c0de-0000-7000-8000-000000000000"


def function(name, **properties):
    parameters = {"type": "object", "properties": properties, "additionalProperties": False}
    return {"type": "function", "name": name, "description": "", "strict": False, "parameters": parameters}


AGENTS = {
    "type": "namespace",
    "name": "multi_agent_v1",
    "description": "Other agents.",
    "tools": [function("spawn_agent", task={"type": "string"}), function("wait_agent", id={"type": "string"})],
}
TOOLS = [
    function("exec_command", cmd={"type": "string"}),
    function("write_stdin", chars={"type": "string"}),
    {"type": "custom", "name": "apply_patch", "description": "Edit files.", "format": {"type": "text"}},
    AGENTS,
    {"type": "web_search"},
]
# What the user says, and which call the emulated model makes of it: type, name, namespace.
TURNS = [
    ('Run exec_command({"cmd": "ls"}).', ("function_call", "exec_command", None)),
    ('Do apply_patch({"input": "*** Begin Patch"}).', ("custom_tool_call", "apply_patch", None)),
    ("Now multi agent v1 spawn agent.", ("function_call", "spawn_agent", "multi_agent_v1")),
    ("Say exactly: four", None),
    ('Run exec_command({"cmd": "cat a"}) and write_stdin({"chars": "q"}).', ("function_call", "exec_command", None)),
    ("Say exactly: six", None),
    ("And multi agent v1 wait agent.", ("function_call", "wait_agent", "multi_agent_v1")),
    ('Run exec_command({"cmd": "make"}).', ("function_call", "exec_command", None)),
    ('Do apply_patch({"input": "*** End"}).', ("custom_tool_call", "apply_patch", None)),
    ("Say exactly: ten", None),
]

STRAY = {"type": "function_call_output", "id": "fco_1", "name": "goal_objective", "namespace": "agent", "output": "x"}


def user(text):
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def request(model, transcript, **more):
    return {
        "model": model,
        "stream": True,
        "input": transcript,
        "tools": TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": THREAD,
        "client_metadata": {"turn": "1"},
        **more,
    }


def outputs_of(calls):
    kinds = {"function_call": "function_call_output", "custom_tool_call": "custom_tool_call_output"}
    return [{"type": kinds[call["type"]], "call_id": call["call_id"], "output": "done"} for call in calls]


def calls_in(output):
    return [item for item in output if item["type"] in {"function_call", "custom_tool_call"}]


def replayed(items, *, sealed):
    """Items as clients send them back: Codex with all they have, others without the reasoning's text."""
    left_out = {"content", "status"} if sealed else set()
    return [
        {name: value for name, value in item.items() if item["type"] != "reasoning" or name not in left_out}
        | ({"phase": "commentary"} if item["type"] == "message" else {})
        for item in items
    ]


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_ten_turns(http, control, model, sealed):
    def ask():
        answer = http.post("/v1/responses", json=request(model, transcript), headers={"session-id": THREAD})
        assert answer.status_code == 200, answer.text
        assert "tools[4]" in answer.headers["x-flarelay-dropped"].split(",")
        final, _ = check(answer.content)
        assert final["status"] == "completed"
        assert final["usage"]["total_tokens"] > 0
        transcript.extend(replayed(final["output"], sealed=sealed))
        return final["output"]

    transcript = [
        {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "You are a coding agent."}]}
    ]
    thoughts = 0
    for number, (said, called) in enumerate(TURNS):
        if number == 5:
            transcript.append(STRAY)
        transcript.append(user(said))
        output = ask()
        calls = calls_in(output)
        if called is None:
            assert calls == []
            assert output[-1]["content"][0]["text"] == said.removeprefix("Say exactly: ")
            continue
        assert (calls[0]["type"], calls[0]["name"], calls[0].get("namespace")) == called
        transcript.extend(outputs_of(calls))
        assert calls_in(ask()) == []
        thoughts += sum(item["type"] == "reasoning" for item in output)
    ids = [item["call_id"] for item in calls_in(transcript)]
    assert len(set(ids)) == len(ids) == 8
    messages = asked(control)[-1]["messages"]
    results = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
    made = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
    assert sorted(results) == sorted(made)
    assert len(made) == 8
    names = [tool["function"]["name"] for tool in asked(control)[-1]["tools"]]
    assert names == [
        "exec_command",
        "write_stdin",
        "apply_patch",
        "multi_agent_v1__spawn_agent",
        "multi_agent_v1__wait_agent",
    ]
    remembered = [m for m in messages if m.get("reasoning_content") or m.get("reasoning")]
    assert bool(remembered) == bool(thoughts)


def test_a_result_that_names_no_call_is_a_note(http, control):
    answer = http.post("/v1/responses", json=request(MODELS[0], [user("Hello"), STRAY]))
    assert check(answer.content)[0]["status"] == "completed"
    assert asked(control)[-1]["messages"][-1]["content"] == "Output of agent.goal_objective:\nx"


def test_a_forced_search_is_refused_by_name(http):
    answer = http.post("/v1/responses", json=request(MODELS[0], [user("Hello")], tool_choice={"type": "web_search"}))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "tool_choice.type")


@pytest.mark.parametrize("over", ["socket", "store"])
def test_tools_that_came_as_an_item_stay(http, proxy, control, over):
    extra = {"type": "additional_tools", "role": "developer", "tools": [AGENTS, {"type": "web_search"}]}
    body = {"model": MODELS[0], "reasoning": {"effort": "low", "context": "all_turns"}, "text": {"verbosity": "low"}}
    with closing(Client(proxy)) as client:

        def ask(**more):
            if over == "socket":
                return client.ask(**body, **more)["response"]
            return http.post("/v1/responses", json={**body, **more}).json()

        ahead = {"generate": False} if over == "socket" else {}
        first = ask(input=[extra, user("Hello")], **ahead)
        second = ask(input=[user("Now multi agent v1 spawn agent.")], previous_response_id=first["id"])
        call = second["output"][-1]
        assert (call["name"], call["namespace"]) == ("spawn_agent", "multi_agent_v1")
        third = ask(input=outputs_of([call]), previous_response_id=second["id"])
        assert third["output"][-1]["type"] == "message"
    sent = asked(control)[-1]
    assert json.dumps(sent["messages"]).count("multi_agent_v1__spawn_agent") == 1
    assert len(sent["tools"]) == 2
