import pytest

from app.core.errors import BadRequest
from app.surfaces import fields


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("messages",), "messages"),
        (("messages", 0, "content"), "messages[0].content"),
        (("messages", 0, "content", 1, "image_url", "url"), "messages[0].content[1].image_url.url"),
        (("tools", 2), "tools[2]"),
    ],
)
def test_a_path_is_written_as_openai_does(path, text):
    assert fields.text_of(path) == text


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda body: fields.string(body, "f"), "x"),
        (lambda body: fields.boolean(body, "f"), False),
        (lambda body: fields.integer(body, "f", minimum=0), 0),
        (lambda body: fields.number(body, "f", minimum=0, maximum=2), 0.5),
        (lambda body: fields.number(body, "f"), 2),
        (lambda body: fields.object_(body, "f"), {}),
        (lambda body: fields.array(body, "f"), [1, "a"]),
        (lambda body: fields.objects(body, "f"), [{}]),
        (lambda body: fields.strings(body, "f"), ["a"]),
        (lambda body: fields.one_of(body, "f", ("a", "b")), "b"),
        (lambda body: fields.metadata(body, "f"), {"k": "v"}),
    ],
)
def test_a_good_value_comes_back_and_an_absent_or_null_one_is_none(call, value):
    assert call({"f": value}) == value
    assert call({"f": None}) is None
    assert call({}) is None


def test_an_integral_float_is_an_integer():
    got = fields.integer({"f": 3.0}, "f")
    assert got == 3
    assert type(got) is int


@pytest.mark.parametrize(
    ("call", "code", "message"),
    [
        (
            lambda: fields.need(None, "messages"),
            "missing_required_parameter",
            "Missing required parameter: 'messages'.",
        ),
        (
            lambda: fields.string({"f": 1}, "f"),
            "invalid_type",
            "Invalid type for 'f': expected a string, but got an integer instead.",
        ),
        (
            lambda: fields.integer({"f": True}, "f"),
            "invalid_type",
            "Invalid type for 'f': expected an integer, but got a boolean instead.",
        ),
        (
            lambda: fields.integer({"f": 1.5}, "f"),
            "invalid_type",
            "Invalid type for 'f': expected an integer, but got a decimal instead.",
        ),
        (
            lambda: fields.number({"f": []}, "f"),
            "invalid_type",
            "Invalid type for 'f': expected a decimal, but got an array instead.",
        ),
        (
            lambda: fields.boolean({"f": 0}, "f"),
            "invalid_type",
            "Invalid type for 'f': expected a boolean, but got an integer instead.",
        ),
        (
            lambda: fields.object_({"f": "x"}, "f"),
            "invalid_type",
            "Invalid type for 'f': expected an object, but got a string instead.",
        ),
        (
            lambda: fields.array({"f": {}}, "f"),
            "invalid_type",
            "Invalid type for 'f': expected an array, but got an object instead.",
        ),
        (
            lambda: fields.objects({"f": [{}, None]}, "f"),
            "invalid_type",
            "Invalid type for 'f[1]': expected an object, but got null instead.",
        ),
        (
            lambda: fields.strings({"f": ["a", 2.5]}, "f"),
            "invalid_type",
            "Invalid type for 'f[1]': expected a string, but got a decimal instead.",
        ),
        (
            lambda: fields.one_of({"f": "c"}, "f", ("a", "b", "d")),
            "invalid_value",
            "Invalid value: 'c'. Supported values are: 'a', 'b', and 'd'.",
        ),
        (
            lambda: fields.integer({"f": 0}, "f", minimum=1),
            "integer_below_min_value",
            "Invalid 'f': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
        (
            lambda: fields.integer({"f": 9}, "f", maximum=8),
            "integer_above_max_value",
            "Invalid 'f': integer above maximum value. Expected a value <= 8, but got 9 instead.",
        ),
        (
            lambda: fields.number({"f": -0.1}, "f", minimum=0),
            "decimal_below_min_value",
            "Invalid 'f': decimal below minimum value. Expected a value >= 0, but got -0.1 instead.",
        ),
        (
            lambda: fields.number({"f": 3}, "f", maximum=2),
            "decimal_above_max_value",
            "Invalid 'f': decimal above maximum value. Expected a value <= 2, but got 3 instead.",
        ),
        (
            lambda: fields.array({"f": []}, "f", min_length=1),
            "empty_array",
            "Invalid 'f': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        ),
        (
            lambda: fields.array({"f": [1]}, "f", min_length=2),
            "array_below_min_length",
            (
                "Invalid 'f': array too short. Expected an array with minimum length 2, "
                "but got an array with length 1 instead."
            ),
        ),
        (
            lambda: fields.array({"f": [1, 2]}, "f", max_length=1),
            "array_above_max_length",
            (
                "Invalid 'f': array too long. Expected an array with maximum length 1, "
                "but got an array with length 2 instead."
            ),
        ),
        (
            lambda: fields.string({"f": "abc"}, "f", max_length=2),
            "string_above_max_length",
            (
                "Invalid 'f': string too long. Expected a string with maximum length 2, "
                "but got a string with length 3 instead."
            ),
        ),
        (
            lambda: fields.string({"f": ""}, "f", min_length=1),
            "empty_string",
            "Invalid 'f': empty string. Expected a string with minimum length 1, but got an empty string instead.",
        ),
    ],
)
def test_a_bad_value_is_refused_in_openais_words(call, code, message):
    with pytest.raises(BadRequest) as caught:
        call()
    assert caught.value.body() == {
        "message": message,
        "type": "invalid_request_error",
        "param": "f[1]" if "f[1]" in message else "messages" if "messages" in message else "f",
        "code": code,
    }


@pytest.mark.parametrize(
    ("pairs", "param", "code"),
    [
        ({str(n): "" for n in range(17)}, "metadata", "object_above_max_properties"),
        ({"k" * 65: ""}, "metadata", "string_above_max_length"),
        ({"k": "v" * 513}, "metadata.k", "string_above_max_length"),
        ({"k": 1}, "metadata.k", "invalid_type"),
        ({"k": None}, "metadata.k", "missing_required_parameter"),
        ([], "metadata", "invalid_type"),
    ],
)
def test_metadata_has_bounds(pairs, param, code):
    with pytest.raises(BadRequest) as caught:
        fields.metadata({"metadata": pairs})
    assert (caught.value.param, caught.value.code) == (param, code)


def test_an_error_quotes_little_of_a_long_value():
    with pytest.raises(BadRequest) as caught:
        fields.one_of({"f": "secret " * 1000}, "f", ("a", "b"))
    assert len(caught.value.message) < 200


def test_what_is_known_and_not_served_says_so():
    parameter = fields.unsupported_parameter(("background",))
    assert (parameter.param, parameter.code) == ("background", "unsupported_parameter")
    value = fields.unsupported_value(("tools", 0, "type"), "mcp")
    assert (value.param, value.code) == ("tools[0].type", "unsupported_value")
    assert "'mcp'" in value.message
