"""Records for tests."""

from app.store.contract import StoredResponse

ME = "key-mine"
OTHER = "key-other"


def made(response_id, status="completed", **fields):
    return StoredResponse(
        response_id,
        fields.pop("caller", ME),
        fields.pop("created_at", 1.0),
        status,
        "gpt-oss-120b",
        fields.pop("body", b'{"object":"response"}'),
        **fields,
    )


def item(item_id, text="hello"):
    return {"id": item_id, "type": "message", "role": "user", "content": text}


def ids(items):
    return [one["id"] for one in items]
