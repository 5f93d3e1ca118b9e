"""What a dialect leaves to the reader of the answer."""

import pytest

from app.core.model import Model
from app.core.request import GenerationRequest, Message, NamedTool, Tool
from app.core.upstream import Emulation
from app.dialects.chat import ChatDialect
from app.dialects.emulated import EmulatedReader
from app.dialects.native import NativeDialect
from app.dialects.reader import AnswerReader

LEGACY = Model("@cf/meta/llama", function_calling=True)
HYBRID = Model("@cf/openai/gpt-oss-20b", shape="hybrid", function_calling=True)
OPENAI = Model("@cf/zai-org/glm", shape="openai", function_calling=True)
GET, PUT = Tool("get", parameters={"type": "object", "properties": {"a": {"type": "string"}}}), Tool("put")
USER = Message("user", "Hi")


def write(model=LEGACY, dialect=None, messages=(USER,), **fields):
    request = GenerationRequest("m", tuple(messages), **fields)
    return (dialect or ChatDialect()).write(request, model, stream=True)


@pytest.mark.parametrize("dialect", [ChatDialect(), NativeDialect()])
@pytest.mark.parametrize("model", [LEGACY, HYBRID, OPENAI])
@pytest.mark.parametrize("stop", ["x", ["x", "yy"], ("x",)])
def test_stop_is_emulated_everywhere_and_sent_where_it_is_known(model, stop, dialect) -> None:
    sent = write(model, dialect, knobs={"stop": stop})
    assert sent.emulation.stop == ((stop,) if isinstance(stop, str) else tuple(stop))
    assert sent.json.get("stop") == (stop if model is OPENAI else None)
    assert sent.dropped == ()
    assert isinstance((dialect or ChatDialect()).reader(sent, model, 0.0), EmulatedReader)


@pytest.mark.parametrize("stop", [[], "", None, [""]])
def test_no_stop_nothing_to_emulate(stop) -> None:
    sent = write(knobs={"stop": stop})
    assert sent.emulation == Emulation()
    assert type(ChatDialect().reader(sent, LEGACY, 0.0)) is AnswerReader


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, Emulation(tools=frozenset({"get", "put"}))),
        ({"tool_choice": "auto"}, Emulation(tools=frozenset({"get", "put"}))),
        ({"tool_choice": "none", "parallel_tool_calls": False}, Emulation()),
        ({"tool_choice": "required"}, Emulation(tools=frozenset({"get", "put"}), forced=True)),
        ({"tool_choice": "required", "tools": (GET,)}, Emulation(tools=frozenset({"get"}), forced=True, only=GET)),
        ({"tool_choice": NamedTool("put")}, Emulation(tools=frozenset({"get", "put"}), forced=True, only=PUT)),
        ({"parallel_tool_calls": False}, Emulation(tools=frozenset({"get", "put"}), one_call=True)),
        ({"parallel_tool_calls": False, "tools": ()}, Emulation()),
        ({"tool_choice": "required", "tools": ()}, Emulation()),
    ],
)
def test_tools(fields, expected) -> None:
    assert write(**{"tools": (GET, PUT), **fields}).emulation == expected


def test_q12_a_choice_that_is_relaxed_after_a_result_forces_nothing() -> None:
    sent = write(messages=(USER, Message("tool", "4", tool_call_id="c")), tools=(GET,), tool_choice="required")
    assert sent.json["tool_choice"] == "auto"
    assert sent.emulation == Emulation(tools=frozenset({"get"}))
