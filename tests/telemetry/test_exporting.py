"""Spans of a running server, as a collector gets them; and that nothing of tracing is loaded where it is off."""

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from app.main import create_app
from app.settings import SettingsError, load
from tests.conftest import settings_for
from tests.serving import serving, until
from tests.telemetry import test_canaries as canaries
from tests.telemetry.collector import attributes_of, collecting

ROOT = Path(__file__).resolve().parents[2]
SERVER, CLIENT = 2, 3
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
upstream = canaries.upstream


@pytest.fixture
def collector(monkeypatch):
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.address)
        yield found


def test_a_request_has_the_servers_span_and_the_exchanges_below_it(emulator, control, collector, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant=mine")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    with (
        serving(create_app(settings_for(emulator, tracing=True))) as address,
        httpx.Client(base_url=address, headers={"traceparent": PARENT}, trust_env=False) as http,
    ):
        body = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "canary"}], "stream": True}
        assert http.post("/v1/chat/completions?api_key=canary", json=body).status_code == 200
        assert http.get("/healthz").status_code == http.get("/metrics").status_code == 200
    # What was left was sent at the end.
    spans = {span.kind: (span, attributes_of(span), resource) for span, resource in collector.spans}
    assert sorted(span.kind for span, _ in collector.spans) == [SERVER, CLIENT]
    (server, told, resource), (exchange, attributes, _) = spans[SERVER], spans[CLIENT]
    assert server.name == "POST /v1/chat/completions"
    assert server.trace_id.hex() == exchange.trace_id.hex() == PARENT[3:35]
    assert server.parent_span_id.hex() == PARENT[36:52]
    assert exchange.parent_span_id == server.span_id
    assert told["http.response.status_code"] == 200
    assert told["url.query"] == "REDACTED"
    assert attributes["gen_ai.request.model"] == "@cf/openai/gpt-oss-20b"
    assert attributes["gen_ai.usage.output_tokens"] > 0
    assert 0 < attributes["flarelay.own_seconds"] < 10
    assert (resource["service.name"], resource["deployment.environment.name"]) == ("flarelay", "test")
    assert resource["service.instance.id"]
    assert collector.headers[0]["x-tenant"] == "mine"
    assert b"canary" not in b"".join(collector.bodies)
    (sent,) = [one for one in control.get("/requests").json() if one["path"].endswith("/chat/completions")]
    assert sent["headers"]["traceparent"] == f"00-{exchange.trace_id.hex()}-{exchange.span_id.hex()}-01"


def test_content_is_sent_where_it_is_asked_for(emulator, collector):
    with (
        serving(create_app(settings_for(emulator, tracing=True, tracing_content=True))) as address,
        httpx.Client(base_url=address, trust_env=False) as http,
    ):
        body = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Say exactly: canary-answer"}]}
        assert http.post("/v1/chat/completions", json=body).status_code == 200
    (attributes,) = [attributes_of(span) for span, _ in collector.spans if span.kind == CLIENT]
    assert "Say exactly" in attributes["gen_ai.input.messages"]
    assert "canary-answer" in attributes["gen_ai.output.messages"]


def test_nothing_planted_is_in_traces(upstream, tmp_path):
    headers = {name: value for name, value in canaries.HEADERS.items() if name != "tracestate"}
    with collecting() as collector:
        environ = {
            "FLARELAY_TRACING": "true",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.address,
            "FLARELAY_MAX_BODY_BYTES": "1MiB",
            **canaries.HASTY,
        }
        with (
            canaries.server(upstream, tmp_path, **environ) as running,
            httpx.Client(base_url=running.address, headers=headers, timeout=60, trust_env=False) as client,
        ):
            canaries.drive(client)
            canaries.leave(client)
            canaries.talk(running.address)
            written = running.end()
        assert running.process.returncode == 0
    assert len(collector.spans) > 80
    assert len({span.name for span, _ in collector.spans}) > 8
    text = b"".join(collector.bodies).decode("utf-8", "replace")
    assert canaries.leaks(text) == []
    assert canaries.leaks(written) == []


def test_a_collector_that_is_away_delays_neither_requests_nor_the_end(emulator, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with (
        serving(create_app(settings_for(emulator, tracing=True))) as address,
        httpx.Client(base_url=address, trust_env=False) as http,
    ):
        body = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Hi"}]}
        assert http.post("/v1/chat/completions", json=body).status_code == 200
        began = time.monotonic()
    assert time.monotonic() - began < 8


def test_another_protocol_is_refused_at_the_start(emulator, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with pytest.raises(SettingsError, match="OTEL_EXPORTER_OTLP_PROTOCOL"):
        create_app(settings_for(emulator, tracing=True))
    create_app(settings_for(emulator))


def test_content_without_tracing_is_a_mistake():
    with pytest.raises(SettingsError, match="nothing is traced"):
        load({"offline": True, "tracing_content": True}, {})


def test_nothing_of_tracing_is_loaded_where_it_is_off():
    code = (
        "import sys, app.main\n"
        "from app.settings import load\n"
        "app.main.create_app(load({'offline': True}, {}))\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))\n"
        "       or name in ('app.telemetry.tracing', 'app.telemetry.exporting', 'requests')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "[]\n"


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "app.telemetry.exporting", None)
    with pytest.raises(SettingsError, match=r"pip install flarelay\[otel\]"):
        create_app(load({"offline": True, "tracing": True}, {}))


def test_what_is_not_traced_costs_no_span(emulator, collector):
    with (
        serving(create_app(settings_for(emulator))) as address,
        httpx.Client(base_url=address, trust_env=False) as http,
    ):
        body = {"model": "gpt-oss-20b", "messages": [{"role": "user", "content": "Hi"}]}
        assert http.post("/v1/chat/completions", json=body).status_code == 200
        until(lambda: "flarelay_requests_total{" in http.get("/metrics").text)
    assert collector.headers == []
