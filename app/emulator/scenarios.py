"""The table of scenarios: a name, what it does, and which quirk it stands for (numbers are explained in QUIRKS.md).

Each can be had by asking for the model `@cf/emulator/<name>`, by the header `x-emulator-fault: <name>`, queued for any
model on the control plane, or for good from the command line.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from app.emulator import wire
from app.emulator.canned import FAILURES, Canned
from app.emulator.delivery import PLAIN as AS_MADE
from app.emulator.delivery import Delivery


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way of behaving.

    Attributes:
        name: Its name.
        about: What it does.
        stands_for: The quirk, error code or subject it shows.
        canned: An answer that replaces everything.
        paid_models: Whether it touches models of the paid plan only.
        traits: Wire habits that replace the model's.
        fault: What happens to a stream.
        framing: How frames are written.
        delivery: How the body is put on the wire.
        opening: What comes of the request: an `answer`, or the end of its connection by a `close` or a `reset`.
        stream_json: What a stream request is answered with instead of a stream.
        first_byte: Seconds before the first byte, `inf` for never.
        seconds: Pause that `fault` and `delivery` use.
        repeat_list: Whether every page of the model list is the first.
        numbered_bytes: Whether sounds and pictures come as objects whose keys are the places of their bytes.
    """

    name: str
    about: str
    stands_for: str
    canned: Canned | None = None
    paid_models: bool = False
    traits: Mapping[str, Any] = field(default_factory=dict)
    fault: wire.Fault = wire.whole
    framing: wire.Framing = wire.PLAIN
    delivery: Delivery = AS_MADE
    opening: Literal["answer", "close", "reset"] = "answer"
    stream_json: Literal["", "answer", "empty", "error"] = ""
    first_byte: float = 0.0
    seconds: float = 0.0
    repeat_list: bool = False
    numbered_bytes: bool = False


PLAIN = Scenario("plain", "a gpt-oss-like model that behaves", "gpt-oss streams")

