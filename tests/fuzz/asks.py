"""One fuzzed request: a body by the fields that a surface knows, a good one that was spoiled, or any JSON or bytes.

The same number gives the same request: what it names of earlier ones (a response, a conversation, a key) is a word in
angle brackets, for which there is something when the run begins.
"""

from __future__ import annotations

import contextlib
import copy
import json
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from app.api.admin.reading import KEY_FIELDS
from app.surfaces.chat.fates import FATES as CHAT
from app.surfaces.completions.fates import FATES as COMPLETIONS
from app.surfaces.responses.fates import FATES as RESPONSES
from tests.e2e import test_fuzz_bodies
from tests.e2e.test_fuzz_bodies import BASES
from tests.fuzz.mutation import changed_bytes, pick

KNOWN: Final = ("<response>", "<chain>", "<background>", "<silent>", "<conversation>", "<item>", "<key>")
"""What the words in angle brackets stand for: a kept response, one that continues it, one streamed in the background,
one made there without a stream, a conversation, an item of it, an API key."""

WRONG: Final = tuple(copy.deepcopy(test_fuzz_bodies.WRONG))
"""What is hardly ever right."""

_GPT = "@cf/openai/gpt-oss-20b"
_MODELS = (
    _GPT, _GPT, _GPT, "gpt-oss-120b", "@cf/meta/llama-3.1-8b-instruct-fp8", "@cf/zai-org/glm-5.3-flash",
    "@cf/qwen/qwen3-30b-a3b-fp8", "@cf/baai/bge-m3", "@cf/acme/none", "small", "", "@cf/openai/whisper",
)  # fmt: skip
_SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
_FUNCTION = {"name": "get_weather", "description": "d", "parameters": {"type": "object", "properties": {}}}
_TEXT = "Say exactly: ok"
_FILE = "data:text/plain;base64,YQ=="
_ITEMS = (
    {"role": "user", "content": _TEXT},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": _TEXT}]},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x", "annotations": []}]},
    {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "done"},
    {"type": "custom_tool_call", "call_id": "c2", "name": "shell", "input": "ls"},
    {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "done"}]},
    {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
    {"type": "reasoning", "summary": [], "encrypted_content": "bm90IG91cnM="},
    {"type": "item_reference", "id": "<item>"},
    {"type": "compaction", "encrypted_content": "x"},
    {"role": "user", "content": [{"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}]},
    {"role": "user", "content": [{"type": "input_file", "filename": "a.txt", "file_data": _FILE}]},
    {"type": "web_search_call", "id": "ws_1", "status": "completed"},
)  # fmt: skip

# Good values of fields, by name; what is not here gets anything.
_GOOD: Final[dict[str, tuple[Any, ...]]] = {
    "model": _MODELS,
    "messages": (
        *(body["messages"] for _, body in BASES if "messages" in body),
        [{"role": "user", "content": _TEXT}],
        [{"role": "developer", "content": "x"}, {"role": "user", "content": _TEXT}],
    ),
    "input": (_TEXT, *([item] for item in _ITEMS), list(_ITEMS[:5]), [*_ITEMS[3:7], _ITEMS[0]]),
    "prompt": (_TEXT, [_TEXT, _TEXT], "", [], [1, 2], [[1]], {"id": "pmpt_1"}),
    "stream": (True, False, True),
    "stream_options": ({"include_usage": True}, {"include_obfuscation": False}),
    "tools": (
        [{"type": "function", "function": _FUNCTION}],
        [{"type": "function", **_FUNCTION}],
        [{"type": "function", **_FUNCTION, "strict": True}, {"type": "custom", "name": "shell"}],
        [{"type": "custom", "custom": {"name": "shell", "format": {"type": "text"}}}],
        [{"type": "namespace", "name": "crm", "description": "d", "tools": [{"type": "function", **_FUNCTION}]}],
        [{"type": "web_search"}, {"type": "mcp", "server_label": "x"}, {"type": "local_shell"}],
    ),
    "tool_choice": (
        "auto", "none", "required", {"type": "function", "name": "get_weather"}, {"type": "custom", "name": "shell"},
        {"type": "function", "function": {"name": "get_weather"}},
        {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "get_weather"}]},
    ),
    "functions": ([_FUNCTION],),
    "function_call": ("auto", "none", {"name": "get_weather"}),
    "response_format": (
        {"type": "text"},
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": _SCHEMA}},
    ),
    "text": (
        {"format": {"type": "json_schema", "name": "n", "schema": _SCHEMA, "strict": True}},
        {"format": {"type": "json_object"}, "verbosity": "low"},
    ),
    "reasoning": ({"effort": "low"}, {"effort": "none", "summary": "auto"}, {"effort": "xhigh"}),
    "reasoning_effort": ("minimal", "low", "high", "none"),
    "include": ([], ["reasoning.encrypted_content"], ["message.output_text.logprobs"], ["x"]),
    "previous_response_id": ("<response>", "<chain>", "<background>", "resp_unknown", "<conversation>"),
    "conversation": ("<conversation>", {"id": "<conversation>"}, "conv_unknown", "<response>"),
    "background": (True, False),
    "store": (True, False),
    "n": (1, 2, 3, 0, 129),
    "best_of": (1, 2),
    "stop": ("x", ["a", "b"], [], ["a", "b", "c", "d", "e"]),
    "echo": (True, False),
    "suffix": ("x", ""),
    "logit_bias": ({"1": 2}, {"x": 1}, {"1": 200}),
    "metadata": ({"a": "b"}, {}, {"a" * 65: "b"}, {"a": "b" * 513}, {str(number): "x" for number in range(17)}),
    "modalities": (["text"], ["audio"]),
    "user": ("u", ""),
    "items": ([], list(_ITEMS[:3]), [_ITEMS[0]] * 21),
    "keep_seconds": (0, 60, 3600, -1, 10**9),
    **dict.fromkeys(("temperature", "top_p"), (0, 1, 0.5, 1.0, None, 2.5)),
    **dict.fromkeys(("frequency_penalty", "presence_penalty"), (0, -2, 2, 0.1, None)),
    **dict.fromkeys(("max_tokens", "max_completion_tokens", "max_output_tokens"), (1, 16, 64, 4096, 10**9, None)),
    **dict.fromkeys(("seed", "top_logprobs", "max_tool_calls"), (0, 1, 5, 2**53, None)),
    **dict.fromkeys(("logprobs", "parallel_tool_calls"), (True, False, None)),
    **dict.fromkeys(("prompt_cache_key", "safety_identifier", "instructions"), ("x", "", "é" * 60, None)),
    "verbosity": ("low", "medium", "high"),
    "service_tier": ("auto", "default", "flex", "priority"),
    "truncation": ("auto", "disabled"),
    "prediction": ({"type": "content", "content": "x"},),
    "audio": ({"voice": "alloy", "format": "wav"}, None),
    "web_search_options": ({}, None),
    "context_management": ([{"type": "compaction", "compact_threshold": 1000}],),
    "client_metadata": ({"a": "b"},),
    **dict.fromkeys(("requests_per_minute", "requests_per_day", "tokens_per_minute", "tokens_per_day"), (10**9, None)),
    **dict.fromkeys(("concurrency", "neurons_per_day", "neurons_per_month"), (10**6, 5, None)),
    "name": ("ci", "", "x" * 200),
    "models": ([], ["gpt-oss-20b"], [""], ["*"]),
    "expires_at": ("2099-01-01", "2099-01-01T00:00:00Z", 4_000_000_000, 1, 1e308, "soon"),
}  # fmt: skip
_NUMBERS = (0, 1, -1, 2, 0.5, 1.0, 100, 2.5, 10**18, 1e300, True, "1")

_HEADERS = (
    ("content-type", "text/plain"), ("content-type", "application/json; charset=latin-1"), ("content-encoding", "gzip"),
    ("x-session-affinity", "s" * 300), ("x-session-affinity", "\xff\xe9"), ("x-request-id", "a b"),
    ("accept", "text/html"), ("authorization", ""), ("authorization", "Bearer \xff"), ("authorization", "Basic eDp5"),
    ("openai-beta", "x"), ("origin", "https://example.com"), ("cf-aig-skip-cache", "maybe"),
)  # fmt: skip
_QUERIES = (
    "", "", "", "limit=0", "limit=x", "limit=99999999999", "order=up", "after=x", "after=%00", "after=<item>",
    "stream=true", "starting_after=1", "starting_after=-9", "starting_after=x", "include_revoked=maybe", "days=0",
    "days=7&by=model", "by=x", "include[]=x", "%ff=%fe", "limit=1&order=asc", "key=%F0%9F%98%80", "model=none",
)  # fmt: skip
_PATHS = (
    "/v1/models", "/v1/models/x", "/v1/models/%40cf%2Fopenai", "/", "/v1", "/x", "/admin", "/admin/usage", "/metrics",
    "/admin/limits", "/healthz", "/v1/chat/completions", "/v1/embeddings", "//v1/models", "/%ff",
)  # fmt: skip


@dataclass(slots=True)
class Ask:
    """One request.

    Attributes:
        method: HTTP method.
        path: Path, with its query.
        content: Body.
        headers: More headers.
        kind: What it is about: ``chat``, ``responses``, ``completions``, ``compact``, ``count``, ``conversations``,
            ``stored``, ``keys`` or ``other``.
        body: What the content holds, where it is JSON that was made from a value.
    """

    method: str
    path: str
    content: bytes
    headers: dict[str, str]
    kind: str
    body: Any = None


def make(seed: int, number: int) -> Ask:
    """Make one request."""
    rng = Random(seed << 40 | number)
    chance = rng.random()
    if chance < 0.26:
        ask = _generating(rng, "chat", "/v1/chat/completions", CHAT, ("model", "messages"))
    elif chance < 0.54:
        ask = _generating(rng, "responses", "/v1/responses", RESPONSES, ("model", "input"))
    elif chance < 0.64:
        ask = _generating(rng, "completions", "/v1/completions", COMPLETIONS, ("model", "prompt"))
    elif chance < 0.69:
        ask = _generating(rng, "count", "/v1/responses/input_tokens", RESPONSES, ("model", "input"))
    elif chance < 0.74:
        ask = _generating(rng, "compact", "/v1/responses/compact", RESPONSES, ("model", "input"))
    elif chance < 0.84:
        ask = _conversation(rng)
    elif chance < 0.90:
        one = pick(rng, ("<response>", "<chain>", "<background>", "<silent>", "resp_x", "%00", "a" * 500))
        tail = pick(rng, ("", "", "/cancel", "/input_items", "/x"))
        ask = _bare(rng, "stored", f"/v1/responses/{one}{tail}", ("GET", "GET", "GET", "DELETE", "POST", "PATCH"))
    elif chance < 0.97:
        ask = _keys(rng)
    else:
        path = pick(rng, _PATHS)
        ask = _bare(rng, "other", path, ("GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"))
    if rng.random() < 0.04:
        name, value = pick(rng, _HEADERS)
        ask.headers[name] = value
    return ask


def _generating(rng: Random, kind: str, path: str, fields: Any, required: tuple[str, ...]) -> Ask:
    how = rng.random()
    bases = [body for base_path, body in BASES if base_path == path]
    if how < 0.25 and bases:
        body = _spoiled(pick(rng, bases), rng)
        if isinstance(body, dict) and rng.random() < 0.4:
            body["stream"] = True
    else:
        body = _by_fields(rng, tuple(fields), required)
    return _with_body(rng, "POST", path, kind, body)


def _by_fields(rng: Random, fields: tuple[str, ...], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """A body of some known fields, most with a value that may be right."""
    body = {name: _good(rng, name) for name in required if rng.random() < 0.97}
    if "model" in required and rng.random() < 0.8:
        body["model"] = _GPT
    for _ in range(int(rng.random() * 5)):
        name = pick(rng, fields)
        body[name] = _good(rng, name) if rng.random() < 0.87 else copy.deepcopy(pick(rng, WRONG))
    if rng.random() < 0.1:
        # Of a body that has become empty nothing is left to spoil.
        with contextlib.suppress(IndexError):
            body = _spoiled(body, rng)
    return body


def _spoiled(body: Any, rng: Random) -> Any:
    # What it puts in it may change later: the next is to find it as it was.
    test_fuzz_bodies.WRONG[:] = copy.deepcopy(WRONG)
    return test_fuzz_bodies.spoiled(body, rng)


def _good(rng: Random, name: str) -> Any:
    choices = _GOOD.get(name)
    return copy.deepcopy(pick(rng, choices if choices is not None else _NUMBERS))


def _conversation(rng: Random) -> Ask:
    one = pick(rng, ("<conversation>", "<conversation>", "conv_x", "<response>", "%E2%80%A8"))
    match int(rng.random() * 6):
        case 0:
            return _with_body(
                rng, "POST", "/v1/conversations", "conversations", _by_fields(rng, ("items", "metadata", "x"))
            )
        case 1:
            return _with_body(
                rng, "POST", f"/v1/conversations/{one}", "conversations", _by_fields(rng, ("metadata", "x"))
            )
        case 2:
            path = f"/v1/conversations/{one}/items"
            return _with_body(rng, "POST", path, "conversations", _by_fields(rng, ("items", "x"), ("items",)))
        case 3:
            item = pick(rng, ("<item>", "msg_x", "%00"))
            return _bare(rng, "conversations", f"/v1/conversations/{one}/items/{item}", ("GET", "DELETE", "PUT"))
        case 4:
            return _bare(rng, "conversations", f"/v1/conversations/{one}/items", ("GET",))
        case _:
            return _bare(rng, "conversations", f"/v1/conversations/{one}", ("GET", "GET", "DELETE"))


def _keys(rng: Random) -> Ask:
    one = pick(rng, ("<key>", "<key>", "key-000000000000", "<conversation>", "%00"))
    match int(rng.random() * 6):
        case 0:
            return _with_body(rng, "POST", "/admin/keys", "keys", _by_fields(rng, (*KEY_FIELDS, "x"), ("name",)))
        case 1 | 2:
            return _with_body(
                rng, pick(rng, ("POST", "PATCH")), f"/admin/keys/{one}", "keys", _by_fields(rng, KEY_FIELDS)
            )
        case 3:
            return _with_body(rng, "POST", f"/admin/keys/{one}/rotate", "keys", _by_fields(rng, ("keep_seconds", "x")))
        case 4:
            return _bare(rng, "keys", "/admin/keys", ("GET",))
        case _:
            return _bare(rng, "keys", f"/admin/keys/{one}", ("GET", "GET", "DELETE"))


def _bare(rng: Random, kind: str, path: str, methods: tuple[str, ...]) -> Ask:
    query = pick(rng, _QUERIES)
    content = b"" if rng.random() < 0.9 else b"{}"
    return Ask(pick(rng, methods), f"{path}?{query}" if query else path, content, {}, kind)


def _with_body(rng: Random, method: str, path: str, kind: str, body: Any) -> Ask:
    headers = {"content-type": "application/json"}
    try:
        json.dumps(body)
    except RecursionError:
        # It was made deeper several times, and is too deep for the library that writes it here.
        return Ask(method, path, b'{"input":' + b"[" * 1500 + b"]" * 1500 + b"}", headers, kind)
    how = rng.random()
    if how < 0.90:
        return Ask(method, path, json.dumps(body).encode(), headers, kind, body)
    if how < 0.93:
        body = copy.deepcopy(pick(rng, WRONG))
        return Ask(method, path, json.dumps(body).encode(), headers, kind, body)
    content = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if how < 0.97:
        return Ask(method, path, changed_bytes(content, rng), headers, kind)
    odd = (
        b"", b"{", b"NaN", b"\x00", b'"\\ud800"', b"[" * 10_000, b'{"a":' * 3000, content * 2,
        b"\xef\xbb\xbf" + content, content.replace(b":", b":1e999,", 1),
        content[:-1] + b',"model":"\\ud800"}', content[: len(content) // 2],
        content.decode("utf-8", "replace").encode("utf-16"), content[:-1] + b',"n":%d}' % 10**400,
    )  # fmt: skip
    return Ask(method, path, pick(rng, odd), headers, kind)
