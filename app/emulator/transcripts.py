"""Recorded exchanges with Workers AI, and which of them answers a request.

A recording is a folder; it may lie anywhere below the folder of a library:

    request.json     what was asked
    upstream.sse     the body of the answer, byte for byte, when it is an event stream;
    upstream.json    or this, when it is JSON;
    upstream.bin     or this, when it is anything else; none of them when the body is empty
    answer.json      how the answer came; may be missing

`request.json` is an object:

    model            the model asked for
    method           "POST" when missing
    path             the path from `/ai/` on, with the query if there was one: "/ai/v1/chat/completions". The part
                     before it (`/client/v4/accounts/{id}`, or a gateway's `/v1/{id}/{gateway}/workers-ai`) may stand
                     there or not: it names an account and does not count
    body             the JSON body as it was sent upstream, any secrets taken out
    body_sha256      in place of `body` when it was not JSON: the SHA-256 of its bytes, in hexadecimal
    max_tokens       the token limit that was sent upstream; readers of a stream need it
    …                other keys belong to other readers and are passed over: `shape`, `dialect`, `emulation`,
                     `thinks_inline`

Without a `path` it is `/ai/run/{model}` when `dialect` is "native", else `/ai/v1/chat/completions`; without `body` and
`body_sha256` the recording fits any body. So a folder that holds only `model`, `max_tokens` and a stream, as the tests
have them, is a recording too.

`answer.json` is an object, every key of which may be missing:

    status           200 when missing
    headers          pairs [name, value], in order; without those that belong to the connection (`connection`,
                     `keep-alive`, `transfer-encoding`, `content-length`, `date`) and without cookies. A missing
                     content type follows from the body's file name. The body is kept as it came, so `content-encoding`
                     has to stand here when it was compressed
    started          seconds from the request to the headers
    chunks           pairs [seconds, bytes]: when each piece of the body came, counted from the request, and its size;
                     the sizes add up to the body. One piece when missing
    end              "whole" when missing; "cut" when the connection closed before the body was complete, "reset" when
                     it was reset

A request is answered by a recording of the same method, path and body, where bodies are JSON and the order of keys
and blanks do not count. When several are alike, they answer in the order of their names, and begin again after the
last. When none has this body, the first recording of the same method, path and model that has answered nothing yet
answers: so a conversation replays in its order even where its words changed, or where secrets were taken out of the
recorded body. Otherwise there is no answer.
"""

import hashlib
import re
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlencode

import orjson

from app.emulator.jsonvalue import Json

End = Literal["whole", "cut", "reset"]
ENDS: tuple[End, ...] = ("whole", "cut", "reset")
_EVENTS = "text/event-stream"
_BODIES = {
    "upstream.sse": _EVENTS,
    "upstream.json": "application/json",
    "upstream.bin": "application/octet-stream",
}
_ACCOUNT = re.compile(r"(?:/client/v4)?/accounts/[^/]+(?=/)|/client/v4(?=/)")
_GATEWAY = re.compile(r"/v1/[^/]+/[^/]+/workers-ai(?=/)")
_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "set-cookie"}

_MISSED_KEPT = 100


class TranscriptError(ValueError):
    """A recording cannot be read; the message names its file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request is known by.

    Attributes:
        method: HTTP method.
        path: Path from `/ai/` on, with its query in order.
        model: Model, where one is named.
        body: Digest of the body in canonical form; nothing in a recording that fits any.
    """

    method: str
    path: str
    model: str | None
    body: str | None


@dataclass(frozen=True, slots=True)
class Transcript:
    """One recorded exchange.

    Attributes:
        name: Its folder, below the library's.
        asked: What was asked.
        status: HTTP status.
        headers: Headers, in order.
        body: Body.
        started: Seconds from the request to the headers.
        chunks: When each piece of the body came, and its size.
        end: How it ended.
    """

    name: str
    asked: Asked
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    started: float
    chunks: tuple[tuple[float, int], ...]
    end: End

    @property
    def streamed(self) -> bool:
        """Whether it is an event stream."""
        return any(key == "content-type" and value.startswith(_EVENTS) for key, value in self.headers)


def asked_of(method: str, path: str, query: str, body: bytes) -> Asked:
    """Return what a request is known by.

    Args:
        method: HTTP method.
        path: Path, with or without its account, percent-encoded or not.
        query: Query string.
        body: Raw body.
    """
    try:
        parsed = orjson.loads(body) if body else None
    except orjson.JSONDecodeError:
        return Asked(method.upper(), _plain_path(path, query), _model(path, None), hashlib.sha256(body).hexdigest())
    return Asked(method.upper(), _plain_path(path, query), _model(path, parsed), _digest(parsed) if body else None)


def _plain_path(path: str, query: str) -> str:
    whole = unquote(path)
    whole = _GATEWAY.sub("/ai", whole, count=1) if _GATEWAY.match(whole) else whole
    whole = whole[found.end() :] if (found := _ACCOUNT.match(whole)) else whole
    ordered = urlencode(sorted(parse_qsl(query, keep_blank_values=True)))
    return f"{whole}?{ordered}" if ordered else whole


