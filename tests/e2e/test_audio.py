"""Sound in and out, by the official SDK and by hand."""

import base64
import io
import json
import signal
import socket
import wave
from urllib.parse import urlsplit

import httpx
import pytest
from openai import BadRequestError, NotFoundError

from app.emulator import media
from app.emulator.server import create_emulator
from tests.conftest import ACCOUNT, TOKEN
from tests.e2e.test_limits import NO_TLS, running
from tests.server.processes import ended, logged
from tests.server.processes import proxy as proxy_process
from tests.serving import serving, until

SAID = "This is what was said."
SOUND = ("speech.wav", media.wav())
HEARING = ["whisper-1", "gpt-4o-mini-transcribe", "whisper", "@cf/deepgram/nova-3"]
TYPES = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}


def sent(control):
    return [record for record in control.get("/requests").json() if record["method"] == "POST"]


@pytest.mark.parametrize("model", HEARING)
def test_a_sound_is_written_down(sdk, model):
    heard = sdk.audio.transcriptions.create(model=model, file=SOUND)
    assert heard.text == SAID
    assert heard.usage.type == "duration"
    assert heard.usage.seconds > 0


@pytest.mark.parametrize("model", HEARING)
async def test_every_form_of_answer(async_sdk, model):
    create = async_sdk.audio.transcriptions.create
    assert await create(model=model, file=SOUND, response_format="text") == f"{SAID}\n"
    srt = await create(model=model, file=SOUND, response_format="srt")
    assert srt.startswith("1\n00:00:00,000 --> 00:00:0")
    assert srt.endswith(f"\n{SAID}\n\n")
    vtt = await create(model=model, file=SOUND, response_format="vtt")
    assert vtt.startswith("WEBVTT\n\n")
    assert SAID in vtt


@pytest.mark.parametrize("model", HEARING)
@pytest.mark.parametrize("wanted", [None, ["word"], ["segment"], ["word", "segment"]])
def test_the_verbose_form_tells_when(sdk, model, wanted):
    more = {} if wanted is None else {"timestamp_granularities": wanted}
    heard = sdk.audio.transcriptions.create(
        model=model, file=SOUND, response_format="verbose_json", language="en", **more
    )
    assert (heard.text, heard.language) == (SAID, "english")
    assert heard.duration > 0
    words, segments = "word" in (wanted or ()), "segment" in (wanted or ("segment",))
    assert (heard.words is not None, heard.segments is not None) == (words, segments)
    if words:
        assert [word.word for word in heard.words] == SAID.split()
        assert [word.start for word in heard.words] == sorted(word.start for word in heard.words)
    if segments:
        (segment,) = heard.segments
        assert (segment.id, segment.start, segment.text.strip()) == (0, 0.0, SAID)
        assert segment.end > 1
        assert 0 < segment.compression_ratio < 1


def test_what_the_client_says_of_the_sound_reaches_the_model(sdk, control):
    raw = sdk.audio.transcriptions.with_raw_response.create(
        model="whisper-1", file=SOUND, language="German", prompt="About quartz.", temperature=0.4
    )
    body = sent(control)[-1]["body"]
    assert (body["task"], body["language"], body["initial_prompt"]) == ("transcribe", "de", "About quartz.")
    assert base64.b64decode(body["audio"]) == SOUND[1]
    assert raw.headers["x-flarelay-dropped"] == "temperature"
    assert raw.headers["x-flarelay-model"] == "@cf/openai/whisper-large-v3-turbo"


def test_a_model_without_options_gets_the_bytes(sdk, control):
    raw = sdk.audio.transcriptions.with_raw_response.create(
        model="whisper", file=("a.mp3", SOUND[1], "audio/mpeg"), language="de", prompt="x"
    )
    record = sent(control)[-1]
    # What the sound is, is seen from its bytes, whatever its name and its type say.
    assert (record["headers"]["content-type"], record["size"]) == ("audio/wav", len(SOUND[1]))
    assert raw.headers["x-flarelay-dropped"] == "language,prompt"


