"""Every legal stream of events, as a hypothesis strategy."""

from hypothesis import strategies as st

from app.core.errors import Overloaded, RateLimited, UpstreamTruncated
from app.core.events import Closed, Delta, Failed, Finished, Opened, Started
from app.core.usage import Usage

TEXTS = st.one_of(
    st.text(min_size=1, max_size=8),
    st.sampled_from(['{"input":', '"a\\n"}', "}", "\u2028", '"', "\\", "\ud83d", "\ude00", "é🙂", "\n\n", "\x00"]),
)
NAMES = st.sampled_from(["f", "shell", "crm__find", "find", "unknown", None])
USAGES = st.none() | st.builds(
    Usage, st.integers(0, 99), st.integers(0, 99), st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)
)
ENDINGS = st.one_of(
    st.builds(Finished, st.sampled_from(["stop", "length", "tool_calls", "content_filter"]), USAGES),
    st.builds(
        Failed,
        st.sampled_from([RateLimited(), UpstreamTruncated(), Overloaded("Full.", param="p")]),
        USAGES,
    ),
)


@st.composite
def event_streams(draw):
    if draw(st.integers(0, 30)) == 0:
        return [Failed(RateLimited())]
    events = [Started()]
    part = 0
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["text", "reasoning", "refusal", "tool_call"]))
        if kind != "tool_call":
            events.append(Opened(part, kind))
            events += [Delta(part, text) for text in draw(st.lists(TEXTS, max_size=4))]
            events.append(Closed(part))
            part += 1
            continue
        is_open = []
        for step in draw(st.lists(st.sampled_from(["open", "delta", "delta", "close"]), min_size=1, max_size=10)):
            if step == "open" or (step == "delta" and not is_open):
                call_id = draw(st.none() | st.just(f"call_up_{part}"))
                events.append(Opened(part, "tool_call", call_id, draw(NAMES)))
                is_open.append(part)
                part += 1
            elif step == "delta":
                events.append(Delta(draw(st.sampled_from(is_open)), draw(TEXTS)))
            elif is_open:
                events.append(Closed(is_open.pop(draw(st.integers(0, len(is_open) - 1)))))
        events += [Closed(number) for number in draw(st.permutations(is_open))]
    return [*events, draw(ENDINGS)]