def _model(path: str, body: Json) -> str | None:
    _, found, name = unquote(path).partition("/run/")
    if found:
        return name
    named = body.get("model") if isinstance(body, dict) else None
    return named if isinstance(named, str) else None


def _digest(body: Json) -> str:
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS)).hexdigest()


def load(folder: Path, name: str) -> Transcript:
    """Read one recording.

    Args:
        folder: Its folder.
        name: What to call it.

    Raises:
        TranscriptError: It is not one.
    """
    request = _object(folder / "request.json")
    answer = _object(folder / "answer.json") if (folder / "answer.json").exists() else {}
    files = [file for file in _BODIES if (folder / file).exists()]
    if len(files) > 1:
        raise TranscriptError(f"{folder}: there is more than one body: {', '.join(files)}")
    body = (folder / files[0]).read_bytes() if files else b""
    try:
        headers = [(str(key).lower(), str(value)) for key, value in answer.get("headers", [])]
        kept = [pair for pair in headers if pair[0] not in _CONNECTION]
        if files and all(key != "content-type" for key, _ in kept):
            kept.insert(0, ("content-type", _BODIES[files[0]]))
        chunks = tuple((float(at), int(size)) for at, size in answer.get("chunks", [[0.0, len(body)]]))
        return Transcript(
            name=name,
            asked=_recorded(request),
            status=int(answer.get("status", 200)),
            headers=tuple(kept),
            body=body,
            started=float(answer.get("started", chunks[0][0] if chunks else 0.0)),
            chunks=_checked(chunks, len(body)),
            end=_end(answer.get("end", "whole")),
        )
    except (TypeError, ValueError) as problem:
        raise TranscriptError(f"{folder}: {problem}") from problem


def _object(file: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as problem:
        raise TranscriptError(f"{file}: {problem}") from problem
    if not isinstance(value, dict):
        raise TranscriptError(f"{file}: it has to be an object")
    return value


def _recorded(request: dict[str, Any]) -> Asked:
    model = request.get("model")
    native = request.get("dialect") == "native"
    path = request.get("path", f"/ai/run/{model}" if native else "/ai/v1/chat/completions")
    if not isinstance(path, str) or not (model is None or isinstance(model, str)):
        raise TypeError("path and model of request.json have to be texts")
    plain, _, query = path.partition("?")
    body = request.get("body_sha256") or (_digest(request["body"]) if "body" in request else None)
    named = _model(plain, request.get("body")) or model
    return Asked(str(request.get("method", "POST")).upper(), _plain_path(plain, query), named, body)


def _checked(chunks: tuple[tuple[float, int], ...], size: int) -> tuple[tuple[float, int], ...]:
    if any(one < 0 for _, one in chunks) or sum(one for _, one in chunks) != size:
        raise ValueError(f"the chunks of answer.json have to add up to the body's {size} bytes")
    return chunks


def _end(value: Json) -> End:
    for end in ENDS:
        if end == value:
            return end
    raise ValueError(f"end in answer.json is one of {', '.join(ENDS)}")


class Library:
    """All recordings, and how often each has answered.

    Args:
        root: The folder that holds them.

    Raises:
        TranscriptError: One cannot be read, or there is none.
    """

    def __init__(self, root: Path) -> None:
        files = sorted(root.rglob("request.json"))
        if not files:
            raise TranscriptError(f"{root}: there is no recording")
        self._all = [load(file.parent, file.parent.relative_to(root).as_posix()) for file in files]
        self.rewind()

    def rewind(self) -> None:
        """Forget what has been answered."""
        self._served = {one.name: {"body": 0, "order": 0} for one in self._all}
        self._missed: deque[str] = deque(maxlen=_MISSED_KEPT)

    def find(self, asked: Asked) -> Transcript | None:
        """Return the recording that answers, and count it; nothing when there is none."""
        alike = [one for one in self._all if one.asked == asked]
        if alike:
            found = min(alike, key=lambda one: self._served[one.name]["body"])
            self._served[found.name]["body"] += 1
            return found
        for one in self._all:
            same = (one.asked.method, one.asked.path, one.asked.model) == (asked.method, asked.path, asked.model)
            if same and not any(self._served[one.name].values()):
                self._served[one.name]["order"] += 1
                return one
        self._missed.append(f"{asked.method} {asked.path}" + (f" ({asked.model})" if asked.model else ""))
        return None

    def near(self, asked: Asked) -> int:
        """Return how many recordings have a request's method, path and model."""
        key = (asked.method, asked.path, asked.model)
        return sum((one.asked.method, one.asked.path, one.asked.model) == key for one in self._all)

    def shown(self) -> dict[str, Any]:
        """Return `{recordings: {name: {body, order}}, missed: [request]}`: how often each answered, and by what."""
        return {"recordings": self._served, "missed": list(self._missed)}
