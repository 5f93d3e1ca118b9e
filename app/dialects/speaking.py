"""What is spoken to models of speech synthesis, and what the sound is that comes back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from app.core.cost import by_units
from app.core.errors import BadRequest, UpstreamBroken
from app.core.media import Speaking
from app.core.model import Model
from app.core.sounds import PCM_RATE, Sound, SoundFormat, SpeakingRequest
from app.core.task import Call, Given, Understood
from app.core.units import sound_units, text_units
from app.core.upstream import UpstreamRequest
from app.core.usage import Usage, estimate_tokens
from app.dialects.binaries import bytes_of
from app.dialects.native import PREFIX
from app.wire.kinds import HEAD_BYTES, sound_kind
from app.wire.wave import read_wave, wave_head

TASK: Final = "Text-to-Speech"

CHARACTERS_PER_SECOND: Final = 15
"""Of speech, roughly: what a sound may cost is reckoned by its text."""

WANTED: Final = {"accept": "audio/*, application/json"}

OPENAI_VOICES: Final = (
    "alloy",
    "ash",
    "ballad",
    "coral",
    "echo",
    "fable",
    "onyx",
    "nova",
    "sage",
    "shimmer",
    "verse",
    "marin",
    "cedar",
)

KINDS: Final[Mapping[SoundFormat, str]] = MappingProxyType(
    {
        "mp3": "audio/mpeg",
        "opus": "audio/ogg",
        "aac": "audio/aac",
        "flac": "audio/flac",
        "wav": "audio/wav",
        "pcm": "audio/pcm",
    }
)
"""The media types of OpenAI's formats."""

_ENCODINGS: Final[Mapping[SoundFormat, Mapping[str, Any]]] = MappingProxyType(
    {
        "mp3": {"encoding": "mp3"},
        "opus": {"encoding": "opus", "container": "ogg"},
        "aac": {"encoding": "aac"},
        "flac": {"encoding": "flac"},
        "wav": {"encoding": "linear16", "container": "wav", "sample_rate": PCM_RATE},
        "pcm": {"encoding": "linear16", "container": "none", "sample_rate": PCM_RATE},
    }
)

_UNKNOWN: Final = Speaking()
"""A model that is newer than this package is taken to be like the youngest that is known."""

_DEFAULT_LANGUAGE: Final = "en"

_SAMPLES: Final = frozenset({"audio/l16", "audio/pcm", "audio/raw"})
"""Media types of samples without a head."""


class SpeakingDialect:
    """What models of speech synthesis are asked on ``/ai/run/{model}``."""

    name = "speaking"
    task = TASK
    verb = "speak"
    fields: Mapping[str, str] = MappingProxyType(
        {
            "text": "input",
            "prompt": "input",
            "speaker": "voice",
            "lang": "voice",
            "encoding": "response_format",
            "container": "response_format",
        }
    )

    def serves(self, model: Model) -> bool:
        """It speaks."""
        return model.task == TASK

    def write(self, request: SpeakingRequest, model: Model) -> Sequence[Call]:
        """Translate a request.

        Raises:
            BadRequest: The model does not have this voice, or does not speak in this format.
        """
        facts = model.speaking or _UNKNOWN
        sent = _with_language(request, model, facts) if facts.body == "lang" else _with_encoding(request, model, facts)
        usage = _usage(request, model, len(request.text) / CHARACTERS_PER_SECOND)
        # Only a sound in the format that was asked for needs no more than its beginning looked at.
        return [Call(sent, usage, passes=facts.body == "encoding")]

    def read(self, request: SpeakingRequest, model: Model, answers: Sequence[Given]) -> Understood[Sound]:
        """Understand the answer.

        Raises:
            UpstreamBroken: It is no sound.
            BadRequest: It is a sound in another format than the client has to have.
        """
        given = answers[0]
        data = bytes_of(given)
        kind = sound_kind(data[:HEAD_BYTES])
        if kind is None and request.format == "wav" and given.content_type in _SAMPLES:
            data, kind = wave_head(PCM_RATE, None if given.more else len(data)) + data, KINDS["wav"]
        if kind is None and request.format != "pcm":
            raise UpstreamBroken("Workers AI sent a sound of an unknown kind.")
        usage = _usage(request, model, _seconds(data, kind, request))
        facts = model.speaking or _UNKNOWN
        data, kind = _as_wanted(request, data, kind, own_format=facts.body == "lang")
        return Understood(Sound(data, kind, given.more), usage)


