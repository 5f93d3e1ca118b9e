"""What is to be heard or spoken, and what was heard, in words that belong to no surface and no dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from app.core.quiet import Quiet

SoundFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

PCM_RATE: Final = 24_000
"""Samples a second of OpenAI's ``pcm``: 16 bits, one channel, no head."""

TranscriptFormat = Literal["json", "text", "srt", "vtt", "verbose_json"]


class HearingRequest(Quiet, frozen=True):
    """A sound to be written down.

    Attributes:
        model: As the client named it.
        sound: Its bytes.
        kind: Its media type, by its bytes.
        translate: Write it in English, whatever is spoken.
        language: What is spoken, as ISO 639-1 has it; ``None`` to let the model find out.
        prompt: What came before, or words that occur.
        format: How it is written.
        words: ``verbose_json`` tells when each word was said.
        segments: Likewise of the pieces of what was said.
        stream: The client wants events.
        dropped: Fields that nothing is done with.
    """

    hidden = frozenset({"sound", "prompt"})

    model: str
    sound: bytes
    kind: str
    translate: bool = False
    language: str | None = None
    prompt: str | None = None
    format: TranscriptFormat = "json"
    words: bool = False
    segments: bool = True
    stream: bool = False
    dropped: tuple[str, ...] = ()


class Word(Struct, frozen=True):
    """One word, and when it was said, in seconds."""

    text: str
    start: float
    end: float


class Segment(Struct, frozen=True):
    """A piece of what was said.

    Attributes:
        text: What was said.
        start: When, in seconds.
        end: Until when.
        temperature: At which it was read.
        avg_logprob: How sure the model is: the mean logarithm of its tokens' probability.
        no_speech_prob: How likely nothing was said.
        compression_ratio: How much the text repeats itself; ``None`` when the model did not say.
    """

    text: str
    start: float
    end: float
    temperature: float = 0.0
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    compression_ratio: float | None = None


class Transcript(Struct, frozen=True):
    """What was heard.

    Attributes:
        text: All of it.
        language: What was spoken, as ISO 639-1 has it; ``None`` when the model did not say.
        seconds: How long the sound is, or until when something was said; 0 when nothing tells.
        segments: Its pieces, in order.
        words: Its words, in order.
        vtt: The same as WebVTT, where the model wrote it.
        neurons: What it cost, where the model says so.
    """

    text: str
    language: str | None = None
    seconds: float = 0.0
    segments: Sequence[Segment] = ()
    words: Sequence[Word] = ()
    vtt: str | None = None
    neurons: float | None = None


class SpeakingRequest(Quiet, frozen=True):
    """A text to be spoken.

    Attributes:
        model: As the client named it.
        text: What is to be said.
        voice: As the client named it: one of OpenAI's names, or one of the model's own.
        format: What the sound is to be; ``None`` for whatever the model speaks, MP3 before others.
        stream: The client wants events and not plain bytes.
        dropped: Fields that nothing is done with.
    """

    hidden = frozenset({"text"})

    model: str
    text: str
    voice: str
    format: SoundFormat | None = None
    stream: bool = False
    dropped: tuple[str, ...] = ()


class Sound(Quiet, frozen=True):
    """What was spoken.

    Attributes:
        data: Its bytes.
        kind: Its media type, by its bytes, such as ``audio/mpeg``.
        more: It is only the beginning; the rest is still coming.
    """

    hidden = frozenset({"data"})

    data: bytes
    kind: str
    more: bool = False
