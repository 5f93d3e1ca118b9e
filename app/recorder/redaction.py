"""Taking secrets out of bytes without changing how many there are.

What is found is written over with as many other bytes, so that frames, chunks and lengths stay what they were. It is
found

- as it is, in any case of its letters, escaped as in JSON (at any depth) or in a URL, and in base64 at any offset;
- also where it is spread over the frames of a stream: the values of one field are read as one text;
- by its form, when nobody has named it: keys and tokens of well-known services, JSON web tokens, private keys, what
  follows ``Bearer``, account ids in paths, e-mail and IP addresses, Cloudflare's ray ids.

It is not found compressed, encrypted, hashed or in hexadecimal, doubly escaped in a URL, in base64 that is broken into
lines, written backwards or with signs between its letters, or where two fields of the same name grow in turns, as the
arguments of two parallel calls may.
"""

from __future__ import annotations

import base64
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias

from app.wire.codec import decode, encode

LEAST_CHARACTERS: Final = 4
"""A shorter secret would be found everywhere."""

_LEAST_FOR_BASE64: Final = 6
_WORD: Final = b"REDACTED"
_BACKSLASH: Final = 0x5C
_NUMERIC = re.compile(rb"[0-9.+-]+")

Span: TypeAlias = tuple[int, int]

_IN_JSON = re.compile(
    rb"\\+u(?P<high>[dD][89abAB][0-9a-fA-F]{2})\\+u(?P<low>[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|\\+u(?P<unit>[0-9a-fA-F]{4})|\\+"
)
_IN_URLS = re.compile(_IN_JSON.pattern + rb"|%(?P<byte>[0-9a-fA-F]{2})")
_FIELD = re.compile(
    rb'"(?P<name>(?:[^"\\]|\\.)*)"\s*:\s*(?:"(?P<text>(?:[^"\\]|\\.)*)"|(?P<number>-?[0-9][0-9.eE+-]*))'
)

_OCTET = rb"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

