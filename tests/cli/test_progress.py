import io

import pytest

from app.cli.progress import Counter
from app.cli.record import NOT_RECORDED, Tally
from app.recorder import server as recorder


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_the_count_stays_below_the_lines():
    stream, tally = _Terminal(), Tally()
    counter = Counter(tally.status, stream)
    for line in ("00001: 200, 12 bytes", f"00002{NOT_RECORDED}larger than 5 bytes"):
        tally.hear(line)
        counter.line(line)
    counter.close()
    assert stream.getvalue() == (
        "\r\x1b[K00001: 200, 12 bytes\n1 recorded; Ctrl-C ends it"
        "\r\x1b[K00002: not recorded: larger than 5 bytes\n1 recorded, 1 passed on only; Ctrl-C ends it"
        "\r\x1b[K1 recorded, 1 passed on only; Ctrl-C ends it\n"
    )


def test_elsewhere_there_are_only_the_lines():
    stream = io.StringIO()
    counter = Counter(lambda: "never shown", stream)
    counter.line("one")
    counter.close()
    assert stream.getvalue() == "one\n"


async def test_the_recorder_says_it_in_these_words(tmp_path):
    """The count goes by the recorder's own words."""
    said = []
    one = recorder.Recorder(tmp_path, "http://upstream", None, lambda: 0.0, say=said.append)
    exchange = recorder.Exchange(7, "POST", "/ai/run/x", "", b"")
    await one._keep(exchange, whole=False)
    await one._keep(exchange, whole=True)
    assert [NOT_RECORDED in line for line in said] == [True, False]


@pytest.mark.parametrize("line", ["00001: 200, 12 bytes", "00001: 200, 12 bytes, cut"])
def test_what_was_cut_is_recorded_all_the_same(line):
    tally = Tally()
    tally.hear(line)
    assert tally.status().startswith("1 recorded;")
