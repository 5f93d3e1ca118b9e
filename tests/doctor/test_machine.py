"""What is found of the machine: the store, Redis, the keys, the address, the clock."""

import asyncio
import email.utils
import os
import socket
import sqlite3
import time

import httpx
import pytest

from app.cloudflare.transport import Transport
from app.doctor import findings as module
from app.doctor.clock import check_clock
from app.doctor.doors import check_address
from app.doctor.findings import Finding, Reading, ok, within
from app.doctor.redis import check_redis
from app.doctor.storage import check_store
from app.store.opening import open_store
from app.store.schema import HEAD, VERSION_TABLE
from tests.limits.backend import need_redis
from tests.store import databases


@pytest.fixture
async def database(tmp_path):
    path = tmp_path / "data" / "flarelay.sqlite3"
    store = await open_store(f"sqlite:///{path}")
    await store.close()
    return path


async def found(path):
    return (await check_store(f"sqlite:///{path}", time.time, [])).findings


async def only(path):
    (finding,) = await found(path)
    return finding


async def test_a_store_that_is_sound(database):
    finding = await only(database)
    assert finding.verdict == "ok"
    assert HEAD in finding.found


async def test_looking_changes_nothing(database, tmp_path):
    before = database.read_bytes()
    await only(database)
    assert database.read_bytes() == before
    finding = await only(tmp_path / "absent" / "flarelay.sqlite3")
    assert (finding.verdict, finding.found.endswith("is made at the first start")) == ("ok", True)
    assert not (tmp_path / "absent").exists()


async def test_a_store_that_others_may_read(database):
    database.chmod(0o644)
    finding = await only(database)
    assert finding.verdict == "warning"
    assert finding.advice == f"chmod 600 {database}"


async def test_a_directory_that_is_none(tmp_path):
    (tmp_path / "file").write_text("")
    finding = await only(tmp_path / "file" / "flarelay.sqlite3")
    assert finding.verdict == "failed"
    assert "FLARELAY_DATA_DIR" in finding.advice


async def test_a_directory_that_may_not_be_written(tmp_path, monkeypatch):
    # Root may write everywhere.
    monkeypatch.setattr(os, "access", lambda *_: False)
    finding = await only(tmp_path / "flarelay.sqlite3")
    assert (finding.verdict, "may not be written" in finding.found) == ("failed", True)


async def test_a_file_that_is_no_database(tmp_path):
    path = tmp_path / "flarelay.sqlite3"
    path.write_bytes(b"not a database, " * 100)
    finding = await only(path)
    assert finding.verdict == "failed"
    assert "backup" in finding.advice


async def test_a_file_that_somebody_holds(database, monkeypatch):
    monkeypatch.setattr("app.doctor.storage._LOCK_SECONDS", 0.01)
    holder = sqlite3.connect(database)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        finding = await only(database)
    finally:
        holder.close()
    assert (finding.verdict, "locked" in finding.found) == ("failed", True)


@pytest.mark.parametrize(("revision", "verdict"), [("9999", "failed"), ("0001", "ok")])
async def test_the_schema_of_another_release(database, revision, verdict):
    with sqlite3.connect(database) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (revision,))  # noqa: S608
    connection.close()
    finding = await only(database)
    assert finding.verdict == verdict
    assert revision in finding.found


async def test_a_disk_that_is_nearly_full(database, monkeypatch):
    monkeypatch.setattr("app.doctor.storage.LEAST_SPACE", 1 << 62)
    findings = await found(database)
    assert [finding.check for finding in findings] == ["store", "disk"]


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite:///", "%%%"])
async def test_an_address_that_is_none(url):
    (finding,) = (await check_store(url, time.time, [])).findings
    assert finding.verdict == "failed"


@pytest.fixture(scope="module")
def postgres():
    databases.need_postgres()


@pytest.mark.usefixtures("postgres")
async def test_postgres():
    readings = []
    async with databases.empty("postgresql", None) as url:
        empty = await check_store(url, time.time, readings)
        store = await open_store(url)
        await store.close()
        made = await check_store(url, time.time, readings)
    assert [finding.verdict for finding in (*empty.findings, *made.findings)] == ["ok", "ok"]
    assert "its tables are made at the first start" in empty.findings[0].found
    assert HEAD in made.findings[0].found
    assert made.keys == (0, 0)
    assert abs(readings[0].ours - readings[0].theirs) < 60


