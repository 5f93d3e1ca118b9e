"""Models that do not generate text: embeddings, ranking, speech, pictures, translation and the like."""

import re
from collections.abc import Callable
from typing import Any

from app.emulator import drawing, hearing
from app.emulator.checking import checked
from app.emulator.embeddings import native_embeddings, rerank
from app.emulator.endpoint import Visit
from app.emulator.errors import bad_input, success
from app.emulator.jsonvalue import Json
from app.emulator.moderation import moderate
from app.emulator.prices import task_neurons
from app.emulator.reply import Reply


def answer_task(visit: Visit) -> Reply:
    """Answer a model that is not a chat model.

    Raises:
        CloudflareError: The request is refused.
    """
    assert visit.model is not None  # noqa: S101 - the route has chosen one
    answer = next((answer for part, answer in _BY_NAME.items() if part in visit.model.id), None)
    answer = answer or _BY_TASK.get(visit.model.task)
    if answer is None:
        raise bad_input("this model takes no requests in the emulator")
    reply = answer(visit)
    visit.charge(task_neurons(visit.model, visit.incoming.parsed()))
    return reply


def _checked(visit: Visit, required: dict[str, Any], **optional: Json) -> dict[str, Any]:
    return checked(visit.json(), required, **optional)


_STRING = {"type": "string", "minLength": 1}


def _embeddings(visit: Visit) -> Reply:
    assert visit.model is not None  # noqa: S101 - the route has chosen one
    return visit.reply(success(native_embeddings(visit.json(), visit.model)))


def _rerank(visit: Visit) -> Reply:
    return visit.reply(success(rerank(visit.json())))


def _guard(visit: Visit) -> Reply:
    assert visit.model is not None  # noqa: S101 - the route has chosen one
    return visit.reply(success(moderate(visit.json(), visit.model)))


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
    return visit.stream({"response": word + " "} for word in said.split())


def _turn(visit: Visit) -> Reply:
    hearing.audio_of(visit)
    return visit.reply(success({"is_complete": True, "probability": 0.93}))


_BY_NAME: dict[str, Callable[[Visit], Reply]] = {
    "llama-guard": _guard,
    "reranker": _rerank,
    "distilbert": _sentiment,
    "whisper-large-v3-turbo": hearing.whisper_turbo,
    "whisper": hearing.whisper,
    "nova-3": hearing.nova,
    "deepgram/flux": hearing.flux,
    "aura-": hearing.aura,
    "melotts": hearing.melotts,
    "flux-1-schnell": drawing.schnell,
    "flux-2": drawing.flux_two,
    "lucid-origin": drawing.lucid,
    "phoenix": drawing.phoenix,
    "m2m100": _translate,
    "indictrans2": _indic,
    "moondream": _moondream,
    "smart-turn": _turn,
}
_BY_TASK: dict[str, Callable[[Visit], Reply]] = {
    "Text Embeddings": _embeddings,
    "Text-to-Image": drawing.diffusion,
    "Image Classification": _classify,
    "Object Detection": _detect,
    "Image-to-Text": _describe,
}
