"""Several choices at once, each on its own way."""

import asyncio

import pytest

from app.core.errors import ApiError, RateLimited
from app.core.events import Delta
from app.exchange.attempts import Patience
from app.exchange.merge import Merge, open_all
from tests.exchange.scripted import Refusal, Stream, World, frames


async def hear(legs):
    merge = Merge(legs)
    said = ["" for _ in legs]
    while not merge.ended:
        choice, events = await merge.hear_more()
        said[choice] += "".join(event.text for event in events if isinstance(event, Delta))
    await merge.aclose()
    return said


async def test_each_choice_goes_its_own_way():
    world = World(Refusal(429, 3040), Stream(frames("B")), Stream(frames("A")), fallbacks={"*": ["gpt-oss-20b"]})
    legs = [world.leg(), world.leg()]
    await open_all(legs)
    assert await hear(legs) == ["A", "B"]
    assert [leg.model.short_name for leg in legs] == ["gpt-oss-20b", "gpt-oss-120b"]
    assert [leg.attempts for leg in legs] == [2, 1]


async def test_a_choice_that_is_refused_ends_them_all():
    world = World(Refusal(502), Stream(), patience=Patience(retries=0))
    legs = [world.leg(), world.leg()]
    with pytest.raises(ApiError):
        await open_all(legs)
    for leg in legs:
        await leg.close(finished=False)
    assert all(body.closed for body in world.script.bodies)


class Guard:
    """Lets so many through, one turn of the loop after the other."""

    def __init__(self, turns):
        self.turns = turns

    async def enter(self, caller_id, model):
        await asyncio.sleep(0)
        if not self.turns:
            raise RateLimited
        self.turns -= 1

    def penalise(self, model, seconds):
        pass


async def test_none_is_sent_before_each_may_be():
    world = World(Stream(), Stream(), Stream(), guards=(Guard(2),))
    legs = [world.leg() for _ in range(3)]
    with pytest.raises(RateLimited):
        await open_all(legs)
    assert world.script.sent == []
    assert [leg.settled_usage() for leg in legs] == [None] * 3


async def test_one_that_may_be_sent_elsewhere_only_is_waited_for():
    world = World(*[Stream(frames("A"))] * 3, accounts=2, guards=(Guard(2), None))
    legs = [world.leg() for _ in range(3)]
    await open_all(legs)
    assert await hear(legs) == ["A"] * 3
    assert sorted(leg.account for leg in legs) == ["account-1", "account-1", "account-2"]


async def test_after_the_first_call_each_goes_its_own_way():
    world = World(Refusal(502), Stream(frames("A")), Stream(frames("A")), guards=(Guard(3),))
    legs = [world.leg(), world.leg()]
    await open_all(legs)
    assert await hear(legs) == ["A", "A"]
