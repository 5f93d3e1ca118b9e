"""The order in which events may come."""

import pytest

from app.core.errors import Internal
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.grammar import Grammar, GrammarError

LEGAL = {
    "nothing generated": [Started(), Finished("stop")],
    "failed before it began": [Failed(Internal())],
    "text": [Started(), Opened(0, "text"), Delta(0, "a"), Closed(0), Finished("stop")],
    "a part without text": [Started(), Opened(0, "tool_call", "c", "f"), Closed(0), Finished("tool_calls")],
    "reasoning, then text": [
        Started(), Opened(0, "reasoning"), Delta(0, "a"), Closed(0), Opened(1, "text"), Delta(1, "b"), Closed(1),
        Finished("stop"),
    ],
    "calls side by side": [
        Started(), Opened(0, "tool_call", "a", "f"), Opened(1, "tool_call", "b", "g"), Delta(0, "{"), Delta(1, "{"),
        Closed(0), Delta(1, "}"), Closed(1), Finished("tool_calls"),
    ],
    "broken off": [Started(), Opened(0, "text"), Delta(0, "a"), Closed(0), Failed(Internal())],
}  # fmt: skip

ILLEGAL = {
    "not started": [Finished("stop")],
    "started twice": [Started(), Started()],
    "a delta of nothing open": [Started(), Delta(0, "a")],
    "an empty delta": [Started(), Opened(0, "text"), Delta(0, "")],
    "a gap in the numbers": [Started(), Opened(1, "text")],
    "a number used again": [Started(), Opened(0, "text"), Closed(0), Opened(0, "text")],
    "text beside text": [Started(), Opened(0, "text"), Opened(1, "text")],
    "text beside a call": [Started(), Opened(0, "tool_call", "a", "f"), Opened(1, "text")],
    "a call beside text": [Started(), Opened(0, "text"), Opened(1, "tool_call", "a", "f")],
    "closed twice": [Started(), Opened(0, "text"), Closed(0), Closed(0)],
    "finished with a part open": [Started(), Opened(0, "text"), Finished("stop")],
    "failed with a part open": [Started(), Opened(0, "text"), Failed(Internal())],
    "after the end": [Started(), Finished("stop"), Opened(0, "text")],
    "two ends": [Started(), Finished("stop"), Finished("stop")],
}


@pytest.mark.parametrize("events", LEGAL.values(), ids=LEGAL)
def test_legal_orders_pass(events):
    grammar = Grammar()
    for event in events:
        grammar.hear(event)
    grammar.close()
    assert grammar.opened == sum(type(event) is Opened for event in events)


@pytest.mark.parametrize("events", ILLEGAL.values(), ids=ILLEGAL)
def test_illegal_orders_are_refused_at_the_last_event(events):
    grammar = Grammar()
    for event in events[:-1]:
        grammar.hear(event)
    with pytest.raises(GrammarError):
        grammar.hear(events[-1])


@pytest.mark.parametrize("length", [0, 1, 2, 3])
def test_a_stream_that_just_stops_is_refused(length):
    grammar = Grammar()
    for event in [Started(), Opened(0, "text"), Closed(0)][:length]:
        grammar.hear(event)
    with pytest.raises(GrammarError):
        grammar.close()
