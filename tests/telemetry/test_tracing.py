"""Spans of exchanges: the conventions' names, W3C's context both ways, and nothing that anybody wrote unless asked."""

import json

import pytest

from app.core.events import Closed, Delta, Finished, Opened, Started
from app.core.generation import Generation
from app.core.request import (
    FileContent,
    GenerationRequest,
    ImageContent,
    Message,
    ResponseFormat,
    TextContent,
    Tool,
    ToolCall,
)
from tests.telemetry.records import CATALOGUE, MODEL, outcome, refusal

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind, StatusCode, use_span

from app.telemetry.content import LONGEST
from app.telemetry.tracing import OtelTracing

CANARY = "canary-0815"
SAMPLED = 1
NAMES = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}

REQUEST = GenerationRequest(
    "gpt-oss-120b",
    (
        Message("system", f"{CANARY} system"),
        Message("developer", (TextContent(f"{CANARY} developer"),)),
        Message("user", (TextContent(f"{CANARY} user"), ImageContent(f"https://x/{CANARY}.png"))),
        Message("user", (ImageContent(f"data:image/png;base64,{CANARY}"), FileContent("a.pdf", CANARY.encode(), "p"))),
        Message("assistant", "", (ToolCall("call_1", "look", f'{{"x": "{CANARY}"}}'),), reasoning=f"{CANARY} thought"),
        Message("tool", f"{CANARY} result", tool_call_id="call_1"),
    ),
    stream=True,
    max_tokens=77,
    knobs={"temperature": 0, "top_p": 0.5, "seed": 3, "stop": [CANARY]},
    tools=(Tool("look", f"{CANARY} description", {"type": "object"}),),
)


def generation(text=f"{CANARY} answer"):
    heard = Generation()
    for event in (
        Started(),
        Opened(0, "reasoning"),
        Delta(0, f"{CANARY} thinks"),
        Closed(0),
        Opened(1, "text"),
        Delta(1, text),
        Closed(1),
        Opened(2, "tool_call", "call_2", "look"),
        Delta(2, f'{{"x": "{CANARY}"}}'),
        Closed(2),
        Finished("tool_calls"),
    ):
        heard.hear(event)
    return heard


class Spans:
    def __init__(self, **more):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False, **more)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("test")

    def tracing(self, **more):
        return OtelTracing(self.tracer, "https://api.cloudflare.com/client/v4", **more)

    def only(self):
        (span,) = self.exporter.get_finished_spans()
        return span


@pytest.fixture
def spans():
    made = Spans()
    yield made
    made.provider.shutdown()


def model():
    return CATALOGUE.resolve(MODEL)


def test_a_span_has_the_conventions_names_and_the_record(spans):
    trace = spans.tracing().begin("chat", REQUEST, model())
    trace.end(outcome(dropped=("tools[2]",), upstream_attempts=(429, 200)), [generation()])
    span = spans.only()
    assert span.name == f"chat {MODEL}"
    assert span.kind == SpanKind.CLIENT
    assert span.status.status_code == StatusCode.UNSET
    assert dict(span.attributes) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "cloudflare.workers_ai",
        "gen_ai.request.model": MODEL,
        "gen_ai.request.stream": True,
        "gen_ai.request.max_tokens": 77,
        "gen_ai.request.temperature": 0.0,
        "gen_ai.request.top_p": 0.5,
        "gen_ai.request.seed": 3,
        "gen_ai.output.type": "text",
        "gen_ai.response.model": MODEL,
        "gen_ai.response.finish_reasons": ("tool_calls",),
        "gen_ai.response.time_to_first_chunk": 0.4,
        "gen_ai.usage.input_tokens": 100,
        "gen_ai.usage.output_tokens": 201,
        "gen_ai.usage.cache_read.input_tokens": 10,
        "gen_ai.usage.reasoning.output_tokens": 20,
        "server.address": "api.cloudflare.com",
        "server.port": 443,
        "flarelay.request_id": "req_1",
        "flarelay.surface": "chat",
        "flarelay.caller": "key-1",
        "flarelay.dialect": "chat",
        "flarelay.ending": "completed",
        "flarelay.usage_source": "reported",
        "flarelay.neurons": 3.5,
        "flarelay.cost_usd": pytest.approx(3.5 * 0.011 / 1000),
        "flarelay.account": "account-1",
        "flarelay.dropped": ("tools[2]",),
        "flarelay.own_seconds": 0.004,
        "flarelay.queue_seconds": 0.0,
        "flarelay.upstream.attempts": (429, 200),
        "flarelay.upstream.request_id": "ray-1",
        "flarelay.upstream.seconds": 2.396,
    }
    assert {name for name in span.attributes if name.startswith("gen_ai.")} <= NAMES
    assert CANARY not in span.to_json()
    assert not span.events


