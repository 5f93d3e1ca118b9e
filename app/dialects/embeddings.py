"""Embeddings on Workers AI: ``/ai/v1/embeddings``, and ``/ai/run`` where its own fields are asked for."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Literal

from msgspec import Struct

from app.core.embedding import Embedding, Embeddings, EmbeddingsRequest, Vector
from app.core.errors import BadRequest, UpstreamBroken
from app.core.model import Model
from app.core.task import Call, Given, Understood
from app.core.upstream import UpstreamRequest
from app.core.usage import Usage, estimate_tokens
from app.dialects.scalars import amount_of, count_of

MOST_TEXTS: Final = 100
"""Of one call: Cloudflare's schemas allow no more."""

_ANYTHING: Final = Embedding(frozenset({"pooling", "truncate_inputs", "instruction"}))
"""Assumed of a model that is newer than the catalogue."""


class EmbeddingsDialect:
    """What is spoken to embedding models."""

    name = "embeddings"
    task = "Text Embeddings"
    verb = "make embeddings"
    fields: Mapping[str, str] = {"input": "input", "text": "input", "queries": "input", "pooling": "pooling"}

    def serves(self, model: Model) -> bool:
        """This is spoken to a model."""
        return model.task == self.task

    def write(self, request: EmbeddingsRequest, model: Model) -> Sequence[Call]:
        """Translate a request: one call for every hundred texts.

        Raises:
            BadRequest: The model has no such dimensions, or does not know a field.
        """
        _check_dimensions(request.dimensions, model)
        _check_options(request, model)
        # What is written as singles is kept as singles: converting a list twice takes longer than all the rest.
        condense = partial(_condensed, "f" if request.encoding == "base64" else "d")
        calls = []
        for start in range(0, len(request.texts), MOST_TEXTS):
            texts = list(request.texts[start : start + MOST_TEXTS])
            calls.append(Call(_written(texts, request.options, model), _estimated(texts), condense=condense))
        return calls

    def read(self, request: EmbeddingsRequest, model: Model, answers: Sequence[Given]) -> Understood[Embeddings]:  # noqa: ARG002
        """Understand the answers.

        Raises:
            UpstreamBroken: They do not hold one vector for each text, all of one length.
        """
        parts: list[_Part] = [given.result for given in answers]
        vectors = [vector for part in parts for vector in part.vectors]
        lengths = {len(vector) for vector in vectors}
        if len(vectors) != len(request.texts) or len(lengths) != 1:
            raise _unreadable()
        if request.dimensions is not None and request.dimensions not in lengths:
            if request.dimensions > lengths.pop():
                raise _unreadable()
            vectors = [_cut(vector, request.dimensions) for vector in vectors]
        usage = _usage(request, parts)
        return Understood(Embeddings(vectors, usage.prompt_tokens), usage)


class _Part(Struct, frozen=True):
    """What is needed of one call's answer.

    Attributes:
        vectors: The vectors, in the order of the call's texts.
        tokens: How many tokens it read; 0 where it does not say.
        neurons: What it cost; 0 likewise.
    """

    vectors: list[Vector]
    tokens: int
    neurons: float


def _check_dimensions(wanted: int | None, model: Model) -> None:
    facts = model.embedding or Embedding()
    if wanted is None or wanted == model.dimensions:
        return
    if facts.least_dimensions is None:
        own = "" if model.dimensions is None else f" Its vectors have {model.dimensions} dimensions."
        raise BadRequest(
            f"Unsupported parameter: 'dimensions' is not supported with the model '{model.id}': its vectors cannot be "
            f"cut.{own}",
            param="dimensions",
            code="unsupported_parameter",
        )
    least, most = facts.least_dimensions, model.dimensions
    if wanted < least or (most is not None and wanted > most):
        code = "integer_below_min_value" if wanted < least else "integer_above_max_value"
        raise BadRequest(
            f"Invalid 'dimensions': the model '{model.id}' has vectors of {least} to {most} dimensions, not {wanted}.",
            param="dimensions",
            code=code,
        )


def _check_options(request: EmbeddingsRequest, model: Model) -> None:
    facts = model.embedding or _ANYTHING
    for name in request.options:
        if name not in facts.options:
            raise BadRequest(
                f"Unsupported parameter: '{name}' is not supported with the model '{model.id}'.",
                param=name,
                code="unsupported_parameter",
            )


def _written(texts: list[str], options: Mapping[str, Any], model: Model) -> UpstreamRequest:
    if not options:
        return UpstreamRequest("/v1/embeddings", {"model": model.id, "input": texts}, stream=False)
    key = "queries" if "instruction" in options else "text"
    return UpstreamRequest(f"/run/{model.id}", {key: texts, **options}, stream=False)


def _estimated(texts: Sequence[str]) -> Usage:
    return Usage(sum(map(estimate_tokens, texts)), 0, source="estimated")


def _condensed(typecode: Literal["f", "d"], given: Given) -> Given:
    result = given.result
    rows = result.get("data") if isinstance(result, dict) else None
    if not isinstance(rows, list) or not rows:
        raise _unreadable()
    if all(isinstance(row, dict) for row in rows):
        rows = [row.get("embedding") for row in _in_order(rows)]
    usage = result.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens, neurons = count_of(usage.get("prompt_tokens")), amount_of(usage.get("neurons"))
    return Given(given.content_type, b"", _Part([_vector(typecode, row) for row in rows], tokens, neurons))


def _vector(typecode: Literal["f", "d"], row: Any) -> Vector:  # noqa: ANN401 - whatever the upstream sent
    if not isinstance(row, list) or not row:
        raise _unreadable()
    try:
        return array(typecode, row)
    except (TypeError, OverflowError):
        raise _unreadable() from None


def _in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows in the order of their indices, or as they are where they have none."""
    indices = [row.get("index") for row in rows]
    in_order = list(range(len(rows)))
    if indices == in_order or all(index is None for index in indices):
        return rows
    by_index = {index: row for index, row in zip(indices, rows, strict=True) if type(index) is int}
    if set(by_index) != set(in_order):
        raise _unreadable()
    return [by_index[index] for index in in_order]


def _cut(vector: Vector, dimensions: int) -> Vector:
    beginning = vector[:dimensions]
    length = math.hypot(*beginning)
    return array(vector.typecode, [part / length for part in beginning]) if length else beginning


def _usage(request: EmbeddingsRequest, parts: Sequence[_Part]) -> Usage:
    """What the upstream says, when it says it of every call; otherwise an estimate."""
    neurons = sum(part.neurons for part in parts) if all(part.neurons for part in parts) else None
    if not all(part.tokens for part in parts):
        return Usage(_estimated(request.texts).prompt_tokens, 0, neurons=neurons, source="estimated")
    tokens = sum(part.tokens for part in parts)
    return Usage(tokens, 0, neurons=neurons, source="reported" if len(parts) == 1 else "summed")


def _unreadable() -> UpstreamBroken:
    return UpstreamBroken("Workers AI sent embeddings that cannot be read.")