async def test_a_stream_has_the_same_text(async_sdk):
    stream = await async_sdk.audio.transcriptions.create(model="gpt-4o-transcribe", file=SOUND, stream=True)
    events = [event async for event in stream]
    assert {event.type for event in events[:-1]} == {"transcript.text.delta"}
    assert "".join(event.delta for event in events[:-1]) == SAID
    assert (events[-1].type, events[-1].text) == ("transcript.text.done", SAID)


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("format_", ["json", "verbose_json"])
def test_a_translation_is_in_english(sdk, control, format_):
    heard = sdk.audio.translations.create(model="whisper-1", file=SOUND, response_format=format_)
    assert heard.text == SAID
    if format_ == "verbose_json":
        assert heard.language == "english"
        assert heard.segments[0].text.strip() == SAID
    assert sent(control)[-1]["body"]["task"] == "translate"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"model": None}, "model", "missing_required_parameter"),
        ({"file": None}, "file", "missing_required_parameter"),
        ({"file": ("a.wav", b"")}, "file", "invalid_file"),
        ({"file": ("a.wav", b"no sound at all")}, "file", "invalid_file"),
        ({"file": ("a.png", media.png(1, 1, 1), "audio/wav")}, "file", "invalid_file"),
        ({"model": "gpt-oss-120b"}, "model", None),
        ({"model": "@cf/deepgram/flux"}, "model", "model_not_supported"),
        ({"model": "no-such-thing"}, "model", "model_not_found"),
        ({"response_format": "xml"}, "response_format", "invalid_value"),
        ({"response_format": "diarized_json"}, "response_format", "unsupported_value"),
        ({"timestamp_granularities": ["minute"]}, "timestamp_granularities[0]", "invalid_value"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"language": "the one of cats"}, "language", "invalid_language_format"),
        ({"model": "whisper-tiny-en", "language": "de"}, "language", "unsupported_value"),
        ({"response_format": "srt", "stream": True}, "stream", "unsupported_value"),
    ],
)
def test_mistakes_are_named(http, control, fields, param, code):
    form = {"model": "whisper-1", "file": SOUND, **fields}
    data = {}
    for name, value in form.items():
        if name != "file" and value is not None:
            key = f"{name}[]" if isinstance(value, list) else name
            data[key] = str(value).lower() if isinstance(value, bool | float) else value
    files = {"file": form["file"]} if form["file"] is not None else {"other": ("x", b"x")}
    answer = http.post("/v1/audio/transcriptions", data=data, files=files)
    error = answer.json()["error"]
    assert (answer.status_code in {400, 404}, error["param"], error["code"]) == (True, param, code), error
    assert error["type"] == "invalid_request_error"
    assert sent(control) == []


@pytest.mark.parametrize(
    "field", [{"temperature": "warm"}, {"temperature": "1_0"}, {"temperature": "nan"}, {"stream": "perhaps"}]
)
def test_texts_that_are_not_what_they_should_be_are_refused(http, field):
    answer = http.post("/v1/audio/transcriptions", data={"model": "whisper-1", **field}, files={"file": SOUND})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, *field, "invalid_type")


def test_a_file_that_is_a_text_is_refused(http):
    answer = http.post("/v1/audio/transcriptions", json={"model": "whisper-1", "file": "a.wav"})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "file", "invalid_type")


def test_only_one_model_translates(http):
    answer = http.post("/v1/audio/translations", data={"model": "whisper"}, files={"file": SOUND})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")


@pytest.mark.parametrize("format_", TYPES)
def test_speech_comes_in_six_formats(sdk, control, format_):
    spoken = sdk.audio.speech.create(model="tts-1", voice="alloy", input="Hello there.", response_format=format_)
    assert spoken.response.headers["content-type"] == TYPES[format_]
    encoding = sent(control)[-1]["body"]["encoding"]
    assert encoding == ("linear16" if format_ in {"wav", "pcm"} else format_)
    if format_ == "wav":
        with wave.open(io.BytesIO(spoken.content)) as sound:
            assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (24_000, 1, 2)
            samples = sound.readframes(sound.getnframes())
        pcm = sdk.audio.speech.create(model="tts-1", voice="alloy", input="Hello there.", response_format="pcm")
        assert pcm.content == samples


async def test_speech_streams_into_a_file(async_sdk, tmp_path):
    speech = async_sdk.audio.speech
    asked = {"model": "@cf/deepgram/aura-1", "voice": "stella", "input": "Hello there, everybody. " * 20}
    whole = await speech.create(**asked)
    async with speech.with_streaming_response.create(**asked) as answer:
        await answer.stream_to_file(tmp_path / "speech.mp3")
    assert (tmp_path / "speech.mp3").read_bytes() == whole.content
    assert whole.content.startswith(b"ID3")