_BEHAVIOURS = (
    PLAIN,
    Scenario("reset", "the connection is reset before any answer", "edge and transport", opening="reset"),
    Scenario("closed", "the connection is closed before any answer", "edge and transport", opening="close"),
    Scenario("reset-first", "the connection is reset after the headers", "edge and transport", fault=wire.reset_first),
    Scenario(
        "reset-mid-stream", "the connection is reset after some text", "edge and transport", fault=wire.reset_mid_stream
    ),
    Scenario("cut", "the connection breaks after some text", "Q50", fault=wire.cut),
    Scenario("cut-first", "the connection breaks after the headers", "Q50", fault=wire.cut_first),
    Scenario("cut-frame", "the connection breaks in the middle of a frame", "Q50", fault=wire.cut_frame),
    Scenario("cut-clean", "the stream ends after some text, in good order", "Q50", fault=wire.cut_clean),
    Scenario(
        "cut-frame-clean", "the body ends in the middle of a frame, in good order", "Q50", fault=wire.cut_frame_clean
    ),
    Scenario("no-done", "finish reason and usage, but no terminator", "Q50", fault=wire.no_done),
    Scenario("empty-stream", "headers and an empty body", "Q50", fault=wire.nothing),
    Scenario(
        "length-long", "the body is shorter than announced", "edge and transport", delivery=Delivery(length="long")
    ),
    Scenario(
        "length-short", "the body is longer than announced", "edge and transport", delivery=Delivery(length="short")
    ),
    Scenario("trailing", "frames and a second terminator after the first", "the end of a stream", fault=wire.trailing),
    Scenario(
        "error-mid-stream", "an error envelope after some text", "errors in a stream", fault=wire.error_mid_stream
    ),
    Scenario(
        "error-mid-stream-object",
        "an error object after some text",
        "errors in a stream",
        fault=wire.error_mid_stream_object,
    ),
    Scenario("error-first-frame", "an error as the only frame", "errors in a stream", fault=wire.error_first_frame),
    Scenario(
        "quota-in-stream", "the spent quota as the only frame", "errors in a stream, Q33", fault=wire.quota_in_stream
    ),
    Scenario("json-for-stream", "a whole JSON answer to a stream request", "framing", stream_json="answer"),
    Scenario("json-empty-for-stream", "an empty JSON result to a stream request", "Q6", stream_json="empty"),
    Scenario("json-error-for-stream", "a failure envelope under 200", "framing", stream_json="error"),
    Scenario("slow", "a pause before every frame", "framing", fault=wire.slow, seconds=0.05),
    Scenario("drip", "a pause before every byte", "framing", delivery=Delivery(writes="bytes"), seconds=0.002),
    Scenario("slow-first", "a long wait before the first byte", "framing", first_byte=2.0),
    Scenario("pause", "some text, a silence, then the rest", "edge and transport", fault=wire.pause, seconds=1.0),
    Scenario("stall", "some text, then silence until the client leaves", "edge and transport", fault=wire.stall),
    Scenario(
        "stall-first", "headers, then silence until the client leaves", "edge and transport", fault=wire.stall_first
    ),
    Scenario("hang", "no answer at all", "edge and transport", first_byte=math.inf),
    Scenario(
        "numbered-bytes",
        "a sound or a picture as an object whose keys are the places of its bytes",
        "Q57",
        numbered_bytes=True,
    ),
    Scenario("garbage-frame", "frames that are not JSON", "framing", fault=wire.garbage_frame),
    Scenario("garbage-bytes", "a frame that is not UTF-8", "framing", fault=wire.garbage_bytes),
    Scenario(
        "duplicate-frames",
        "role, finish, usage and comments come twice, text never",
        "framing, Q3",
        fault=wire.duplicate_frames,
    ),
    Scenario("huge-frame", "one frame is padded to more than a mebibyte", "framing", fault=wire.huge_frame),
    Scenario("crlf", "lines end with CRLF", "framing", framing=wire.Framing(newline=b"\r\n")),
    Scenario("cr", "lines end with CR", "framing", framing=wire.Framing(newline=b"\r")),
    Scenario("bom", "the stream begins with a byte order mark", "framing", framing=wire.Framing(bom=True)),
    Scenario("no-space-data", "no blank after `data:`", "framing", framing=wire.Framing(prefix=b"data:")),
    Scenario("comments", "comment lines between frames", "framing", framing=wire.Framing(before=(b": keep-alive",))),
    Scenario(
        "event-names",
        "events of an unknown name between frames",
        "framing",
        framing=wire.Framing(before=(b'event: ping\ndata: {"type":"ping"}',)),
    ),
    Scenario(
        "sse-fields",
        "`id`, `retry` and unknown fields in every frame",
        "framing",
        framing=wire.Framing(fields=(b"id: 7", b"retry: 3000", b"colour: green")),
    ),
    Scenario("split", "one byte at a time", "framing", delivery=Delivery(writes="bytes")),
    Scenario(
        "split-utf8",
        "writes that end inside a character",
        "framing",
        delivery=Delivery(writes="characters"),
    ),
    Scenario("one-write", "everything in one write", "framing", delivery=Delivery(writes="one")),
    Scenario("gzip", "compressed, though nobody asked for it", "framing", delivery=Delivery(gzip=True)),
    Scenario("null-usage", "usage is null", "Q22", traits={"usage": "null"}),
    Scenario("no-usage", "no usage anywhere", "Q38", traits={"usage": "none"}),
    Scenario("zero-usage", "usage is all zeros", "Q38", traits={"usage": "zero"}),
    Scenario("zero-second-usage", "two usage chunks, the second all zeros", "Q2", traits={"usage": "twice-zero"}),
    Scenario("delta-usage", "usage deltas per chunk, then the total", "Q4", traits={"usage": "deltas"}),
    Scenario("delta-usage-only", "usage deltas without a total", "Q4", traits={"usage": "deltas-only"}),
    Scenario("cumulative-usage", "running totals per chunk", "Q4", traits={"usage": "cumulative"}),
    Scenario(
        "number-tokens",
        "digits arrive as JSON numbers",
        "Q5",
        traits={"run_numbers": True, "chat_numbers": True},
    ),
    Scenario("null-final-frame", "the native usage frame holds a null text", "Q44", traits={"null_final": True}),
    Scenario("calls-in-every-frame", "native frames carry empty calls", "Q44", traits={"frame_calls": True}),
    Scenario("native-finish", "native streams tell a finish reason", "native streams", traits={"run_finish": True}),
    Scenario("no-role", "no chunk tells the role", "legacy streams", traits={"role_chunk": False}),
    Scenario("cut-says-stop", "a cut answer claims `stop`", "Q1", traits={"cut_reason": "stop"}),
    Scenario("reasoning-field", "thinking comes in `reasoning`", "Q20", traits={"reasoning": "reasoning"}),
    Scenario("think-tag", "thinking comes inline, between tags", "Q20", traits={"reasoning": "think"}),
    Scenario("think-no-open", "the same without the first tag", "Q20", traits={"reasoning": "think-no-open"}),
    Scenario("leaked-tool-call", "a call arrives as JSON text", "Q11", traits={"leak": "json"}),
    Scenario("xml-tool-call", "a call arrives between tags in the text", "Q55", traits={"leak": "xml"}),
    Scenario(
        "empty-tool-calls", "the finish reason speaks of calls, there are none", "Q10", traits={"no_calls": "always"}
    ),
    Scenario("duplicate-tool-ids", "every call has the same id", "Q14", traits={"call_ids": "same"}),
    Scenario("functions-tool-ids", "ids repeat from turn to turn", "Q14", traits={"call_ids": "functions"}),
    Scenario("index-reset", "every call claims index 0", "Q15", traits={"index_reset": True}),
    Scenario("args-before-name", "argument fragments precede the name", "Q15", traits={"arguments_first": True}),
    Scenario("object-args", "arguments are an object", "tool calls", traits={"arguments": "object"}),
    Scenario("double-encoded-args", "arguments are encoded twice", "Q16", traits={"arguments": "double"}),
    Scenario("null-finaliser", "calls end with an all-null element", "Q15", traits={"finaliser": True}),
    Scenario("null-tool-calls", "text chunks carry `tool_calls: null`", "Q22", traits={"null_calls": True}),
    Scenario("stop-with-tool-calls", "calls finish with `stop`", "Q42", traits={"call_finish": "stop"}),
    Scenario("ignores-tools", "tools on /v1 are not used", "Q13", traits={"chat_tools": False}),
    Scenario("object-content", "JSON mode gives a parsed object", "Q26", traits={"object_content": True}),
    Scenario("text-content-only", "content may not be an array", "Q18", traits={"array_content": False}),
    Scenario("small-window", "a context window of 1000 tokens", "Q31", traits={"window": 1000}),
    Scenario("list-repeats", "every page of the model list is the first", "Q46", repeat_list=True),
    Scenario(
        "free-plan",
        "the account is on the free plan: models of the paid plan are refused",
        "Q47",
        canned=FAILURES["paid-only"][0],
        paid_models=True,
    ),
)

SCENARIOS: dict[str, Scenario] = {scenario.name: scenario for scenario in _BEHAVIOURS} | {
    name: Scenario(name, about, stands_for, canned=canned) for name, (canned, about, stands_for) in FAILURES.items()
}


def described() -> list[dict[str, str]]:
    """Return the table for people and tests: `[{name, about, stands_for}]`."""
    return [
        {"name": scenario.name, "about": scenario.about, "stands_for": scenario.stands_for}
        for scenario in SCENARIOS.values()
    ]
