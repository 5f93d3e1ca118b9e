"""Reading requests for speech, and writing what was spoken."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any, Final, cast, get_args

from app.core.sounds import Sound, SoundFormat, SpeakingRequest
from app.core.task import TaskReply
from app.core.usage import estimate_tokens
from app.surfaces import fields
from app.surfaces.events import EVENT_STREAM, event

MAX_CHARACTERS: Final = 4096
"""As at OpenAI."""

FORMATS: Final[tuple[SoundFormat, ...]] = get_args(SoundFormat)

PIECE_BYTES: Final = 32 * 1024
"""Of a sound in one event."""


def read_speech(body: Mapping[str, Any]) -> SpeakingRequest:
    """Check and translate a request for speech.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    model = fields.need(fields.string(body, "model", min_length=1), "model")
    text = fields.need(fields.string(body, "input", min_length=1, max_length=MAX_CHARACTERS), "input")
    dropped = [] if fields.number(body, "speed", minimum=0.25, maximum=4) in {None, 1} else ["speed"]
    if fields.string(body, "instructions"):
        dropped.append("instructions")
    format_ = fields.one_of(body, "response_format", FORMATS)
    return SpeakingRequest(
        model,
        text,
        _voice(body),
        cast("SoundFormat | None", format_),
        stream=fields.one_of(body, "stream_format", ("audio", "sse")) == "sse",
        dropped=tuple(dropped),
    )


def reply(request: SpeakingRequest, sound: Sound) -> TaskReply:
    """Give the sound, or events that hold it."""
    if not request.stream:
        return TaskReply(sound.data, sound.kind, _as_it_is if sound.more else None)
    begun = _deltas(sound.data)
    if sound.more:
        return TaskReply(begun, EVENT_STREAM, _deltas, _done(request))
    return TaskReply(begun + _done(request), EVENT_STREAM)


def _as_it_is(piece: bytes) -> bytes:
    return piece


def _deltas(data: bytes) -> bytes:
    """The events of a piece of the sound."""
    return b"".join(_delta(data[place : place + PIECE_BYTES]) for place in range(0, len(data), PIECE_BYTES))


def _delta(piece: bytes) -> bytes:
    return event({"type": "speech.audio.delta", "audio": binascii.b2a_base64(piece, newline=False).decode("ascii")})


def _done(request: SpeakingRequest) -> bytes:
    """The last event. Sounds have no tokens here; those of the text are estimated."""
    tokens = estimate_tokens(request.text)
    usage = {"input_tokens": tokens, "output_tokens": 0, "total_tokens": tokens}
    return event({"type": "speech.audio.done", "usage": usage})


def _voice(body: Mapping[str, Any]) -> str:
    """The voice's name; an object is OpenAI's form for voices that somebody has made."""
    if isinstance(body.get("voice"), dict):
        return fields.need(fields.string(body["voice"], "id", ("voice",), min_length=1), "id", ("voice",))
    return fields.need(fields.string(body, "voice", min_length=1), "voice")
