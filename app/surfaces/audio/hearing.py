"""Reading requests for transcriptions and translations."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final, get_args

from app.core.errors import BadRequest
from app.core.sounds import HearingRequest, TranscriptFormat
from app.core.task import Upload
from app.surfaces import fields
from app.surfaces.audio.languages import code_of
from app.wire.kinds import HEAD_BYTES, sound_kind

FORMATS: Final[tuple[TranscriptFormat, ...]] = get_args(TranscriptFormat)

GRANULARITIES: Final = ("word", "segment")

STREAMED: Final = frozenset({"json", "text"})
"""The formats whose answers can be events: these hold text and nothing else."""

_LANGUAGE: Final = re.compile(r"[a-z]{2,3}")

_TOLD: Final = ("keywords", "include", "known_speaker_names", "known_speaker_references")


def read_transcription(body: Mapping[str, Any]) -> HearingRequest:
    """Check and translate a request for a transcription.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    format_ = _format(body)
    stream = fields.boolean(body, "stream") or False
    if stream and format_ not in STREAMED:
        raise fields.unsupported_value(("stream",), stream, f"Events hold no '{format_}'; use 'json' or 'text'.")
    granularities = _granularities(body)
    language, dropped = _language(body)
    dropped += [name for name in _TOLD if body.get(name)]
    chunking = body.get("chunking_strategy")
    if chunking is not None and chunking != "auto":
        dropped.append("chunking_strategy")
    return _request(
        body,
        format_,
        dropped,
        language=language,
        words="word" in granularities,
        segments="segment" in granularities or not granularities,
        stream=stream,
    )


def read_translation(body: Mapping[str, Any]) -> HearingRequest:
    """Check and translate a request for a translation into English.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    return _request(body, _format(body), [], translate=True)


def read_sound(body: Mapping[str, Any]) -> tuple[bytes, str]:
    """The sound, and what it is.

    Raises:
        BadRequest: There is none, or it is of an unknown kind.
    """
    upload = fields.need(body.get("file"), "file")
    if not isinstance(upload, Upload):
        raise fields.wrong_type(("file",), "a file", upload)
    if not upload.data:
        raise fields.invalid(("file",), "the file is empty.", "invalid_file")
    kind = sound_kind(upload.data[:HEAD_BYTES])
    if kind is None:
        reason = "its bytes are no known sound. Supported are flac, m4a, mp3, mp4, mpeg, mpga, ogg, wav, webm and aac."
        raise fields.invalid(("file",), reason, "invalid_file")
    return upload.data, kind


def _request(body: Mapping[str, Any], format_: TranscriptFormat, dropped: list[str], **more: Any) -> HearingRequest:  # noqa: ANN401 - the request's own fields
    model = fields.need(fields.string(body, "model", min_length=1), "model")
    sound, kind = read_sound(body)
    if fields.number(body, "temperature", minimum=0, maximum=1):
        dropped.append("temperature")
    return HearingRequest(
        model,
        sound,
        kind,
        prompt=fields.string(body, "prompt") or None,
        format=format_,
        dropped=tuple(dropped),
        **more,
    )


def _format(body: Mapping[str, Any]) -> TranscriptFormat:
    value = fields.string(body, "response_format")
    if value == "diarized_json":
        raise fields.unsupported_value(("response_format",), value, "Speakers are not told apart.")
    found = next((format_ for format_ in FORMATS if format_ == value), None)
    if found is None and value is not None:
        raise fields.wrong_value(("response_format",), value, FORMATS)
    return found or "json"


def _granularities(body: Mapping[str, Any]) -> Collection[str]:
    values = fields.strings(body, "timestamp_granularities") or ()
    for place, value in enumerate(values):
        if value not in GRANULARITIES:
            raise fields.wrong_value(("timestamp_granularities", place), value, GRANULARITIES)
    return values


def _language(body: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """What is spoken, and the names of fields that say what cannot be said to a model."""
    language = fields.string(body, "language") or None
    several = fields.strings(body, "languages") or ()
    dropped: list[str] = []
    if language is None and len(several) == 1:
        language = several[0]
    elif several:
        dropped.append("languages")
    if language is None:
        return None, dropped
    code = code_of(language)
    if _LANGUAGE.fullmatch(code) is None:
        raise BadRequest(
            f"Invalid language '{language[:64]}'. Language parameter must be specified in ISO-639-1 format.",
            param="language",
            code="invalid_language_format",
        )
    return code, dropped
