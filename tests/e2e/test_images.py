"""Pictures made, changed and served, by the official SDK and by hand."""

import base64
import json
import socket
import zlib
from urllib.parse import urlsplit

import httpx
import pytest
from openai import BadRequestError

from app.emulator import media
from app.emulator.server import create_emulator
from tests.conftest import ACCOUNT, TOKEN
from tests.e2e.test_limits import NO_TLS, running
from tests.serving import serving, until

PICTURE = ("cat.png", media.png(8, 8, 7))
SDXL = "stable-diffusion-xl-base-1.0"
INPAINTING = "stable-diffusion-v1-5-inpainting"


def sent(control):
    return [record for record in control.get("/requests").json() if record["method"] == "POST"]


def decoded(images):
    return [base64.b64decode(image.b64_json) for image in images.data]


def size_of(picture):
    return int.from_bytes(picture[16:20], "big"), int.from_bytes(picture[20:24], "big")


def shade_of(picture):
    """The one shade of grey of an emulated picture."""
    place = picture.index(b"IDAT")
    size = int.from_bytes(picture[place - 4 : place], "big")
    return zlib.decompress(picture[place + 4 : place + 4 + size])[1]


@pytest.mark.parametrize("model", ["gpt-image-1", "flux-1-schnell", "phoenix-1.0", "lucid-origin", SDXL])
def test_a_picture_is_drawn(sdk, model):
    images = sdk.images.generate(model=model, prompt="a cat")
    (picture,) = decoded(images)
    assert picture.startswith(b"\x89PNG" if images.output_format == "png" else b"\xff\xd8\xff")
    assert images.created > 1_700_000_000
    assert images.background == "opaque"


async def test_three_pictures_are_three_calls_with_seeds_of_their_own(async_sdk, control):
    images = await async_sdk.images.generate(model=SDXL, prompt="a cat", n=3, size="256x256", extra_body={"seed": 40})
    assert sorted(record["body"]["seed"] for record in sent(control)) == [40, 41, 42]
    assert [shade_of(picture) for picture in decoded(images)] == [40, 41, 42]
    images = await async_sdk.images.generate(model=SDXL, prompt="a cat", n=3, size="256x256")
    assert len({record["body"]["seed"] for record in sent(control)[3:]}) == 3
    assert len(images.data) == 3


def test_sizes_and_qualities_reach_models_that_have_them(sdk, control):
    raw = sdk.images.with_raw_response.generate(model=SDXL, prompt="a cat", size="1001x513", quality="hd")
    body = sent(control)[-1]["body"]
    assert (body["width"], body["height"], body["num_steps"]) == (1000, 512, 20)
    assert raw.headers["x-flarelay-adjusted"] == "size"
    images = raw.parse()
    assert (images.size, images.quality) == ("1000x512", "high")
    assert size_of(decoded(images)[0]) == (1000, 512)


def test_what_a_model_does_not_have_is_told(sdk, control):
    raw = sdk.images.with_raw_response.generate(
        model="dall-e-3", prompt="a cat", size="1792x1024", quality="hd", style="vivid", output_format="webp", user="me"
    )
    assert sent(control)[-1]["body"] == {"prompt": "a cat", "steps": 8}
    assert set(raw.headers["x-flarelay-dropped"].split(",")) == {"size", "style", "output_format"}


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"model": "dall-e-2"}, "url"),
        ({}, "url"),
        ({"model": "dall-e-2", "response_format": "b64_json"}, "b64_json"),
        ({"model": "gpt-image-1"}, "b64_json"),
        ({"model": "flux-1-schnell"}, "b64_json"),
        ({"model": "flux-1-schnell", "response_format": "url"}, "url"),
    ],
)
def test_pictures_are_named_or_held_as_at_openai(sdk, asked, named):
    (image,) = sdk.images.generate(prompt="a cat", **asked).data
    assert (image.url is not None, image.b64_json is not None) == (named == "url", named == "b64_json")


def test_a_url_is_served_to_whoever_knows_it(sdk, proxy):
    images = sdk.images.generate(model="gpt-image-1", prompt="a cat", n=2, response_format="url")
    urls = [image.url for image in images.data]
    assert len(set(urls)) == 2
    for url in urls:
        assert url.startswith(f"{proxy}/v1/images/temporary/")
        answer = httpx.get(url, trust_env=False)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert size_of(answer.content) == (1024, 1024)
    assert httpx.head(urls[0], trust_env=False).content == b""


@pytest.mark.parametrize("name", ["0" * 32, "..%2f..%2fetc%2fpasswd", "x", "%00", "A" * 5000])
def test_other_addresses_lead_nowhere(http, name):
    answer = http.get(f"/v1/images/temporary/{name}")
    assert answer.status_code == 404
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_the_upstream_form_holds_what_was_asked(sdk):
    images = sdk.images.generate(model="flux-2-dev", prompt="a cat", size="512x768", extra_body={"seed": 9})
    (picture,) = decoded(images)
    assert size_of(picture) == (512, 768)
    assert shade_of(picture) == 9


