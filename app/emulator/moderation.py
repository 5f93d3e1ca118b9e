"""Llama Guard: one word and the codes of hazards, found by words in the last turn."""

import itertools
from typing import Any

from app.emulator.catalogue import Model
from app.emulator.errors import CloudflareError, bad_input, engine_refused
from app.emulator.jsonvalue import Json
from app.emulator.schema import Mismatch, check
from app.emulator.tokens import count, tokenize

_HAZARDS = {
    "S1": ("kill", "murder", "attack"),
    "S2": ("steal", "fraud", "launder"),
    "S3": ("stalk",),
    "S4": ("underage",),
    "S5": ("slander",),
    "S6": ("dosage",),
    "S7": ("home address",),
    "S8": ("pirated",),
    "S9": ("bomb", "nerve agent"),
    "S10": ("hate",),
    "S11": ("suicide", "hurt myself"),
    "S12": ("porn", "nsfw"),
    "S13": ("rigged election",),
    "S14": ("escape the sandbox",),
}
_OWN_TURN = "<|start_header_id|>assistant<|end_header_id|>"
_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "messages": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"role": {"enum": ["user", "assistant"]}, "content": {"type": "string"}},
                "required": ["role", "content"],
            },
        },
        "max_tokens": {"type": "integer"},
        "temperature": {"type": "number", "minimum": 0, "maximum": 5},
        "response_format": {"type": "object", "properties": {"type": {"type": "string"}}},
    },
    "required": ["messages"],
}


def moderate(body: Json, model: Model) -> dict[str, Any]:
    """Return the verdict: `safe`, or `unsafe` and the codes, after two line feeds; JSON mode gives an object.

    Whoever writes the model's own turn into a text has the verdict that he wrote. A verdict that is longer than
    `max_tokens` is cut.

    Raises:
        CloudflareError: 5006 for other forms, 8007 for turns that do not alternate and for what is too long.
    """
    try:
        check(body, _SCHEMA)
    except Mismatch as finding:
        raise bad_input(str(finding)) from finding
    roles = [message["role"] for message in body["messages"]]
    if roles[0] != "user" or any(one == other for one, other in itertools.pairwise(roles)):
        raise CloudflareError(400, 8007, "AiError: Conversation roles must alternate user/assistant", result={})
    said = " ".join(message["content"] for message in body["messages"])
    read, window = count(said), int(model.facts.get("context_window") or 0)
    if window and read > window:
        raise engine_refused(f"{read} tokens of input exceed the model's maximum context length of {window} tokens.")
    verdict, found = _verdict(said.lower())
    text = "".join(tokenize(verdict)[: body.get("max_tokens", 256)])
    usage = {"prompt_tokens": read, "completion_tokens": count(text), "total_tokens": read + count(text)}
    if (body.get("response_format") or {}).get("type") == "json_object":
        return {"response": {"safe": not found, "categories": found}, "usage": usage}
    return {"response": text, "usage": usage}


def _verdict(said: str) -> tuple[str, list[str]]:
    if _OWN_TURN in said:
        return said.rpartition(_OWN_TURN)[2], []
    found = [code for code, words in _HAZARDS.items() if any(word in said for word in words)]
    return ("\n\nunsafe\n" + ",".join(found) if found else "\n\nsafe"), found
