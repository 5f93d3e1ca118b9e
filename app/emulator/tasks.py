"""Models that do not generate text: embeddings, ranking, speech, pictures, translation and the like."""

import base64
import itertools
import re
from collections.abc import Callable
from typing import Any

import orjson

from app.emulator import media
from app.emulator.embeddings import native_embeddings, rerank
from app.emulator.endpoint import Visit
from app.emulator.errors import CloudflareError, bad_input, success
from app.emulator.jsonvalue import Json
from app.emulator.reply import Reply
from app.emulator.schema import Mismatch, check
from app.emulator.tokens import count

_UNSAFE = {
    "S1": ("kill", "murder", "attack"),
    "S2": ("steal", "fraud", "launder"),
    "S9": ("bomb", "nerve agent"),
    "S10": ("hate",),
    "S11": ("suicide", "hurt myself"),
    "S12": ("porn", "nsfw"),
}
_SPOKEN = "This is what was said."


def answer_task(visit: Visit) -> Reply:
    """Answer a model that is not a chat model.

    Raises:
        CloudflareError: The request is refused.
    """
    assert visit.model is not None  # noqa: S101 - the route has chosen one
    name = visit.model.id
    for part, answer in _BY_NAME.items():
        if part in name:
            return answer(visit)
    task = _BY_TASK.get(visit.model.task)
    if task is None:
        raise bad_input("this model takes no requests in the emulator")
    return task(visit)


def _checked(visit: Visit, required: dict[str, Any], **optional: Json) -> dict[str, Any]:
    body = visit.json()
    schema = {"type": "object", "properties": {**required, **optional}, "required": list(required)}
    try:
        check(body, schema)
    except Mismatch as finding:
        raise bad_input(str(finding)) from finding
    checked: dict[str, Any] = body
    return checked


_STRING = {"type": "string", "minLength": 1}


def _embeddings(visit: Visit) -> Reply:
    assert visit.model is not None  # noqa: S101 - the route has chosen one
    return visit.reply(success(native_embeddings(visit.json(), visit.model)))


def _rerank(visit: Visit) -> Reply:
    return visit.reply(success(rerank(visit.json())))


def _guard(visit: Visit) -> Reply:
    """Moderate: `safe`, or `unsafe` and the categories; JSON mode gives an object."""
    body = _checked(visit, {"messages": {"type": "array", "minItems": 1, "items": {"type": "object"}}})
    roles = [message.get("role") for message in body["messages"]]
    if any(role not in {"user", "assistant"} for role in roles) or any(
        one == other for one, other in itertools.pairwise(roles)
    ):
        raise CloudflareError(400, 8007, "AiError: Conversation roles must alternate user/assistant", result={})
    said = " ".join(str(message.get("content", "")) for message in body["messages"]).lower()
    found = [code for code, words in _UNSAFE.items() if any(word in said for word in words)]
    verdict: Any = "unsafe\n" + ",".join(found) if found else "safe"
    spent = count(verdict)
    if (body.get("response_format") or {}).get("type") == "json_object":
        verdict = {"safe": not found, "categories": found}
    usage = {"prompt_tokens": count(said), "completion_tokens": spent, "total_tokens": count(said) + spent}
    return visit.reply(success({"response": verdict, "usage": usage}))


def _audio(visit: Visit) -> bytes:
    """Return the audio of a request: raw bytes, base64 or an array of numbers."""
    if "json" not in visit.request.headers.get("content-type", ""):
        if not visit.incoming.body:
            raise CloudflareError(400, 3003, "AiError: Incomplete request")
        return visit.incoming.body
    body = visit.json()
    audio = body.get("audio") if isinstance(body, dict) else None
    if isinstance(audio, list):
        return bytes(number & 255 for number in audio if isinstance(number, int))
    if not isinstance(audio, str):
        raise bad_input("required properties at '/' are 'audio'")
    try:
        return base64.b64decode(audio, validate=True)
    except ValueError as problem:
        raise CloudflareError(400, 5004, "AiError: Invalid data in binary input") from problem


def _words() -> list[dict[str, Any]]:
    return [
        {"word": word, "start": round(place * 0.4, 2), "end": round(place * 0.4 + 0.36, 2)}
        for place, word in enumerate(_SPOKEN.split())
    ]


