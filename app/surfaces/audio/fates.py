"""What becomes of each field of a request about sound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from app.surfaces.fates import Fate

TRANSCRIPTION_FATES: Final[Mapping[str, Fate]] = {
    "file": Fate("mapped", "What it is, is seen from its bytes: MP3, MP4, M4A, WAV, WebM, Ogg, FLAC or AAC."),
    "model": Fate("mapped", "Names the model; `whisper-1` and OpenAI's other names mean `whisper-large-v3-turbo`."),
    "prompt": Fate("mapped", "What comes first for `whisper-large-v3-turbo`; left out and told elsewhere."),
    "response_format": Fate("mapped", "`json`, `text`, `srt`, `vtt`, `verbose_json`; others are refused."),
    "temperature": Fate("dropped", "More than 0 is told in the header: no model on Workers AI has it."),
    "language": Fate("mapped", "Left out and told where the model has no such choice; Whisper itself finds it out."),
    "timestamp_granularities": Fate("mapped", "`segment` and `word`, in `verbose_json`."),
    "stream": Fate("emulated", "The events come when all is heard, one for each piece; with `json` and `text` only."),
    "languages": Fate("mapped", "One is taken as `language`; several are left out and told."),
    "keywords": Fate("dropped", "Told in the header."),
    "include": Fate("dropped", "Told in the header: no model on Workers AI gives logprobs."),
    "chunking_strategy": Fate("dropped", "Other values than `auto` are told in the header: the whole sound is heard."),
    "known_speaker_names": Fate("dropped", "Told in the header: speakers are not told apart."),
    "known_speaker_references": Fate("dropped", "Told in the header: speakers are not told apart."),
}
"""Every field of OpenAI's schema."""

TRANSLATION_FATES: Final[Mapping[str, Fate]] = {
    name: TRANSCRIPTION_FATES[name] for name in ("file", "model", "prompt", "response_format", "temperature")
}

SPEECH_FATES: Final[Mapping[str, Fate]] = {
    "model": Fate("mapped", "Names the model; `tts-1`, `tts-1-hd` and `gpt-4o-mini-tts` mean `aura-2-en`."),
    "input": Fate("mapped", "What is said; at most 4,096 characters."),
    "voice": Fate("mapped", "A voice of the model by its own name, or one of OpenAI's, for which a like one is taken."),
    "response_format": Fate(
        "mapped",
        "All six with Aura. MeloTTS speaks WAV (or MP3, as it likes): others are refused, and when nothing is asked "
        "for the content type says what it is.",
    ),
    "stream_format": Fate("mapped", "`audio` gives the bytes as they come; `sse` gives events."),
    "speed": Fate("dropped", "Other values than 1 are told in the header: no model on Workers AI has it."),
    "instructions": Fate("dropped", "Told in the header: no model on Workers AI takes any."),
}
"""Every field of OpenAI's schema."""
