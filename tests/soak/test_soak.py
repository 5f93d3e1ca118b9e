"""The smallest soak: everything of it happens, and what is wrong is seen."""

import asyncio
import re
from collections import Counter

import aiohttp
import pytest

from tests.soak.__main__ import main
from tests.soak.report import Soak, logged, percentile, problems, slope, weighed, write
from tests.soak.servers import Gauge
from tests.soak.traffic import Tally, Traffic, WrongError, _chunks, _events, _refused


def test_a_few_seconds_of_everything(capsys):
    status = main(["--minutes", "0.06", "--seed", "3", "--workers", "8", "--think", "0.01", "--delay", "0"])
    shown = capsys.readouterr().out
    assert status == 0, shown
    assert "all is well" in shown
    for kind in (
        "chat stream",
        "responses stream",
        "completions",
        "tool result",
        "continued",
        "background",
        "websocket",
    ):
        assert kind in shown
    assert "exit status 0" in shown
    assert re.search(r"tasks [1-9]\d*, [1-9]\d*, [1-9]", shown)
    assert re.search(r"event loop's lag in ms: p50 \d", shown)


def line(minutes, rss):
    return [Gauge(second, rss(second), 20, 10, 3, 9) for second in range(int(minutes * 60))]


def sound(**more):
    tally = Tally(asked=Counter(chat=9), complete=9)
    gauges = line(10, lambda second: 80.0)
    return Soak(10, 1, 4, tally, gauges, gauges[0], gauges[-1], [0.001] * 99, status=0, **more)


def test_a_sound_run_has_no_problems():
    assert problems(sound()) == []
    assert "all is well" in write(sound())


def test_growth_is_told_in_mib_an_hour():
    assert slope(line(10, lambda second: 80 + second / 60)) == pytest.approx(60)
    # What is taken at the beginning and kept is no growth.
    assert slope(line(10, lambda second: 80 + min(second, 100))) == pytest.approx(0)
    growing = sound()
    growing.gauges = line(10, lambda second: 80 + second / 60)
    assert problems(growing) == ["the memory grows by 60.0 MiB an hour"]


def test_every_kind_of_problem_is_told():
    soak = sound(unanswered=1, left_open=2)
    soak.tally.wrong["chat: the text is 'a' where 'b' is due"] += 1
    soak.after = Gauge(1, 80, 60, 50, 3, 99)
    soak.status = 1
    soak.errors = "flarelay 1.0: http://x\nTraceback (most recent call last):\n"
    soak.output = '{"event":"exchange","status":500}\n'
    assert len(problems(soak)) == 8
    assert "PROBLEMS" in write(soak)


def test_the_log_is_read():
    assert logged('{"status":200}\n', 'flarelay 1.0: …\n{"level":"warning","message":"x"}\n') == []
    assert len(logged("", '{"level":"error","message":"x"}\n{"level":"info","exception":"KeyError"}\nboom\n')) == 3


def test_percentiles():
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([3, 1, 2], 1) == 3
    assert percentile([], 0.5) == 0
    assert weighed({3: 1, 1: 98, 2: 1}, 0.5) == 1
    assert weighed({3: 1, 1: 98, 2: 1}, 0.98) == 2
    assert weighed({3: 1, 1: 98, 2: 1}, 1) == 3
    assert weighed({}, 0.5) == 0


def test_texts_that_are_not_what_was_asked_for_are_wrong():
    traffic = Traffic(None, "", 1)
    traffic._check("a b", "a b")
    traffic._check("a ", "a b", whole=False)
    for said, whole in (("a", True), ("a b b", True), ("a x", False), ("a b c", False)):
        with pytest.raises(WrongError):
            traffic._check(said, "a b", whole=whole)


def test_streams_that_do_not_end_are_wrong():
    assert _chunks(b'data: {"choices":[]}\n\n: x\n\ndata: [DONE]\n\n') == ([{"choices": []}], None)
    assert str(_chunks(b'data: {"error":{"code":"c"}}\n\n')[1]) == "in the stream: c"
    assert _events(b'event: a\ndata: {"type":"a"}\n\ndata: [DONE]\n\n') == [{"type": "a"}]
    for data in (b"", b'data: {"choices":[]}\n\n', b"data: [DONE]"):
        with pytest.raises(WrongError):
            _chunks(data)
    with pytest.raises(WrongError):
        _events(b'event: a\ndata: {"type":"a"}\n\n')


def test_refusals_have_openais_form():
    good = b'{"error":{"message":"m","type":"t","param":null,"code":"c"}}'
    assert str(_refused(503, good)) == "503 c"
    for status, data in ((500, good), (422, good), (400, b"<html>"), (400, b'{"error":{"message":"m"}}')):
        with pytest.raises(WrongError):
            _refused(status, data)


async def test_a_proxy_that_is_not_there_is_wrong():
    async with aiohttp.ClientSession() as session:
        traffic = Traffic(session, "http://127.0.0.1:9", 1)
        await asyncio.gather(*(traffic.one() for _ in range(8)))
    assert sum(traffic.tally.wrong.values()) + traffic.tally.aborted == 8
    assert traffic.tally.wrong
