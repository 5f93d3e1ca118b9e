"""What is taken out of bytes, whatever it is written in, and that nothing else changes."""

import base64
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.recorder.redaction import Redactor, names_a_secret
from app.wire.codec import CodecError
from app.wire.sse import Framer

SECRET = 'Tr0ub/4dor\\"&3é😀'
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=6, max_size=12).filter(
    lambda text: text == text.strip() and len(text.replace("\\", "")) >= 6
)


def written(text, depth, *, ascii_only):
    """A text as JSON in JSON."""
    for _ in range(depth):
        text = json.dumps(text, ensure_ascii=ascii_only)
    return text.encode()


def read(data, depth):
    text = data.decode()
    for _ in range(depth):
        text = json.loads(text)
    return text


@given(TEXTS, st.text(max_size=5), st.text(max_size=5), st.integers(0, 3), st.booleans())
def test_a_secret_is_found_escaped_at_any_depth_and_json_stays_json(secret, before, after, depth, ascii_only):
    data = written(before + secret + after, depth, ascii_only=ascii_only)
    redacted = Redactor([secret]).body(data, readable=True)
    assert len(redacted) == len(data)
    assert secret.lower() not in read(redacted, depth).lower()


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_a_secret_is_found_in_base64_at_any_offset(before, after):
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        data = b'{"x":"' + encode(before + SECRET.encode() + after) + b'"}'
        redacted = Redactor([SECRET]).body(data, readable=True)
        assert len(redacted) == len(data)
        inner = json.loads(redacted)["x"]
        decoded = base64.urlsafe_b64decode(inner.replace("+", "-").replace("/", "_") + "==")
        assert not any(SECRET.encode()[at : at + 4] in decoded for at in range(len(SECRET.encode()) - 3))


def test_a_secret_is_found_in_a_url_and_in_any_case():
    secret = "Adams & Söhne/7"
    for data in (b"q=Adams%20%26%20S%C3%B6hne%2F7&x=1", b"q=adams%20&%20s%c3%b6hne/7", "ADAMS & SöHNE/7".encode()):
        redacted = Redactor([secret]).body(data, readable=False)
        assert b"dams" not in redacted.lower()
        assert len(redacted) == len(data)
    assert b"&x=1" in Redactor([secret]).body(b"q=Adams%20%26%20S%C3%B6hne%2F7&x=1", readable=False)


def stream_of(tokens):
    frames = [{"choices": [{"index": 0, "delta": {"content": token}}], "id": "x"} for token in tokens]
    return b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)


def said(stream):
    return "".join(json.loads(frame)["choices"][0]["delta"]["content"] for frame in Framer().feed(stream))


def test_a_secret_is_found_where_it_is_spread_over_frames():
    rng = random.Random(1)
    for _ in range(200):
        text = f"The word is {SECRET}, and no other. Write to jane.doe@example.com or 203.0.113.77."
        tokens = []
        while text:
            size = rng.randint(1, 6)
            tokens.append(text[:size])
            text = text[size:]
        data = stream_of(tokens)
        redacted = Redactor([SECRET]).body(data, readable=True)
        assert len(redacted) == len(data)
        whole = said(redacted)
        assert whole.startswith("The word is ")
        assert ", and no other. Write to " in whole
        for part in (SECRET[:5], SECRET[-3:], "jane", "example", "203"):
            assert part not in whole, whole


def test_tokens_that_are_numbers_stay_numbers():
    frames = [{"response": "sk-"}, {"response": 12}, {"response": 345}, {"response": "x9"}, {"response": 345}]
    data = b"".join(b"data: " + json.dumps(frame).encode() + b"\n\n" for frame in frames)
    redacted = Redactor(["sk-12345x9"]).body(data, readable=True)
    values = [json.loads(frame)["response"] for frame in Framer().feed(redacted)]
    assert values == ["RED", 11, 111, "RE", 345]


