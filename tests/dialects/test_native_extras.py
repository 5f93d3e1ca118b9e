"""``raw`` and ``lora``, which only the native route has."""

import pytest

from app.core.errors import BadRequest
from app.core.model import Model
from app.core.request import GenerationRequest, ImageContent, Message, TextContent, Tool
from app.dialects.choice import choose
from app.dialects.native import NativeDialect
from app.emulator.catalogue import find
from app.emulator.validation import check_body

LEGACY = Model("@cf/mistral/mistral-7b-instruct-v0.2-lora", function_calling=True, vision=True)
HYBRID = Model("@cf/openai/gpt-oss-20b", shape="hybrid", function_calling=True)
OPENAI = Model("@cf/zai-org/glm-5.2", shape="openai")
USER = Message("user", "Hi")


def asked(messages=(USER,), **fields):
    return GenerationRequest("m", tuple(messages), **fields)


@pytest.mark.parametrize(
    ("model", "extra", "expected"),
    [
        (LEGACY, {}, "chat"),
        (LEGACY, {"raw": True}, "native"),
        (LEGACY, {"raw": False}, "chat"),
        (LEGACY, {"raw": "yes"}, "chat"),
        (LEGACY, {"lora": "mine"}, "native"),
        (HYBRID, {"raw": True}, "native"),
        (OPENAI, {"raw": True, "lora": "mine"}, "chat"),
        (Model("n", dialect="native"), {}, "native"),
    ],
)
def test_the_route(model, extra, expected) -> None:
    assert choose(asked(extra=extra), model) == expected


def test_raw_sends_the_text_alone() -> None:
    sent = NativeDialect().write(asked(extra={"raw": True}, max_tokens=9), LEGACY, stream=True)
    assert sent.json == {"prompt": "Hi", "raw": True, "max_tokens": 9, "stream": True}
    assert (sent.path, sent.dropped) == (f"/run/{LEGACY.id}", ())


def test_raw_renders_a_conversation_plainly() -> None:
    history = (
        Message("developer", "Be brief."),
        Message("user", (TextContent("Weather"), TextContent("in Oslo?"))),
        Message("assistant", ""),
        Message("tool", "4", tool_call_id="c"),
    )
    sent = NativeDialect().write(asked(history, extra={"raw": True}), HYBRID, stream=True)
    assert sent.json["prompt"] == "System: Be brief.\n\nUser: Weather\nin Oslo?\n\nTool: 4\n\nAssistant:"
    assert sent.stream is False


@pytest.mark.parametrize(
    "fields", [{"tools": (Tool("get"),)}, {"messages": [Message("user", (ImageContent("data:image/png;base64,AA"),))]}]
)
def test_raw_takes_text_only(fields) -> None:
    with pytest.raises(BadRequest) as refused:
        NativeDialect().write(asked(**fields, extra={"raw": True}), LEGACY, stream=True)
    assert (refused.value.param, refused.value.code) == ("raw", "unsupported_parameter")


def test_raw_without_a_call_to_make() -> None:
    request = asked(tools=(Tool("get"),), tool_choice="none", extra={"raw": True})
    assert "tools" not in NativeDialect().write(request, LEGACY, stream=True).json


def test_lora_goes_with_messages() -> None:
    sent = NativeDialect().write(asked(extra={"lora": "mine"}), LEGACY, stream=True)
    assert sent.json["lora"] == "mine"
    assert sent.json["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("extra", [{"raw": True}, {"lora": "mine"}])
@pytest.mark.parametrize("model", [LEGACY, HYBRID])
def test_the_strict_schema_takes_both(model, extra) -> None:
    body = dict(NativeDialect().write(asked(extra=extra), model, stream=True).json)
    assert check_body(body, find(model.id), "run") is None