@pytest.mark.parametrize("model", ["tts-1", "melotts"])
def test_speech_comes_as_events_too(http, sdk, model):
    asked = {"model": model, "voice": "nova", "input": "Hello there, everybody. " * 20}
    answer = http.post("/v1/audio/speech", json={**asked, "stream_format": "sse"})
    assert answer.headers["content-type"] == "text/event-stream"
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [event["type"] for event in events[:-1]] == ["speech.audio.delta"] * (len(events) - 1)
    assert events[-1]["type"] == "speech.audio.done"
    assert events[-1]["usage"]["input_tokens"] > 0
    sound = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert sound == sdk.audio.speech.create(**asked).content


@pytest.mark.parametrize(
    ("model", "voice", "wanted"),
    [
        ("aura-2-en", "alloy", {"speaker": "thalia"}),
        ("aura-2-en", "Zeus", {"speaker": "zeus"}),
        ("aura-2-en", {"id": "vesta"}, {"speaker": "vesta"}),
        ("aura-2-es", "marin", {"speaker": "selena"}),
        ("melotts", "fr", {"lang": "fr"}),
        ("melotts", "alloy", {"lang": "en"}),
    ],
)
def test_voices_go_by_openais_names_and_by_their_own(http, control, model, voice, wanted):
    answer = http.post("/v1/audio/speech", json={"model": model, "voice": voice, "input": "Hello"})
    assert answer.status_code == 200, answer.text
    body = sent(control)[-1]["body"]
    assert {name: body[name] for name in wanted} == wanted


def test_what_no_model_has_is_told(http):
    asked = {"model": "tts-1", "voice": "alloy", "input": "Hello", "speed": 1.25, "instructions": "Whisper."}
    assert http.post("/v1/audio/speech", json=asked).headers["x-flarelay-dropped"] == "speed,instructions"


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"input": None}, "input", "missing_required_parameter"),
        ({"input": ""}, "input", "empty_string"),
        ({"input": "x" * 4097}, "input", "string_above_max_length"),
        ({"voice": None}, "voice", "missing_required_parameter"),
        ({"voice": "cartman"}, "voice", "invalid_value"),
        ({"voice": {"name": "x"}}, "voice.id", "missing_required_parameter"),
        ({"voice": 3}, "voice", "invalid_type"),
        ({"speed": 9}, "speed", "decimal_above_max_value"),
        ({"response_format": "midi"}, "response_format", "invalid_value"),
        ({"stream_format": "x"}, "stream_format", "invalid_value"),
        ({"model": "whisper"}, "model", None),
    ],
)
def test_mistakes_about_speech_are_named(http, control, fields, param, code):
    answer = http.post("/v1/audio/speech", json={"model": "tts-1", "voice": "alloy", "input": "Hello", **fields})
    error = answer.json()["error"]
    assert (answer.status_code in {400, 404}, error["param"], error["code"]) == (True, param, code), error
    assert sent(control) == []


def test_the_sdk_raises_its_own_errors(sdk):
    with pytest.raises(BadRequestError) as refused:
        sdk.audio.speech.create(model="tts-1", voice="cartman", input="Hello")
    assert refused.value.param == "voice"
    with pytest.raises(NotFoundError):
        sdk.audio.transcriptions.create(model="no-such-thing", file=SOUND)


@pytest.fixture(scope="module")
def slow():
    """An emulator that speaks slowly."""
    emulator = create_emulator(account_id=ACCOUNT, token=TOKEN, token_delay=0.05)
    with serving(emulator) as address:
        yield emulator.state.emulator, address


@pytest.fixture(scope="module")
def own(slow):
    with running(slow[1], retries=0, max_upload_bytes=64 * 1024) as made:
        yield made


def speaking(key):
    body = {"model": "tts-1", "voice": "alloy", "input": "All of it. " * 40, "response_format": "pcm"}
    return {"url": "/v1/audio/speech", "json": body, "headers": key.header}