def test_a_refusal_is_an_error_by_its_code_and_without_its_text(spans):
    trace = spans.tracing().begin("completions", GenerationRequest("m", ()), model())
    trace.end(refusal(stream=False, upstream_code=3036), [Generation()])
    span = spans.only()
    assert span.name == f"text_completion {MODEL}"
    assert span.status.status_code == StatusCode.ERROR
    assert span.status.description is None
    assert span.attributes["error.type"] == "rate_limit_exceeded"
    assert span.attributes["flarelay.upstream.code"] == 3036
    assert "gen_ai.response.finish_reasons" not in span.attributes
    assert "gen_ai.response.time_to_first_chunk" not in span.attributes


def test_a_client_that_leaves_is_no_error(spans):
    spans.tracing().begin("chat", REQUEST, model()).end(outcome(ending="disconnected", status=499), [generation()])
    assert spans.only().status.status_code == StatusCode.UNSET


def test_several_choices_and_json_are_told(spans):
    choice = GenerationRequest("m", ())
    request = GenerationRequest("m", (), response_format=ResponseFormat("json_object"), branches=(choice, choice))
    spans.tracing().begin("chat", request, model()).end(outcome(stream=False), [generation(), generation()])
    attributes = spans.only().attributes
    assert attributes["gen_ai.request.choice.count"] == 2
    assert attributes["gen_ai.output.type"] == "json"
    assert attributes["gen_ai.response.finish_reasons"] == ("tool_calls", "tool_calls")


def test_the_upstream_can_go_on_with_the_trace(spans):
    with spans.tracer.start_as_current_span("the server's") as parent:
        trace = spans.tracing().begin("chat", REQUEST, model())
        (name, value), *rest = trace.headers.items()
        trace.end(outcome(), [])
    child, _ = spans.exporter.get_finished_spans()
    assert child.parent.span_id == parent.get_span_context().span_id
    assert (name, rest) == ("traceparent", [])
    version, trace_id, span_id, flags = value.split("-")
    assert (version, trace_id, span_id) == ("00", f"{child.context.trace_id:032x}", f"{child.context.span_id:016x}")
    assert int(flags, 16) & SAMPLED


def test_a_trace_that_is_not_sampled_is_passed_on_as_such():
    spans = Spans(sampler=ALWAYS_OFF)
    trace = spans.tracing(content=True).begin("chat", REQUEST, model())
    assert not int(trace.headers["traceparent"][-2:], 16) & SAMPLED
    trace.end(outcome(), [generation()])
    assert not spans.exporter.get_finished_spans()
    spans.provider.shutdown()


def test_baggage_stays_here(spans):
    token = context.attach(baggage.set_baggage("user", CANARY))
    try:
        with use_span(spans.tracer.start_span("the server's"), end_on_exit=True):
            assert CANARY not in str(spans.tracing().begin("chat", REQUEST, model()).headers)
    finally:
        context.detach(token)


def test_content_is_written_where_it_is_asked_for_and_bytes_are_not(spans):
    trace = spans.tracing(content=True).begin("chat", REQUEST, model())
    trace.end(outcome(), [generation("x" * (LONGEST + 5))])
    attributes = spans.only().attributes
    assert {name for name in attributes if name.startswith("gen_ai.")} <= NAMES
    system = json.loads(attributes["gen_ai.system_instructions"])
    assert [part["content"] for part in system] == [f"{CANARY} system", f"{CANARY} developer"]
    assert json.loads(attributes["gen_ai.input.messages"]) == [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": f"{CANARY} user"},
                {"type": "uri", "modality": "image", "uri": f"https://x/{CANARY}.png"},
            ],
        },
        {"role": "user", "parts": [{"type": "image"}, {"type": "document", "name": "a.pdf"}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": f"{CANARY} thought"},
                {"type": "tool_call", "id": "call_1", "name": "look", "arguments": f'{{"x": "{CANARY}"}}'},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "call_1", "response": f"{CANARY} result"}]},
    ]
    (tool,) = json.loads(attributes["gen_ai.tool.definitions"])
    assert tool["description"] == f"{CANARY} description"
    (said,) = json.loads(attributes["gen_ai.output.messages"])
    assert said["finish_reason"] == "tool_call"
    assert [part["type"] for part in said["parts"]] == ["reasoning", "text", "tool_call"]
    assert said["parts"][1]["content"] == "x" * LONGEST + "…"
