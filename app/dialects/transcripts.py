"""What models of speech recognition answer, in whichever of their shapes, as one transcript."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from app.core.errors import UpstreamBroken
from app.core.sounds import Segment, Transcript, Word
from app.dialects.scalars import amount_of

LONGEST_SEGMENT: Final = 10.0
"""Of words that come without segments, so many seconds are put into one at most."""

LONGEST_PAUSE: Final = 1.5
"""A silence of so many seconds begins a new one."""

MOST_SECONDS: Final = 10**6
"""A time past this is none."""

_ENDS: Final = (".", "!", "?", "\u3002", "\uff1f", "\uff01")

_CUE: Final = re.compile(
    r"(?:(\d{1,4}):)?(\d{2}):(\d{2})[.,](\d{3})[ \t]+-->[ \t]+(?:(\d{1,4}):)?(\d{2}):(\d{2})[.,](\d{3})[^\n]*\n"
    r"((?:[^\n]+\n?)*)"
)
"""A cue of WebVTT: when it begins, when it ends, and its lines."""


def read_transcript(result: Any, seconds: float = 0.0) -> Transcript:  # noqa: ANN401 - whatever the upstream sent
    """Read what a model heard.

    Args:
        result: What came, out of its envelope.
        seconds: How long the sound is, where that is known.

    Raises:
        UpstreamBroken: It is no transcript.
    """
    if not isinstance(result, dict):
        raise UpstreamBroken("Workers AI sent a transcript that cannot be read.")
    if isinstance(result.get("results"), dict):
        return _of_channels(result["results"], seconds, result)
    text = result.get("text")
    if not isinstance(text, str):
        raise UpstreamBroken("Workers AI sent a transcript that cannot be read.")
    info = _object(result.get("transcription_info"))
    rows = _objects(result.get("segments"))
    vtt = result.get("vtt") if isinstance(result.get("vtt"), str) else None
    words = _words(result.get("words"), "word") or [word for row in rows for word in _words(row.get("words"), "word")]
    segments = [_segment(row) for row in rows] or list(_cues(vtt or "")) or list(_grouped(words))
    heard = _seconds(info.get("duration")) or seconds or _last(segments, words)
    return Transcript(
        text.strip(),
        _language(info.get("language")),
        heard,
        segments or _whole(text, heard),
        words,
        vtt,
        _neurons(result),
    )


def _of_channels(results: Mapping[str, Any], seconds: float, result: Mapping[str, Any]) -> Transcript:
    """The shape of models that hear several channels: the best reading of the first one counts."""
    channels = _objects(results.get("channels"))
    readings = _objects(channels[0].get("alternatives")) if channels else []
    if not readings or not isinstance(readings[0].get("transcript"), str):
        raise UpstreamBroken("Workers AI sent a transcript that cannot be read.")
    best = readings[0]
    words = _words(best.get("words"), "punctuated_word", "word")
    segments = list(_grouped(words, _certainty(best.get("confidence"))))
    heard = _seconds(_object(result.get("metadata")).get("duration")) or seconds or _last(segments, words)
    text = best["transcript"].strip()
    language = _language(channels[0].get("detected_language"))
    return Transcript(text, language, heard, segments or _whole(text, heard), words, None, _neurons(result))


def _segment(row: Mapping[str, Any]) -> Segment:
    ratio = row.get("compression_ratio")
    return Segment(
        str(row.get("text", "")),
        _seconds(row.get("start")),
        _seconds(row.get("end")),
        _number(row.get("temperature")),
        _number(row.get("avg_logprob")),
        _number(row.get("no_speech_prob")),
        None if ratio is None else _number(ratio),
    )


def _words(rows: object, *keys: str) -> list[Word]:
    words: list[Word] = []
    for row in _objects(rows):
        text = next((row[key] for key in keys if isinstance(row.get(key), str)), None)
        if text is not None:
            words.append(Word(text.strip(), _seconds(row.get("start")), _seconds(row.get("end"))))
    return words


def _cues(vtt: str) -> Iterator[Segment]:
    for found in _CUE.finditer(vtt.replace("\r", "")):
        times = [int(part or 0) for part in found.groups()[:8]]
        text = " ".join(found.group(9).split())
        yield Segment(text, _moment(times[:4]), _moment(times[4:]))


def _moment(parts: Sequence[int]) -> float:
    hours, minutes, seconds, thousandths = parts
    return float(hours * 3600 + minutes * 60 + seconds) + thousandths / 1000


def _grouped(words: Sequence[Word], logprob: float = 0.0) -> Iterator[Segment]:
    """Put words into segments: to the end of a sentence, to a pause, and not for too long."""
    group: list[Word] = []
    for word in words:
        if group and (
            group[-1].text.endswith(_ENDS)
            or word.start - group[-1].end > LONGEST_PAUSE
            or word.end - group[0].start > LONGEST_SEGMENT
        ):
            yield _joined(group, logprob)
            group = []
        group.append(word)
    if group:
        yield _joined(group, logprob)


def _joined(group: Sequence[Word], logprob: float) -> Segment:
    text = " ".join(word.text for word in group)
    return Segment(text, group[0].start, group[-1].end, avg_logprob=logprob)


def _whole(text: str, seconds: float) -> Sequence[Segment]:
    """All of a text, where nothing tells when its parts were said."""
    return [Segment(text.strip(), 0.0, seconds)] if text.strip() else []


def _last(segments: Sequence[Segment], words: Sequence[Word]) -> float:
    return max((*(segment.end for segment in segments[-1:]), *(word.end for word in words[-1:])), default=0.0)


def _certainty(confidence: object) -> float:
    """The logarithm of a probability; 0, which is certainty, where none is told."""
    value = _number(confidence)
    return math.log(value) if 0 < value <= 1 else 0.0


def _language(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _seconds(value: object) -> float:
    number = _number(value)
    return number if 0 <= number <= MOST_SECONDS else 0.0


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: object) -> list[Mapping[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def _neurons(result: Mapping[str, Any]) -> float | None:
    """What the upstream says that it cost, where it says so."""
    return amount_of(_object(result.get("usage")).get("neurons")) or None
