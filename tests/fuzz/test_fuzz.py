"""A few seconds of fuzzing, always the same; and that what is wrong is found, made small, and can be met again."""

import pytest

from app.dialects.emulated import EmulatedReader
from app.dialects.reader import AnswerReader
from app.surfaces.chat import read
from tests.fuzz import asks, bodies, cases, readers
from tests.fuzz.__main__ import main
from tests.fuzz.corpus import STREAMS


def test_readers_and_writers_bear_anything(capsys):
    assert main(["readers", "--inputs", "30000", "--seed", "7"]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert "0 findings" in shown
    assert "inputs per second and core" in shown


def test_the_proxy_bears_any_request(capsys):
    assert main(["bodies", "--requests", "700", "--seed", "7"]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert "0 findings" in shown
    assert " with 200, " in shown


def test_cases_are_made_again_from_their_number():
    assert [cases.make(1, number) for number in range(200)] == [cases.make(1, number) for number in range(200)]
    assert [asks.make(1, number) for number in range(200)] == [asks.make(1, number) for number in range(200)]
    assert cases.make(1, 5) != cases.make(2, 5)
    kinds = {cases.make(1, number).kind for number in range(5000)}
    assert kinds == {"stream", "long", "body", "failure", "framer", "events"}


def test_what_the_streams_are_mutated_from_is_right():
    for number, stream in enumerate(STREAMS):
        data = b"".join(b"data: " + frame.replace(b"\n", b"\ndata: ") + b"\n\n" for frame in stream.frames)
        for surface in range(12):
            case = cases.Case("stream", [data], max_tokens=stream.max_tokens, emulation=number % 9, surface=surface)
            assert readers.check(case) >= 1


def test_a_defect_of_a_reader_is_found_and_made_small(monkeypatch, capsys):
    real = AnswerReader.feed

    def feed(self, frame):
        if b"tool_calls" in frame and b"arguments" in frame:
            raise KeyError("planted")
        return real(self, frame)

    monkeypatch.setattr(AnswerReader, "feed", feed)
    tally = readers.fuzz(10**6, 3)
    ((key, finding),) = tally.findings.items()
    assert key[0] == "KeyError"
    (block,) = finding.smallest.blocks
    assert len(block) <= len(b"data:tool_callsarguments")
    assert main(["readers", "--seed", "3", "--case", str(finding.number)]) == 1
    assert "planted" in capsys.readouterr().out


def test_events_out_of_order_are_found(monkeypatch):
    real = EmulatedReader.close
    monkeypatch.setattr(EmulatedReader, "close", lambda self: real(self)[:-1])
    tally = readers.fuzz(10**6, 3)
    assert "GrammarError" in next(iter(tally.findings.values())).what


def test_a_reader_that_is_too_slow_is_found(monkeypatch):
    real = AnswerReader.close

    def close(self):
        for _ in range(3_000_000):
            pass
        return real(self)

    monkeypatch.setattr(AnswerReader, "close", close)
    assert "TooSlowError" in next(iter(readers.fuzz(10**6, 3).findings.values())).what


def test_findings_are_gathered_when_told_to_keep_going(monkeypatch):
    def feed(self, frame):
        raise KeyError(frame[:1]) if len(frame) % 2 else IndexError(frame[:1])

    monkeypatch.setattr(AnswerReader, "feed", feed)
    monkeypatch.setattr(readers, "_SHRINK_SECONDS", 0.0)
    tally = readers.fuzz(20, 3, keep_going=True)
    assert {finding.what.partition(":")[0] for finding in tally.findings.values()} == {"KeyError", "IndexError"}
    shown = readers.summary(tally, 3, 1.0, 1)
    assert f"{len(tally.findings)} findings" in shown
    assert sum(tally.again.values()) > len(tally.findings)
    assert "--seed 3 --case " in shown


async def test_a_defect_of_the_proxy_is_found(monkeypatch):
    def boom(*_, **__):
        raise RuntimeError("planted")

    monkeypatch.setattr(read, "read_messages", boom)
    tally = await bodies.fuzz(100, 7)
    ((sentence, (first, _)),) = tally.findings.items()
    assert "planted" in sentence
    assert any(status == 500 for _, status, _ in tally.statuses)
    again = await bodies.fuzz(1, 7, only=first)
    assert "planted" in next(iter(again.findings))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, "text/event-stream", b'data: {"id":"x"}\n\n'), "^$"),
        ((200, "application/json", b'{"object":"x"}'), "object is 'x'"),
        ((422, "application/json", b"{}"), "status 422"),
        ((400, "application/json", b'{"error":{"message":"m","type":"t","param":"p"}}'), "not OpenAI's error"),
        (
            (400, "application/json", b'{"error":{"message":"m","type":"t","param":null,"code":null}}'),
            "without a param",
        ),
        ((400, "text/html", b"<html>"), "Expecting value"),
        ((502, "application/json", b'{"error":{"message":"AiError: x","type":"t","param":null,"code":null}}'), "words"),
        ((200, "application/json", b'{"object":"chat.completion","x":"TOKEN"}'), "secret"),
    ],
)
def test_wrong_answers_are_wrong(answer, said):
    status, kind, body = answer
    ask = asks.Ask("POST", "/v1/chat/completions", b'{"model":"m"}', {}, "chat", {"model": "m"})
    got = bodies.Answer(status, {"content-type": kind, "x-request-id": "r"}, body)
    with pytest.raises((bodies.WrongError, AssertionError, ValueError), match=said):
        bodies.judge(ask, got, [b"TOKEN"])
