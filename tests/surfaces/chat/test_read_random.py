"""Whatever is sent: a request, or BadRequest."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import BadRequest, Internal
from app.core.events import Failed, Started
from app.core.request import GenerationRequest, Tool
from app.surfaces.chat.fates import FATES
from app.surfaces.chat.read import read_request
from app.surfaces.chat.surface import ChatSurface
from app.wire.codec import decode, encode
from tests.surfaces.chat.test_read import HI, call, function, nested

SURFACE = ChatSurface()

PHOTO = {"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "low"}}
PAPER = {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk=", "filename": "a.txt"}}
CUSTOM = {
    "type": "custom",
    "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: A"}}},
}

VALID = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "s", "name": "n"},
        {"role": "user", "content": [{"type": "text", "text": "x"}, PHOTO, PAPER]},
        {"role": "assistant", "content": None, "tool_calls": [call("a"), call("b")], "reasoning_content": "hm"},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "tool", "tool_call_id": "b", "content": [{"type": "text", "text": "x"}]},
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": None},
        HI,
    ],
    "stream": True,
    "stream_options": {"include_usage": True},
    "max_tokens": 5,
    "max_completion_tokens": 6,
    "temperature": 1,
    "seed": 1,
    "stop": ["a"],
    "logit_bias": {"1": 1},
    "metadata": {"k": "v"},
    "tools": [
        function(parameters={"type": "object", "properties": {"a": {}}}),
        {"type": "function", "name": "g"},
        CUSTOM,
    ],
    "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function(), CUSTOM]}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
    "modalities": ["text"],
    "n": 2,
    "store": True,
    "service_tier": "flex",
    "moderation": {"model": "x"},
    "functions": [],
    "function_call": "none",
    "unknown": {"a": [1]},
}

# As JSON can spell them: whole numbers past 64 bits come out of the decoder as decimals.
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.integers(-3, 3),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.sampled_from(["user", "tool", "assistant", "function", "text", "a", "f", "", "\x00", "\ud83d", 1e300, -0.0]),
)
OLDER = {**VALID, "tools": [], "tool_choice": "auto", "functions": [{"name": "f", "parameters": {}}],
         "function_call": {"name": "f"}}  # fmt: skip

NAMES = st.one_of(
    st.sampled_from([*FATES, "role", "content", "type", "name", "function", "tool_calls", "id", "text", "schema"]),
    st.text(max_size=3),
)
JSON = st.recursive(
    SCALARS | st.sampled_from([nested(300), [[[]]]]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def places(value, path=()):
    """The path of every value inside."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from places(inner, (*path, step))


MUTATIONS = st.tuples(
    st.sampled_from(
        list(places(VALID)) + list(places({"functions": OLDER["functions"], "function_call": {"name": "f"}}))
    ),
    st.sampled_from(["set", "remove", "repeat"]),
    JSON,
)


def read_or_refused(body):
    """Read a body; ``None`` when it is refused, which must be with a field's name, and in words that can be sent."""
    request = refusal = None
    try:
        request = read_request(body)
    except BadRequest as error:
        refusal = error
    if refusal is not None:
        assert decode(encode(refusal.body()))["message"]
        assert refusal.param is not None
        return None
    assert isinstance(request, GenerationRequest)
    # What was read can be sent: the codec takes 254 levels and 64-bit integers.
    sendable = [request.max_tokens, request.knobs, request.extra, [[[tool.parameters] for tool in request.tools]]]
    if request.response_format:
        sendable.append(request.response_format.schema)
    assert decode(encode(sendable)) is not None
    # What was read can be answered.
    writer = SURFACE.writer(request, "m", lambda prefix: prefix + "1", 0.0)
    count = len(request.branches) or 1
    assert all(writer.feed(Started(), choice) or choice for choice in range(count))
    assert writer.feed(Failed(Internal())) == SURFACE.error_frames(Internal())
    return request


def test_the_valid_bodies_are_valid():
    assert len(read_or_refused(VALID).branches) == 2
    assert read_or_refused(OLDER).tools == (Tool("f", parameters={}),)


@settings(max_examples=250, deadline=None)
@given(st.lists(MUTATIONS, min_size=1, max_size=3), st.sampled_from([VALID, OLDER]))
def test_nearly_valid_bodies(mutations, valid):
    body = copy.deepcopy(valid)
    for path, how, value in mutations:
        mutate(body, path, how, value)
    request = read_or_refused(body)
    assert request is None or request.raw is body


def mutate(body, path, how, value):
    *outer, last = path
    holder = body
    for step in outer:
        try:
            holder = holder[step]
        except (KeyError, IndexError, TypeError):
            return  # an earlier mutation has taken the place away
    if isinstance(holder, dict) and isinstance(last, str):
        if how == "remove":
            holder.pop(last, None)
        else:
            holder[last] = value
    elif isinstance(holder, list) and isinstance(last, int) and last < len(holder):
        if how == "remove":
            del holder[last]
        elif how == "repeat":
            holder.insert(last, copy.deepcopy(holder[last]))
        else:
            holder[last] = value


@settings(max_examples=120, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=5), st.booleans())
def test_random_bodies(body, with_the_needful):
    if with_the_needful:
        body = {**body, "model": "m", "messages": [HI]}
    request = read_or_refused(body)
    assert request is None or request.model


@settings(max_examples=120, deadline=None)
@given(st.lists(st.dictionaries(NAMES, JSON, max_size=4), min_size=1, max_size=3))
def test_random_messages(messages):
    request = read_or_refused({"model": "m", "messages": messages})
    assert request is None or len(request.messages) == len(messages)
