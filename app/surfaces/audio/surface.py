"""The endpoints for sound as their routes know them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from app.core.model import Model
from app.core.sounds import HearingRequest, Sound, SpeakingRequest, Transcript
from app.core.surface import NewId
from app.core.task import TaskReply
from app.surfaces import stand_ins
from app.surfaces.audio import speaking, transcripts
from app.surfaces.audio.fates import SPEECH_FATES, TRANSCRIPTION_FATES, TRANSLATION_FATES
from app.surfaces.audio.hearing import read_transcription, read_translation
from app.surfaces.forms import FormFields

_FORM: Final = FormFields(
    numbers=frozenset({"temperature"}),
    booleans=frozenset({"stream"}),
    arrays=frozenset(
        {
            "timestamp_granularities",
            "include",
            "languages",
            "keywords",
            "known_speaker_names",
            "known_speaker_references",
        }
    ),
)


class TranscriptionsSurface:
    """``POST /v1/audio/transcriptions``."""

    name = "transcriptions"
    main_field = "file"
    form = _FORM
    fates = TRANSCRIPTION_FATES

    def stand_in(self, name: str) -> str | None:
        """What is meant by OpenAI's names."""
        return stand_ins.stand_in(name, stand_ins.HEARING)

    def read(self, body: Mapping[str, Any]) -> HearingRequest:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """
        return read_transcription(body)

    def answer(
        self,
        request: HearingRequest,
        result: Transcript,
        model: Model,  # noqa: ARG002 - it is told in a header
        new_id: NewId,  # noqa: ARG002 - nothing here has an id
        now: float,  # noqa: ARG002 - or a time
    ) -> TaskReply:
        """Write what was heard, in the format that the client wants."""
        return transcripts.reply(request, result)


class TranslationsSurface(TranscriptionsSurface):
    """``POST /v1/audio/translations``."""

    name = "translations"
    fates = TRANSLATION_FATES

    def read(self, body: Mapping[str, Any]) -> HearingRequest:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """
        return read_translation(body)


class SpeechSurface:
    """``POST /v1/audio/speech``."""

    name = "speech"
    main_field = "input"
    form = None
    fates = SPEECH_FATES

    def stand_in(self, name: str) -> str | None:
        """What is meant by OpenAI's names."""
        return stand_ins.stand_in(name, stand_ins.SPEAKING)

    def read(self, body: Mapping[str, Any]) -> SpeakingRequest:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """
        return speaking.read_speech(body)

    def answer(
        self,
        request: SpeakingRequest,
        result: Sound,
        model: Model,  # noqa: ARG002 - it is told in a header
        new_id: NewId,  # noqa: ARG002 - nothing here has an id
        now: float,  # noqa: ARG002 - or a time
    ) -> TaskReply:
        """Give the sound, or events that hold it."""
        return speaking.reply(request, result)
