"""Models that draw."""

import base64
from email import message_from_bytes
from email.message import Message
from typing import Any

from app.emulator import media
from app.emulator.checking import checked
from app.emulator.endpoint import LARGEST_BODY, Visit
from app.emulator.errors import CloudflareError, bad_input, success
from app.emulator.reply import Reply

_STRING = {"type": "string", "minLength": 1}
_SIDE = 1024
_SHADES = 256
_STARTS = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF")


def _picture(most_steps: int) -> dict[str, Any]:
    return {
        "width": {"type": "integer", "minimum": 64, "maximum": 2048},
        "height": {"type": "integer", "minimum": 64, "maximum": 2048},
        "seed": {"type": "integer"},
        "num_steps": {"type": "integer", "maximum": most_steps},
        "guidance": {"type": "number"},
        "negative_prompt": {"type": "string"},
        "strength": {"type": "number", "minimum": 0, "maximum": 1},
    }


def _drawn(fields: dict[str, Any], side: int = _SIDE) -> bytes:
    """Return a PNG of the size that is asked for, whose shade is the seed's."""
    return media.png(
        int(fields.get("width", side)), int(fields.get("height", side)), int(fields.get("seed", 90)) % _SHADES
    )


def schnell(visit: Visit) -> Reply:
    """Draw: base64 JPEG in the envelope; no other fields are allowed."""
    body = checked(
        visit.json(),
        {"prompt": {"type": "string", "minLength": 1, "maxLength": 2048}},
        steps={"type": "integer", "maximum": 8},
    )
    if more := sorted(set(body) - {"prompt", "steps"}):
        raise bad_input(f"Additional or unevaluated properties '/{', /'.join(more)}' at '/' not allowed")
    return visit.reply(success({"image": base64.b64encode(media.jpeg()).decode()}))


def flux_two(visit: Visit) -> Reply:
    """Draw from a multipart form; JSON is refused."""
    content_type = visit.request.headers.get("content-type", "")
    if not content_type.startswith("multipart/form-data"):
        raise bad_input("required properties at '/' are 'multipart'")
    if len(visit.incoming.body) > LARGEST_BODY:
        raise CloudflareError(413, 3006, "AiError: Request is too large")
    fields = _form(content_type, visit.incoming.body)
    if not fields.get("prompt"):
        raise bad_input("required properties at '/' are 'prompt'")
    whole: dict[str, Any] = {}
    for name in ("steps", "width", "height", "seed"):
        if name in fields:
            if not fields[name].isdigit():
                raise bad_input(f"Type mismatch of '/{name}', 'integer' not in 'string'")
            whole[name] = int(fields[name])
    for name, value in fields.items():
        if name.startswith("input_image_") and not value.startswith(_STARTS):
            raise CloudflareError(400, 5004, "AiError: Invalid data in binary input")
    return visit.reply(success({"image": base64.b64encode(_drawn(whole)).decode()}))


def _form(content_type: str, body: bytes) -> dict[str, bytes]:
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    if not message.is_multipart():
        raise bad_input("the body is not a valid form")
    fields: dict[str, bytes] = {}
    for part in message.get_payload():
        if isinstance(part, Message):
            name = part.get_param("name", header="content-disposition")
            value = part.get_payload(decode=True)
            if isinstance(name, str) and isinstance(value, bytes):
                fields[name] = value
    return fields


def lucid(visit: Visit) -> Reply:
    """Draw: a base64 PNG in the envelope."""
    body = checked(visit.json(), {"prompt": _STRING}, **_picture(40), steps={"type": "integer", "maximum": 40})
    return visit.reply(success({"image": base64.b64encode(_drawn(body)).decode()}))


def phoenix(visit: Visit) -> Reply:
    """Draw: the bytes of a JPEG."""
    checked(visit.json(), {"prompt": _STRING}, **_picture(50))
    return visit.reply_bytes(media.jpeg(), "image/jpeg")


def diffusion(visit: Visit) -> Reply:
    """Draw: the bytes of a PNG; `img2img` wants a picture, `inpainting` a mask as well."""
    assert visit.model is not None  # noqa: S101 - the route has chosen one
    body = checked(visit.json(), {"prompt": _STRING}, **_picture(20))
    changes, fills = "img2img" in visit.model.id, "inpainting" in visit.model.id
    if changes or fills:
        given = _given(body, "image") or _given(body, "image_b64")
        if given is None:
            raise bad_input("required properties at '/' are 'image'")
        if not given.startswith(_STARTS):
            raise CloudflareError(400, 5004, "AiError: Invalid data in binary input")
    if fills and not (_given(body, "mask") or b"").startswith(_STARTS):
        raise bad_input("required properties at '/' are 'mask'")
    return visit.reply_bytes(_drawn(body, 512 if changes or fills else _SIDE), "image/png")


def _given(body: dict[str, Any], name: str) -> bytes | None:
    """Return a picture in a body: numbers, or base64."""
    value = body.get(name)
    try:
        if isinstance(value, list):
            return bytes(value)
        return base64.b64decode(value, validate=True) if isinstance(value, str) else None
    except (TypeError, ValueError) as problem:
        raise CloudflareError(400, 5004, "AiError: Invalid data in binary input") from problem