def check_voice(request: SpeakingRequest, facts: Speaking) -> str | None:
    """The model's own name for the voice that is asked for; ``None`` where it has no such choice.

    Raises:
        BadRequest: It has no such voice.
    """
    voice = request.voice.lower()
    if voice in facts.voices or not facts.voices:
        # Of a model whose voices are not known only OpenAI's names are known not to be among them.
        return None if voice in OPENAI_VOICES and not facts.voices else voice
    if voice in facts.stand_ins:
        return facts.stand_ins[voice]
    if voice in OPENAI_VOICES:
        return None
    shown = ", ".join(f"'{name}'" for name in (*OPENAI_VOICES, *facts.voices))
    raise BadRequest(
        f"Invalid value: '{request.voice[:64]}'. Supported values are: {shown}.", param="voice", code="invalid_value"
    )


def _with_encoding(request: SpeakingRequest, model: Model, facts: Speaking) -> UpstreamRequest:
    voice = check_voice(request, facts)
    body = {"text": request.text, **_ENCODINGS[request.format or "mp3"]}
    if voice is not None:
        body["speaker"] = voice
    dropped = ("voice",) if voice is None else ()
    return UpstreamRequest(PREFIX + model.id, body, stream=False, headers=WANTED, dropped=dropped)


def _with_language(request: SpeakingRequest, model: Model, facts: Speaking) -> UpstreamRequest:
    """For a model that speaks in one voice of each language, and in the format that it likes."""
    if request.format in {"opus", "aac", "flac"}:
        raise _cannot(request, "'wav'")
    language = check_voice(request, facts)
    body = {"prompt": request.text, "lang": language or _DEFAULT_LANGUAGE}
    dropped = ("voice",) if language is None else ()
    return UpstreamRequest(PREFIX + model.id, body, stream=False, headers=WANTED, dropped=dropped)


def _as_wanted(request: SpeakingRequest, data: bytes, kind: str | None, *, own_format: bool) -> tuple[bytes, str]:
    """The sound in the client's format, with its media type."""
    wanted = None if request.format is None else KINDS[request.format]
    if wanted is None or kind == wanted:
        return data, kind or KINDS["pcm"]
    if request.format == "pcm":
        wave = read_wave(data)
        if wave is None:
            if own_format:
                raise _cannot(request, f"'{_short(kind)}'")
            return data, wanted
        if not wave.pcm or (wave.rate, wave.channels, wave.bits) != (PCM_RATE, 1, 16):
            raise _cannot(request, f"'wav', with {wave.rate} samples a second")
        return data[wave.offset : wave.offset + wave.size], wanted
    if not own_format:
        # It was told the format and has kept another: its bytes are told for what they are.
        return data, kind or wanted
    raise _cannot(request, f"'{_short(kind)}'")


def _short(kind: str | None) -> str:
    return next((name for name, other in KINDS.items() if other == kind), "another format")


def _seconds(data: bytes, kind: str | None, request: SpeakingRequest) -> float:
    wave = read_wave(data) if kind == "audio/wav" else None
    return wave.seconds if wave is not None else len(request.text) / CHARACTERS_PER_SECOND


def _usage(request: SpeakingRequest, model: Model, seconds: float) -> Usage:
    neurons = by_units(model, {**text_units(request.text), **sound_units(seconds)})
    return Usage(estimate_tokens(request.text), 0, neurons=neurons, source="estimated")


def _cannot(request: SpeakingRequest, speaks: str) -> BadRequest:
    return BadRequest(
        f"Unsupported value: 'response_format' does not support '{request.format}' with the model '{request.model}', "
        f"which speaks {speaks}.",
        param="response_format",
        code="unsupported_value",
    )
