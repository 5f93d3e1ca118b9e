"""Records of exchanges to count, log and trace, with every field filled."""

from app.catalog.catalogue import build
from app.catalog.facts import bundled
from app.core.cost import Cost
from app.core.outcome import Outcome
from app.core.usage import Usage

MODEL = "@cf/openai/gpt-oss-120b"
CATALOGUE = build(bundled())


def outcome(**more):
    """A streamed answer that went well."""
    values = {
        "request_id": "req_1",
        "surface": "chat",
        "caller": "key-1",
        "model": "gpt-oss-120b",
        "upstream_model": MODEL,
        "dialect": "chat",
        "stream": True,
        "status": 200,
        "ending": "completed",
        "finish_reason": "stop",
        "error_code": None,
        "upstream_status": 200,
        "upstream_code": None,
        "upstream_request_id": "ray-1",
        "usage": Usage(100, 201, 10, 20, 3.5, "reported"),
        "cost": Cost(3.5, "reported"),
        "dropped": (),
        "adjusted": (),
        "began": 1000.0,
        "seconds": 2.4,
        "first_byte_seconds": 0.4,
        "account": "account-1",
        "upstream_attempts": (200,),
        "upstream_seconds": 2.396,
        "queue_seconds": 0.0,
        "own_seconds": 0.004,
        **more,
    }
    return Outcome(**values)


def refusal(**more):
    """A request that was never sent."""
    nothing = dict.fromkeys(
        ("usage", "cost", "first_byte_seconds", "finish_reason", "upstream_status", "dialect", "account")
    )
    refused = {"status": 429, "ending": "refused", "error_code": "rate_limit_exceeded"}
    waits = {"upstream_attempts": (), "upstream_seconds": 0.0}
    return outcome(**{**nothing, **refused, **waits, **more})
