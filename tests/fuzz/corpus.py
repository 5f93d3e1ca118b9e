"""What fuzzing begins with: recorded streams, unstreamed answers, failures, and pieces of text that mean something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from app.core.request import Tool
from app.core.upstream import Emulation
from app.emulator.canned import FAILURES
from app.wire.sse import Framer

TRANSCRIPTS: Final = Path(__file__).parent.parent / "transcripts"

TOOLS: Final = frozenset({"get_weather", "get_time", "shell", "add"})
ONLY: Final = Tool(
    "get_weather", parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
)

EMULATIONS: Final = (
    Emulation(),
    Emulation(),
    Emulation(tools=TOOLS),
    Emulation(tools=TOOLS, one_call=True),
    Emulation(tools=TOOLS, forced=True),
    Emulation(tools=TOOLS, forced=True, only=ONLY, one_call=True),
    Emulation(stop=("END", "\n\nQ:")),
    Emulation(stop=("e", "aab", "\ud83d"), tools=TOOLS),
    Emulation(stop=("<", "}"), tools=TOOLS, forced=True, one_call=True, only=ONLY),
)

# Surrogates are halves of what an engine cut in two.
TEXTS: Final = (
    "<think>", "</think>", "<thi", "nk>", "</thi", "\n<think>\n", "<tool_call>", "</tool_call>", "<tool_", "call>",
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>', "[TOOL_CALLS]",
    '[TOOL_CALLS][{"name": "get_time", "arguments": {}}]', "<|python_tag|>", "<function=get_weather>", "</function>",
    '{"name": "get_weather", "parameters": {"city": "Oslo"}}', '[{"name":"add","arguments":"{}"}]', '{"city": "Oslo"}',
    '{"type": "function", "name": "shell", "arguments": {"input": "ls"}}', '{"name":', "```json\n", "```", "``", "`",
    "END", "EN", "D", "\n\nQ:", "\n\n", "\n", "Q:", "aa", "aab", "\ud83d", "\ude00", "\ud83d\ude00", "é", "\u2028",
    "\x85", "\x00", "\r", '"', "\\", "{", "}", "[", "]", "<", ">", " ", "  ", "a", "word", " and", "1", "data: x",
    "[DONE]", "<|channel|>analysis<|message|>", "<|end|>", "{" * 60, "[" * 1200, " " * 300, "<" * 400, "`" * 400,
)  # fmt: skip

VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2, 1.5, 1e300, 10**20, 2**53, -(2**63), "", "x", "0", "1", "null", [], {}, [None],
    [[]], [{}], {"": None}, {"a": 1}, "stop", "length", "tool_calls", "error", "content_filter", "assistant",
    "function", "response", "get_weather", "{}", '{"city":"Oslo"}', "call_1",
    {"name": "get_weather", "arguments": "{}"},
    {"name": "add", "arguments": {"a": 1}}, [{"index": 0, "id": "c", "function": {"name": "add", "arguments": "{}"}}],
    [{"index": 0, "function": {"arguments": '{"a":'}}], [{"index": 7, "function": {"name": "shell"}}],
    [{"name": "get_time", "arguments": {}}], {"prompt_tokens": 3, "completion_tokens": 5, "total_tokens": 8},
    {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, {"code": 3040, "message": "busy"},
    [{"code": 5006, "message": "bad"}], {"message": "no"},
)  # fmt: skip

FIELDS: Final = (
    "content", "response", "reasoning_content", "reasoning", "tool_calls", "function_call", "refusal", "error",
    "errors", "success", "result", "choices", "usage", "finish_reason", "object", "output", "delta", "message", "text",
    "index", "id", "name", "arguments", "type", "function", "p", "role", "status", "incomplete_details", "summary",
    "completion_tokens", "prompt_tokens", "total_tokens", "prompt_tokens_details", "neurons", "code",
)  # fmt: skip

FRAMES: Final = (
    b"[DONE]", b"", b" ", b"{}", b"[]", b"null", b"0", b'""', b'"x"', b"{", b"\xff\xfe", b"not json",
    b'{"response":""}', b'{"response":1}', b'{"response":{"a":1}}', b'{"choices":[]}',
    b'{"response":null,"tool_calls":[]}',
    b'{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', b'{"choices":[{"delta":{"content":"\\ud83d"}}]}',
    b'{"choices":[{"index":1,"delta":{"content":"other"}}]}', b'{"choices":[{"finish_reason":"error","delta":{}}]}',
    b'{"errors":[{"code":3040,"message":"busy"}],"success":false}', b'{"error":{"message":"no","code":403}}',
    b'{"error":"x"}', b'{"usage":{"prompt_tokens":1,"completion_tokens":2}}', b'{"object":"response","output":[]}',
    b'{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}',
    b'{"response":"","tool_calls":[{"name":"get_weather","arguments":{"city":"Oslo"}}]}', b'{"x":NaN}',
    b'{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"c1","function":{"name":"add","arguments":"{"}}]}}]}',
    b'{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"}"}}]}}]}',
)  # fmt: skip

_USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
_CALL = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
BODIES: Final[tuple[Any, ...]] = (
    {
        "id": "x",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "<think>hm</think>Hi", "tool_calls": [_CALL, _CALL]},
                "finish_reason": "tool_calls",
            }
        ],
        "usage": _USAGE,
    },
    {
        "object": "chat.completion",
        "choices": [
            {"message": {"content": None, "reasoning_content": "hm", "refusal": "no"}, "finish_reason": "stop"}
        ],
        "usage": {**_USAGE, "prompt_tokens_details": {"cached_tokens": 3}, "neurons": 0.5},
    },
    {
        "result": {"response": "Hi", "tool_calls": [{"name": "add", "arguments": {"a": 1}}], "usage": _USAGE},
        "success": True,
        "errors": [],
        "messages": [],
    },
    {"result": {"response": {"a": [1, "b"]}}, "success": True, "errors": [], "messages": []},
    {"result": None, "success": True, "errors": [], "messages": []},
    {"result": {}, "success": False, "errors": [{"code": 5006, "message": "AiError: oneOf at '/' not met"}]},
    {
        "object": "response",
        "status": "completed",
        "output": [
            {"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}], "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": "{}"},
        ],
        "usage": {"input_tokens": 9, "output_tokens": 4, "total_tokens": 13},
        "incomplete_details": {"reason": "max_output_tokens"},
    },
    {"object": "text_completion", "choices": [{"text": "Hi", "index": 0, "finish_reason": "length"}], "usage": _USAGE},
    "just a text",
    [{"response": "in a list"}],
)

FAILED: Final = tuple((canned.status, dict(canned.headers), canned.body) for canned, _, _ in FAILURES.values())


class Stream:
    """A recorded stream.

    Attributes:
        name: Its folder.
        frames: What its frames hold.
        max_tokens: The token limit that was sent.
        thinks_inline: The model thinks inside its text.
    """

    def __init__(self, folder: Path) -> None:
        asked = json.loads((folder / "request.json").read_text())
        framer = Framer()
        self.name = folder.name
        self.frames = (*framer.feed((folder / "upstream.sse").read_bytes()), *framer.close())
        self.max_tokens: int = asked["max_tokens"]
        self.thinks_inline: bool = asked.get("thinks_inline", False)


STREAMS: Final = tuple(Stream(path.parent) for path in sorted(TRANSCRIPTS.glob("*/upstream.sse")))
