"""What is spoken to models of speech recognition, each of which wants its sound in another form."""

from __future__ import annotations

import binascii
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import quote

from msgspec.structs import replace

from app.core.cost import by_units
from app.core.errors import BadRequest
from app.core.media import Hearing
from app.core.model import Model
from app.core.sounds import HearingRequest, Transcript
from app.core.task import Call, Given, Understood
from app.core.units import sound_units
from app.core.upstream import UpstreamRequest
from app.core.usage import Usage
from app.dialects.native import PREFIX
from app.dialects.transcripts import read_transcript
from app.wire.codec import encode
from app.wire.wave import read_wave

TASK: Final = "Automatic Speech Recognition"

BYTES_PER_SECOND: Final = 6_000
"""Of a compressed sound: what it may cost is reckoned by its size, before anybody has heard it."""

_UNKNOWN: Final = Hearing()
"""A model that is newer than this package is taken to be like the youngest that is known."""

_QUERY: Final = "?punctuate=true&smart_format=true"
"""OpenAI's transcripts have punctuation; these models leave it out unless it is asked for."""


class HearingDialect:
    """What models of speech recognition are asked on ``/ai/run/{model}``."""

    name = "hearing"
    task = TASK
    verb = "recognise speech"
    fields: Mapping[str, str] = MappingProxyType(
        {"audio": "file", "language": "language", "initial_prompt": "prompt", "task": "model"}
    )

    def serves(self, model: Model) -> bool:
        """It recognises speech."""
        return model.task == TASK

    def write(self, request: HearingRequest, model: Model) -> Sequence[Call]:
        """Translate a request.

        Raises:
            BadRequest: The model cannot do what is asked.
        """
        facts = model.hearing or _UNKNOWN
        _check(request, model, facts)
        if facts.body == "base64":
            sent = _with_options(request, model)
        elif facts.body == "query":
            sent = _with_query(request, model)
        else:
            sent = _bare(request, model)
        return [Call(sent, _usage(model, _expected_seconds(request)))]

    def read(self, request: HearingRequest, model: Model, answers: Sequence[Given]) -> Understood[Transcript]:
        """Understand the answer.

        Raises:
            UpstreamBroken: It is no transcript.
        """
        heard = read_transcript(answers[0].result, _length(request))
        if heard.neurons is not None:
            usage = Usage(0, 0, neurons=heard.neurons)
        else:
            usage = _usage(model, heard.seconds or _expected_seconds(request))
        # Who asked for a translation is told the language of the text.
        language = "en" if request.translate else heard.language or request.language
        return Understood(replace(heard, language=language), usage)


def _check(request: HearingRequest, model: Model, facts: Hearing) -> None:
    if facts.body == "none":
        raise BadRequest(
            f"The model '{request.model}' only listens to live streams; use another one, such as "
            "'whisper-large-v3-turbo'.",
            param="model",
            code="model_not_supported",
        )
    if request.translate and facts.body != "base64":
        raise BadRequest(
            f"The model '{request.model}' does not translate; use 'whisper-large-v3-turbo'.",
            param="model",
            code="model_not_supported",
        )
    if facts.english_only and request.language not in {None, "en"}:
        raise BadRequest(
            f"Unsupported value: 'language' does not support '{request.language}' with the model '{model.short_name}', "
            "which knows English only.",
            param="language",
            code="unsupported_value",
        )


def _with_options(request: HearingRequest, model: Model) -> UpstreamRequest:
    options: dict[str, Any] = {"task": "translate" if request.translate else "transcribe"}
    if request.language is not None:
        options["language"] = request.language
    if request.prompt:
        options["initial_prompt"] = request.prompt
    # Megabytes of base64 are put in as they are: an encoder would look at each character, and nobody else got a turn.
    audio = binascii.b2a_base64(request.sound, newline=False)
    content = b"".join([b'{"audio":"', audio, b'",', encode(options)[1:]])
    return UpstreamRequest(PREFIX + model.id, options, stream=False, content=content)


def _with_query(request: HearingRequest, model: Model) -> UpstreamRequest:
    # Without a language these models take everything for English, unless they are told to find out.
    language = "detect_language=true" if request.language is None else f"language={quote(request.language, safe='')}"
    dropped = ("prompt",) if request.prompt else ()
    return _raw(request, f"{PREFIX}{model.id}{_QUERY}&{language}", dropped)


def _bare(request: HearingRequest, model: Model) -> UpstreamRequest:
    english = model.hearing is not None and model.hearing.english_only
    dropped = {"language": request.language if not english else None, "prompt": request.prompt}
    return _raw(request, PREFIX + model.id, tuple(name for name, value in dropped.items() if value))


def _raw(request: HearingRequest, path: str, dropped: tuple[str, ...]) -> UpstreamRequest:
    headers = {"content-type": request.kind}
    return UpstreamRequest(path, {}, stream=False, headers=headers, dropped=dropped, content=request.sound)


def _length(request: HearingRequest) -> float:
    """How long the sound is, in seconds, where that can be told; else 0."""
    wave = read_wave(request.sound) if request.kind == "audio/wav" else None
    return wave.seconds if wave is not None else 0.0


def _expected_seconds(request: HearingRequest) -> float:
    return _length(request) or len(request.sound) / BYTES_PER_SECOND


def _usage(model: Model, seconds: float) -> Usage:
    return Usage(0, 0, neurons=by_units(model, sound_units(seconds)), source="estimated")
