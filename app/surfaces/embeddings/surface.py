"""``POST /v1/embeddings``."""

from __future__ import annotations

import sys
from array import array
from base64 import b64encode
from collections.abc import Mapping
from typing import Any, Final

from app.core.embedding import Embeddings, EmbeddingsRequest, Vector
from app.core.errors import BadRequest
from app.core.model import Model
from app.core.surface import NewId
from app.core.task import TaskReply
from app.surfaces.embeddings.fates import FATES
from app.surfaces.fields import boolean, integer, invalid, missing, need, one_of, string, strings, wrong_type
from app.wire.codec import encode

MOST_TEXTS: Final = 2048
"""OpenAI's own bound."""

ENCODINGS: Final = ("float", "base64")
POOLINGS: Final = ("mean", "cls")
MAX_INSTRUCTION: Final = 8192


class EmbeddingsSurface:
    """``POST /v1/embeddings``."""

    name = "embeddings"
    main_field = "input"
    form = None
    fates = FATES

    def stand_in(self, name: str) -> None:
        """None: vectors of another model than the one that was meant are of no use."""

    def read(self, body: Mapping[str, Any]) -> EmbeddingsRequest:
        """Check and translate a request body.

        Raises:
            BadRequest: With the path of the field at fault.
        """
        return EmbeddingsRequest(
            model=need(string(body, "model", min_length=1), "model"),
            texts=_texts(body),
            encoding="base64" if one_of(body, "encoding_format", ENCODINGS) == "base64" else "float",
            dimensions=integer(body, "dimensions", minimum=1),
            options=_options(body),
        )

    def answer(
        self,
        request: EmbeddingsRequest,
        result: Embeddings,
        model: Model,  # noqa: ARG002 - it is told in a header
        new_id: NewId,  # noqa: ARG002 - nothing here has an id
        now: float,  # noqa: ARG002 - or a time
    ) -> TaskReply:
        """Write the vectors, in the order of their texts."""
        shown = _as_base64 if request.encoding == "base64" else _as_numbers
        # Row by row, so that only one vector at a time is a list of Python's own numbers.
        rows = b",".join(
            encode({"object": "embedding", "index": index, "embedding": shown(vector)})
            for index, vector in enumerate(result.vectors)
        )
        rest = {"model": request.model, "usage": {"prompt_tokens": result.tokens, "total_tokens": result.tokens}}
        return TaskReply(b'{"object":"list","data":[' + rows + b"]," + encode(rest).removeprefix(b"{"))


def _texts(body: Mapping[str, Any]) -> list[str]:
    value = body.get("input")
    if value is None:
        raise missing(("input",))
    if isinstance(value, str):
        return [need(string(body, "input", min_length=1), "input")]
    if not isinstance(value, list):
        raise wrong_type(("input",), "a string or an array of strings", value)
    if value and all(type(one) is int for one in value):
        raise _token_ids("input")
    for index, one in enumerate(value):
        if isinstance(one, list):
            raise _token_ids(f"input[{index}]")
        if one == "":
            raise invalid(("input", index), "empty string. Expected a text to embed.", "empty_string")
    return list(strings(body, "input", min_length=1, max_length=MOST_TEXTS) or ())


def _token_ids(param: str) -> BadRequest:
    return BadRequest(
        f"Unsupported value: '{param}' holds token ids, which mean nothing to the models of Workers AI. Send texts; "
        "clients that count tokens themselves have a setting for it.",
        param=param,
        code="unsupported_value",
    )


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    options: dict[str, Any] = {
        "pooling": one_of(body, "pooling", POOLINGS),
        "truncate_inputs": boolean(body, "truncate_inputs"),
        "instruction": string(body, "instruction", max_length=MAX_INSTRUCTION),
    }
    return {name: value for name, value in options.items() if value is not None}


def _as_numbers(vector: Vector) -> list[float]:
    return vector.tolist()


def _as_base64(vector: Vector) -> str:
    singles = vector if vector.typecode == "f" else array("f", vector)
    if sys.byteorder == "big":
        singles = array("f", singles)
        singles.byteswap()
    return b64encode(singles).decode()
