"""Which models may take another's place, and which target is asked first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.model import Model
from app.core.request import GenerationRequest, ImageContent, Message, ResponseFormat, TextContent, Tool
from app.exchange.attempts import Trouble
from app.exchange.health import Standing
from app.exchange.targets import first, suffices

ABLE = Model("@cf/acme/able", function_calling=True, vision=True, context_window=10_000)
IMAGE = (Message("user", (TextContent("See"), ImageContent("data:image/png;base64,AA=="))),)


def asked(**more):
    return GenerationRequest("x", **{"messages": (Message("user", "Hello"),), **more})


NEEDS = {
    "tools": (asked(tools=(Tool("f"),)), {"function_calling": False}),
    "sight": (asked(messages=IMAGE), {"vision": False}),
    "JSON": (asked(response_format=ResponseFormat("json_object")), {"json_schema": "none"}),
    "room for the prompt": (asked(messages=(Message("user", "word " * 2000),)), {"context_window": 3000}),
    "room for the answer": (asked(max_tokens=5000), {"context_window": 5000}),
    "room for the tools": (
        asked(tools=(Tool("f", "word " * 4000),), max_tokens=10),
        {"context_window": 4000},
    ),
    "text generation": (asked(), {"task": "Text Embeddings"}),
    "conversation": (asked(), {"chat": False}),
}


@pytest.mark.parametrize(("request_", "lack"), NEEDS.values(), ids=NEEDS)
def test_a_model_that_lacks_what_is_asked_for_does_not_suffice(request_, lack):
    facts = {"function_calling": True, "vision": True, "context_window": 10_000, **lack}
    assert suffices(request_, ABLE)
    assert not suffices(request_, Model("@cf/acme/other", **facts))


def test_what_is_not_asked_for_may_be_lacking():
    plain = Model("@cf/acme/plain", json_schema="none")
    assert suffices(asked(), plain)
    assert suffices(asked(tools=(Tool("f"),), tool_choice="none"), plain)


@pytest.mark.parametrize("extra", [{"raw": True}, {"lora": "mine"}])
def test_what_is_for_one_model_goes_to_no_other(extra):
    assert not suffices(asked(extra=extra), ABLE)


standings = st.lists(
    st.one_of(st.none(), st.builds(Standing, st.sampled_from(list(Trouble)), st.floats(0.1, 1e5))), min_size=1
)


@given(standings)
def test_the_first_of_the_good_else_the_least_bad(found):
    place = first(found)
    if None in found:
        assert place == found.index(None)
    elif place is None:
        assert all(standing.trouble >= Trouble.BROKEN for standing in found)
    else:
        assert found[place].trouble < Trouble.BROKEN
        assert all(found[place] <= standing for standing in found)
