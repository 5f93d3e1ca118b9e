"""Models that do not generate text."""

import base64
import math

import pytest


async def result(client, model, body):
    answer = await client.run(model, body)
    assert answer.status_code == 200, answer.text
    return answer.json()["result"]


@pytest.mark.parametrize(
    ("model", "dimensions"),
    [("@cf/baai/bge-small-en-v1.5", 384), ("@cf/baai/bge-m3", 1024), ("@cf/google/embeddinggemma-300m", 768)],
)
async def test_openai_embeddings_are_floats_whatever_is_asked(client, ai, model, dimensions):
    body = {"model": model, "input": ["a cat", "a dog"], "encoding_format": "base64", "dimensions": 12}
    answer = (await client.post(f"{ai}/v1/embeddings", json=body)).json()
    assert [row["index"] for row in answer["data"]] == [0, 1]
    assert {len(row["embedding"]) for row in answer["data"]} == {dimensions}
    assert math.isclose(sum(x * x for x in answer["data"][0]["embedding"]), 1, abs_tol=1e-3)
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] == 4


@pytest.mark.parametrize("given", [[1, 2, 3], [[1, 2]], "", [], ["a"] * 101, None, {"a": 1}])
async def test_other_embedding_inputs_are_refused(client, ai, given):
    answer = await client.post(f"{ai}/v1/embeddings", json={"model": "@cf/baai/bge-m3", "input": given})
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 5006)


async def test_an_oversize_text_is_refused(client, ai):
    body = {"model": "@cf/baai/bge-small-en-v1.5", "input": "word " * 600}
    assert (await client.post(f"{ai}/v1/embeddings", json=body)).json()["errors"][0]["code"] == 8007


async def test_a_chat_model_gives_no_embeddings(client, ai):
    body = {"model": "@cf/openai/gpt-oss-20b", "input": "a"}
    assert (await client.post(f"{ai}/v1/embeddings", json=body)).json()["errors"][0]["code"] == 5007


async def test_native_embeddings_and_ranking(client):
    native = await result(client, "@cf/baai/bge-base-en-v1.5", {"text": ["a", "b"]})
    assert (native["shape"], native["pooling"]) == ([2, 768], "mean")
    contexts = [{"text": "the sea is blue"}, {"text": "cats sleep all day"}]
    for model in ("@cf/baai/bge-reranker-base", "@cf/baai/bge-m3"):
        scores = (await result(client, model, {"query": "when do cats sleep", "contexts": contexts}))["response"]
        assert [row["id"] for row in scores] == [1, 0]
    top = await result(client, "@cf/baai/bge-reranker-base", {"query": "a", "contexts": contexts, "top_k": 1})
    assert len(top["response"]) == 1


async def test_moderation(client):
    model = "@cf/meta/llama-guard-3-8b"
    assert (await result(client, model, {"messages": [{"role": "user", "content": "Hello"}]}))["response"] == "\n\nsafe"
    bad = {"messages": [{"role": "user", "content": "how to build a bomb to kill people"}]}
    assert (await result(client, model, bad))["response"] == "\n\nunsafe\nS1,S9"
    verdict = (await result(client, model, {**bad, "response_format": {"type": "json_object"}}))["response"]
    assert verdict == {"safe": False, "categories": ["S1", "S9"]}
    refused = await client.run(model, {"messages": [{"role": "system", "content": "x"}]})
    assert refused.status_code == 400


async def test_speech_to_text(client, ai):
    audio = base64.b64encode(b"RIFFdata").decode()
    turbo = await result(client, "@cf/openai/whisper-large-v3-turbo", {"audio": audio, "language": "de"})
    assert turbo["transcription_info"]["language"] == "de"
    assert turbo["segments"][0]["words"]
    assert turbo["vtt"].startswith("WEBVTT")
    assert (await result(client, "@cf/openai/whisper", {"audio": [1, 2, 3]}))["word_count"] == 5
    for model in ("@cf/openai/whisper", "@cf/deepgram/nova-3"):
        url = f"{ai}/run/{model}"
        answer = await client.post(url, content=b"RIFF", headers={"content-type": "audio/wav"})
        assert answer.status_code == 200
    broken = await client.run("@cf/openai/whisper-large-v3-turbo", {"audio": "***"})
    assert broken.json()["errors"][0]["code"] == 5004


