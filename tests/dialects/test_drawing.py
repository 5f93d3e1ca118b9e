"""Prompts and pictures on their way to models that draw, and what comes back."""

from email import message_from_bytes

import pytest

from app.catalog.facts import bundled
from app.core.drawing import DrawingRequest, SourcePicture
from app.core.errors import BadRequest, UpstreamBroken
from app.core.model import Model
from app.core.task import Given
from app.dialects.drawing import MOST_SEEDS, DrawingDialect
from app.dialects.forms import Field, form_of
from app.emulator import media

MODELS = bundled().models
SCHNELL = MODELS["@cf/black-forest-labs/flux-1-schnell"]
FLUX_2 = MODELS["@cf/black-forest-labs/flux-2-dev"]
KLEIN = MODELS["@cf/black-forest-labs/flux-2-klein-4b"]
SDXL = MODELS["@cf/stabilityai/stable-diffusion-xl-base-1.0"]
DIALECT = DrawingDialect(lambda: MOST_SEEDS - 1)
PNG = SourcePicture(media.png(4, 4, 1), "image/png", "image")


def written(model, prompt="a cat", **more):
    return [call.request for call in DIALECT.write(DrawingRequest("m", prompt, **more), model)]


def parts(request):
    content_type = request.headers["content-type"].encode()
    message = message_from_bytes(b"content-type: " + content_type + b"\r\n\r\n" + request.content)
    names = [part.get_param("name", header="content-disposition") for part in message.get_payload()]
    return dict(zip(names, (part.get_payload(decode=True) for part in message.get_payload()), strict=True))


def test_every_model_that_draws_is_known():
    assert all(model.drawing is not None for model in MODELS.values() if DIALECT.serves(model))


def test_each_picture_has_a_seed_of_its_own_below_the_bound():
    assert [sent.json["seed"] for sent in written(SDXL, count=3)] == [MOST_SEEDS - 1, 0, 1]
    assert [sent.json["seed"] for sent in written(SDXL, count=2, seed=7)] == [7, 8]
    assert "seed" not in written(SDXL)[0].json
    assert [sent.json for sent in written(SCHNELL, count=2)] == [{"prompt": "a cat"}] * 2


@pytest.mark.parametrize(
    ("wanted", "sent", "changed"),
    [((512, 768), (512, 768), ()), ((500, 100), (496, 256), ("size",)), ((4096, 4), (2048, 256), ("size",))],
)
def test_sizes_are_brought_to_what_the_model_can(wanted, sent, changed):
    (request,) = written(SDXL, size=wanted)
    assert (request.json["width"], request.json["height"]) == sent
    assert request.adjusted == changed


def test_the_one_size_of_a_model_is_no_loss_when_it_is_the_one_wanted():
    assert written(SCHNELL, size=(1024, 1024))[0].dropped == ()
    assert written(SCHNELL, size=(512, 512))[0].dropped == ("size",)


@pytest.mark.parametrize(
    ("model", "field", "steps"),
    [(SCHNELL, "steps", {"low": 2, "high": 8}), (SDXL, "num_steps", {"low": 8, "high": 20})],
)
def test_quality_is_a_matter_of_steps(model, field, steps):
    for quality, number in steps.items():
        assert written(model, quality=quality)[0].json[field] == number
    for quality in ("medium", None):
        assert field not in written(model, quality=quality)[0].json
    (request,) = written(model, steps=500)
    assert (request.json[field], request.adjusted) == (model.drawing.steps.most, ("steps",))


def test_knobs_that_a_model_does_not_have_are_told():
    knobs = {"seed": 1, "guidance": 3.5, "negative_prompt": "dogs", "strength": 0.5, "quality": "high", "steps": 3}
    (request,) = written(SCHNELL, **knobs)
    assert request.dropped == ("seed", "guidance", "negative_prompt", "strength")
    (request,) = written(KLEIN, **knobs)
    assert set(request.dropped) == {"negative_prompt", "strength", "steps"}
    assert written(KLEIN, quality="high")[0].dropped == ("quality",)


def test_forms_hold_texts_and_pictures():
    (request,) = written(FLUX_2, size=(512, 512), seed=5, pictures=[PNG, PNG])
    assert parts(request) == {
        "prompt": b"a cat",
        "width": b"512",
        "height": b"512",
        "seed": b"5",
        "input_image_0": PNG.data,
        "input_image_1": PNG.data,
    }


def test_a_forms_boundary_is_not_among_what_it_parts():
    first, _ = form_of([Field("prompt", "a")])
    boundary = first.partition("boundary=")[2]
    second, body = form_of([Field("prompt", f"\r\n--{boundary}\r\nContent-Disposition: form-data; name=x\r\n\r\ny")])
    assert boundary not in second
    assert body.count(second.partition("boundary=")[2].encode()) == 2


@pytest.mark.parametrize(
    ("model", "more", "param"),
    [
        (SCHNELL, {"prompt": "x" * 2049}, "prompt"),
        (SCHNELL, {"pictures": [PNG]}, "model"),
        (FLUX_2, {"pictures": [PNG] * 5}, "image"),
        (FLUX_2, {"pictures": [PNG], "mask": PNG}, "mask"),
        (MODELS["@cf/runwayml/stable-diffusion-v1-5-img2img"], {}, "model"),
        (MODELS["@cf/runwayml/stable-diffusion-v1-5-img2img"], {"pictures": [PNG] * 2}, "image"),
        (MODELS["@cf/runwayml/stable-diffusion-v1-5-inpainting"], {"pictures": [PNG]}, "mask"),
    ],
)
def test_what_a_model_cannot_draw_is_refused(model, more, param):
    with pytest.raises(BadRequest) as refused:
        written(model, **more)
    assert refused.value.param == param


def test_a_model_that_nobody_knows_gets_json():
    (request,) = written(Model("@cf/new/painter", DIALECT.task), size=(512, 512), seed=1)
    assert request.json == {"prompt": "a cat", "width": 512, "height": 512, "seed": 1}


@pytest.mark.parametrize(
    ("model", "size", "usd"),
    [
        (SCHNELL, 1024, 4 * 0.0000528 + 4 * 0.0001056),
        (KLEIN, 512, 0.000287),
        (FLUX_2, 512, 25 * 0.00041),
        (MODELS["@cf/black-forest-labs/flux-2-klein-9b"], 1024, 0.015),
        (SDXL, 512, 0.0),
    ],
)
def test_a_picture_costs_by_its_size_and_its_steps(model, size, usd):
    request = DrawingRequest("m", "a cat", 2)
    answers = [Given("image/png", media.png(size, size, 1))] * 2
    usage = DIALECT.read(request, model, answers).usage
    assert usage.neurons == pytest.approx(2 * usd / 0.000011)


def test_pictures_that_are_given_cost_as_well():
    plain, with_one = (
        DIALECT.write(DrawingRequest("m", "a cat", pictures=pictures), FLUX_2)[0].estimate.neurons
        for pictures in ([], [PNG])
    )
    assert with_one - plain == pytest.approx(4 * 25 * 0.00021 / 0.000011)


@pytest.mark.parametrize("data", [b"", b"no picture", media.wav()])
def test_what_is_no_picture_is_a_failure(data):
    with pytest.raises(UpstreamBroken):
        DIALECT.read(DrawingRequest("m", "x"), SDXL, [Given("image/png", data)])
