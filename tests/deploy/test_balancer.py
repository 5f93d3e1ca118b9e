"""The load balancer's configuration: HAProxy takes it, and it holds back no stream and loses no request."""

import json
import os
import re
import shutil
import subprocess

import pytest

from app.settings import load
from tests.deploy.composed import DEPLOY, composed, seconds
from tests.deploy.free import free_port

PATH = DEPLOY / "haproxy.cfg"
TEXT = PATH.read_text("utf-8")
LINES = [line.strip() for line in TEXT.splitlines() if line.strip() and not line.strip().startswith("#")]
SETTINGS = load({"offline": True}, {})


def timeout(name):
    (found,) = [line.split()[2] for line in LINES if line.startswith(f"timeout {name} ")]
    return seconds(found)


def test_haproxy_takes_it():
    haproxy = shutil.which("haproxy", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if haproxy is None:
        pytest.skip("haproxy is not installed")
    addresses = {f"REPLICA_{number}": f"127.0.0.1:{free_port()}" for number in (1, 2, 3)}
    done = subprocess.run(
        [haproxy, "-c", "-f", PATH],
        env={**addresses, "BALANCER_BIND": f"127.0.0.1:{free_port()}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr
    assert "Configuration file is valid" in done.stdout + done.stderr
    assert "WARNING" not in done.stderr


def test_it_stands_before_composes_replicas():
    services = composed()["services"]
    told = dict(line.split()[1:] for line in LINES if line.startswith("presetenv"))
    port = services["balancer"]["ports"][0].rpartition(":")[2]
    assert told.pop("BALANCER_BIND") == f":{port}"
    replicas = [name for name in services if name.startswith("replica-")]
    assert list(told.values()) == [f"{name}:{services[name]['environment']['FLARELAY_PORT']}" for name in replicas]
    servers = [line.split()[1:] for line in LINES if line.startswith("server ")]
    assert servers == [[name, f'"${{{variable}}}"'] for name, variable in zip(replicas, told, strict=True)]
    (mounted,) = services["balancer"]["volumes"]
    assert mounted.startswith("./haproxy.cfg:")


def test_it_waits_longer_than_a_replica_is_silent():
    for side in ("client", "server"):
        assert timeout(side) > max(SETTINGS.first_byte_timeout, SETTINGS.idle_timeout, 4 * SETTINGS.keep_alive_interval)
    # A WebSocket is closed by the server after 60 minutes.
    assert timeout("tunnel") > 3600
    assert timeout("queue") >= SETTINGS.queue_seconds
    assert "option http-no-delay" in LINES
    assert not [line for line in LINES if "buffer-request" in line or line.startswith("compression")]


def test_a_replica_that_ends_costs_no_request():
    assert "retry-on conn-failure empty-response" in LINES
    assert "option redispatch 1" in LINES
    assert "http-check send meth GET uri /readyz ver HTTP/1.1 hdr Host flarelay" in LINES
    assert "http-check expect status 200" in LINES
    # Streams of a replica that is left out go on.
    assert "shutdown-sessions" not in TEXT
    (check,) = [line for line in LINES if line.startswith("default-server ")]
    words = check.split()
    inter, fast = words[words.index("inter") + 1], words[words.index("fastinter") + 1]
    falls = int(words[words.index("fall") + 1])
    assert seconds(inter) + (falls - 1) * int(fast.removesuffix("ms")) / 1000 <= 2


def test_its_own_errors_are_what_clients_read():
    errors = re.findall(r'http-error status (\d+) content-type application/json string "(.*)"$', TEXT, re.MULTILINE)
    assert [status for status, _ in errors] == ["400", "502", "503", "504"]
    for _, text in errors:
        assert set(json.loads(text.replace('\\"', '"'))["error"]) == {"message", "type", "param", "code"}
