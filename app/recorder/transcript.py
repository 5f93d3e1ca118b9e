"""One exchange as it is written down: three files in a folder, in the form that the emulator replays.

request.json                    what was asked, without its headers
answer.json                     status, headers, when each piece came and how large it was, how it ended
upstream.{sse,json,bin}         the body, with secrets written over by as many other bytes
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import unquote

from msgspec import Struct, field

from app.recorder.redaction import Redactor, names_a_secret
from app.wire.codec import CodecError, decode

End = Literal["whole", "cut", "reset"]

_KEPT_HEADERS: Final = frozenset(
    {
        "content-type", "retry-after", "retry-after-ms", "x-should-retry", "allow", "cache-control",
        "cf-aig-cache-status", "cf-aig-step",
    }
)  # fmt: skip
NUMBERS: Final = "x-ratelimit-"
"""How the names of headers begin that tell of limits, and of nothing else."""

_EVENTS: Final = "text/event-stream"
_LIMITS: Final = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_UNFIT = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST_NAME: Final = 80


class Exchange(Struct):
    """What was asked and answered, secrets and all.

    Attributes:
        number: Its place among all that were asked.
        method: HTTP method.
        path: Path from ``/ai/`` on, as it was sent.
        query: Query string, as it was sent.
        body: The request's body.
        status: The answer's status.
        headers: The answer's headers, in order, names in lower case.
        started: Seconds from the request to the answer's headers.
        pieces: When each piece of the answer's body came, in seconds from the request, and the piece.
        end: How the answer ended.
        left: The client left before that, so the end is ours.
    """

    number: int
    method: str
    path: str
    query: str
    body: bytes
    status: int = 0
    headers: Sequence[tuple[str, str]] = ()
    started: float = 0.0
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    end: End = "whole"
    left: bool = False

    @property
    def content_type(self) -> str:
        """The answer's media type, without parameters."""
        value = next((value for name, value in self.headers if name == "content-type"), "")
        return value.partition(";")[0].strip().lower()

    @property
    def encoding(self) -> str:
        """How the answer's body is compressed; empty when it is not."""
        value = next((value for name, value in self.headers if name == "content-encoding"), "")
        return value.strip().lower().removeprefix("identity")


def write(out: Path, exchange: Exchange, redactor: Redactor) -> str:
    """Write a recording; return its name.

    Args:
        out: The folder that holds the recordings.
        exchange: What is written.
        redactor: Takes the secrets out of it.

    Raises:
        OSError: It cannot be written.
    """
    request = _request(exchange, redactor)
    streamed = exchange.content_type == _EVENTS
    what = _UNFIT.sub("-", unquote(request["model"] or request["path"]).partition("?")[0].rpartition("/")[2]).strip(
        "-."
    )
    name = f"{exchange.number:05}-{what[:_LONGEST_NAME] or 'request'}-{'stream' if streamed else 'unstreamed'}"
    folder = out / name
    folder.mkdir()
    if data := b"".join(piece for _, piece in exchange.pieces):
        kind = "sse" if streamed else "json" if exchange.content_type == "application/json" else "bin"
        readable = exchange.content_type.startswith("text/") or "json" in exchange.content_type
        (folder / f"upstream.{kind}").write_bytes(redactor.body(data, readable=readable))
    _write_json(folder / "answer.json", _answer(exchange, redactor))
    # Last, because a folder without it is no recording.
    _write_json(folder / "request.json", request)
    return name


def _request(exchange: Exchange, redactor: Redactor) -> dict[str, Any]:
    path = redactor.text(exchange.path)
    query = "&".join(_parameter(pair, redactor) for pair in exchange.query.split("&")) if exchange.query else ""
    _, native, name = unquote(exchange.path).partition("/run/")
    request: dict[str, Any] = {
        "model": name or None,
        "method": exchange.method,
        "path": f"{path}?{query}" if query else path,
    }
    if native:
        request["dialect"] = "native"
    body = _decoded(exchange.body)
    if body is _NOT_JSON:
        redacted = redactor.body(exchange.body, readable=False)
        request["body_sha256"] = hashlib.sha256(redacted).hexdigest()
    elif exchange.body:
        # Without a body the recording answers in its order.
        with contextlib.suppress(CodecError):
            request["body"] = redactor.json(body)
        if isinstance(body, dict):
            request["model"] = request["model"] or _text(body.get("model"))
            request["max_tokens"] = next((body[key] for key in _LIMITS if isinstance(body.get(key), int)), None)
    request["model"] = redactor.text(request["model"]) if request["model"] else None
    return request


_NOT_JSON: Final = object()


def _decoded(body: bytes) -> Any:  # noqa: ANN401 - any JSON
    try:
        return decode(body) if body else None
    except CodecError:
        return _NOT_JSON


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _parameter(pair: str, redactor: Redactor) -> str:
    name, equals, value = pair.partition("=")
    if value and names_a_secret(unquote(name)):
        return f"{redactor.text(name)}=REDACTED"
    return redactor.text(f"{name}{equals}{value}")


def _answer(exchange: Exchange, redactor: Redactor) -> Mapping[str, Any]:
    kept = [
        [name, redactor.text(value)]
        for name, value in exchange.headers
        if name in _KEPT_HEADERS or name.startswith(NUMBERS)
    ]
    answer = {
        "status": exchange.status,
        "headers": kept,
        "started": round(exchange.started, 6),
        "chunks": [[round(at, 6), len(piece)] for at, piece in exchange.pieces],
        "end": exchange.end,
    }
    return {**answer, "client_left": True} if exchange.left else answer


def _write_json(file: Path, value: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
