"""The pull-based async batch: queued, running, then answers in no particular order."""

import uuid
from typing import Any

from app.emulator.embeddings import native_embeddings
from app.emulator.endpoint import Visit
from app.emulator.errors import CloudflareError, bad_input, success
from app.emulator.jsonvalue import Json
from app.emulator.reply import Reply
from app.emulator.state import Batch
from app.emulator.textgen import answer_item

_LARGEST = 10_000_000
_POLLS_RUNNING = 1


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
        CloudflareError: 5006 for a malformed or unknown batch, 3006 for one of 10 MB and more.
    """
    model = visit.model
    assert model is not None  # noqa: S101 - the route has chosen one
    if "request_id" not in body:
        requests = body["requests"]
        if not isinstance(requests, list) or not requests or not all(isinstance(r, dict) for r in requests):
            raise bad_input("Type mismatch of '/requests'")
        if len(visit.incoming.body) >= _LARGEST:
            raise CloudflareError(413, 3006, "AiError: Request is too large")
        if not model.facts.get("batch") and (model.traits is None or model.traits.form != "gpt-oss"):
            raise bad_input("required properties at '/' are 'prompt'")
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
    return visit.reply(success(_finished(visit, batch)))


def _finished(visit: Visit, batch: Batch) -> dict[str, Any]:
    rows = [_item(visit, item, place) for place, item in enumerate(batch.requests)]
    model = visit.model
    if model is not None and model.traits is not None and model.traits.form == "gpt-oss":
        return {"results": [row["result"] for row in rows]}
    usages = [row["result"].get("usage") or {} for row in rows if row["success"]]
    total = {
        key: sum(usage.get(key, 0) for usage in usages)
        for key in ("prompt_tokens", "completion_tokens", "total_tokens")
    }
    return {"responses": rows[::-1], "usage": total}


def _item(visit: Visit, item: dict[str, Any], place: int) -> dict[str, Any]:
    reference = item.get("external_reference")
    try:
        if visit.model is not None and visit.model.task == "Text Embeddings":
            result: dict[str, Any] = native_embeddings(item, visit.model)
        else:
            result = answer_item(visit, item, place)
    except CloudflareError as error:
        result = {"error": {"message": error.message, "type": "invalid_request", "code": error.code}}
        return {"id": place, "result": result, "success": False, "external_reference": reference}
    return {"id": place, "result": result, "success": True, "external_reference": reference}
