"""Vectors: deterministic, and near each other when texts share words."""

import functools
import math
import random
from collections.abc import Mapping
from typing import Any

from app.emulator.catalogue import Model
from app.emulator.errors import bad_input, engine_refused
from app.emulator.jsonvalue import Json
from app.emulator.schema import Mismatch, check
from app.emulator.tokens import count, tokenize

_MOST_TEXTS = 100
_PLAMO_DIMENSIONS = 2048
_TEXTS: dict[str, Any] = {
    "oneOf": [
        {"type": "string", "minLength": 1},
        {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "maxItems": _MOST_TEXTS},
    ]
}


@functools.lru_cache(maxsize=4096)
def _word_vector(word: str, dimensions: int) -> tuple[tuple[int, float], ...]:
    rng = random.Random(f"{word.strip().lower()}:{dimensions}")  # noqa: S311 - reproducible on purpose
    return tuple((rng.randrange(dimensions), rng.choice((-1.0, 1.0))) for _ in range(12))


def vector(text: str, dimensions: int) -> list[float]:
    """Return a unit vector for a text."""
    rng = random.Random(f"{text}:{dimensions}")  # noqa: S311 - reproducible on purpose
    whole = [rng.uniform(-0.02, 0.02) for _ in range(dimensions)]
    for word in tokenize(text):
        for place, weight in _word_vector(word, dimensions):
            whole[place] += weight
    length = math.sqrt(sum(part * part for part in whole)) or 1.0
    return [round(part / length, 7) for part in whole]


def similarity(one: str, other: str) -> float:
    """Return how near two texts are, from 0 to 1."""
    pairs = zip(vector(one, 256), vector(other, 256), strict=True)
    return round((1 + sum(left * right for left, right in pairs)) / 2, 6)


def dimensions_of(model: Model) -> int:
    """Return the length of a model's vectors."""
    return int(model.facts.get("dimensions") or _PLAMO_DIMENSIONS)


_CONTEXTS: dict[str, Any] = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}


def openai_embeddings(body: Json, model: Model) -> dict[str, Any]:
    """Answer `/ai/v1/embeddings`: floats always, whatever `encoding_format` or `dimensions` say (Q28).

    Raises:
        CloudflareError: 5006 for token ids and other kinds of input (Q29).
    """
    schema = {"type": "object", "properties": {"input": _TEXTS}, "required": ["input"]}
    texts = _texts(body, schema, "input", model)
    spent = sum(map(count, texts))
    return {
        "object": "list",
        "data": [
            {"object": "embedding", "index": place, "embedding": vector(text, dimensions_of(model))}
            for place, text in enumerate(texts)
        ],
        "model": model.id,
        "usage": {"prompt_tokens": spent, "total_tokens": spent},
    }


def native_embeddings(body: Json, model: Model) -> dict[str, Any]:
    """Answer `/ai/run` for an embedding model; unlike `/ai/v1/embeddings` it tells no usage.

    Returns `{shape, data, pooling}`, or scores `{response: [{id, score}]}` for `query` with `contexts`.
    """
    if isinstance(body, dict) and "contexts" in body and model.id.endswith("bge-m3"):
        return _contexts(body, model)
    key = "text"
    if "qwen3-embedding" in model.id and isinstance(body, dict):
        key = next((name for name in ("queries", "documents") if name in body), key)
    schema = {"type": "object", "properties": {key: _TEXTS, **_options(model)}, "required": [key]}
    texts = _texts(body, schema, key, model)
    if body.get("instruction"):
        # An instruction is read before each query, so the vector is another one.
        texts = [f"{body['instruction']} {text}" for text in texts]
    if body.get("pooling") == "cls":
        texts = [f"cls {text}" for text in texts]
    result: dict[str, Any] = {
        "shape": [len(texts), dimensions_of(model)],
        "data": [vector(text, dimensions_of(model)) for text in texts],
    }
    if "bge" in model.id:
        result["pooling"] = body.get("pooling", "cls" if model.id.endswith("bge-m3") else "mean")
    return result


def _options(model: Model) -> dict[str, Any]:
    """Return the schema of what a model takes beside its texts; other fields are ignored."""
    if model.id.endswith("bge-m3"):
        return {"truncate_inputs": {"type": "boolean"}}
    if "bge" in model.id:
        return {"pooling": {"enum": ["mean", "cls"]}}
    return {"instruction": {"type": "string"}} if "qwen3-embedding" in model.id else {}


def rerank(body: Json) -> dict[str, Any]:
    """Answer a reranker: `{response: [{id, score}]}`, best first."""
    schema = {
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 1},
            "contexts": _CONTEXTS,
            "top_k": {"type": "integer", "minimum": 1},
        },
        "required": ["query", "contexts"],
    }
    _checked(body, schema)
    scored = [
        {"id": place, "score": similarity(body["query"], context["text"])}
        for place, context in enumerate(body["contexts"])
    ]
    scored.sort(key=lambda row: -float(row["score"] or 0))
    return {"response": scored[: body.get("top_k")]}


def _contexts(body: Mapping[str, Any], model: Model) -> dict[str, Any]:
    if "query" in body:
        return rerank(body)
    _checked(body, {"type": "object", "properties": {"contexts": _CONTEXTS}})
    texts = [str(context.get("text", "")) for context in body["contexts"]]
    rows = [vector(text, dimensions_of(model)) for text in texts]
    return {"response": rows, "shape": [len(rows), dimensions_of(model)], "pooling": "cls"}


def _texts(body: Json, schema: Mapping[str, Any], key: str, model: Model) -> list[str]:
    _checked(body, schema)
    value = body[key]
    texts: list[str] = [value] if isinstance(value, str) else value
    most = int(model.facts.get("max_input_tokens") or model.facts.get("context_window") or 0)
    longest = max(map(count, texts))
    if most and longest > most:
        if body.get("truncate_inputs") is True:
            return ["".join(tokenize(text)[:most]) for text in texts]
        raise engine_refused(f"{longest} tokens of input exceed the model's maximum context length of {most} tokens.")
    return texts


def _checked(body: Json, schema: Mapping[str, Any]) -> None:
    try:
        check(body, schema)
    except Mismatch as finding:
        raise bad_input(str(finding)) from finding
