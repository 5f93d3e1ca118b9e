import json
import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.exchange.usage import day_of, first_day, month_of, report
from app.store.accounts import UsageRow
from app.wire.codec import encode

DAY = 86_400
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC).timestamp()
NOON = MIDNIGHT + DAY / 2
OSS, GLM = "@cf/openai/gpt-oss-120b", "@cf/zai/glm"


def row(neurons, *, back=0, caller="key-a", model=OSS, source="reported", requests=1):
    return UsageRow(day_of(MIDNIGHT - back * DAY), caller, model, source, requests, 10, 2, 4, neurons)


def days_before(neurons, count=7):
    return [row(neurons, back=back) for back in range(1, count + 1)]


def test_todays_totals_and_their_parts():
    rows = [
        row(1.0),
        row(2.0, source="estimated", requests=3),
        row(4.0, caller="key-b"),
        row(8.0, model=GLM),
        row(99.0, back=1),
        row(99.0, back=-1),
    ]
    made = report(rows, NOON, None)
    today = made.today
    assert (today.requests, today.prompt_tokens, today.cached_tokens, today.completion_tokens) == (6, 40, 8, 16)
    assert today.neurons == 15
    assert math.isclose(today.usd, 15 * 0.011 / 1000)
    assert [(name, part.neurons) for name, part in made.by_model.items()] == [(GLM, 8), (OSS, 7)]
    assert [(name, part.neurons) for name, part in made.by_key.items()] == [("key-a", 11), ("key-b", 4)]
    assert [(name, part.neurons) for name, part in made.by_source.items()] == [("reported", 13), ("estimated", 2)]
    assert [source["share"] for source in made.as_dict()["today"]["by_source"]] == [0.866667, 0.133333]


def test_nothing_was_used():
    made = report([], NOON, 10_000).as_dict()
    assert made["today"]["neurons"] == made["today"]["forecast"]["neurons"] == made["month"]["forecast"]["usd"] == 0
    assert made["today"]["by_key"] == made["today"]["by_model"] == made["today"]["by_source"] == []
    assert made["today"]["allocation"] == {"neurons": 10_000, "remaining": 10_000}
    assert len(made["history"]) == 30
    assert report([row(0.0)], NOON, None).as_dict()["today"]["by_source"][0]["share"] == 0


@pytest.mark.parametrize(("spent", "remaining"), [(0.0, 10_000), (4_000.5, 5_999.5), (12_000.0, 0)])
def test_what_remains_of_the_allocation(spent, remaining):
    assert report([row(spent)], NOON, 10_000).remaining == remaining
    assert report([row(spent)], NOON, None).remaining is None


@pytest.mark.parametrize("gone", [0.0, 0.01, 0.25, 0.5, 0.999])
def test_a_steady_pace_is_forecast_exactly(gone):
    made = report([row(1_000 * gone), *days_before(1_000)], MIDNIGHT + gone * DAY, None)
    assert made.forecast == pytest.approx(1_000, rel=1e-9)
    # 20 full days of November are over (seven of them with usage), this one and nine more are to come.
    assert made.month_forecast == pytest.approx(7_000 + 1_000 + 9 * 1_000, rel=1e-9)


def test_early_in_the_day_one_request_is_not_yet_a_pace():
    minute = MIDNIGHT + 60
    burst = report([row(100), *days_before(1_000)], minute, None).forecast
    assert 1_000 < burst < 1_250
    assert report([row(100)], minute, None).forecast < 100 + 24 * 100
    assert report([row(100)], MIDNIGHT + DAY / 4, None).forecast == pytest.approx(400)


def test_late_in_the_day_the_days_before_hardly_count():
    late = report([row(900), *days_before(100_000)], MIDNIGHT + 0.99 * DAY, None).forecast
    assert 900 < late < 925


def test_days_before_the_first_usage_are_not_days_without_any():
    assert report(days_before(1_000, 2), MIDNIGHT, None).forecast == pytest.approx(1_000)
    # But a day off between two days of work is one.
    made = report([row(1_000, back=3), row(1_000, back=1)], MIDNIGHT, None)
    assert made.forecast == pytest.approx(2_000 / 3)
    assert report([row(1_000, back=8)], MIDNIGHT, None).forecast == 0


@given(
    st.floats(0, 1e6),
    st.floats(0, 0.999),
    st.lists(st.floats(0, 1e6), max_size=7),
)
def test_a_forecast_is_never_below_what_was_spent_and_within_reason(spent, gone, before):
    rows = [row(spent), *(row(neurons, back=back) for back, neurons in enumerate(before, 1))]
    made = report(rows, MIDNIGHT + gone * DAY, None)
    highest = max([spent / max(gone, 1 / 24), *(neurons + spent for neurons in before)])
    assert spent <= made.forecast <= (spent + highest) * 1.000_001
    # The day's gone part is of whole microseconds, so the sums may differ in their last digits.
    assert made.month_forecast >= made.month_so_far.neurons * 0.999_999
    more = report([row(spent + 1), *rows[1:]], MIDNIGHT + gone * DAY, None)
    assert more.forecast > made.forecast


