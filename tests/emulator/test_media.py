"""Models that hear, speak and draw, as strict and as odd as Cloudflare's."""

import base64

import pytest

from app.emulator import media

TURBO = "@cf/openai/whisper-large-v3-turbo"
NOVA = "@cf/deepgram/nova-3"
AURA = "@cf/deepgram/aura-1"
FLUX_2 = "@cf/black-forest-labs/flux-2-klein-4b"
INPAINTING = "@cf/runwayml/stable-diffusion-v1-5-inpainting"
SOUND = base64.b64encode(media.wav()).decode()
PNG = base64.b64encode(media.png(8, 8, 1)).decode()


def code_of(answer):
    return answer.json()["errors"][0]["code"]


@pytest.mark.parametrize(
    "body", [{}, {"audio": [1, 2]}, {"audio": SOUND, "task": "sing"}, {"audio": SOUND, "language": 7}, {"audio": ""}]
)
async def test_whisper_checks_its_fields(client, body):
    answer = await client.run(TURBO, body)
    assert (answer.status_code, code_of(answer)) == (400, 5006)


async def test_a_sound_that_is_too_large_is_refused(client, ai):
    large = b"\0" * (13 * 1024 * 1024 + 1)
    answer = await client.post(f"{ai}/run/{NOVA}", content=large, headers={"content-type": "audio/wav"})
    assert (answer.status_code, code_of(answer)) == (413, 3006)


async def test_nova_reads_its_options_from_the_query(client, ai):
    headers = {"content-type": "audio/wav"}
    plain = await client.post(f"{ai}/run/{NOVA}", content=media.wav(), headers=headers)
    query = {"punctuate": "true", "detect_language": "true"}
    asked = await client.post(f"{ai}/run/{NOVA}", content=media.wav(), headers=headers, params=query)
    first, second = (one.json()["result"]["results"]["channels"][0] for one in (plain, asked))
    assert first["alternatives"][0]["transcript"] == "this is what was said"
    assert "detected_language" not in first
    assert second["alternatives"][0]["transcript"] == "This is what was said."
    assert second["detected_language"] == "en"
    assert (await client.post(f"{ai}/run/{NOVA}", json={"audio": SOUND})).status_code == 400


async def test_flux_hears_over_a_websocket_only(client):
    assert code_of(await client.run("@cf/deepgram/flux", {"audio": SOUND})) == 5006


async def test_aura_knows_its_speakers(client):
    assert (await client.run(AURA, {"text": "Hello", "speaker": "zeus"})).status_code == 200
    assert code_of(await client.run(AURA, {"text": "Hello", "speaker": "alloy"})) == 5006


async def test_bytes_may_come_as_an_object(client):
    """Q57."""
    await client.fault("numbered-bytes")
    numbered = (await client.run(AURA, {"text": "Hello"})).json()
    sound = (await client.run(AURA, {"text": "Hello"})).content
    assert bytes(numbered[str(place)] for place in range(len(numbered))) == sound


async def test_a_form_is_checked(client, ai):
    url = f"{ai}/run/{FLUX_2}"
    picture = {"input_image_0": ("a.png", base64.b64decode(PNG), "image/png")}
    whole = {"prompt": (None, "a cat"), "width": (None, "256"), "height": (None, "512"), **picture}
    drawn = base64.b64decode((await client.post(url, files=whole)).json()["result"]["image"])
    assert drawn == media.png(256, 512, 90)
    assert code_of(await client.post(url, files={"steps": (None, "4")})) == 5006
    assert code_of(await client.post(url, files={**whole, "width": (None, "wide")})) == 5006
    broken = {"prompt": (None, "a cat"), "input_image_0": ("a.png", b"no picture", "image/png")}
    assert code_of(await client.post(url, files=broken)) == 5004


async def test_models_that_change_pictures_want_one(client):
    image = {"prompt": "a cat", "image_b64": PNG}
    img2img = "@cf/runwayml/stable-diffusion-v1-5-img2img"
    assert (await client.run(img2img, image)).headers["content-type"] == "image/png"
    assert code_of(await client.run(img2img, {"prompt": "a cat"})) == 5006
    assert code_of(await client.run(img2img, {**image, "strength": 2})) == 5006
    assert code_of(await client.run(INPAINTING, image)) == 5006
    masked = {**image, "mask": list(base64.b64decode(PNG))}
    assert (await client.run(INPAINTING, masked)).status_code == 200
    assert code_of(await client.run(INPAINTING, {**masked, "image_b64": "AAAA"})) == 5004
