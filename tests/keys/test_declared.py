import contextlib
import re
import string
import tomllib
from datetime import UTC, datetime

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from app.core.key import ApiKey
from app.core.limits import BUDGETS, LimitSpec, bounds
from app.keys import declared as declared_module
from app.keys.declared import FIELDS, KeyFileError, declaration, parse
from app.keys.fields import LIMITS

HASH = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
OTHER_HASH = "1" * 64
SECRET = "sk-fl-4h7x2m9qk3pd-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefg"

printable = st.text(st.characters(exclude_categories=["C", "Z"]), max_size=30).filter(lambda text: "sk-fl-" not in text)
named = printable.filter(bool)
times = st.integers(0, 4_000_000_000).map(float)
limits = st.fixed_dictionaries(
    {},
    optional={
        name: st.floats(*bounds(name)) if name in BUDGETS else st.integers(*map(int, bounds(name))) for name in LIMITS
    },
).map(lambda values: LimitSpec(**values))


@st.composite
def keys(draw):
    first, second = draw(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=2, unique=True))
    rotated = draw(st.booleans())
    return ApiKey(
        id="key-" + draw(st.text(string.ascii_lowercase + string.digits, min_size=12, max_size=12)),
        name=draw(named),
        digest=first,
        models=tuple(draw(st.lists(named, max_size=4, unique=True))),
        expires_at=draw(st.none() | times),
        limits=draw(limits),
        metadata=draw(st.dictionaries(named, printable, max_size=4)),
        previous_digest=second if rotated else None,
        previous_until=draw(times) if rotated else None,
    )


def declared(**fields):
    """A file with one key that has all it must have, and these fields, written as in TOML; ``None`` leaves one out."""
    values = {"id": '"key-a"', "name": '"a"', "sha256": f'"{HASH}"', **fields}
    return "[[keys]]\n" + "".join(f"{name} = {value}\n" for name, value in values.items() if value is not None)


def refusal(text):
    with pytest.raises(KeyFileError) as caught:
        parse(text)
    return str(caught.value)


@given(st.lists(keys(), max_size=3, unique_by=(lambda key: key.id, lambda key: key.digest)))
def test_what_is_written_is_read_back(given_keys):
    digests = [digest for key in given_keys for digest in (key.digest, key.previous_digest) if digest]
    assume(len(digests) == len(set(digests)))
    text = "\n".join(declaration(key) for key in given_keys) or "keys = []"
    assert parse(text) == tuple(given_keys)


def test_every_field_is_read():
    (key,) = parse(
        declared(
            models='["gpt-oss-*", "@cf/meta/llama-*"]',
            expires_at="2027-01-01",
            previous_sha256=f'"{OTHER_HASH}"',
            previous_until="2026-12-01T12:00:00+02:00",
            metadata='{ team = "search" }',
            **{name: 0.5 if name in BUDGETS else 7 for name in LIMITS},
        )
    )
    assert key == ApiKey(
        id="key-a",
        name="a",
        digest=bytes.fromhex(HASH),
        models=("gpt-oss-*", "@cf/meta/llama-*"),
        expires_at=datetime(2027, 1, 1, tzinfo=UTC).timestamp(),
        limits=LimitSpec(**{name: 0.5 if name in BUDGETS else 7 for name in LIMITS}),
        metadata={"team": "search"},
        previous_digest=bytes.fromhex(OTHER_HASH),
        previous_until=datetime(2026, 12, 1, 10, tzinfo=UTC).timestamp(),
    )


def test_the_documented_example_is_right():
    example = "\n".join(re.findall(r"^    (.*)$", declared_module.__doc__, re.MULTILINE))
    (key,) = parse(example)
    assert key.limits == LimitSpec(requests_per_minute=60, usd_per_month=5.0)


