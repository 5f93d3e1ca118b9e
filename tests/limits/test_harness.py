"""The harness in short; ``python -m tests.limits.harness --redis`` is the long form."""

import asyncio

from tests.limits.backend import need_redis
from tests.limits.harness import Options, Verdict, in_memory, judge, killed, replicated


async def test_one_process_holds_its_limits():
    verdict = await in_memory(Options(seconds=1.0, clients=30, requests=300, tokens=12_000))
    assert verdict.faults == []
    assert len(verdict.rows) == 3


async def test_processes_on_redis_hold_their_limits_and_a_killed_one_leaves_nothing():
    need_redis()
    short = Options(redis=True, replicas=2, seconds=1.5, clients=24, requests=300, tokens=12_000, lease=0.6)
    verdicts = await asyncio.gather(replicated(short, kill=True), killed(short))
    assert [verdict.faults for verdict in verdicts] == [[], []]
    assert [len(verdict.rows) for verdict in verdicts] == [4, 1]


def test_the_judge_sees_what_is_wrong():
    options = Options(requests=2, tokens=100, concurrency=1, keys=3)
    row = {"asked": 0.0, "at": 0.1, "left": 0.2, "reserved": 50, "used": 50}
    rows = [{**row, "key": f"key-{number}"} for number in range(3) for _ in range(3)]
    verdict = Verdict("all wrong")
    judge(options, rows, verdict)
    assert verdict.faults == [
        "key-0: 1 requests too many",
        "key-1: 50 tokens past the limit, the bound is 0",
        "key-2: 3 at once",
        "key-2: never all places in use",
    ]
