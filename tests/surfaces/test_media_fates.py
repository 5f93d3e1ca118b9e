"""Every field that the SDK can send about sounds and pictures has a fate that the documentation tells."""

import pytest
from openai.types import image_create_variation_params, image_edit_params, image_generate_params
from openai.types.audio import speech_create_params, transcription_create_params, translation_create_params

from app.surfaces.audio.surface import SpeechSurface, TranscriptionsSurface, TranslationsSurface
from app.surfaces.fates import fates_table
from app.surfaces.images.surface import edits, generations, variations

SENT = [
    (TranscriptionsSurface(), transcription_create_params.TranscriptionCreateParamsNonStreaming),
    (TranslationsSurface(), translation_create_params.TranslationCreateParams),
    (SpeechSurface(), speech_create_params.SpeechCreateParams),
    (generations(), image_generate_params.ImageGenerateParamsNonStreaming),
    (edits(), image_edit_params.ImageEditParamsNonStreaming),
    (variations(), image_create_variation_params.ImageCreateVariationParams),
]


@pytest.mark.parametrize(("surface", "params"), SENT, ids=lambda one: getattr(one, "name", ""))
def test_every_field_of_the_sdk_has_a_fate(surface, params):
    assert set(params.__annotations__) <= set(surface.fates)
    assert fates_table(surface).count("\n") == len(surface.fates) + 1