async def test_a_postgres_that_is_not_there():
    url = f"postgresql://flarelay:canary-7@127.0.0.1:{free_port()}/x"
    (finding,) = (await check_store(url, time.time, [])).findings
    assert finding.verdict == "failed"
    assert "canary" not in finding.found


async def test_redis():
    readings = []
    (finding,) = await check_redis(need_redis(), 5, time.time, readings)
    assert finding.verdict in {"ok", "warning"}
    assert abs(readings[0].ours - readings[0].theirs) < 60


async def test_no_redis_is_set():
    (finding,) = await check_redis(None, 5, time.time, [])
    assert finding.verdict == "skipped"


@pytest.mark.parametrize("url", ["redis://user:canary-7@127.0.0.1:{port}/0", "nonsense://x"])
async def test_a_redis_that_is_not_there(url):
    (finding,) = await check_redis(url.format(port=free_port()), 5, time.time, [])
    assert finding.verdict == "failed"
    assert "canary" not in finding.found + finding.advice


class _Redis(asyncio.Protocol):
    """A Redis that says of itself what it was told to."""

    info = ""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        for line in data.split(b"*")[1:]:
            self.transport.write(self.answer(line))

    def answer(self, line):
        if b"PING" in line:
            return b"+PONG\r\n"
        if b"INFO" in line and not self.info:
            return b"-NOPERM this user has no permissions to run the 'info' command\r\n"
        if b"INFO" in line:
            return b"$%d\r\n%s\r\n" % (len(self.info), self.info.encode())
        if b"EVAL" in line:
            return b"*2\r\n$1\r\n1\r\n$1\r\n0\r\n"
        return b"+OK\r\n"


@pytest.mark.parametrize(
    ("info", "verdict", "said"),
    [
        ("redis_version:7.0.1\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n", "ok", "Redis 7.0.1"),
        ("redis_version:4.0.1\r\nrole:master\r\n", "failed", "Redis 4.0.1"),
        ("", "ok", "Redis of an unknown version"),
        ("redis_version:7.0.1\r\nrole:slave\r\n", "failed", "replica"),
        ("redis_version:7.0.1\r\nrole:master\r\nmaxmemory_policy:allkeys-lru\r\n", "warning", "allkeys-lru"),
    ],
)
async def test_what_redis_says_of_itself(info, verdict, said):
    made = type("Redis", (_Redis,), {"info": info})
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        (finding,) = await check_redis(f"redis://127.0.0.1:{port}/0", 5, time.time, [])
    assert finding.verdict == verdict
    assert said in finding.found


@pytest.mark.parametrize(
    ("settings", "verdict", "said"),
    [
        ({}, "ok", "only this machine"),
        ({"require_keys": True}, "failed", "nobody is let in"),
        ({"host": "0.0.0.0", "allow_no_keys_on_network": True}, "warning", "spends your quota"),
        ({"api_keys": ("4f9c21ab7de8035612fa0c9d",)}, "ok", "1 key is let in"),
    ],
)
async def test_who_is_let_in(examined, settings, verdict, said):
    findings, _ = await examined(**settings)
    assert findings["keys"].verdict == verdict
    assert said in findings["keys"].found


@pytest.mark.parametrize("key", ["secret", "a" * 40])
async def test_keys_that_can_be_guessed(examined, key):
    _, made = await examined(api_keys=("4f9c21ab7de8035612fa0c9d", key))
    (weak,) = [finding for finding in made.findings if finding.check == "keys" and finding.verdict == "warning"]
    assert weak.found.startswith("key 2 of FLARELAY_API_KEYS can be guessed")
    assert key not in weak.found


async def test_keys_of_the_store_count(examined, database):
    url = f"sqlite:///{database}"
    findings, _ = await examined(store=True, database_url=url, require_keys=True)
    assert findings["keys"].verdict == "failed"
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO api_keys (id, revision, created_at, digest, data) VALUES ('key-a', 1, 0, x'00', x'00')"
        )
    connection.close()
    findings, _ = await examined(store=True, database_url=url, require_keys=True)
    assert findings["keys"].found == "1 key is let in"


