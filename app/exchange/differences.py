"""How what was asked and what is sent differ: pure comparison of two JSON objects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

MOST: Final = 50
"""How many differences inside the conversation are told; its shape shows after a few of them."""

LONGEST: Final = 80
"""Characters of a text that is told; a longer one is in the request itself."""


def inner_differences(asked: Any, sent: Any, path: str) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - any JSON
    """Tell where two values differ, place by place.

    Args:
        asked: What the client wrote.
        sent: What the upstream gets in its place.
        path: Where both stand, such as ``messages``.

    Yields:
        Objects with ``field`` and, where there is such a thing, ``asked`` and ``sent``, shortened.
    """
    if isinstance(asked, Mapping) and isinstance(sent, Mapping):
        for name in dict.fromkeys((*asked, *sent)):
            place = f"{path}.{name}"
            if name not in sent:
                # An absent field and a null one mean the same in OpenAI's API.
                if asked[name] is not None:
                    yield {"field": place, "asked": shortened(asked[name])}
            elif name not in asked:
                yield {"field": place, "sent": shortened(sent[name])}
            else:
                yield from inner_differences(asked[name], sent[name], place)
    elif _are_lists(asked, sent) and len(asked) == len(sent):
        for number, (one, other) in enumerate(zip(asked, sent, strict=True)):
            yield from inner_differences(one, other, f"{path}[{number}]")
    elif not _equal(asked, sent):
        yield {"field": path, "asked": shortened(asked), "sent": shortened(sent)}


def shortened(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A value as it is told: as it is if it is short, else its beginning or its kind."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST else f"{value[:LONGEST]}…"
    if isinstance(value, Mapping):
        return f"an object of {len(value)}" if value else {}
    if isinstance(value, Sequence):
        return f"a list of {len(value)}" if value else []
    return value


def _are_lists(one: Any, other: Any) -> bool:  # noqa: ANN401 - any JSON
    return isinstance(one, list) and isinstance(other, list)


def _equal(one: Any, other: Any) -> bool:  # noqa: ANN401 - any JSON
    # In Python 1 and True are equal; in JSON they are not.
    return one == other and isinstance(one, bool) == isinstance(other, bool)
