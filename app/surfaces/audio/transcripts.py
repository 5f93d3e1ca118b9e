"""Writing transcripts: as JSON, as text, as subtitles, and as events."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

from app.core.sounds import HearingRequest, Segment, Transcript
from app.core.task import JSON, TaskReply
from app.surfaces.audio.languages import name_of
from app.surfaces.events import EVENT_STREAM, events
from app.wire.codec import encode

PLAIN: Final = "text/plain; charset=utf-8"
VTT: Final = "text/vtt; charset=utf-8"


def reply(request: HearingRequest, heard: Transcript) -> TaskReply:
    """The answer in the format that the client wants."""
    if request.stream:
        return TaskReply(_events(heard), EVENT_STREAM)
    match request.format:
        case "text":
            return TaskReply(f"{heard.text}\n".encode(), PLAIN)
        case "srt":
            return TaskReply(srt(heard.segments).encode(), PLAIN)
        case "vtt":
            return TaskReply((heard.vtt or vtt(heard.segments)).encode(), VTT)
        case "verbose_json":
            return TaskReply(encode(_verbose(request, heard)), JSON)
    return TaskReply(encode({"text": heard.text, "usage": _usage(heard)}), JSON)


def srt(segments: Sequence[Segment]) -> str:
    """Write SubRip subtitles."""
    return "".join(
        f"{number}\n{_moment(segment.start, ',')} --> {_moment(segment.end, ',')}\n{_line(segment)}\n\n"
        for number, segment in enumerate(segments, start=1)
    )


def vtt(segments: Sequence[Segment]) -> str:
    """Write WebVTT subtitles."""
    cues = [f"{_moment(one.start, '.')} --> {_moment(one.end, '.')}\n{_line(one)}\n\n" for one in segments]
    return "WEBVTT\n\n" + "".join(cues)


def _line(segment: Segment) -> str:
    # A blank line would end the cue, and an arrow would begin another one.
    return " ".join(segment.text.split()).replace("-->", "->")


def _moment(seconds: float, point: str) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}{point}{thousandths:03}"


def _verbose(request: HearingRequest, heard: Transcript) -> dict[str, Any]:
    body: dict[str, Any] = {
        "task": "translate" if request.translate else "transcribe",
        "language": name_of(heard.language),
        "duration": heard.seconds,
        "text": heard.text,
    }
    if request.segments:
        body["segments"] = [_segment(number, segment) for number, segment in enumerate(heard.segments)]
    if request.words:
        body["words"] = [{"word": word.text, "start": word.start, "end": word.end} for word in heard.words]
    if not request.translate:
        body["usage"] = _usage(heard)
    return body


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    ratio = segment.compression_ratio
    return {
        "id": number,
        "seek": 0,
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "tokens": [],
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": _compression(segment.text) if ratio is None else ratio,
        "no_speech_prob": segment.no_speech_prob,
    }


def _compression(text: str) -> float:
    """How much a text repeats itself, as Whisper reckons it."""
    data = text.encode("utf-8", "replace")
    return len(data) / len(zlib.compress(data))


def _usage(heard: Transcript) -> dict[str, Any]:
    return {"type": "duration", "seconds": heard.seconds}


def _events(heard: Transcript) -> bytes:
    """The events of a transcript that is whole: its pieces add up to its text."""
    pieces = _pieces(heard)
    deltas = [{"type": "transcript.text.delta", "delta": piece} for piece in pieces]
    return events([*deltas, {"type": "transcript.text.done", "text": heard.text}])


def _pieces(heard: Transcript) -> Sequence[str]:
    pieces: list[str] = []
    place = 0
    for segment in heard.segments:
        found = heard.text.find(segment.text.strip(), place)
        if found < 0:
            # The pieces are not those of the text: it is given whole.
            return [heard.text]
        end = found + len(segment.text.strip())
        pieces.append(heard.text[place:end])
        place = end
    if rest := heard.text[place:]:
        pieces.append(rest)
    return [piece for piece in pieces if piece]
