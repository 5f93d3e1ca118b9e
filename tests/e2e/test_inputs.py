"""Pictures, files and sounds in a conversation: inlined, read, or refused by name."""

import base64
import socket

import pytest

from app.main import create_app
from tests.conftest import settings_for
from tests.serving import serving

SEEING = ["@cf/zai-org/glm-5.3-flash", "@cf/meta/llama-4-scout-17b-16e-instruct", "@cf/moonshotai/kimi-k2.6"]
BLIND = ["@cf/openai/gpt-oss-120b", "@cf/meta/llama-3.1-8b-instruct-fp8", "@cf/zai-org/glm-5.3"]
PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg==")
DATA = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
PDF = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n(The invoice is over 420 crowns.) Tj\n%%EOF\n"


def picture(url, **more):
    return {"type": "image_url", "image_url": {"url": url, **more}}


def ask(http, model, *parts, stream=False):
    content = [{"type": "text", "text": "What is this?"}, *parts]
    body = {"model": model, "messages": [{"role": "user", "content": content}], "stream": stream}
    return http.post("/v1/chat/completions", json=body)


def ask_responses(http, model, *parts):
    content = [{"type": "input_text", "text": "What is this?"}, *parts]
    return http.post("/v1/responses", json={"model": model, "input": [{"role": "user", "content": content}]})


def refusal(answer, param="messages"):
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(param)
    return error


def asked(control):
    """What went to a model; conversions of files are not meant."""
    received = control.get("/requests").json()
    return [request["body"] for request in received if request["method"] == "POST" and request["body"]]


@pytest.mark.parametrize("model", SEEING)
@pytest.mark.parametrize("stream", [False, True])
def test_a_data_uri_is_seen(http, control, model, stream):
    answer = ask(http, model, picture(DATA, detail="low"), picture(DATA), stream=stream)
    assert answer.status_code == 200, answer.text
    assert "images" in answer.text
    (body,) = asked(control)
    sent = [part["image_url"]["url"] for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    assert sent == [DATA, DATA]


@pytest.mark.parametrize("model", SEEING)
def test_a_data_uri_is_seen_through_responses(http, model):
    answer = ask_responses(http, model, {"type": "input_image", "image_url": DATA, "detail": "auto"})
    assert answer.status_code == 200, answer.text
    assert "I can see 1 image." in answer.text


@pytest.mark.parametrize("model", BLIND)
def test_a_model_without_eyes_refuses_by_name(http, control, model):
    assert refusal(ask(http, model, picture(DATA)))["code"] == "unsupported_value"
    # Nothing is fetched for a model that could not see it.
    assert refusal(ask(http, model, picture("https://example.com/x.png")))["code"] == "unsupported_value"
    part = {"type": "input_image", "image_url": DATA}
    assert refusal(ask_responses(http, model, part), "input")["code"] == "unsupported_value"
    assert asked(control) == []


@pytest.fixture
def inside():
    """A server of this machine that nobody may be led to; tells whether somebody came."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)

        def visited():
            try:
                listener.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield listener.getsockname()[1], visited


PRIVATE = [
    "http://127.0.0.1:{port}/x.png",
    "http://localhost:{port}/x.png",
    "http://[::1]:{port}/x.png",
    "http://[::ffff:127.0.0.1]:{port}/x.png",
    "http://2130706433:{port}/x.png",
    "http://0x7f.1:{port}/x.png",
    "http://0.0.0.0:{port}/x.png",
    "http://127.0.0.1/x.png",
    "http://169.254.169.254/latest/meta-data/",
    "http://10.0.0.1/x.png",
    "http://192.168.1.1/x.png",
    "http://user:secret@127.0.0.1:{port}/x.png",
    "http://127.0.0.1.nip.invalid/x.png",
]


@pytest.mark.parametrize("url", PRIVATE)
def test_nobody_is_led_to_a_private_address(http, control, inside, url):
    port, visited = inside
    answer = ask(http, SEEING[0], picture(url.format(port=port)))
    error = refusal(answer, "messages[0].content[1].image_url")
    assert error["code"] == "invalid_image_url"
    assert "secret" not in answer.text
    part = {"type": "input_image", "image_url": url.format(port=port)}
    assert refusal(ask_responses(http, SEEING[0], part), "input[0].content[1]")["code"] == "invalid_image_url"
    assert not visited()
    assert asked(control) == []


def test_fetching_can_be_turned_off(emulator, http, control):
    with serving(create_app(settings_for(emulator, fetch_images=False))) as address:
        body = {"model": SEEING[0], "messages": [{"role": "user", "content": [picture("https://example.com/x.png")]}]}
        answer = http.post(f"{address}/v1/chat/completions", json=body)
    assert "data:" in refusal(answer)["message"]
    assert asked(control) == []


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "ftp://example.com/x.png", "x.png", "", "data:text/plain;base64,eA==", "data:image/png,raw"],
)
def test_what_is_no_picture_is_refused(http, control, url):
    refusal(ask(http, SEEING[0], picture(url)), "messages[0].content[1]")
    assert asked(control) == []


def data_uri(kind, data):
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.mark.parametrize("model", [BLIND[0], BLIND[1], SEEING[0]])
@pytest.mark.parametrize(
    ("file", "said"),
    [
        ({"filename": "notes.txt", "file_data": data_uri("text/plain", b"Remember the milk.")}, "Remember the milk."),
        ({"filename": "notes.md", "file_data": base64.b64encode(b"# Milk").decode()}, "# Milk"),
        ({"filename": "invoice.pdf", "file_data": data_uri("application/pdf", PDF)}, "420 crowns"),
        ({"file_data": data_uri("application/pdf", PDF)}, "420 crowns"),
        ({"filename": "table.csv", "file_data": data_uri("text/csv", b"a,b\n1,2\n")}, "1"),
    ],
)
def test_a_file_is_read_to_the_model(http, control, model, file, said):
    answer = ask(http, model, {"type": "file", "file": file})
    assert answer.status_code == 200, answer.text
    (body,) = asked(control)
    assert said in str(body["messages"])


def test_a_file_is_read_through_responses(http, control):
    part = {"type": "input_file", "filename": "invoice.pdf", "file_data": data_uri("application/pdf", PDF)}
    answer = ask_responses(http, BLIND[0], part)
    assert answer.status_code == 200, answer.text
    assert "420 crowns" in str(asked(control)[0]["messages"])


@pytest.mark.parametrize(
    "file",
    [
        {"file_id": "file-123"},
        {"filename": "x.pdf"},
        {"filename": "x.pdf", "file_data": ""},
        {"filename": "x.pdf", "file_data": "!!!"},
        {"filename": "x.exe", "file_data": data_uri("application/octet-stream", b"\x00\x01MZ")},
        {"filename": "x.docx", "file_data": base64.b64encode(b"no archive").decode()},
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_name(http, control, file):
    refusal(ask(http, BLIND[0], {"type": "file", "file": file}), "messages[0].content[1].file")
    assert asked(control) == []


@pytest.mark.parametrize("model", [BLIND[0], SEEING[0]])
def test_sound_is_refused_by_name(http, control, model):
    sound = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    assert refusal(ask(http, model, sound), "messages[0].content[1]")["code"] == "unsupported_value"
    refusal(ask_responses(http, model, sound), "input[0].content[1]")
    assert asked(control) == []