_VTT = f"WEBVTT\n\n00:00.000 --> 00:02.000\n{_SPOKEN}\n"


def _whisper(visit: Visit) -> Reply:
    if not _audio(visit):
        raise CloudflareError(400, 5004, "AiError: Invalid data in binary input")
    words = _words()
    return visit.reply(success({"text": _SPOKEN, "word_count": len(words), "words": words, "vtt": _VTT}))


def _whisper_turbo(visit: Visit) -> Reply:
    body = visit.json()
    if not isinstance(body, dict) or not isinstance(body.get("audio"), str):
        raise bad_input("required properties at '/' are 'audio'")
    _audio(visit)
    words = _words()
    segment = {
        "start": 0.0,
        "end": 2.0,
        "text": f" {_SPOKEN}",
        "temperature": 0,
        "avg_logprob": -0.21,
        "compression_ratio": 0.86,
        "no_speech_prob": 0.01,
        "words": words,
    }
    language = "en" if body.get("task") == "translate" else body.get("language", "en")
    info = {"language": language, "language_probability": 1, "duration": 2.0, "duration_after_vad": 2.0}
    return visit.reply(
        success(
            {
                "transcription_info": info,
                "text": _SPOKEN,
                "word_count": len(words),
                "segments": [segment],
                "vtt": _VTT,
            }
        )
    )


def _nova(visit: Visit) -> Reply:
    if "json" in visit.request.headers.get("content-type", "json"):
        raise CloudflareError(400, 3003, "AiError: Incomplete request")
    _audio(visit)
    words = [{**word, "confidence": 0.98} for word in _words()]
    alternative = {"transcript": _SPOKEN, "confidence": 0.98, "words": words}
    return visit.reply(success({"results": {"channels": [{"alternatives": [alternative]}]}}))


def _aura(visit: Visit) -> Reply:
    """Speak: raw bytes whose kind follows `encoding` and `container`; an unknown `voice` is ignored (Q56)."""
    encodings = ["linear16", "flac", "mulaw", "alaw", "mp3", "opus", "aac"]
    body = _checked(
        visit,
        {"text": _STRING},
        speaker={"type": "string"},
        encoding={"enum": encodings},
        container={"enum": ["none", "wav", "ogg"]},
        sample_rate={"type": "number"},
    )
    encoding = body.get("encoding", "mp3")
    if encoding == "linear16":
        if body.get("container", "wav") == "wav":
            return visit.reply_bytes(media.wav(), "audio/wav")
        return visit.reply_bytes(media.pcm(0.1, 24_000), "audio/l16")
    kinds = {"mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac"}
    starts = {"opus": b"OggS", "aac": b"\xff\xf1", "flac": b"fLaC"}
    sound = starts[encoding] + media.mp3() if encoding in starts else media.mp3()
    return visit.reply_bytes(sound, kinds.get(encoding, "audio/basic"))


def _melotts(visit: Visit) -> Reply:
    """Speak: base64 in the envelope, and WAV although MP3 is promised (Q49)."""
    _checked(visit, {"prompt": _STRING}, lang={"type": "string"})
    return visit.reply(success({"audio": base64.b64encode(media.wav()).decode()}))


def _size(body: dict[str, Any]) -> tuple[int, int]:
    return int(body.get("width", 64)), int(body.get("height", 64))


def _schnell(visit: Visit) -> Reply:
    """Draw: base64 JPEG in the envelope; no other fields are allowed."""
    body = _checked(
        visit,
        {"prompt": {"type": "string", "minLength": 1, "maxLength": 2048}},
        steps={"type": "integer", "maximum": 8},
    )
    if more := sorted(set(body) - {"prompt", "steps"}):
        raise bad_input(f"Additional or unevaluated properties '/{', /'.join(more)}' at '/' not allowed")
    return visit.reply(success({"image": base64.b64encode(media.jpeg()).decode()}))


def _flux_two(visit: Visit) -> Reply:
    """Draw from a multipart form; JSON is refused."""
    if not visit.request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise bad_input("required properties at '/' are 'multipart'")
    if not re.search(rb'name="prompt"', visit.incoming.body):
        raise bad_input("required properties at '/' are 'prompt'")
    return visit.reply(success({"image": base64.b64encode(media.png(64, 64, 120)).decode()}))