def test_no_keys_must_be_said():
    assert parse("keys = []") == ()
    assert "keys = []" in refusal("")
    assert "keys = []" in refusal("# nothing yet\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[keys]\n", "not TOML (at line 1, column"),
        ("a = " + "[" * 100_000, "not TOML"),
        ('[[key]]\nid = "a"\n', "key is not known here"),
        ("[keys]\n", "[[keys]]"),
        ("keys = [1]\n", "[[keys]]"),
        (declared(id=None), "key 1 has no id"),
        (declared(name=None), "key 1 (key-a) has no name"),
        (declared(sha256=None), "key 1 (key-a) has no sha256"),
        (declared(id='"Key A"'), "id of key 1 must be"),
        (declared(id="7"), "id of key 1 must be"),
        (declared(id='"anonymous"'), "id of key 1"),
        (declared(id='"admin"'), "id of key 1"),
        (declared(id='"sk-fl-abc"'), "id of key 1 looks like a key"),
        (declared(name='""'), "name of key 1 (key-a)"),
        (declared(name='"a\\nb"'), "name of key 1 (key-a)"),
        (declared(name=f'"{"x" * 101}"'), "longer than 100"),
        (declared(sha256='"abc"'), "sha256 of key 1 (key-a) must be the 64 hexadecimal digits"),
        (declared(sha256=f'"{SECRET}"'), "flarelay keys hash"),
        (declared(sha256='"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"'), "empty"),
        (declared(key=f'"{SECRET}"'), "flarelay keys hash"),
        (declared(models='"gpt-oss-*"'), "models of key 1 (key-a) must be a list"),
        (declared(models="[1]"), "models of key 1 (key-a) must be a list"),
        (declared(models='["a b"]'), "models of key 1 (key-a)"),
        (declared(expires_at='"2027-01-01"'), "expires_at of key 1 (key-a)"),
        (declared(expires_at="2027-01-01T00:00:00"), "offset"),
        (declared(expires_at="00:00:00"), "expires_at of key 1 (key-a)"),
        (declared(requests_per_minute="0"), "requests_per_minute of key 1 (key-a) must be a whole number between 1"),
        (declared(requests_per_minute="1.5"), "whole number"),
        (declared(requests_per_minute="true"), "whole number"),
        (declared(usd_per_day="nan"), "usd_per_day of key 1 (key-a) must be a number"),
        (declared(usd_per_day="inf"), "usd_per_day"),
        (declared(usd_per_day='"5"'), "usd_per_day"),
        (declared(request_per_minute="5"), "did you mean requests_per_minute?"),
        (declared(expires="2027-01-01"), "did you mean expires_at?"),
        (declared(metadata="{ a = 1 }"), "metadata of key 1 (key-a)"),
        (declared(metadata='"a"'), "metadata of key 1 (key-a)"),
        (declared(previous_sha256=f'"{OTHER_HASH}"'), "previous_sha256 of key 1 (key-a) needs previous_until"),
        (declared(previous_until="2027-01-01"), "previous_until of key 1 (key-a) needs previous_sha256"),
        (declared(previous_sha256=f'"{HASH}"', previous_until="2027-01-01"), "is also sha256 of key 1 (key-a)"),
        (declared() + declared(sha256=f'"{OTHER_HASH}"'), "id of key 2 (key-a) is that of key 1"),
        (declared() + declared(id='"key-b"'), "sha256 of key 2 (key-b) is also sha256 of key 1 (key-a)"),
        (declared() + declared(id='"key-b"', sha256=f'"{HASH.upper()}"'), "is also sha256 of key 1"),
    ],
)
def test_what_is_wrong_is_said_with_its_key_and_field(text, said):
    sentence = refusal(text)
    assert said in sentence
    assert HASH not in sentence
    assert "\n" not in sentence


@pytest.mark.parametrize("field", [*FIELDS, "key", "surprise"])
@pytest.mark.parametrize("form", ['"{}"', '["{}"]', "{{ {} = 1 }}", '{{ a = "{}", {} = 1 }}', '[["{}"]]'])
def test_no_refusal_quotes_a_key_whatever_field_it_was_pasted_into(field, form):
    assert SECRET not in refusal(declared(**{field: form.format(SECRET, SECRET)}))


@pytest.mark.parametrize(
    "text",
    [
        f"{SECRET} = 1\n",
        f"[{SECRET}]\n[{SECRET}]\n",
        f"{SECRET}\n",
        f"[[keys]]\n{SECRET} = 1\nid = 'key-a'\n",
        f"a = {SECRET}\n",
        f"a.{SECRET} = 1\na.{SECRET} = 1\n",
    ],
)
def test_nor_one_in_the_place_of_a_name(text):
    assert SECRET not in refusal(text)


@given(st.text(max_size=200) | st.from_regex(r"\[\[keys\]\]\n([a-z_]{1,12} = [0-9a-z\"\[\]{}.-]{1,12}\n){0,5}"))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(KeyFileError):
        parse(text)


def test_hashes_are_in_no_repr():
    (key,) = parse(declared(previous_sha256=f'"{OTHER_HASH}"', previous_until="2027-01-01"))
    assert HASH[:8] not in repr(key)
    assert repr(bytes.fromhex(HASH)) not in repr(key)


def test_what_is_written_is_toml_with_the_documented_names():
    key = ApiKey("key-a", 'a "quoted" \\ ü', bytes(32), metadata={"a b": 'x"y'}, expires_at=1_800_000_000.0)
    (table,) = tomllib.loads(declaration(key))["keys"]
    assert table.keys() <= set(FIELDS)
    assert table["name"] == key.name
    assert table["metadata"] == key.metadata
