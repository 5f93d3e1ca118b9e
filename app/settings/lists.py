"""Lists and mappings as people write them into one environment variable."""

from __future__ import annotations

import re

from app.wire.codec import CodecError, decode

_SEPARATOR = re.compile(r"[,\n]")


def read_list(value: object) -> object:
    """Read ``a,b``, one item a line, or a JSON list; what is no string is left for the type's own check.

    Raises:
        ValueError: It begins like JSON and is not.
    """
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return _json(value, list, "list")
    return [item.strip() for item in _SEPARATOR.split(value) if item.strip()]


def read_mapping(value: object) -> object:
    """Read ``a=b,c=d``, one pair a line, or a JSON object; what is no string is left for the type's own check.

    Raises:
        ValueError: It is none of these, or a name comes twice.
    """
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        return _json(value, dict, "object")
    pairs: dict[str, str] = {}
    for item in _SEPARATOR.split(value):
        if not item.strip():
            continue
        name, equals, target = (piece.strip() for piece in item.partition("="))
        if not (name and equals and target):
            raise ValueError("must be pairs such as a=b,c=d, or a JSON object")
        if name in pairs:
            raise ValueError(f"names {name!r} twice")
        pairs[name] = target
    return pairs


def read_choices(value: object) -> object:
    """Read ``a=b|c,d=e``, one item a line, or a JSON object of lists, or of such texts.

    Raises:
        ValueError: As for ``read_mapping``.
    """
    pairs = read_mapping(value)
    if not isinstance(pairs, dict):
        return pairs
    return {
        name: [item.strip() for item in choices.split("|") if item.strip()] if isinstance(choices, str) else choices
        for name, choices in pairs.items()
    }


def _json(text: str, kind: type, name: str) -> object:
    try:
        value = decode(text)
    except CodecError:
        value = None
    if not isinstance(value, kind):
        raise ValueError(f"begins like a JSON {name} and is none")  # noqa: TRY004 - it is the text that is wrong
    return value
