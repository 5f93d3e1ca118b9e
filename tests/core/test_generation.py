"""What is remembered of a stream of events."""

from app.core.errors import Internal
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.generation import Generation
from app.core.usage import Usage, estimate_tokens


def heard(*events):
    generation = Generation()
    for event in events:
        generation.hear(event)
    return generation


def test_parts_keep_their_order_and_their_text():
    generation = heard(
        Started(), Opened(0, "reasoning"), Delta(0, "hm"), Delta(0, "m"), Closed(0), Opened(1, "text"), Delta(1, "yes"),
        Closed(1), Opened(2, "tool_call", "call_1", "f"), Delta(2, "{}"), Closed(2), Finished("tool_calls"),
    )  # fmt: skip
    assert [(part.kind, part.text, part.closed) for part in generation.parts] == [
        ("reasoning", "hmm", True),
        ("text", "yes", True),
        ("tool_call", "{}", True),
    ]
    assert generation.text("text") == "yes"
    assert [(call.call_id, call.name) for call in generation.tool_calls()] == [("call_1", "f")]
    assert (generation.ended, generation.reason) == (True, "tool_calls")


def test_reported_usage_stands():
    usage = Usage(7, 3, neurons=0.5)
    assert heard(Started(), Finished("stop", usage)).settled_usage(99) is usage


def test_missing_usage_is_estimated_and_marked():
    generation = heard(Started(), Opened(0, "text"), Delta(0, "x" * 35), Closed(0), Failed(Internal()))
    assert generation.settled_usage(20) == Usage(20, 10, source="estimated")


def test_a_request_that_never_began_cost_nothing():
    assert heard(Failed(Internal())).settled_usage(20) == Usage(0, 0, source="estimated")


def test_estimates_count_bytes_so_that_other_scripts_are_not_undercounted():
    assert estimate_tokens("") == 0
    assert estimate_tokens("a") == 1
    assert estimate_tokens("a" * 35) == 10
    assert estimate_tokens("日本語のテキスト") > estimate_tokens("a" * 8)
    assert estimate_tokens("\ud83d") == 1


def test_reasoning_tokens_are_estimated_by_their_share_where_nobody_tells():
    thought = [Started(), Opened(0, "reasoning"), Delta(0, "x" * 70), Closed(0)]
    text = [Opened(1, "text"), Delta(1, "x" * 35), Closed(1)]
    assert heard(*thought, *text, Finished("stop", Usage(7, 90))).settled_usage(9) == Usage(7, 90, reasoning_tokens=60)
    assert heard(*thought, Finished("length", Usage(7, 90))).settled_usage(9).reasoning_tokens == 90
    assert heard(*thought, *text, Failed(Internal())).settled_usage(9) == Usage(9, 30, None, 20, source="estimated")
    told = Usage(7, 90, reasoning_tokens=0)
    assert heard(*thought, *text, Finished("stop", told)).settled_usage(9) is told
