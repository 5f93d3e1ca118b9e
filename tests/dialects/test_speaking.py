"""Texts on their way to models that speak, and sounds on their way back."""

import pytest

from app.catalog.facts import bundled
from app.core.errors import BadRequest, UpstreamBroken
from app.core.model import Model
from app.core.sounds import SpeakingRequest
from app.core.task import Given
from app.dialects.speaking import OPENAI_VOICES, SpeakingDialect
from app.emulator import media

MODELS = bundled().models
AURA = MODELS["@cf/deepgram/aura-2-en"]
MELOTTS = MODELS["@cf/myshell-ai/melotts"]
DIALECT = SpeakingDialect()
SPEAKING = [model for model in MODELS.values() if DIALECT.serves(model)]


def asked(format_=None, voice="alloy"):
    return SpeakingRequest("m", "Hello there.", voice, format_)


def written(model, format_=None, voice="alloy"):
    (call,) = DIALECT.write(asked(format_, voice), model)
    return call.request


def sound(model, data, format_=None, kind="audio/mpeg", **more):
    return DIALECT.read(asked(format_), model, [Given(kind, data, **more)]).result


@pytest.mark.parametrize("model", SPEAKING, ids=lambda model: model.short_name)
@pytest.mark.parametrize("voice", OPENAI_VOICES)
def test_every_model_has_a_voice_for_each_of_openais(model, voice):
    sent = written(model, voice=voice)
    chosen = sent.json.get("speaker") or sent.json.get("lang")
    assert chosen in model.speaking.voices
    # A voice that is left out is told.
    assert (sent.dropped == ("voice",)) == (not model.speaking.stand_ins)


def test_a_model_that_nobody_knows_speaks_with_its_own_voice():
    model = Model("@cf/new/speaker", DIALECT.task)
    assert "speaker" not in written(model).json
    assert written(model).dropped == ("voice",)
    assert written(model, voice="own").json["speaker"] == "own"


@pytest.mark.parametrize("format_", ["opus", "aac", "flac"])
def test_a_format_that_is_never_spoken_is_refused_before_it_costs(format_):
    with pytest.raises(BadRequest) as refused:
        written(MELOTTS, format_)
    assert refused.value.param == "response_format"


def test_samples_are_taken_out_of_a_wav():
    wav = media.wav(0.1, 24_000)
    assert sound(MELOTTS, wav, "pcm").data == media.pcm(0.1, 24_000)
    with pytest.raises(BadRequest, match="44100 samples"):
        sound(MELOTTS, media.wav(0.1, 44_100), "pcm")


@pytest.mark.parametrize("more", [False, True])
def test_samples_get_a_head_where_a_wav_is_wanted(more):
    found = sound(AURA, media.pcm(0.1, 24_000), "wav", "audio/l16", more=more)
    assert (found.data[:4], found.kind, found.more) == (b"RIFF", "audio/wav", more)
    assert found.data.endswith(media.pcm(0.1, 24_000))


def test_samples_that_look_like_something_else_are_samples():
    found = sound(AURA, b"\xff\xfb\x90\x64" * 100, "pcm", "audio/l16")
    assert (found.data, found.kind) == (b"\xff\xfb\x90\x64" * 100, "audio/pcm")


def test_a_sound_in_another_format_is_told_for_what_it_is():
    assert sound(AURA, media.mp3(), "flac").kind == "audio/mpeg"


@pytest.mark.parametrize(
    "result",
    [
        {"audio": "SUQzBAAAAAAAAA=="},
        {"audio": "data:audio/mpeg;base64,SUQzBAAAAAAAAA=="},
        {"audio": list(b"ID3\x04\0\0\0\0\0\0")},
        {"type": "Buffer", "data": list(b"ID3\x04\0\0\0\0\0\0")},
        {str(place): byte for place, byte in enumerate(b"ID3\x04\0\0\0\0\0\0")},
        "SUQzBAAAAAAAAA==",
    ],
)
def test_bytes_are_found_in_json(result):
    found = DIALECT.read(asked(), MELOTTS, [Given("application/json", b"", result)]).result
    assert (found.data, found.kind) == (b"ID3\x04\0\0\0\0\0\0", "audio/mpeg")


@pytest.mark.parametrize(
    "result",
    [None, {}, [], "", {"audio": ""}, {"audio": "***"}, {"audio": [256]}, {"audio": ["x"]}, {"0": "a"}, {"1": 2}, 7],
)
def test_what_holds_no_bytes_is_a_failure(result):
    with pytest.raises(UpstreamBroken):
        DIALECT.read(asked(), MELOTTS, [Given("application/json", b"", result)])


@pytest.mark.parametrize("data", [b"", b"no sound"])
def test_what_is_no_sound_is_a_failure(data):
    with pytest.raises(UpstreamBroken):
        sound(AURA, data)


def test_it_costs_by_its_characters():
    (call,) = DIALECT.write(asked(), AURA)
    assert call.estimate.neurons == pytest.approx(len("Hello there.") / 1000 * 0.03 / 0.000011)
