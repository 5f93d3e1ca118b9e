"""Sounds on their way to models, and transcripts on their way back."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.facts import bundled
from app.core.errors import BadRequest, UpstreamBroken
from app.core.model import Model
from app.core.sounds import HearingRequest, Segment, Transcript, Word
from app.core.task import Given
from app.dialects.hearing import HearingDialect
from app.dialects.transcripts import read_transcript

MODELS = bundled().models
TURBO = MODELS["@cf/openai/whisper-large-v3-turbo"]
WHISPER = MODELS["@cf/openai/whisper"]
NOVA = MODELS["@cf/deepgram/nova-3"]
DIALECT = HearingDialect()


def asked(**more):
    return HearingRequest("m", b"sound", "audio/mpeg", **more)


def written(model, **more):
    (call,) = DIALECT.write(asked(**more), model)
    return call.request


def heard(result, **more):
    return DIALECT.read(asked(**more), TURBO, [Given("application/json", b"", result)])


def test_every_model_that_hears_is_known():
    assert all(model.hearing is not None for model in MODELS.values() if DIALECT.serves(model))


def test_options_go_beside_base64():
    sent = written(TURBO, language="de", prompt="Quartz", translate=True)
    assert sent.path == "/run/@cf/openai/whisper-large-v3-turbo"
    assert json.loads(sent.content) == {
        "audio": base64.b64encode(b"sound").decode(),
        "task": "translate",
        "language": "de",
        "initial_prompt": "Quartz",
    }
    assert sent.dropped == ()


def test_a_model_that_nobody_knows_is_taken_for_the_youngest():
    assert written(Model("@cf/new/listener", DIALECT.task)).json["task"] == "transcribe"


def test_bare_models_get_bytes_and_lose_the_options():
    sent = written(WHISPER, language="de", prompt="Quartz")
    assert (sent.content, sent.headers["content-type"]) == (b"sound", "audio/mpeg")
    assert sent.dropped == ("language", "prompt")


@pytest.mark.parametrize(("language", "query"), [("de", "language=de"), (None, "detect_language=true")])
def test_options_go_into_the_query(language, query):
    path, _, given_query = written(NOVA, language=language).path.partition("?")
    assert path == "/run/@cf/deepgram/nova-3"
    assert set(given_query.split("&")) == {"punctuate=true", "smart_format=true", query}


@pytest.mark.parametrize(
    ("model", "more", "param"),
    [
        (WHISPER, {"translate": True}, "model"),
        (NOVA, {"translate": True}, "model"),
        (MODELS["@cf/deepgram/flux"], {}, "model"),
        (MODELS["@cf/openai/whisper-tiny-en"], {"language": "de"}, "language"),
    ],
)
def test_what_a_model_cannot_do_is_refused(model, more, param):
    with pytest.raises(BadRequest) as refused:
        written(model, **more)
    assert refused.value.param == param


def test_what_it_costs_is_the_time_that_was_heard():
    understood = heard({"text": "x", "transcription_info": {"duration": 90.0}})
    assert understood.usage.neurons == pytest.approx(1.5 * 0.00051 / 0.000011)
    assert understood.usage.source == "estimated"


def test_what_the_upstream_says_of_the_cost_goes_before_that():
    understood = heard({"text": "x", "transcription_info": {"duration": 90.0}, "usage": {"neurons": 7.5}})
    assert (understood.usage.neurons, understood.usage.source) == (7.5, "reported")


def test_a_translation_is_english_whatever_was_spoken():
    info = {"language": "de", "duration": 1}
    assert heard({"text": "x", "transcription_info": info}, translate=True).result.language == "en"
    assert heard({"text": "x", "transcription_info": info}).result.language == "de"


def test_segments_come_from_cues_where_there_are_none():
    vtt = "WEBVTT\r\n\r\n00:01.500 --> 01:02.250\r\nOne\r\ntwo\r\n\r\n01:00:00.000 --> 01:00:01.000 align:left\nThree\n"
    found = read_transcript({"text": " One two Three ", "vtt": vtt})
    assert found.segments == [Segment("One two", 1.5, 62.25), Segment("Three", 3600.0, 3601.0)]
    assert (found.text, found.seconds) == ("One two Three", 3601.0)


def test_segments_come_from_words_where_there_are_no_cues():
    said = [("One.", 0, 1), ("Two", 1, 2), ("three", 4, 5), ("four", 9, 15)]
    words = [{"word": word, "start": start, "end": end} for word, start, end in said]
    found = read_transcript({"text": "One. Two three four", "words": words})
    assert [(one.text, one.start, one.end) for one in found.segments] == [
        ("One.", 0, 1),
        ("Two", 1, 2),
        ("three", 4, 5),
        ("four", 9, 15),
    ]
    assert found.words[0] == Word("One.", 0.0, 1.0)


def test_the_best_reading_of_the_first_channel_counts():
    words = [{"word": "hi", "punctuated_word": "Hi.", "start": 0, "end": 0.5}]
    best = {"transcript": "Hi.", "confidence": 0.5, "words": words}
    channels = [{"alternatives": [best, {"transcript": "High"}], "detected_language": "en"}]
    found = read_transcript({"results": {"channels": channels}, "metadata": {"duration": 2.5}})
    assert (found.text, found.language, found.seconds) == ("Hi.", "en", 2.5)
    (segment,) = found.segments
    assert (segment.text, segment.avg_logprob) == ("Hi.", pytest.approx(-0.693, abs=1e-3))


def test_a_text_without_any_times_is_one_segment():
    assert read_transcript({"text": "All of it"}, 3.0).segments == [Segment("All of it", 0.0, 3.0)]
    assert read_transcript({"text": ""}, 3.0) == Transcript("", seconds=3.0, segments=[], words=[])


@pytest.mark.parametrize("result", [None, [], "x", {}, {"text": 3}, {"results": {}}, {"results": {"channels": [{}]}}])
def test_what_is_no_transcript_is_a_failure(result):
    with pytest.raises(UpstreamBroken):
        read_transcript(result)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["word", "start", "end", "text"]), inner)
    ),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"text": st.text(max_size=20)},
        optional={"segments": JSON, "words": JSON, "vtt": JSON, "transcription_info": JSON, "usage": JSON},
    )
)
def test_nonsense_beside_a_text_is_passed_over(result):
    found = read_transcript(result)
    assert found.text == result["text"].strip()
    assert found.seconds >= 0
