"""Models that hear and models that speak."""

import base64
from typing import Any

from app.emulator import media
from app.emulator.checking import checked
from app.emulator.endpoint import LARGEST_BODY, Visit
from app.emulator.errors import CloudflareError, bad_input, success
from app.emulator.jsonvalue import Json
from app.emulator.reply import Reply

_SPOKEN = "This is what was said."
_VTT = f"WEBVTT\n\n00:00.000 --> 00:02.000\n{_SPOKEN}\n"
_SECONDS_PER_CHARACTER = 0.06
_MELOTTS_RATE = 44_100
_PIECE = 4096

_SPEAKERS = {
    name: voices.split()
    for name, voices in (
        ("aura-1", "angus asteria arcas orion orpheus athena luna zeus perseus helios hera stella"),
        (
            "aura-2-en",
            (
                "amalthea andromeda apollo arcas aries asteria athena atlas aurora callista cora cordelia delia "
                "draco electra harmonia helena hera hermes hyperion iris janus juno jupiter luna mars minerva neptune "
                "odysseus ophelia orion orpheus pandora phoebe pluto saturn thalia theia vesta zeus"
            ),
        ),
        ("aura-2-es", "sirio nestor carina celeste alvaro diana aquila selena estrella javier"),
    )
}


def audio_of(visit: Visit) -> bytes:
    """Return the audio of a request: raw bytes, base64 or an array of numbers.

    Raises:
        CloudflareError: There is none, it cannot be read, or it is too large.
    """
    if "json" not in visit.request.headers.get("content-type", ""):
        if len(visit.incoming.body) > LARGEST_BODY:
            raise CloudflareError(413, 3006, "AiError: Request is too large")
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


def whisper(visit: Visit) -> Reply:
    """Hear: words and WebVTT, and no options."""
    if not audio_of(visit):
        raise CloudflareError(400, 5004, "AiError: Invalid data in binary input")
    words = _words()
    return visit.reply(success({"text": _SPOKEN, "word_count": len(words), "words": words, "vtt": _VTT}))


def whisper_turbo(visit: Visit) -> Reply:
    """Hear: base64 only, with options, and segments in the answer."""
    body = checked(
        visit.json(),
        {"audio": {"type": "string", "minLength": 1}},
        task={"enum": ["transcribe", "translate"]},
        language={"type": "string"},
        vad_filter={"type": "boolean"},
        initial_prompt={"type": "string"},
        prefix={"type": "string"},
        beam_size={"type": "integer"},
        condition_on_previous_text={"type": "boolean"},
        no_speech_threshold={"type": "number"},
    )
    audio_of(visit)
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
    heard: Json = {
        "transcription_info": info,
        "text": _SPOKEN,
        "word_count": len(words),
        "segments": [segment],
        "vtt": _VTT,
    }
    return visit.reply(success(heard))


def nova(visit: Visit) -> Reply:
    """Hear: raw bytes with their type, options in the query."""
    if not visit.request.headers.get("content-type", "").startswith(("audio/", "video/")):
        raise CloudflareError(400, 3003, "AiError: Incomplete request")
    audio_of(visit)
    query = visit.request.query_params
    words = [{**word, "confidence": 0.98} for word in _words()]
    if query.get("punctuate") != "true":
        words = [{**word, "word": word["word"].strip(".").lower()} for word in words]
    said = " ".join(word["word"] for word in words)
    alternative = {"transcript": said, "confidence": 0.98, "words": words}
    channel: dict[str, Any] = {"alternatives": [alternative]}
    if query.get("detect_language") == "true":
        channel |= {"detected_language": "en", "language_confidence": 0.97}
    return visit.reply(success({"results": {"channels": [channel]}}))


def flux(visit: Visit) -> Reply:
    """Hear nothing: only a WebSocket reaches this model."""
    raise bad_input(f"the model {visit.model.id if visit.model else ''} is served over a WebSocket only")


def aura(visit: Visit) -> Reply:
    """Speak: raw bytes whose kind follows `encoding` and `container`; an unknown `voice` is ignored (Q56)."""
    assert visit.model is not None  # noqa: S101 - the route has chosen one
    encodings = ["linear16", "flac", "mulaw", "alaw", "mp3", "opus", "aac"]
    body = checked(
        visit.json(),
        {"text": {"type": "string", "minLength": 1}},
        speaker={"enum": _SPEAKERS[visit.model.id.rpartition("/")[2]]},
        encoding={"enum": encodings},
        container={"enum": ["none", "wav", "ogg"]},
        sample_rate={"type": "number"},
        bit_rate={"type": "number"},
    )
    seconds = len(body["text"]) * _SECONDS_PER_CHARACTER
    encoding = body.get("encoding", "mp3")
    if encoding == "linear16":
        rate = int(body.get("sample_rate", 24_000))
        if body.get("container", "wav") == "wav":
            return visit.reply_pieces(_pieces(media.wav(seconds, rate)), "audio/wav")
        return visit.reply_pieces(_pieces(media.pcm(seconds, rate)), "audio/l16")
    kinds = {"mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac"}
    starts = {"opus": b"OggS", "aac": b"\xff\xf1\x4c", "flac": b"fLaC"}
    spoken = media.mp3(max(int(seconds / 0.024), 8))
    sound = starts[encoding] + spoken if encoding in starts else spoken
    return visit.reply_pieces(_pieces(sound), kinds.get(encoding, "audio/basic"))


def melotts(visit: Visit) -> Reply:
    """Speak: base64 in the envelope, and WAV although MP3 is promised (Q49)."""
    body = checked(visit.json(), {"prompt": {"type": "string", "minLength": 1}}, lang={"type": "string"})
    sound = media.wav(len(body["prompt"]) * _SECONDS_PER_CHARACTER, _MELOTTS_RATE)
    return visit.reply(success({"audio": base64.b64encode(sound).decode()}))


def _pieces(data: bytes) -> list[bytes]:
    return [data[place : place + _PIECE] for place in range(0, len(data), _PIECE)]