# Each begins with what is rare, because all of every answer is searched for all of them. The group, where there is one,
# is what is taken out.
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        rb"cf(?:ut|at|k)_[A-Za-z0-9_-]{16,}",
        rb"sk-(?<![A-Za-z0-9]sk-)[A-Za-z0-9_-]{16,}",
        rb"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*",
        rb"gh[pousr]_[A-Za-z0-9]{20,}",
        rb"github_pat_[A-Za-z0-9_]{20,}",
        rb"xox[a-z]-[A-Za-z0-9-]{10,}",
        rb"AKIA[0-9A-Z]{16}",
        rb"AIza[A-Za-z0-9_-]{30,}",
        rb"hf_[A-Za-z0-9]{20,}",
        rb"PRIVATE KEY-----([A-Za-z0-9+/=\snr]+)-----END",
        rb"[Bb]earer[ +:]+([A-Za-z0-9._~+/=-]{16,})",
        rb"accounts/([0-9a-fA-F]{32})",
        rb"Ray ID.{0,60}?([0-9a-f]{16})",
        rb"(?<![0-9.])(?:" + _OCTET + rb"\.){3}" + _OCTET + rb"(?!\.?[0-9])",
        rb"(?<![0-9A-Za-z:])[23fF][0-9a-fA-F]{3}:(?:[0-9a-fA-F]{0,4}:){1,6}[0-9a-fA-F]{0,4}(?![0-9A-Za-z:])",
    )
)
_MAIL_HOST = re.compile(rb"@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_MAIL_NAME = re.compile(rb"[A-Za-z0-9._%+-]{1,64}\Z")
_BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_")

_SECRET_NAME = re.compile(
    r"auth|cookie|token|secret|key|email|password|passwd|credential|session|sig(?:nature)?$", re.IGNORECASE
)


def names_a_secret(name: str) -> bool:
    """A header or a parameter of this name holds a secret."""
    return _SECRET_NAME.search(name) is not None


class Redactor:
    """Knows some secrets, and takes them out.

    Args:
        secrets: What must not be seen; a text of several lines is one secret for each line. Those of fewer than
            ``LEAST_CHARACTERS`` characters are passed over.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        lines = (line.strip() for secret in secrets for line in secret.splitlines())
        self._secrets = frozenset(line for line in lines if len(line) >= LEAST_CHARACTERS)
        self._forms = sorted({form for secret in self._secrets for form in _plain_forms(secret)})
        self._encoded = sorted({form for secret in self._secrets for form in _base64_forms(secret)})

    def knowing(self, more: Iterable[str]) -> Redactor:
        """One that knows these secrets too."""
        return Redactor([*self._secrets, *more])

    def text(self, text: str) -> str:
        """Take the secrets out of a text."""
        return self.body(text.encode("utf-8", "surrogatepass"), readable=True).decode("utf-8", "replace")

    def json(self, value: Any) -> Any:  # noqa: ANN401 - any JSON
        """Take the secrets out of a JSON value.

        Raises:
            CodecError: One of them was a part of a number that is no number without it.
        """
        data = encode(value)
        redacted = self.body(data, readable=True)
        return value if redacted == data else decode(redacted)

    def body(self, data: bytes, *, readable: bool) -> bytes:
        """Take the secrets out of a whole body.

        Args:
            data: The body.
            readable: It is text; what only looks like a secret is taken out of texts alone, because in other bytes it
                would be chance.
        """
        spans = list(self._spans(data, readable=readable))
        if readable:
            spans.extend(self._spread(data))
        if not spans:
            return data
        changed = bytearray(data)
        for start, end in spans:
            changed[start:end] = _written_over(data[start:end])
        return bytes(changed)

    def _spans(self, data: bytes, *, readable: bool) -> Iterator[Span]:
        # More than one view, because what looks like an escape may be a sign and the beginning of a secret.
        for view in _views(data):
            yield from self._seen(view, readable=readable)

    def _seen(self, view: _View, *, readable: bool) -> Iterator[Span]:
        lowered = view.text.lower()
        for form in self._forms:
            yield from (view.span(*found) for found in _all(lowered, form))
        for form in self._encoded:
            yield from (view.span(*_widened(view.text, *found)) for found in _all(lowered, form))
        if readable:
            for pattern in _FORMS:
                yield from (view.span(*found.span(pattern.groups)) for found in pattern.finditer(view.text))
            for found in _MAIL_HOST.finditer(view.text):
                if name := _MAIL_NAME.search(view.text, max(0, found.start() - 64), found.start()):
                    yield view.span(name.start(), found.end())

    def _spread(self, data: bytes) -> Iterator[Span]:
        """Find what no single value of a field holds, but all of its values together."""
        values: dict[bytes, list[Span]] = {}
        for found in _FIELD.finditer(data):
            values.setdefault(found["name"], []).append(found.span("number" if found["text"] is None else "text"))
        for spans in values.values():
            if len(spans) < 2:
                continue
            joined = b"".join([data[start:end] for start, end in spans])
            starts = [0]
            for start, end in spans:
                starts.append(starts[-1] + end - start)
            for start, end in self._spans(joined, readable=True):
                for number in range(bisect_right(starts, start) - 1, bisect_right(starts, end - 1)):
                    begin = spans[number][0] - starts[number]
                    yield begin + max(start, starts[number]), begin + min(end, starts[number + 1])


class _View:
    """A body without some kind of escapes, and where everything in it came from."""

    def __init__(self, data: bytes, escape: re.Pattern[bytes] | None = None) -> None:
        self._data = data
        pieces: list[bytes] = []
        # Of each piece: where it begins here, where it comes from, and whether it is a single escape.
        self._here: list[int] = []
        self._from: list[Span] = []
        self._size = place = 0
        for found in escape.finditer(data) if escape is not None else ():
            self._add(pieces, data[place : found.start()], (place, found.start()))
            self._add(pieces, _unescaped(found), found.span())
            place = found.end()
        self._add(pieces, data[place:], (place, len(data)))
        self.text = b"".join(pieces)

    def _add(self, pieces: list[bytes], piece: bytes, origin: Span) -> None:
        if piece:
            pieces.append(piece)
            self._here.append(self._size)
            self._from.append(origin)
            self._size += len(piece)

    def span(self, start: int, end: int) -> Span:
        """Where a part of the text is in the body, with the whole of every escape that it touches."""
        first, last = self._piece(start), self._piece(end - 1)
        begin, stop = self._from[first][0], self._from[last][1]
        if self._is_plain(first):
            begin += start - self._here[first]
        if self._is_plain(last):
            stop = self._from[last][0] + end - self._here[last]
        # Of a row of backslashes all stay or none, so that JSON stays JSON: those before belong to what is taken out,
        # those at its end to what follows.
        while begin and self._data[begin - 1] == _BACKSLASH:
            begin -= 1
        while stop > begin and self._data[stop - 1] == _BACKSLASH:
            stop -= 1
        return begin, stop

    def _piece(self, place: int) -> int:
        return bisect_right(self._here, place) - 1

    def _is_plain(self, number: int) -> bool:
        following = self._here[number + 1] if number + 1 < len(self._here) else self._size
        start, end = self._from[number]
        return end - start == following - self._here[number]


def _views(data: bytes) -> Iterator[_View]:
    yield _View(data)
    if b"\\" in data:
        yield _View(data, _IN_JSON)
    if b"%" in data:
        yield _View(data, _IN_URLS)


def _unescaped(found: re.Match[bytes]) -> bytes:
    match found.lastgroup:
        case "byte":
            return bytes.fromhex(found["byte"].decode())
        case "unit":
            return chr(int(found["unit"], 16)).encode("utf-8", "surrogatepass")
        case "low":
            return bytes.fromhex((found["high"] + found["low"]).decode()).decode("utf-16-be").encode()
    # Backslashes alone: whatever they escape stands for itself, and a secret that has some is looked for without.
    return b""


def _plain_forms(secret: str) -> Iterator[bytes]:
    data = secret.encode("utf-8", "surrogatepass")
    forms = (data, data.replace(b"\\", b""), *(view.text for view in _views(data)))
    yield from (form.lower() for form in forms if form)


def _base64_forms(secret: str) -> Iterator[bytes]:
    """What base64 makes of a secret, whatever stands before and after it."""
    data = secret.encode("utf-8", "surrogatepass")
    if len(data) < _LEAST_FOR_BASE64:
        return
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + data)
        # The first and the last character may hold bits of others.
        core = encoded[(before * 8 + 5) // 6 : (before + len(data)) * 8 // 6].lower()
        yield core
        yield core.translate(bytes.maketrans(b"+/", b"-_"))


def _all(text: bytes, form: bytes) -> Iterator[Span]:
    place = text.find(form)
    while place >= 0:
        yield place, place + len(form)
        # One further, and not past it: a secret may begin within itself.
        place = text.find(form, place + 1)


def _widened(text: bytes, start: int, end: int) -> Span:
    """With the characters at both sides, which may hold a few bits of the secret."""
    if start and text[start - 1] in _BASE64:
        start -= 1
    if end < len(text) and text[end] in _BASE64:
        end += 1
    return start, end


def _written_over(secret: bytes) -> bytes:
    """As many other bytes, which may stand where these stood: in JSON, in a URL, in base64, in a number."""
    if _NUMERIC.fullmatch(secret):
        return re.sub(rb"[0-9]", b"1", secret)
    filler = (_WORD * (len(secret) // len(_WORD) + 1))[: len(secret)]
    if b"\n" in secret or b"\r" in secret:
        # The ends of lines are the frames'.
        return bytes(old if old in b"\r\n" else new for old, new in zip(secret, filler, strict=True))
    return filler
