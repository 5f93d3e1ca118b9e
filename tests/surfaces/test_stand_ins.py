"""OpenAI's names for models that hear, speak and draw."""

import pytest

from app.catalog.catalogue import build
from app.catalog.facts import bundled
from app.surfaces.stand_ins import CHANGING, DRAWING, HEARING, SPEAKING, stand_in

CATALOGUE = build(bundled())


@pytest.mark.parametrize(
    ("names", "ability"), [(HEARING, "hearing"), (SPEAKING, "speaking"), (DRAWING, "drawing"), (CHANGING, "drawing")]
)
def test_every_name_means_a_model_that_can_do_it(names, ability):
    for name in names:
        model = CATALOGUE.resolve(stand_in(name, names))
        assert getattr(model, ability) is not None
        if names is CHANGING:
            assert model.drawing.source is not None


def test_names_may_have_a_date_and_capitals():
    assert stand_in("GPT-4o-mini-transcribe-2025-12-15", HEARING) == HEARING["whisper-1"]
    assert stand_in("gpt-4o-mini-tts-2025-03-20", SPEAKING) == SPEAKING["tts-1"]
    assert stand_in("whisper-2", HEARING) is None
    assert stand_in("tts-1", HEARING) is None
