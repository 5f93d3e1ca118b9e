"""The table of scenarios: a name, what it does, and which quirk it stands for (numbers are explained in QUIRKS.md).

Each can be had by asking for the model `@cf/emulator/<name>`, or queued for any model on the control plane.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from app.emulator import wire
from app.emulator.canned import FAILURES, Canned


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
        stream_json: What a stream request is answered with instead of a stream.
        first_byte: Seconds before the first byte, `inf` for never.
        seconds: Pause that `fault` uses.
        repeat_list: Whether every page of the model list is the first.
    """

    name: str
    about: str
    stands_for: str
    canned: Canned | None = None
    paid_models: bool = False
    traits: Mapping[str, Any] = field(default_factory=dict)
    fault: wire.Fault = wire.whole
    framing: wire.Framing = wire.PLAIN
    stream_json: Literal["", "answer", "empty", "error"] = ""
    first_byte: float = 0.0
    seconds: float = 0.0
    repeat_list: bool = False


PLAIN = Scenario("plain", "a gpt-oss-like model that behaves", "gpt-oss streams")

_BEHAVIOURS = (
    PLAIN,
    Scenario("cut", "the connection breaks after some text", "Q50", fault=wire.cut),
    Scenario("cut-first", "the connection breaks after the headers", "Q50", fault=wire.cut_first),
    Scenario("cut-clean", "the stream ends after some text, in good order", "Q50", fault=wire.cut_clean),
    Scenario("no-done", "finish reason and usage, but no terminator", "Q50", fault=wire.no_done),
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
    Scenario("json-for-stream", "a whole JSON answer to a stream request", "framing", stream_json="answer"),
    Scenario("json-empty-for-stream", "an empty JSON result to a stream request", "Q6", stream_json="empty"),
    Scenario("json-error-for-stream", "a failure envelope under 200", "framing", stream_json="error"),
    Scenario("slow", "a pause before every frame", "framing", fault=wire.slow, seconds=0.05),
    Scenario("slow-first", "a long wait before the first byte", "framing", first_byte=2.0),
    Scenario("stall", "some text, then silence until the client leaves", "edge and transport", fault=wire.stall),
    Scenario("hang", "no answer at all", "edge and transport", first_byte=math.inf),
    Scenario("garbage-frame", "frames that are not JSON", "framing", fault=wire.garbage_frame),
    Scenario("crlf", "lines end with CRLF", "framing", framing=wire.Framing(newline=b"\r\n")),
    Scenario("no-space-data", "no blank after `data:`", "framing", framing=wire.Framing(prefix=b"data:")),
    Scenario("comments", "comment lines between frames", "framing", framing=wire.Framing(comments=True)),
    Scenario("split", "one byte at a time", "framing", framing=wire.Framing(bytewise=True)),
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
