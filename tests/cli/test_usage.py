import json
import time
from datetime import UTC, datetime

import pytest

from app.exchange.usage import day_of
from app.store.accounts import UsageRow

DAY = 86_400


@pytest.fixture
def used(stored, monkeypatch):
    """Some usage, as of noon on the 21st."""
    now = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()
    monkeypatch.setattr(time, "time", lambda: now)
    rows = [
        UsageRow(day_of(now), "key-a", "@cf/x/one", "reported", 3, 1000, 400, 200, 150.0),
        UsageRow(day_of(now), "key-b", "@cf/x/two", "estimated", 1, 10, 0, 20, 50.0),
        UsageRow(day_of(now - DAY), "key-a", "@cf/x/two", "reported", 2, 100, 0, 20, 100.0),
        UsageRow(day_of(now - 30 * DAY), "key-a", "@cf/x/one", "reported", 9, 9, 0, 9, 9000.0),
    ]
    stored(lambda store: store.usage.add(rows))
    return now


def test_for_people(run, used, monkeypatch):
    monkeypatch.setenv("FLARELAY_PLAN", "free")
    text = run("usage", "--days=2").stdout
    assert text.splitlines() == [
        "Today, 2026-11-21 (UTC)",
        "  so far       200.0 neurons ($0.0022): 4 requests, 1,010 (400 cached) tokens in and 220 out",
        "  by midnight  about 325.0 neurons ($0.0036)",
        "  left         9,800.0 of 10,000 neurons, 2.0 % are used",
        "  figures      75 % reported, 25 % estimated",
        "",
        "This month, since 2026-11-01",
        "  so far      300.0 neurons ($0.0033): 6 requests, 1,110 (400 cached) tokens in and 240 out",
        "  by its end  about 2,337.5 neurons ($0.0257)",
        "",
        "DAY         REQUESTS  TOKENS IN  OUT  NEURONS     USD",
        "2026-11-20         2        100   20    100.0  0.0011",
        "2026-11-21         4      1,010  220    200.0  0.0022",
    ]


def test_by_key_and_by_model(run, used):
    rows = [line.split() for line in run("usage", "--by=key", "--days=2").stdout.splitlines()[-4:]]
    assert [row[:2] for row in rows] == [
        ["DAY", "KEY"],
        ["2026-11-20", "key-a"],
        ["2026-11-21", "key-a"],
        ["2026-11-21", "key-b"],
    ]
    rows = [line.split() for line in run("usage", "--by=model", "--days=1").stdout.splitlines()[-3:]]
    assert [row[1] for row in rows] == ["MODEL", "@cf/x/one", "@cf/x/two"]
    assert "Nothing was used" in run("usage", "--by=key", "--key=key-c").stdout


def test_as_json(run, used, monkeypatch):
    monkeypatch.setenv("FLARELAY_PLAN", "free")
    monkeypatch.setenv("FLARELAY_ACCOUNT_NEURONS_PER_DAY", "500")
    told = json.loads(run("usage", "--json", "--days=31", "--by=model").stdout)
    assert told["object"] == "usage.report"
    assert told["today"]["neurons"] == 200
    assert told["today"]["allocation"] == {"neurons": 500, "remaining": 300}
    assert len(told["history"]) == 31
    assert told["history"][0]["by_model"][0]["neurons"] == 9000


def test_one_key(run, used, monkeypatch):
    monkeypatch.setenv("FLARELAY_PLAN", "free")
    told = json.loads(run("usage", "--json", "--key=key-b").stdout)
    assert told["today"]["neurons"] == 50
    assert told["today"]["allocation"] is None


def test_without_a_plan_nothing_is_left_or_not(run, used):
    assert "left" not in run("usage").stdout
    assert json.loads(run("usage", "--json").stdout)["today"]["allocation"] is None


@pytest.mark.parametrize("arguments", [["--days=0"], ["--days=401"], ["--by=week"]])
def test_wrong_use(run, arguments):
    assert run("usage", *arguments, status=2).stdout == ""