async def test_a_stream_has_the_picture_as_one_event(async_sdk):
    stream = await async_sdk.images.generate(model="gpt-image-1", prompt="a cat", stream=True, partial_images=2)
    (event,) = [event async for event in stream]
    assert event.type == "image_generation.completed"
    assert base64.b64decode(event.b64_json).startswith(b"\x89PNG")
    assert (event.size, event.output_format, event.usage.input_tokens > 0) == ("1024x1024", "png", True)


@pytest.mark.parametrize("image", [PICTURE, [PICTURE, PICTURE]], ids=["one", "two"])
def test_a_picture_is_changed_by_a_model_that_takes_references(sdk, control, image):
    images = sdk.images.edit(model="gpt-image-1", image=image, prompt="add a hat", size="512x512")
    assert size_of(decoded(images)[0]) == (512, 512)
    record = sent(control)[-1]
    assert record["path"].endswith("@cf/black-forest-labs/flux-2-klein-4b")
    assert record["headers"]["content-type"].startswith("multipart/form-data; boundary=")


def test_a_picture_is_drawn_anew(sdk, control):
    images = sdk.images.edit(
        model="stable-diffusion-v1-5-img2img", image=PICTURE, prompt="a dog", extra_body={"strength": 0.4}
    )
    assert decoded(images)[0].startswith(b"\x89PNG")
    body = sent(control)[-1]["body"]
    assert (base64.b64decode(body["image_b64"]), body["strength"]) == (PICTURE[1], 0.4)


