"""Upstream texts made fit to be shown: short, without account ids, tokens, schema dumps or what the user wrote."""

from __future__ import annotations

import re
from typing import Final

MAX_SHOWN: Final = 400

_ACCOUNT = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{32}(?![0-9a-fA-F])")
_TOKEN = re.compile(r"\bcf(?:ut|at|k)_[\w-]+|\bBearer\s+\S+")
# What begins with a run of something does so only at the run's beginning: tried at each of its places, a long run would
# take time with the square of its length.
_REQUEST_ID = re.compile(r"(?<!\s)\s*\([0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\)")
_HEAD = re.compile(r"^(?:(?:\d{3,5}|AiError|InferenceUpstreamError|AiInternalError|Bad input|Error)\s*:\s*)+")
_ECHO = re.compile(r"""(?<![\s,(\[{])[\s,(\[{]*(?:\binput_value=|['"]input['"]\s*:).*""", re.DOTALL)

_OVERFLOW = re.compile(
    r"maximum context length|context (?:window|length) limit|exceed\w{0,3} th(?:e|is) model'?s? (?:maximum )?context"
    r"|max_(?:completion_)?tokens is too large",
    re.IGNORECASE,
)
_JSON_MODE = re.compile(r"JSON Mode couldn'?t be met", re.IGNORECASE)

_MISMATCH = re.compile(r"Type mismatch of '(?P<at>[^']*)', '(?P<got>[^']*)' not in '(?P<want>[^']*)'")
_REQUIRED = re.compile(r"required properties at '(?P<at>[^']*)' are '(?P<names>[^']*)'")
_OTHER = re.compile(r"(?P<what>[\w ]{1,60}?) (?:of|at|in) '(?P<at>/[^']+)'")
_MATCHES = re.compile(r"oneOf at '/' not met, (?P<count>\d+) matches")


def shown(text: str) -> str:
    """Make an upstream's sentence fit to be shown."""
    text = _HEAD.sub("", _REQUEST_ID.sub("", text.strip()))
    text = _TOKEN.sub("[token]", _ACCOUNT.sub("[account]", _ECHO.sub("", text)))
    text = " ".join(text.split())
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def is_overflow(text: str) -> bool:
    """Tell whether an engine says that the prompt and the answer do not fit its window. There is no code for it."""
    return _OVERFLOW.search(text) is not None


def is_unmet_json(text: str) -> bool:
    """Tell whether the service says that the model could not keep to JSON. There is no code for it."""
    return _JSON_MODE.search(text) is not None


def path_of(pointer: str) -> str | None:
    """Turn a JSON pointer into the path that OpenAI would name: ``/messages/0/content`` is ``messages[0].content``."""
    path = ""
    for step in pointer.strip("/").split("/"):
        name = step.replace("~1", "/").replace("~0", "~")
        if name.isascii() and name.isdigit():
            path += f"[{name}]"
        elif name:
            path += f".{name}" if path else name
    return path or None


def explain_validation(text: str) -> tuple[str, str | None]:
    """Turn a validator's list of everything that did not match into one sentence and the field at fault.

    The validator tries every form of the request and tells of each; the deepest place is where the request that was
    meant went wrong.
    """
    found: list[tuple[int, str, str | None]] = []
    for match in _MISMATCH.finditer(text):
        path = path_of(match["at"])
        if path:
            found.append(
                (_depth(match["at"]) + 1, f"{path} must be {_either(match['want'])}, not {match['got']}", path)
            )
    for match in _REQUIRED.finditer(text):
        path = path_of(match["at"])
        if path:
            found.append((_depth(match["at"]), f"{path} needs {_either(match['names'], 'and')}", path))
    if not found:
        for match in _OTHER.finditer(text):
            path = path_of(match["at"])
            found.append((_depth(match["at"]), f"{path} is not valid ({match['what'].strip()})", path))
    if found:
        _, reason, path = max(found, key=lambda entry: entry[0])
        return shown(f"Workers AI did not accept the request: {reason}."), path
    several = _MATCHES.search(text)
    if several and several["count"] not in {"0", "1"}:
        return "Workers AI did not accept the request: it fits more than one form of this model's input.", None
    root = _REQUIRED.search(text)
    if several is None and root:
        names = _either(root["names"], "and")
        return shown(f"Workers AI did not accept the request: it needs {names}."), None
    if several or "{" in text:
        return "Workers AI did not accept the request: it does not fit this model's input.", None
    reason = shown(text).rstrip(".")[:200]
    return f"Workers AI did not accept the request: {reason}." if reason else "The request is invalid.", None


def _depth(pointer: str) -> int:
    return pointer.strip("/").count("/") + 1


def _either(names: str, word: str = "or") -> str:
    *rest, last = [name.strip() for name in names.split(",")]
    return f"{', '.join(rest)} {word} {last}" if rest else last
