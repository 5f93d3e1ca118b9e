import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.dialects.think import ThinkSplitter


def split(pieces, *, inline=False, stopped=True) -> tuple[str, str]:
    splitter = ThinkSplitter(inline=inline)
    found = [piece for text in pieces for piece in splitter.feed(text)]
    found += splitter.close(stopped=stopped)
    assert all(text for _, text in found)
    return tuple("".join(text for kind, text in found if kind == wanted) for wanted in ("reasoning", "text"))


WHOLE = [
    ("plain text", False, ("", "plain text")),
    ("a <think>late</think> tag", False, ("", "a <think>late</think> tag")),
    ("<think>hm</think>yes", False, ("hm", "yes")),
    (" \n<think>\nhm\n</think>\n\nyes", False, ("hm\n", "yes")),
    ("<think>a < b </ c</think>yes </think>", False, ("a < b </ c", "yes </think>")),
    ("<think>only", False, ("only", "")),
    ("<thin", False, ("", "<thin")),
    ("  ", False, ("", "  ")),
    ("", True, ("", "")),
    ("hm</think>yes", True, ("hm", "yes")),
    ("<think>hm</think>yes", True, ("hm", "yes")),
    ("<think></think>yes", True, ("", "yes")),
    ("</think>yes", True, ("", "yes")),
    ("never said", True, ("never said", "never said")),
    ("never </thi", True, ("never </thi", "never </thi")),
    ("<think>opened only", True, ("opened only", "")),
]


@pytest.mark.parametrize(("text", "inline", "expected"), WHOLE)
def test_tags_cut_anywhere(text, inline, expected) -> None:
    assert split([text], inline=inline) == expected
    assert split(list(text), inline=inline) == expected
    for cut in range(len(text) + 1):
        assert split([text[:cut], text[cut:]], inline=inline) == expected


def test_an_answer_that_was_cut_is_not_told_twice() -> None:
    assert split(["still thinking"], inline=True, stopped=False) == ("still thinking", "")


def test_plain_text_is_no_longer_looked_at() -> None:
    splitter = ThinkSplitter(inline=False)
    assert splitter.feed("Hi") == [("text", "Hi")]
    assert splitter.passing


def test_an_upstream_that_splits_by_itself_ends_the_search() -> None:
    splitter = ThinkSplitter(inline=True)
    assert splitter.pass_on() == []
    assert splitter.feed("answer") == [("text", "answer")]


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "</", "think", ">", "a", "\n", " "]), max_size=12))
def test_nothing_but_tags_and_blank_lines_is_lost(pieces) -> None:
    reasoning, text = split(pieces, stopped=False)
    whole = "".join(pieces)
    assert (reasoning + text).replace("\n", "") in {
        whole.replace("\n", ""),
        whole.replace("<think>", "", 1).replace("\n", "").lstrip(),
        whole.replace("<think>", "", 1).replace("</think>", "", 1).replace("\n", "").lstrip(),
        whole.lstrip().removeprefix("<think>").replace("</think>", "", 1).replace("\n", ""),
        whole.lstrip().removeprefix("<think>").replace("\n", ""),
    }
