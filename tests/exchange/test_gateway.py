"""Which of a client's headers its operator's AI Gateway gets to see."""

import pytest

from app.cloudflare.client import Gateway
from app.core.caller import Caller
from app.core.cost import cost
from app.exchange.gateway import passed_on
from tests.exchange.scripted import BIG, Stream, World

ALICE, BOB = Caller("key-a", "a"), Caller("key-b", "b")


def test_what_is_the_clients_to_say_is_passed_on():
    asked = {b"cf-aig-skip-cache": b"true", b"cf-aig-cache-ttl": b"60", b"cf-aig-metadata": b'{"team":"\xe4"}'}
    assert passed_on({**asked, b"host": b"x", b"x-other": b"y"}, b"s", ALICE) == {
        "cf-aig-skip-cache": "true",
        "cf-aig-cache-ttl": "60",
        "cf-aig-metadata": '{"team":"\u00e4"}',
    }


def test_what_is_the_operators_is_not():
    names = [
        b"authorization",
        b"cf-aig-authorization",
        b"cf-aig-gateway-id",
        b"cf-aig-byok-alias",
        b"cf-aig-zdr",
        b"cf-aig-unheard-of",
        b"x-auth-key",
    ]
    assert passed_on(dict.fromkeys(names, b"x"), b"s", ALICE) == {}


def test_a_cache_key_is_the_callers_own():
    asked = {b"cf-aig-cache-key": b"shared"}
    mine = passed_on(asked, b"s", ALICE)["cf-aig-cache-key"]
    assert mine == passed_on(asked, b"s", ALICE)["cf-aig-cache-key"]
    assert mine != passed_on(asked, b"s", BOB)["cf-aig-cache-key"]
    assert mine != passed_on({b"cf-aig-cache-key": b"other"}, b"s", ALICE)["cf-aig-cache-key"]
    assert mine != passed_on(asked, b"another", ALICE)["cf-aig-cache-key"]
    assert "shared" not in mine


@pytest.mark.parametrize(("status", "free"), [("HIT", True), ("MISS", False), (None, False)])
async def test_an_answer_that_the_gateway_had_kept_costs_nothing(status, free):
    world = World(Stream(headers={"cf-aig-cache-status": status} if status else {}))
    world.accounts[0].client.gateway = Gateway("mine")
    leg, events = await world.run()
    assert (events[-1].usage.prompt_tokens, events[-1].usage.completion_tokens) == (7, 3)
    assert leg.settled_usage() == events[-1].usage
    assert (cost(leg.settled_usage(), BIG).neurons == 0) is free
