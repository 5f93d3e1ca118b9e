"""Forms as objects."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.task import Upload
from app.surfaces.forms import FormFields

FIELDS = FormFields(
    integers=frozenset({"n"}),
    numbers=frozenset({"heat"}),
    booleans=frozenset({"stream"}),
    arrays=frozenset({"image", "kinds"}),
)
FILE = Upload("a.png", None, b"x")


@pytest.mark.parametrize(
    ("texts", "body"),
    [
        ([("n", "3"), ("heat", "0.5"), ("stream", "True")], {"n": 3, "heat": 0.5, "stream": True}),
        ([("heat", "1e-1"), ("heat", "2")], {"heat": 2.0}),
        ([("model", "a"), ("model", "b")], {"model": "b"}),
        ([("model", "")], {}),
        ([("model", "a"), ("model", "")], {}),
        ([("kinds[]", "a"), ("kinds", "b"), ("kinds[7]", "c")], {"kinds": ["a", "b", "c"]}),
        ([("svg[model]", "x"), ("svg[effort]", "y")], {"svg": {}}),
        ([("n", "three"), ("heat", "warm"), ("stream", "1")], {"n": "three", "heat": "warm", "stream": "1"}),
        ([("n", "1_0")], {"n": "1_0"}),
        ([("n", " 1")], {"n": " 1"}),
        ([("n", "1.5")], {"n": "1.5"}),
        ([("n", "\u0663")], {"n": "\u0663"}),
        ([("heat", "nan")], {"heat": "nan"}),
        ([("heat", "1e999")], {"heat": "1e999"}),
        ([("n", "9" * 5000)], {"n": "9" * 5000}),
    ],
)
def test_texts_become_what_their_fields_should_be(texts, body):
    assert FIELDS(texts, []) == body


def test_files_stand_among_the_fields():
    assert FIELDS([], [("image[]", FILE), ("image", FILE), ("mask", FILE)]) == {"image": [FILE, FILE], "mask": FILE}


@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=40))))
def test_any_form_becomes_an_object(texts):
    assert isinstance(FIELDS(texts, []), dict)
