"""What sounds and pictures are counted by, and what that costs."""

import pytest

from app.catalog.catalogue import build
from app.catalog.facts import bundled
from app.core.cost import USD_PER_NEURON, by_units
from app.core.model import Model, Price
from app.core.units import picture_units, sound_units, text_units

MODELS = build(bundled())


def usd(name, amounts):
    return by_units(MODELS.resolve(name), amounts) * USD_PER_NEURON


@pytest.mark.parametrize(
    ("name", "amounts", "expected"),
    [
        ("whisper", sound_units(90), 1.5 * 0.0005),
        # The price of its WebSocket does not count.
        ("nova-3", sound_units(60), 0.0052),
        ("aura-1", text_units("x" * 500), 0.5 * 0.015),
        ("melotts", {**text_units("x" * 500), **sound_units(30)}, 0.5 * 0.0002),
        ("flux-1-schnell", picture_units(1024, 1024, 4), 4 * 5.28e-05 + 4 * 0.0001056),
        ("flux-1-schnell", picture_units(513, 1, 1), 2 * 5.28e-05 + 0.0001056),
        ("flux-2-dev", picture_units(512, 512, 10, 2), 10 * 0.00041 + 20 * 0.00021),
        ("flux-2-klein-4b", picture_units(512, 1024, 4, 1), 2 * 0.000287 + 2 * 5.9e-05),
        ("flux-2-klein-9b", picture_units(1000, 1000, 4), 0.015),
        ("flux-2-klein-9b", picture_units(1024, 2048, 4, 3), 0.015 + 0.002 + 3 * 2 * 0.002),
        ("stable-diffusion-xl-base-1.0", picture_units(1024, 1024, 20), 0),
    ],
)
def test_a_model_costs_what_its_own_units_do(name, amounts, expected):
    assert usd(name, amounts) == pytest.approx(expected)


def test_units_are_found_however_they_are_spelled():
    model = Model("@cf/a/b", price=Price(units=(("per Audio Minute", 0.011),)))
    assert by_units(model, sound_units(60)) == pytest.approx(1000)
