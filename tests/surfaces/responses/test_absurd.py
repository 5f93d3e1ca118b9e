"""Whatever JSON comes, it is either refused with a field's name or answered."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.core.errors import BadRequest
from app.core.events import Finished, Started
from app.surfaces.responses.fates import FATES
from app.surfaces.responses.surface import ResponsesSurface
from tests.surfaces.responses.stream_rules import check

KEYS = [
    *("type", "role", "content", "text", "name", "tools", "call_id", "output", "arguments", "input", "summary", "id"),
    *("file_data", "filename", "file_url", "file_id", "grammar", "detail"),
    *("image_url", "format", "syntax", "definition", "schema", "mode", "effort", "namespace", "parameters", "refusal"),
]
WORDS = [
    *("message", "user", "assistant", "function_call", "function_call_output", "custom_tool_call", "reasoning"),
    *("aGk=", "data:text/plain;base64,aGk=", "input_file", "a.txt", "http://x.test/", "low"),
    *("input_text", "input_image", "output_text", "function", "custom", "namespace", "allowed_tools", "json_schema"),
    *("additional_tools", "web_search", "auto", "required", "none", "f", "c1", "lark", "grammar", "item_reference"),
]
LEAVES = st.none() | st.booleans() | st.integers(-3, 2**63) | st.floats(allow_nan=False) | st.sampled_from(WORDS)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)
ITEM = st.fixed_dictionaries({"type": st.sampled_from(WORDS)}, optional={key: JSON for key in KEYS if key != "type"})
BODIES = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.lists(ITEM, max_size=4) | st.just("hi") | JSON},
    optional={**{key: JSON for key in FATES if key not in {"model", "input"}}, "tools": st.lists(ITEM, max_size=3)},
)
PLAUSIBLE = st.fixed_dictionaries(
    {"model": st.just("m"), "input": st.just("hi")},
    optional={
        "tool_choice": JSON,
        "text": JSON,
        "reasoning": JSON,
        "tools": st.lists(ITEM, max_size=3),
        "metadata": JSON,
    },
)
SURFACE = ResponsesSurface()


def answer(body):
    """Return the error that refuses a body, or the final object that answers it."""
    try:
        request = SURFACE.read(body)
    except BadRequest as error:
        return error
    writer = SURFACE.writer(request, "m", lambda prefix: prefix + "1", 0.0)
    return check(b"".join(writer.feed(event) for event in (Started(), Finished("stop"))))[0]


@given(body=BODIES | PLAUSIBLE)
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_json_is_refused_by_name_or_answered(body):
    got = answer(body)
    if isinstance(got, BadRequest):
        assert got.param
        assert got.message
    else:
        assert got["status"] == "completed"
        assert got["text"]["format"]["type"] in {"text", "json_object", "json_schema"}