async def test_a_file_of_keys(examined, tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(f'[[keys]]\nid = "key-a"\nname = "a"\nsha256 = "{"ab" * 32}"\n')
    path.chmod(0o666)
    _, made = await examined(keys_file=path)
    told = [(finding.verdict, finding.advice) for finding in made.findings if finding.check == "keys"]
    assert told == [("ok", ""), ("warning", f"chmod go-w {path}")]
    path.write_text("nonsense")
    findings, _ = await examined(keys_file=path)
    assert findings["keys"].verdict == "failed"


async def test_the_address():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        nobody = httpx.MockTransport(lambda _: httpx.Response(404, stream=httpx.ByteStream(b"no")))
        (finding,) = await check_address("127.0.0.1", port, nobody)
        assert finding.verdict == "failed"
        assert "FLARELAY_PORT" in finding.advice
    (finding,) = await check_address("127.0.0.1", port, nobody)
    assert (finding.verdict, finding.found) == ("ok", f"port {port} of 127.0.0.1 is free")


async def test_the_address_of_a_flarelay_that_runs(proxy):
    transport = Transport(max_connections=1)
    port = int(proxy.rpartition(":")[2])
    (finding,) = await check_address("127.0.0.1", port, transport)
    await transport.aclose()
    assert finding.found == f"flarelay is running on port {port} of 127.0.0.1"


@pytest.mark.parametrize(
    ("off", "verdict", "said"),
    [
        (0.5, "ok", "agrees with Cloudflare"),
        (-20, "warning", "20 seconds behind Cloudflare"),
        (300, "failed", "5.0 minutes ahead of Cloudflare"),
    ],
)
def test_the_clock(off, verdict, said):
    (finding,) = check_clock([Reading("Cloudflare", 1_000_000, 1_000_000 + off)])
    assert (finding.verdict, finding.found) == (verdict, said)


def test_the_worst_of_several_clocks_is_told():
    (finding,) = check_clock([Reading("Cloudflare", 1000, 1001), Reading("Redis", 1000, 1090)])
    assert finding.found == "90 seconds ahead of Redis"
    assert check_clock([])[0].verdict == "skipped"


async def test_the_clock_against_cloudflares(examined):
    """The date of every answer is compared with the clock that is handed in."""
    now = 1_800_000_000.0

    def answer(_):
        date = email.utils.formatdate(now - 240, usegmt=True)
        return httpx.Response(401, headers={"date": date}, stream=httpx.ByteStream(b"{}"))

    findings, _ = await examined(transport=httpx.MockTransport(answer), clock=lambda: now)
    assert findings["clock"].verdict == "failed"
    assert findings["clock"].found == "4.0 minutes ahead of Cloudflare"


async def test_a_check_that_hangs_is_given_up():
    async def forever():
        await asyncio.Event().wait()

    (finding,) = await within("store", 0.01, forever())
    assert (finding.check, finding.verdict) == ("store", "failed")
    assert "within 0.01 seconds" in finding.found


async def test_how_long_a_check_took_is_told(monkeypatch):
    async def quick():
        return [ok("x", "well")]

    ticks = iter([10.0, 12.5])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(ticks))
    assert await within("x", 5, quick()) == [Finding("x", "ok", "well", "", 2.5)]


async def test_an_upstream_that_hangs_keeps_nobody_waiting(examined):
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            await asyncio.Event().wait()

    findings, _ = await examined(transport=Silent(), options={"seconds": 0.05})
    assert findings["cloudflare"].verdict == "failed"
    assert findings["address"].verdict == "ok"


async def test_wrong_settings_are_a_finding(examined):
    findings, made = await examined(aliases={"gpt-4o": "no-such-model"})
    assert findings["settings"].verdict == "failed"
    assert {finding.verdict for finding in made.findings[1:]} == {"skipped"}
    findings, _ = await examined(cloudflare_account_id="not-hexadecimal")
    assert "is not an account id" in findings["settings"].found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]
