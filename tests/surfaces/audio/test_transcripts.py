"""Transcripts in every form."""

import json

import pytest

from app.core.sounds import HearingRequest, Segment, Transcript, Word
from app.surfaces.audio.languages import NAMES, code_of, name_of
from app.surfaces.audio.transcripts import reply, srt, vtt

PIECES = [Segment(" One --> two\n\nthree ", 0.0, 1.2345), Segment("Four.", 3661.0, 3661.9996)]
HEARD = Transcript("One --> two\n\nthree Four.", "de", 3662.0, PIECES, [Word("One", 0.0, 0.5)])


def replied(heard=HEARD, **more):
    return reply(HearingRequest("m", b"", "audio/wav", **more), heard)


def test_subtitles_number_their_cues_and_hold_no_blank_lines():
    assert srt(PIECES) == (
        "1\n00:00:00,000 --> 00:00:01,234\nOne -> two three\n\n2\n01:01:01,000 --> 01:01:02,000\nFour.\n\n"
    )
    assert vtt(PIECES) == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.234\nOne -> two three\n\n01:01:01.000 --> 01:01:02.000\nFour.\n\n"
    )
    assert (srt([]), vtt([])) == ("", "WEBVTT\n\n")


@pytest.mark.parametrize(
    ("format_", "kind"),
    [("text", "text/plain"), ("srt", "text/plain"), ("vtt", "text/vtt"), ("json", "application/json")],
)
def test_forms_have_their_types(format_, kind):
    assert replied(format=format_).content_type.startswith(kind)


def test_the_models_own_subtitles_are_kept():
    heard = Transcript("x", vtt="WEBVTT\n\nas it came\n")
    assert replied(heard, format="vtt").body == b"WEBVTT\n\nas it came\n"


def test_events_add_up_to_the_text():
    lines = replied(stream=True).body.decode().splitlines()
    events = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert [event["type"] for event in events] == ["transcript.text.delta"] * 2 + ["transcript.text.done"]
    assert "".join(event.get("delta", "") for event in events) == events[-1]["text"] == HEARD.text


@pytest.mark.parametrize(
    ("text", "segments"), [("Other words", PIECES), ("", []), ("One", []), ("One two", PIECES[:1])]
)
def test_pieces_that_are_not_the_texts_are_not_told(text, segments):
    body = replied(Transcript(text, segments=segments), stream=True).body.decode()
    deltas = [json.loads(line[6:]).get("delta", "") for line in body.splitlines() if line.startswith("data: ")]
    assert "".join(deltas) == text


def test_languages_have_openais_names():
    assert len(NAMES) == 100
    assert (name_of("de"), name_of("de-AT"), name_of("xx"), name_of(None)) == ("german", "german", "xx", "unknown")
    assert (code_of("German"), code_of("pt-BR"), code_of(" EN "), code_of("zh_TW")) == ("de", "pt", "en", "zh")
    assert all(code_of(name) == code for code, name in NAMES.items())
