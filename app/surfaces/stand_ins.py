"""OpenAI's names for models, which many programs send without asking anybody, and what is meant by them here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_WHISPER = "@cf/openai/whisper-large-v3-turbo"
_AURA = "@cf/deepgram/aura-2-en"
_FLUX = "@cf/black-forest-labs/flux-1-schnell"
_FLUX_2 = "@cf/black-forest-labs/flux-2-klein-4b"

HEARING: Final[Mapping[str, str]] = MappingProxyType(
    dict.fromkeys(("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"), _WHISPER)
)

SPEAKING: Final[Mapping[str, str]] = MappingProxyType(dict.fromkeys(("tts-1", "tts-1-hd", "gpt-4o-mini-tts"), _AURA))

_GPT_IMAGES = ("gpt-image-1", "gpt-image-1-mini", "gpt-image-1.5", "chatgpt-image-latest")

DRAWING: Final[Mapping[str, str]] = MappingProxyType(
    {**dict.fromkeys(("dall-e-2", "dall-e-3"), _FLUX), **dict.fromkeys(_GPT_IMAGES, _FLUX_2)}
)

CHANGING: Final[Mapping[str, str]] = MappingProxyType(dict.fromkeys(("dall-e-2", *_GPT_IMAGES), _FLUX_2))
"""For models that are given a picture."""

_DATE: Final = re.compile(r"-\d{4}-\d{2}-\d{2}$")


def stand_in(name: str, names: Mapping[str, str]) -> str | None:
    """What is meant by a name, be it with a date; ``None`` when it is none of these."""
    return names.get(_DATE.sub("", name.lower()))