def mask(alphas):
    """A PNG with an alpha channel, one row for each list of alphas."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    rows = b"".join(b"\0" + b"".join(bytes([9, 9, 9, alpha]) for alpha in row) for row in alphas)
    head = len(alphas[0]).to_bytes(4, "big") + len(alphas).to_bytes(4, "big") + bytes([8, 6, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_what_is_transparent_in_a_mask_is_drawn(sdk, control):
    sdk.images.edit(model=INPAINTING, image=PICTURE, mask=("m.png", mask([[0, 255], [255, 0]])), prompt="a dog")
    given = bytes(sent(control)[-1]["body"]["mask"])
    assert size_of(given) == (2, 2)
    place = given.index(b"IDAT")
    size = int.from_bytes(given[place - 4 : place], "big")
    assert zlib.decompress(given[place + 4 : place + 4 + size]) == b"\0\xff\0\0\0\xff"


@pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")
@pytest.mark.parametrize("model", ["dall-e-2", "stable-diffusion-v1-5-img2img"])
def test_a_variation(sdk, model):
    images = sdk.images.create_variation(model=model, image=PICTURE, n=2, response_format="b64_json")
    assert len(decoded(images)) == 2


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"prompt": None}, "prompt", "missing_required_parameter"),
        ({"prompt": ""}, "prompt", "empty_string"),
        ({"prompt": "x" * 2049}, "prompt", "string_above_max_length"),
        ({"n": 0}, "n", "integer_below_min_value"),
        ({"n": 11}, "n", "integer_above_max_value"),
        ({"n": "2"}, "n", "invalid_type"),
        ({"size": "big"}, "size", "invalid_value"),
        ({"size": "9999x1"}, "size", "invalid_value"),
        ({"quality": "ultra"}, "quality", "invalid_value"),
        ({"response_format": "file"}, "response_format", "invalid_value"),
        ({"background": "transparent"}, "background", "unsupported_value"),
        ({"output_format": "svg"}, "output_format", "unsupported_parameter"),
        ({"stream": True, "n": 2}, "n", "unsupported_value"),
        ({"model": "tts-1"}, "model", "model_not_found"),
        ({"model": "whisper"}, "model", None),
        ({"model": INPAINTING}, "model", "model_not_supported"),
    ],
)
def test_mistakes_are_named(http, control, fields, param, code):
    answer = http.post("/v1/images/generations", json={"model": "flux-1-schnell", "prompt": "a cat", **fields})
    error = answer.json()["error"]
    assert (answer.status_code in {400, 404}, error["param"], error["code"]) == (True, param, code), error
    assert sent(control) == []


@pytest.mark.parametrize(
    ("data", "files", "param", "code"),
    [
        ({}, {"image": PICTURE}, "prompt", "missing_required_parameter"),
        ({"prompt": "x"}, {"other": PICTURE}, "image", "missing_required_parameter"),
        ({"prompt": "x"}, {"image": ("a.png", b"")}, "image", "invalid_image"),
        ({"prompt": "x"}, {"image": ("a.png", b"no picture")}, "image", "invalid_image"),
        ({"prompt": "x", "n": "two"}, {"image": PICTURE}, "n", "invalid_type"),
        ({"prompt": "x", "model": "flux-1-schnell"}, {"image": PICTURE}, "model", "model_not_supported"),
        ({"prompt": "x"}, {"image": PICTURE, "mask": PICTURE}, "mask", "unsupported_value"),
        ({"prompt": "x", "model": INPAINTING}, {"image": PICTURE}, "mask", "unsupported_value"),
        ({"prompt": "x", "model": INPAINTING}, {"image": PICTURE, "mask": ("m", b"x")}, "mask", "invalid_image"),
    ],
)
def test_mistakes_about_pictures_are_named(http, control, data, files, param, code):
    answer = http.post("/v1/images/edits", data=data, files=files)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"], error["code"]) == (400, param, code), error
    assert sent(control) == []


def test_one_of_several_pictures_is_named_by_its_place(http):
    files = [("image[]", PICTURE), ("image[]", ("b.png", b"no picture"))]
    error = http.post("/v1/images/edits", data={"prompt": "x"}, files=files).json()["error"]
    assert error["param"] == "image[1]"


def test_the_sdk_raises_its_own_errors(sdk):
    with pytest.raises(BadRequestError) as refused:
        sdk.images.edit(model="phoenix-1.0", image=PICTURE, prompt="a dog")
    assert refused.value.param == "model"


@pytest.fixture(scope="module")
def upstream():
    emulator = create_emulator(account_id=ACCOUNT, token=TOKEN)
    with serving(emulator) as address:
        yield emulator.state.emulator, address


@pytest.fixture(scope="module")
def own(upstream):
    with running(upstream[1], retries=0, public_url="https://pictures.example/") as made:
        yield made


def draw(own, key, **more):
    body = {"model": SDXL, "prompt": "a cat", **more}
    return own.admin.post("/v1/images/generations", json=body, headers=key.header)


def test_keys_guard_the_making_and_not_the_looking(own):
    assert own.admin.post("/v1/images/generations", json={}, headers={"authorization": "Bearer x"}).status_code == 401
    (image,) = draw(own, own.key(), response_format="url").json()["data"]
    assert image["url"].startswith("https://pictures.example/v1/images/temporary/")
    answer = httpx.get(own.address + urlsplit(image["url"]).path, trust_env=False, verify=NO_TLS)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")


def test_limits_and_the_ledger_count_pictures(own):
    key = own.key(requests_per_day=2)
    answers = [draw(own, key, model="flux-2-klein-4b", n=3, size="512x512") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    line = own.line(answers[0])
    assert line["upstream_attempts"] == "200,200,200"
    # One square of 512 pixels each, at 0.000287 USD.
    assert line["neurons"] == pytest.approx(3 * 0.000287 / 0.000011, abs=1e-4)
    until(lambda: own.told("usage", key=key.id)["today"]["requests"] == 2)
    assert own.told("usage", key=key.id)["today"]["neurons"] == pytest.approx(2 * line["neurons"], abs=1e-4)


def test_a_budget_counts_every_picture_before_it_is_drawn(own):
    key = own.key(neurons_per_day=200)
    refused = draw(own, key, model="flux-2-klein-4b", n=10)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "insufficient_quota")
    assert draw(own, key, model="flux-2-klein-4b").status_code == 200


def test_no_more_than_four_are_drawn_at_once_and_all_end_with_the_client(upstream, own):
    state, address = upstream
    key = own.key()
    with httpx.Client(base_url=address, trust_env=False, verify=NO_TLS) as control:
        control.post("/_emulator/faults", json={"fault": "hang", "times": None}).raise_for_status()
        content = json.dumps({"model": SDXL, "prompt": "a cat", "n": 10}).encode()
        url = urlsplit(own.address)
        with socket.create_connection((url.hostname, url.port), timeout=10) as client:
            head = f"POST /v1/images/generations HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key.secret}\r\n"
            client.sendall(f"{head}content-length: {len(content)}\r\n\r\n".encode() + content)
            until(lambda: state.in_flight == 4)
        until(lambda: state.in_flight == 0, seconds=2)
        control.delete("/_emulator/faults").raise_for_status()
    until(lambda: own.log.lines(caller=key.id))
    (line,) = own.log.lines(caller=key.id)
    assert (line["ending"], line["upstream_attempts"].count(",")) == ("disconnected", 3)


def test_one_picture_that_fails_fails_them_all(upstream, own):
    with httpx.Client(base_url=upstream[1], trust_env=False, verify=NO_TLS) as control:
        control.post("/_emulator/faults", json={"fault": "rate-limited", "times": 1}).raise_for_status()
        answer = draw(own, own.key(), n=3)
        control.delete("/_emulator/faults").raise_for_status()
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")


def test_a_strict_proxy_refuses_what_it_would_drop_or_change(upstream):
    with running(upstream[1], strict=True) as strict:
        key = strict.key()
        answers = [draw(strict, key, **more) for more in ({"style": "vivid"}, {"size": "511x511"}, {"size": "512x512"})]
    named = [answer.json().get("error", {}).get("param") for answer in answers]
    assert ([answer.status_code for answer in answers], named) == ([400, 400, 200], ["style", "size", None])