@pytest.mark.parametrize(
    ("options", "kind", "start"),
    [
        ({}, "audio/mpeg", b"ID3"),
        ({"encoding": "linear16", "container": "wav"}, "audio/wav", b"RIFF"),
        ({"encoding": "linear16", "container": "none"}, "audio/l16", b""),
        ({"encoding": "opus", "container": "ogg"}, "audio/ogg", b"OggS"),
        ({"encoding": "flac"}, "audio/flac", b"fLaC"),
        ({"voice": "nova", "speed": 2}, "audio/mpeg", b"ID3"),
    ],
)
async def test_aura_speaks_raw_bytes(client, options, kind, start):
    answer = await client.run("@cf/deepgram/aura-1", {"text": "Hello", **options})
    assert answer.headers["content-type"] == kind
    assert answer.content.startswith(start)


async def test_melotts_sends_wav_in_base64(client):
    audio = (await result(client, "@cf/myshell-ai/melotts", {"prompt": "Hello"}))["audio"]
    assert base64.b64decode(audio).startswith(b"RIFF")


async def test_pictures(client, ai):
    flux = (await result(client, "@cf/black-forest-labs/flux-1-schnell", {"prompt": "a cat"}))["image"]
    assert base64.b64decode(flux).startswith(b"\xff\xd8")
    extra = await client.run("@cf/black-forest-labs/flux-1-schnell", {"prompt": "a cat", "seed": 3})
    assert "'/seed' at '/' not allowed" in extra.json()["errors"][0]["message"]
    lucid = (await result(client, "@cf/leonardo/lucid-origin", {"prompt": "a cat"}))["image"]
    assert base64.b64decode(lucid).startswith(b"\x89PNG")
    phoenix = await client.run("@cf/leonardo/phoenix-1.0", {"prompt": "a cat"})
    assert phoenix.headers["content-type"] == "image/jpeg"
    size = {"width": 256, "height": 512}
    sdxl = await client.run("@cf/stabilityai/stable-diffusion-xl-base-1.0", {"prompt": "a cat", **size})
    assert sdxl.headers["content-type"] == "image/png"
    assert sdxl.content[16:24] == (256).to_bytes(4, "big") + (512).to_bytes(4, "big")
    url = f"{ai}/run/@cf/black-forest-labs/flux-2-dev"
    form = await client.post(url, files={"prompt": (None, "a cat"), "steps": (None, "4")})
    assert form.json()["result"]["image"]
    assert (await client.post(url, json={"prompt": "a cat"})).status_code == 400


async def test_moondream_streams_unless_told_not_to(client):
    model = "@cf/moondream/moondream3.1-9B-A2B"
    body = {"task": "caption", "image": "data:image/png;base64,AA=="}
    assert (await client.run(model, body)).headers["content-type"] == "text/event-stream"
    assert (await result(client, model, {**body, "stream": False}))["caption"]


async def test_the_rest(client):
    translated = await result(client, "@cf/meta/m2m100-1.2b", {"text": "Hi", "target_lang": "fr"})
    assert translated == {"translated_text": "[fr] Hi"}
    labels = await result(client, "@cf/huggingface/distilbert-sst-2-int8", {"text": "a terrible day"})
    assert labels[0] == {"label": "NEGATIVE", "score": 0.98}
    assert (await client.run("@cf/cloudflare/clef", {"prompt": "Hi"})).status_code == 400
    hidden = await client.run("@cf/ai4bharat/indictrans2-en-indic-1B", {"text": ["a", "b"]})
    assert len(hidden.json()["result"]["translations"]) == 2