def test_a_sound_begins_before_it_is_whole_and_ends_when_its_client_leaves(slow, own):
    state, _ = slow
    key = own.key()
    with own.admin.stream("POST", **speaking(key)) as answer:
        assert answer.headers["content-type"] == "audio/pcm"
        assert float(answer.headers["x-flarelay-neurons"]) > 0
        assert len(next(answer.iter_raw())) > 0
        until(lambda: state.open_streams == 1)
    until(lambda: state.open_streams == 0, seconds=2)
    until(lambda: own.log.lines(caller=key.id))
    (line,) = own.log.lines(caller=key.id)
    assert (line["ending"], line["surface"]) == ("disconnected", "speech")
    assert line["neurons"] > 0


def test_a_sound_that_breaks_off_is_no_whole_answer(slow, own):
    key = own.key()
    with httpx.Client(base_url=slow[1], trust_env=False, verify=NO_TLS) as control:
        control.post("/_emulator/faults", json={"fault": "length-long", "times": 1}).raise_for_status()
    with pytest.raises(httpx.RemoteProtocolError):
        own.admin.post(**speaking(key))
    until(lambda: own.log.lines(caller=key.id))
    (line,) = own.log.lines(caller=key.id)
    assert (line["ending"], line["error_code"]) == ("failed", "upstream_truncated")


async def test_the_servers_end_cuts_a_sound_and_lets_the_upstream_go(slow):
    state, address = slow
    async with (
        proxy_process(address, FLARELAY_DRAIN_SECONDS="0.2") as (process, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=NO_TLS, timeout=30) as client,
    ):
        body = {"model": "tts-1", "voice": "alloy", "input": "All of it. " * 40, "response_format": "pcm"}
        async with client.stream("POST", "/v1/audio/speech", json=body) as answer:
            pieces = answer.aiter_raw()
            assert await anext(pieces)
            process.send_signal(signal.SIGTERM)
            with pytest.raises(httpx.RemoteProtocolError):
                async for _ in pieces:
                    pass
        assert await ended(process, 10) == 0
        (line,) = logged(process)
    assert (line["ending"], line["error_code"]) == ("failed", "server_is_overloaded")
    until(lambda: state.open_streams == 0, seconds=2)


def transcribe(own, key, sound=SOUND[1], **more):
    form = {"model": "whisper-1", **more}
    return own.admin.post("/v1/audio/transcriptions", data=form, files={"file": ("a.wav", sound)}, headers=key.header)


def test_a_file_past_the_bound_is_refused(own):
    answer = transcribe(own, own.key(), media.wav(3.0))
    assert (answer.status_code, answer.json()["error"]["param"]) == (413, "file")


def test_limits_and_the_ledger_count_sounds(own):
    key = own.key(requests_per_day=2)
    first, second, third = (transcribe(own, key) for _ in range(3))
    assert (first.status_code, second.status_code) == (200, 200)
    assert (third.status_code, third.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    line = own.line(first)
    # Two seconds, at 0.00051 USD a minute.
    assert line["neurons"] == pytest.approx(2 / 60 * 0.00051 / 0.000011, abs=1e-5)
    assert first.headers["x-flarelay-neurons"] == f"{line['neurons']:.6f}"
    until(lambda: own.told("usage", key=key.id)["today"]["requests"] == 2)
    assert own.told("usage", key=key.id)["today"]["neurons"] == pytest.approx(2 * line["neurons"], abs=1e-4)


def test_a_budget_refuses_a_sound_that_costs_more_than_is_left(own):
    key = own.key(neurons_per_day=1)
    assert transcribe(own, key).status_code == 200
    refused = transcribe(own, key)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")


def test_a_client_that_leaves_while_its_sound_is_heard_closes_the_upstream(slow, own):
    state, address = slow
    key = own.key()
    with httpx.Client(base_url=address, trust_env=False, verify=NO_TLS) as control:
        control.post("/_emulator/faults", json={"fault": "hang", "times": 1}).raise_for_status()
    url = urlsplit(own.address)
    form = httpx.Request("POST", own.address, data={"model": "whisper-1"}, files={"file": SOUND})
    content = form.read()
    with socket.create_connection((url.hostname, url.port), timeout=10) as client:
        head = f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key.secret}\r\n"
        head += f"content-type: {form.headers['content-type']}\r\ncontent-length: {len(content)}\r\n\r\n"
        client.sendall(head.encode() + content)
        until(lambda: state.in_flight == 1)
    until(lambda: state.in_flight == 0, seconds=2)
    until(lambda: own.log.lines(caller=key.id))
    assert own.log.lines(caller=key.id)[0]["ending"] == "disconnected"
