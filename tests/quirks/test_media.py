"""Sounds and pictures: Q49, Q56-Q58."""

import base64

import pytest

SPEECH = {"model": "@cf/deepgram/aura-1", "input": "Hello there, everybody.", "voice": "alloy"}


def speak(http, **more):
    answer = http.post("/v1/audio/speech", json={**SPEECH, **more})
    assert answer.status_code == 200, answer.text
    return answer


def draw(http, model, **more):
    return http.post("/v1/images/generations", json={"model": model, "prompt": "a cat", **more})


def test_q49_what_melotts_sends_is_told_for_what_it_is(http, upstream):
    model = "@cf/myshell-ai/melotts"
    told = upstream.post(f"/run/{model}", json={"prompt": SPEECH["input"]}).json()["result"]["audio"]
    assert base64.b64decode(told).startswith(b"RIFF")
    for more in ({}, {"response_format": "wav"}):
        answer = speak(http, model=model, **more)
        assert answer.headers["content-type"] == "audio/wav"
        assert answer.content == base64.b64decode(told)


@pytest.mark.parametrize("format_", ["mp3", "opus", "aac", "flac", "pcm"])
def test_q49_nor_is_it_passed_off_as_something_else(http, format_):
    answer = http.post("/v1/audio/speech", json={**SPEECH, "model": "melotts", "response_format": format_})
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, "response_format", "unsupported_value")
    assert "'wav'" in error["message"]


@pytest.mark.parametrize(("voice", "speaker"), [("alloy", "asteria"), ("Zeus", "zeus"), ("echo", "orion")])
def test_q56_the_voice_goes_out_as_a_speaker_and_the_speed_is_told(http, sent, voice, speaker):
    answer = speak(http, voice=voice, speed=1.5)
    body = sent()[-1]["body"]
    assert body["speaker"] == speaker
    assert not {"voice", "speed"} & set(body)
    assert answer.headers["x-flarelay-dropped"] == "speed"


def test_q57_bytes_may_be_an_object_with_numeric_keys(http, control):
    plain = speak(http)
    control.post("/faults", json={"fault": "numbered-bytes", "times": 1}).raise_for_status()
    numbered = speak(http)
    assert numbered.content == plain.content
    assert numbered.headers["content-type"] == "audio/mpeg"
    model = "@cf/leonardo/phoenix-1.0"
    control.post("/faults", json={"fault": "numbered-bytes", "times": 1}).raise_for_status()
    assert draw(http, model).json()["data"] == draw(http, model).json()["data"]


@pytest.mark.parametrize(
    ("model", "start"),
    [
        ("@cf/black-forest-labs/flux-1-schnell", b"\xff\xd8\xff"),
        ("@cf/leonardo/lucid-origin", b"\x89PNG"),
        ("@cf/leonardo/phoenix-1.0", b"\xff\xd8\xff"),
        ("@cf/stabilityai/stable-diffusion-xl-base-1.0", b"\x89PNG"),
    ],
)
def test_q58_pictures_are_found_in_envelopes_and_out_of_them(http, upstream, model, start):
    straight = upstream.post(f"/run/{model}", json={"prompt": "a cat"})
    enveloped = straight.headers["content-type"] == "application/json"
    picture = base64.b64decode(straight.json()["result"]["image"]) if enveloped else straight.content
    assert picture.startswith(start)
    body = draw(http, model).json()
    assert base64.b64decode(body["data"][0]["b64_json"]) == picture
    assert body["output_format"] == ("png" if start == b"\x89PNG" else "jpeg")