def _lucid(visit: Visit) -> Reply:
    body = _checked(visit, {"prompt": _STRING}, **_PICTURE)
    picture = media.png(*_size(body), shade=90)
    return visit.reply(success({"image": base64.b64encode(picture).decode()}))


def _phoenix(visit: Visit) -> Reply:
    _checked(visit, {"prompt": _STRING}, **_PICTURE)
    return visit.reply_bytes(media.jpeg(), "image/jpeg")


_PICTURE: dict[str, Any] = {
    "width": {"type": "integer", "minimum": 64, "maximum": 2048},
    "height": {"type": "integer", "minimum": 64, "maximum": 2048},
    "seed": {"type": "integer"},
    "num_steps": {"type": "integer", "maximum": 20},
    "guidance": {"type": "number"},
}


def _diffusion(visit: Visit) -> Reply:
    body = _checked(visit, {"prompt": _STRING}, **_PICTURE)
    seed = int(body.get("seed", 0))
    return visit.reply_bytes(media.png(*_size(body), shade=seed % 256), "image/png")


def _translate(visit: Visit) -> Reply:
    body = _checked(visit, {"text": _STRING, "target_lang": _STRING}, source_lang={"type": "string"})
    return visit.reply(success({"translated_text": f"[{body['target_lang']}] {body['text']}"}))


def _indic(visit: Visit) -> Reply:
    body = _checked(visit, {"text": {"type": ["string", "array"]}})
    texts = body["text"] if isinstance(body["text"], list) else [body["text"]]
    target = body.get("target_language", "hin_Deva")
    return visit.reply(success({"translations": [f"[{target}] {text}" for text in texts]}))


def _sentiment(visit: Visit) -> Reply:
    body = _checked(visit, {"text": _STRING})
    glad = not re.search(r"\b(bad|awful|hate|terrible|sad)\b", body["text"], re.IGNORECASE)
    scores = [{"label": "NEGATIVE", "score": 0.02}, {"label": "POSITIVE", "score": 0.98}]
    if not glad:
        scores = [{"label": "NEGATIVE", "score": 0.98}, {"label": "POSITIVE", "score": 0.02}]
    return visit.reply(success(scores))


def _classify(visit: Visit) -> Reply:
    return visit.reply(success([{"label": "TEAPOT", "score": 0.91}, {"label": "KETTLE", "score": 0.06}]))


def _detect(visit: Visit) -> Reply:
    box = {"xmin": 8, "ymin": 8, "xmax": 56, "ymax": 56}
    return visit.reply(success([{"label": "cup", "score": 0.97, "box": box}]))


def _describe(visit: Visit) -> Reply:
    _checked(visit, {"image": {"type": ["array", "string"]}})
    return visit.reply(success({"description": "A small grey square."}))


def _moondream(visit: Visit) -> Reply:
    """Look at a picture; `stream` is true unless said otherwise (Q45)."""
    body = _checked(visit, {"task": {"enum": ["query", "caption", "point", "detect"]}, "image": _STRING})
    said = "A small grey square."
    if body.get("stream", True) is False:
        return visit.reply(success({"answer" if body["task"] == "query" else "caption": said}))
    frames = [b"data: " + orjson.dumps({"response": word + " "}) + b"\n\n" for word in said.split()]
    return visit.stream([*frames, b"data: [DONE]\n\n"])


def _turn(visit: Visit) -> Reply:
    _audio(visit)
    return visit.reply(success({"is_complete": True, "probability": 0.93}))


_BY_NAME: dict[str, Callable[[Visit], Reply]] = {
    "llama-guard": _guard,
    "reranker": _rerank,
    "distilbert": _sentiment,
    "whisper-large-v3-turbo": _whisper_turbo,
    "whisper": _whisper,
    "nova-3": _nova,
    "aura-": _aura,
    "melotts": _melotts,
    "flux-1-schnell": _schnell,
    "flux-2": _flux_two,
    "lucid-origin": _lucid,
    "phoenix": _phoenix,
    "m2m100": _translate,
    "indictrans2": _indic,
    "moondream": _moondream,
    "smart-turn": _turn,
}
_BY_TASK: dict[str, Callable[[Visit], Reply]] = {
    "Text Embeddings": _embeddings,
    "Text-to-Image": _diffusion,
    "Image Classification": _classify,
    "Object Detection": _detect,
    "Image-to-Text": _describe,
}
