"""Slow streams, of which some are left, through the real process. ``python -m tests.e2e.streams`` is for a thousand."""

import re

import pytest

from tests.e2e.streams import Run, main, problems


def test_slow_streams_beside_each_other_come_whole(capsys):
    status = main(["--streams", "60", "--words", "8", "--delay", "0.1", "--leaving", "0.1"])
    shown = capsys.readouterr().out
    assert status == 0, shown
    assert "whole: 54; left by their clients: 6; wrong: 0" in shown
    assert re.search(r"for each stream: \d+ KiB", shown)
    assert "left open at the upstream: 0; exit status 0" in shown


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"whole": 8}, "1 of 10 streams"),
        ({"left_open": 2}, "2 requests are still open"),
        ({"connections": (5, 30, 9)}, "4 connections to the upstream are left"),
        ({"status": -9}, "status -9"),
    ],
)
def test_what_is_wrong_is_told(wrong, said):
    sound = {"whole": 9, "left": 1, "connections": (5, 30, 5), "status": 0}
    assert problems(Run(10, **sound)) == []
    (told,) = problems(Run(10, **{**sound, **wrong}))
    assert said in told
