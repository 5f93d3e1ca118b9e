"""Every legal stream of events, as a hypothesis strategy that walks the grammar's own table."""

from hypothesis import strategies as st

from app.core.errors import Overloaded, RateLimited, UpstreamTruncated
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.grammar import GRAMMAR, Grammar, State
from app.core.usage import Usage

KINDS = ("text", "reasoning", "refusal", "tool_call")
TEXTS = st.one_of(
    st.sampled_from(['{"input":"ls', "-l", '"}', '{"input":""}']),
    st.text(min_size=1, max_size=8),
    st.sampled_from(['{"a":', '"b\\n"}', "}", "\u2028", "\x85", '"', "\\", "é🙂", "\n\n", "\r", "\x00", " ", "data:"]),
)
USAGES = st.builds(
    Usage, st.integers(0, 99), st.integers(0, 99), st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)
)
ERRORS = st.sampled_from([RateLimited(), UpstreamTruncated(), Overloaded("Full\n\nup.", param="p")])


@st.composite
def event_streams(draw, max_events=20):
    """Draw one stream: at every step one of the events that the table allows there."""
    grammar = Grammar()
    events = []
    still_open = {}
    # More deltas than anything else, as in life.
    weights = {Delta: 4, Opened: 2, Closed: 2}
    while grammar.state is not State.ENDED:
        allowed = GRAMMAR[grammar.state]
        if still_open and set(still_open.values()) != {"tool_call"}:
            allowed -= {Opened}
        if len(events) >= max_events:
            allowed = allowed & {Closed} or allowed & {Finished, Failed}
        ordered = sorted(allowed, key=lambda kind: kind.__name__)
        choice = draw(st.sampled_from([kind for kind in ordered for _ in range(weights.get(kind, 1))]))
        event = draw(_event(choice, grammar.opened, still_open))
        if isinstance(event, Opened):
            still_open[event.part] = event.kind
        elif isinstance(event, Closed):
            del still_open[event.part]
        grammar.hear(event)
        events.append(event)
    grammar.close()
    return events


def _event(choice, next_part, still_open):
    if choice is Started:
        return st.just(Started())
    if choice is Opened:
        kinds = ("tool_call",) if still_open else KINDS
        return st.sampled_from(kinds).flatmap(lambda kind: _opened(next_part, kind))
    if choice is Delta:
        return st.builds(Delta, st.sampled_from(sorted(still_open)), TEXTS)
    if choice is Closed:
        return st.builds(Closed, st.sampled_from(sorted(still_open)))
    if choice is Finished:
        return st.builds(Finished, st.sampled_from(["stop", "length", "tool_calls", "content_filter"]), USAGES)
    return st.builds(Failed, ERRORS, st.none() | USAGES)


def _opened(part, kind):
    if kind != "tool_call":
        return st.just(Opened(part, kind))
    ids = st.sampled_from([None, f"chatcmpl-tool-{part}"])
    return st.builds(
        Opened, st.just(part), st.just(kind), ids, st.sampled_from(["f", "Weather-get", 'q"uote', "shell"])
    )


@st.composite
def interleaved(draw, count, max_events=8):
    """Draw the streams of several choices, and the order in which their events come: pairs of an event and a choice."""
    streams = [draw(event_streams(max_events)) for _ in range(count)]
    order = draw(st.permutations([choice for choice, events in enumerate(streams) for _ in events]))
    rest = [iter(events) for events in streams]
    return [(next(rest[choice]), choice) for choice in order]
