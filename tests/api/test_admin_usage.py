import asyncio

import pytest

from app.core.cost import Cost
from app.core.usage import Usage
from tests.api.conftest import NOW

OSS = "@cf/openai/gpt-oss-120b"
DAY = 86_400


def add(world, neurons, *, back=0, caller="key-a", model=OSS):
    world.accounting.add(NOW - back * DAY, caller, model, Usage(10, 4), Cost(neurons, "reported"))


async def report(http, **query):
    answer = await http.get("/admin/usage", params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


async def test_what_was_used_to_this_moment(http, world):
    add(world, 1_000, back=45)
    add(world, 100, back=3)
    add(world, 10)
    await world.accounting.flush()
    add(world, 1, caller="key-b")
    told = await report(http)
    assert told["object"] == "usage.report"
    assert (told["today"]["neurons"], told["month"]["neurons"]) == (11, 111)
    assert told["today"]["allocation"] == {"neurons": 10_000, "remaining": 9_989}
    assert [part["key"] for part in told["today"]["by_key"]] == ["key-a", "key-b"]
    assert (len(told["history"]), sum(day["neurons"] for day in told["history"])) == (30, 111)
    assert sum(day["neurons"] for day in (await report(http, days=60))["history"]) == 1_111
    assert [day["neurons"] for day in (await report(http, days=1))["history"]] == [11]
    assert len((await report(http, days=400))["history"]) == 400


async def test_every_day_is_counted_once_however_it_is_read(http, world):
    for back in range(40):
        add(world, 1, back=back)
    await world.accounting.flush()
    assert [day["neurons"] for day in (await report(http, days=40))["history"]] == [1] * 40
    assert (await report(http, days=1))["month"]["neurons"] == 21


@pytest.mark.parametrize("name", [OSS, "gpt-oss-120b", "gpt-4o"])
async def test_of_one_model_by_any_of_its_names(http, world, name):
    add(world, 1)
    add(world, 2, model="@cf/zai/glm")
    told = await report(http, model=name)
    assert told["today"]["neurons"] == 1
    assert told["today"]["allocation"] is None


async def test_of_a_model_that_is_gone(http, world):
    add(world, 2, model="an-old-one")
    assert (await report(http, model="an-old-one"))["today"]["neurons"] == 2
    assert (await report(http, model="never-there"))["today"]["neurons"] == 0


async def test_of_one_key(http, world):
    add(world, 1)
    add(world, 2, caller="key-b")
    assert (await report(http, key="key-b"))["today"]["neurons"] == 2
    assert (await report(http, key="\0"))["today"]["neurons"] == 0


async def test_the_history_by_key(http, world):
    add(world, 1)
    assert (await report(http, by="key", days=1))["history"][0]["by_key"][0]["key"] == "key-a"
    assert (await report(http, by="model", days=1))["history"][0]["by_model"][0]["model"] == OSS


@pytest.mark.parametrize(
    ("query", "param", "code"),
    [
        ({"days": "0"}, "days", "integer_below_min_value"),
        ({"days": "401"}, "days", "integer_above_max_value"),
        ({"days": "9" * 5_000}, "days", "integer_above_max_value"),
        ({"days": "-1"}, "days", "invalid_type"),
        ({"days": "٣"}, "days", "invalid_type"),
        ({"by": "hour"}, "by", "invalid_value"),
        ({"keys": "key-a"}, "keys", "unknown_parameter"),
    ],
)
async def test_malformed_queries(http, query, param, code):
    answer = await http.get("/admin/usage", params=query)
    assert answer.status_code == 400
    assert (answer.json()["error"]["param"], answer.json()["error"]["code"]) == (param, code)


async def test_while_the_store_is_away(http, world):
    world.ledger.away = True
    answer = await http.get("/admin/usage")
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "store_unavailable")


async def test_without_a_store_it_tells_of_this_process(http, world):
    world.store = False
    add(world, 3)
    await world.accounting.flush()
    assert (await report(http))["today"]["neurons"] == 3


async def test_a_long_report_does_not_hold_up_others(http, world):
    for back in range(200):
        for number in range(20):
            add(world, 1, back=back, caller=f"key-{number}")
    await world.accounting.flush()
    pieces = []
    original = world.ledger.rows

    async def rows(since, until, **more):
        found = await original(since, until, **more)
        pieces.append(len(found))
        return found

    world.ledger.rows = rows
    await report(http, days=200)
    assert sum(pieces) == 4_000
    assert max(pieces) <= 7 * 20


async def test_how_the_limits_stand(http):
    answer = await http.get("/admin/limits")
    assert answer.json() == {
        "object": "limits",
        "limiter": {"backend": "memory", "owners": 3},
        "guard": {"waiting": 0},
    }


async def test_nothing_else_is_there(http):
    answers = await asyncio.gather(
        http.get("/admin"), http.get("/admin/"), http.get("/admin/keys/"), http.post("/admin/usage")
    )
    assert [answer.status_code for answer in answers] == [404, 404, 404, 405]
    assert {tuple(answer.json()["error"]) for answer in answers} == {("message", "type", "param", "code")}
