"""The facts about models that hear, speak and draw, on which their requests depend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field


class Hearing(Struct, frozen=True):
    """How a model of speech recognition is asked.

    Attributes:
        body: ``base64`` in a JSON object with options; raw ``bytes`` without options; raw bytes with options in the
            ``query``; or ``none``: there is no plain request for it, only a WebSocket.
        english_only: It knows no other language.
    """

    body: Literal["base64", "bytes", "query", "none"] = "base64"
    english_only: bool = False


class Speaking(Struct, frozen=True):
    """How a model of speech synthesis is asked.

    Attributes:
        body: ``encoding``: it takes a text with a speaker, an encoding and a container; ``lang``: a prompt and a
            language, and it sends what it likes.
        voices: Its own names for its voices, or for its languages.
        stand_ins: OpenAI's names for voices, each with the own name that is taken for it.
    """

    body: Literal["encoding", "lang"] = "encoding"
    voices: tuple[str, ...] = ()
    stand_ins: Mapping[str, str] = field(default_factory=dict)


class Steps(Struct, frozen=True):
    """How many steps a picture takes.

    Attributes:
        field: What the model calls their number.
        low: For a low quality.
        high: For a high one.
        most: More are refused.
        usual: What the model does when nothing is asked.
    """

    field: str
    low: int
    high: int
    most: int
    usual: int


class Drawing(Struct, frozen=True):
    """How a model of pictures is asked.

    Attributes:
        form: It takes a form (``multipart/form-data``) and no JSON.
        max_prompt: The longest prompt, in characters; ``None`` when unknown.
        sides: The shortest and the longest side, in pixels; ``None`` when its pictures have one size.
        usual_side: The side of a picture when nothing is asked, in pixels.
        steps: How many it takes; ``None`` when they cannot be chosen.
        knobs: Which other fields it takes: ``seed``, ``guidance``, ``negative_prompt``, ``strength``.
        source: What it does with a picture that it is given: draws with it as a ``reference``, draws it anew
            (``image``), or draws what a ``mask`` leaves free; ``None`` when it takes none.
    """

    form: bool = False
    max_prompt: int | None = None
    sides: tuple[int, int] | None = None
    usual_side: int = 1024
    steps: Steps | None = None
    knobs: frozenset[str] = frozenset()
    source: Literal["reference", "image", "mask"] | None = None
