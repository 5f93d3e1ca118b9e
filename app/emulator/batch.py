"""The pull-based async batch: queued, running, then answers in no particular order."""

import uuid
from typing import Any

from app.emulator.catalogue import Model
from app.emulator.embeddings import native_embeddings
from app.emulator.endpoint import Visit
from app.emulator.errors import CloudflareError, bad_input, success
from app.emulator.jsonvalue import Json
from app.emulator.prices import task_neurons
from app.emulator.reply import Reply
from app.emulator.state import Batch
from app.emulator.textgen import answer_item

_LARGEST = 10_000_000
_POLLS_RUNNING = 1
_REFERENCE = "external_reference"
_INPUT_KEYS = {"input", "reasoning", _REFERENCE}
_REASONING_KEYS = {"effort", "summary"}
_PROMPT_ONLY = "llama-3.3-70b-instruct-fp8-fast"
_NESTED = "@cf/qwen/"
_SIDES = (("prompt", "input"), ("completion", "output"))


def is_batch(visit: Visit, body: Json) -> bool:
    """Whether a run request submits a batch or asks for one."""
    if not isinstance(body, dict):
        return False
    asked = visit.request.query_params.get("queueRequest") == "true"
    return (asked and "requests" in body) or "request_id" in body


def answer_batch(visit: Visit, body: dict[str, Any]) -> Reply:
    """Queue a batch, or tell how it stands.

    The first question finds it running, the next ones find the answers: `{responses, usage}` in reverse order,
    or `{results}` for gpt-oss.

    Raises:
        CloudflareError: 5006 for a malformed or unknown batch, or one with an item that its schema does not know, 3006
            for one of 10 MB and more.
    """
    model = visit.model
    assert model is not None  # noqa: S101 - the route has chosen one
    if "request_id" not in body:
        requests = body["requests"]
        if not isinstance(requests, list) or not requests or not all(isinstance(r, dict) for r in requests):
            raise bad_input("Type mismatch of '/requests'")
        if len(visit.incoming.body) >= _LARGEST:
            raise CloudflareError(413, 3006, "AiError: Request is too large")
        if not model.facts.get("batch") and not _is_gpt_oss(model):
            raise bad_input("required properties at '/' are 'prompt'")
        for place, item in enumerate(requests):
            _check_item(model, item, place)
        number = visit.incoming.record.number
        key = str(uuid.UUID(int=(visit.state.seed << 64) + number, version=4))
        visit.state.batches[key] = Batch(model.id, requests)
        return visit.reply(success({"status": "queued", "request_id": key, "model": model.id}))
    key = str(body["request_id"])
    batch = visit.state.batches.get(key)
    if batch is None or batch.model != model.id:
        raise bad_input(f"no batch '{key}' at '/request_id'")
    batch.polls += 1
    if batch.polls <= _POLLS_RUNNING:
        return visit.reply(success({"status": "running", "request_id": key}))
    rows = [_item(visit, item, place) for place, item in enumerate(batch.requests)]
    if batch.polls == _POLLS_RUNNING + 1:
        visit.charge(sum(_cost(model, item, row) for item, row in zip(batch.requests, rows, strict=True)))
    return visit.reply(success(_finished(model, rows)))


def _is_gpt_oss(model: Model) -> bool:
    return model.traits is not None and model.traits.form == "gpt-oss"


def _check_item(model: Model, item: dict[str, Any], place: int) -> None:
    """Check what the schemas say of an item, before any is answered; what is in it is checked when it is.

    Raises:
        CloudflareError: 5006 for the whole batch.
    """
    where = f"'/requests/{place}'"
    if not isinstance(item.get(_REFERENCE, ""), str):
        raise bad_input(f"Type mismatch of '/requests/{place}/{_REFERENCE}', 'string' expected")
    if _is_gpt_oss(model):
        if "input" not in item:
            raise bad_input(f"required properties at {where} are 'input'")
        if not item.keys() <= _INPUT_KEYS or not (item.get("reasoning") or {}).keys() <= _REASONING_KEYS:
            raise bad_input(f"additional properties at {where} are not allowed")
    elif model.id.endswith(_PROMPT_ONLY) and "prompt" not in item:
        raise bad_input(f"required properties at {where} are 'prompt'")


def _finished(model: Model, rows: list[dict[str, Any]]) -> dict[str, Any]:
    if _is_gpt_oss(model):
        # Its schema has answers that name no request.
        return {"results": [row["result"] for row in rows]}
    results = [row["result"].get("result", row["result"]) for row in rows if row["success"]]
    usages = [result.get("usage") or {} for result in results]
    total = {
        key: sum(usage.get(key, 0) for usage in usages)
        for key in ("prompt_tokens", "completion_tokens", "total_tokens")
    }
    return {"responses": rows[::-1], "usage": total}


def _cost(model: Model, item: dict[str, Any], row: dict[str, Any]) -> float:
    """Return the neurons of one item; a refused one costs nothing."""
    if not row["success"]:
        return 0.0
    if model.traits is None:
        return task_neurons(model, item)
    usage = row["result"].get("result", row["result"]).get("usage") or {}
    sides = [usage.get(f"{chat}_tokens", usage.get(f"{other}_tokens", 0)) for chat, other in _SIDES]
    return model.neurons(*sides)


def _item(visit: Visit, item: dict[str, Any], place: int) -> dict[str, Any]:
    reference = item.get(_REFERENCE)
    try:
        if visit.model is not None and visit.model.task == "Text Embeddings":
            result: dict[str, Any] = native_embeddings(item, visit.model)
        else:
            result = answer_item(visit, item, place)
    except CloudflareError as error:
        result = {"error": {"message": error.message, "type": "invalid_request", "code": error.code}}
        return {"id": place, "result": result, "success": False, "external_reference": reference}
    if visit.model is not None and visit.model.id.startswith(_NESTED):
        # Some answers are wrapped twice.
        result = {"result": result}
    return {"id": place, "result": result, "success": True, "external_reference": reference}