def test_the_month_so_far_begins_on_its_first_day():
    made = report([row(1.0), row(2.0, back=20), row(4.0, back=21), row(8.0, back=-1)], NOON, None)
    assert made.month == "2026-11-01"
    assert made.month_so_far.neurons == 3


@pytest.mark.parametrize(
    ("day", "left"), [((2028, 2, 28), 1), ((2027, 2, 28), 0), ((2026, 12, 31), 0), ((2027, 1, 1), 30)]
)
def test_the_month_is_as_long_as_it_is(day, left):
    midnight = datetime(*day, tzinfo=UTC)
    yesterday = UsageRow((midnight - timedelta(days=1)).date().isoformat(), "k", "m", "reported", neurons=100.0)
    made = report([yesterday], midnight.timestamp(), None)
    so_far = 100 if day[2] != 1 else 0
    assert made.month_forecast == pytest.approx(so_far + 100 + left * 100)


def test_the_history_has_every_day_to_this_one():
    made = report([row(1.0), row(2.0, back=2), row(4.0, back=9)], NOON, None, days=4)
    assert [(day.day, day.totals.neurons) for day in made.history] == [
        ("2026-11-18", 0),
        ("2026-11-19", 2),
        ("2026-11-20", 0),
        ("2026-11-21", 1),
    ]


def test_the_history_by_key_and_by_model():
    rows = [row(1.0), row(2.0, caller="key-b"), row(4.0, model=GLM, caller="key-b", back=1)]
    by_key = report(rows, NOON, None, days=2, breakdown="key").as_dict()["history"]
    assert [[(part["key"], part["neurons"]) for part in day["by_key"]] for day in by_key] == [
        [("key-b", 4)],
        [("key-b", 2), ("key-a", 1)],
    ]
    by_model = report(rows, NOON, None, days=2, breakdown="model").as_dict()["history"]
    assert [[(part["model"], part["neurons"]) for part in day["by_model"]] for day in by_model] == [
        [(GLM, 4)],
        [(OSS, 3)],
    ]
    assert "by_key" not in report(rows, NOON, None, days=2).as_dict()["history"][0]


@pytest.mark.parametrize(
    ("now", "days", "first"),
    [
        (NOON, 1, "2026-11-01"),
        (NOON, 30, "2026-10-23"),
        (datetime(2026, 11, 1, tzinfo=UTC).timestamp(), 1, "2026-10-25"),
        (datetime(2026, 11, 3, 23, 59, 59, tzinfo=UTC).timestamp(), 3, "2026-10-27"),
    ],
)
def test_what_is_read_for_a_report_is_enough_for_the_month_and_the_forecast(now, days, first):
    assert first_day(now, days) == first


@pytest.mark.parametrize(
    ("moment", "day", "month"),
    [
        ("2026-11-30T23:59:59.999+00:00", "2026-11-30", "2026-11-01"),
        ("2026-12-01T00:00:00+00:00", "2026-12-01", "2026-12-01"),
        ("2026-12-01T00:30:00+02:00", "2026-11-30", "2026-11-01"),
    ],
)
def test_days_are_utc(moment, day, month):
    now = datetime.fromisoformat(moment).timestamp()
    assert (day_of(now), month_of(now)) == (day, month)


def test_the_report_as_json():
    made = report([row(1.0)], NOON, 10_000, days=1, breakdown="key").as_dict()
    totals = {
        "requests": 1,
        "prompt_tokens": 10,
        "cached_tokens": 2,
        "completion_tokens": 4,
        "neurons": 1.0,
        "usd": 0.000011,
    }
    assert json.loads(encode(made)) == {
        "object": "usage.report",
        "today": {
            "day": "2026-11-21",
            **totals,
            "forecast": {"neurons": 2.0, "usd": 0.000022},
            "allocation": {"neurons": 10_000, "remaining": 9_999.0},
            "by_model": [{"model": OSS, **totals}],
            "by_key": [{"key": "key-a", **totals}],
            "by_source": [{"source": "reported", **totals, "share": 1.0}],
        },
        "month": {"since": "2026-11-01", **totals, "forecast": {"neurons": 20.0, "usd": 0.00022}},
        "history": [{"day": "2026-11-21", **totals, "by_key": [{"key": "key-a", **totals}]}],
    }