SHAPES = {
    "a new token": "cfut_Ab3dEf6hIj9lMn2pQr5t",
    "an account's token": "cfat_Ab3dEf6hIj9lMn2pQr5t",
    "a key": "sk-proj-Ab3dEf6hIj9lMn2pQr5t",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN",
    "what follows Bearer": "Bearer Ab3dEf6hIj9lMn2pQr5t",
    "an account in a path": "/client/v4/accounts/0123456789abcdef0123456789abcdef/ai",
    "an address": "someone.else+x@mail.example.co.uk",
    "an IP address": "203.0.113.201",
    "an IP address of the newer kind": "2001:db8:85a3::8a2e:370:7334",
    "a ray": "Ray ID: <strong>8f2b6c1d9e0a4b57</strong>",
    "a private key": "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASC\n-----END PRIVATE KEY-----",
}


@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES)
def test_what_looks_like_a_secret_is_taken_out_of_texts_only(text):
    for data in (f"see {text}.".encode(), json.dumps({"text": f"see {text}."}).encode()):
        redacted = Redactor([]).body(data, readable=True)
        assert redacted != data
        assert len(redacted) == len(data)
        assert redacted.count(b"\n") == data.count(b"\n")
        for part in ("Ab3dEf6", "eyJ", "0123456789ab", "someone", "203.0", "2001:db8", "8f2b6c", "MIIEvQ", "AQEF"):
            assert part.encode() not in redacted
        assert Redactor([]).body(data, readable=False) == data


@pytest.mark.parametrize(
    "text",
    [
        "@cf/meta/llama-3.1-8b-instruct-fp8",
        "chatcmpl-0123456789abcdef0123456789abcdef",
        "the risk-management-frameworks-of-today",
        "version 3.11.7 of 2026-11-20 at 12:34:56.789",
        "std::vector<abc::def>, a::b",
        '{"usage":{"prompt_tokens":12,"completion_tokens":34567890},"logprob":-0.12,"p":"abdefghijklmnop"}',
        "the bearer of this ring",
        "x@y and {a@b}",
    ],
)
def test_what_only_resembles_a_secret_stays(text):
    data = f"{text}{text}".encode()
    assert Redactor([]).body(data, readable=True) == data


def test_numbers_of_one_name_are_not_taken_for_an_address():
    data = json.dumps([{"logprob": 0.12}, {"logprob": 0.15}, {"logprob": 1.0}, {"logprob": 7}]).encode()
    json.loads(Redactor([]).body(data, readable=True))


def test_every_line_of_a_secret_is_one():
    data = b'{"key":"first line here\\nsecond line here"}'
    assert b"line" not in Redactor(["first line here\nsecond line here\n\n"]).body(data, readable=True)


def test_frames_keep_their_ends():
    data = b"data: ab\n\ndata: cd\n\n"
    assert Redactor(["ab\\n\\ndata"]).body(data, readable=True).count(b"\n\n") == 2


def test_a_value_keeps_its_shape():
    value = {"model": "m", "n": 12345678, "deep": [{"arguments": json.dumps({"pin": "12345678 secret-word"})}]}
    redacted = Redactor(["12345678", "secret-word"]).json(value)
    assert redacted["n"] == 11111111
    assert json.loads(redacted["deep"][0]["arguments"]) == {"pin": "11111111 REDACTEDRED"}
    same = {"b": 1, "a": [2.5, None, "x"]}
    assert Redactor(["12345678"]).json(same) is same
    with pytest.raises(CodecError):
        Redactor(["1.5e"]).json({"n": 1.5e300})


def test_short_texts_are_no_secrets():
    assert Redactor(["a", "", "abc"]).body(b"abc", readable=True) == b"abc"


def test_names_that_promise_secrets():
    assert all(map(names_a_secret, ("Authorization", "x-auth-key", "cookie", "api_key", "access_token", "X-Amz-Sig")))
    assert not any(map(names_a_secret, ("content-type", "per_page", "search", "design")))
