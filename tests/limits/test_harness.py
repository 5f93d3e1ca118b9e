"""The harness in short; ``python -m tests.limits.harness --redis`` is the long form."""

import asyncio

from tests.limits.backend import need_redis
from tests.limits.harness import in_memory, killed, replicated
from tests.limits.judging import Options, Verdict, judge

SHORT = {"requests": 200, "tokens": 8_000, "concurrency": 4, "budget": 3_000}


async def test_one_process_holds_its_limits():
    verdict = await in_memory(Options(seconds=1.0, clients=40, **SHORT))
    assert verdict.faults == [], verdict.rows
    assert len(verdict.rows) == 4


async def test_processes_on_redis_hold_their_limits_and_a_killed_one_leaves_nothing():
    need_redis()
    short = Options(redis=True, replicas=2, seconds=1.5, clients=32, lease=0.6, **SHORT)
    verdicts = await asyncio.gather(replicated(short, kill=True), killed(short))
    assert [verdict.faults for verdict in verdicts] == [[], []], [verdict.rows for verdict in verdicts]
    assert [len(verdict.rows) for verdict in verdicts] == [6, 1]


def test_the_judge_sees_what_is_wrong():
    options = Options(requests=2, tokens=100, concurrency=1, budget=60)
    begin = {"asked": 0.0, "at": 0.1, "prompt": 10, "output": 40, "stated": True}
    end = {"left": 0.2, "used": [10, 40]}
    records = []
    for request in range(12):
        records.append({**begin, "key": f"key-{request % 4}", "request": str(request)})
        records.append({**end, "key": f"key-{request % 4}", "request": str(request)})
    records += [{"key": f"key-{key}", "request": f"refused-{key}", "refused": True} for key in range(4)]
    verdict = Verdict("all wrong")
    judge(options, records, verdict)
    assert verdict.faults == [
        "key-0: 1 requests too many",
        "key-1: 50 tokens past the limit, the bound is 0",
        "key-2: 3 at once",
        "key-2: never all places in use",
        "key-3: 75.0 neurons past the budget, the bound is 0.0",
    ]


def test_the_judge_sees_what_was_left_unused_or_never_settled():
    options = Options(requests=9, tokens=900, concurrency=2, budget=600)
    begin = {"asked": 0.0, "at": 0.1, "prompt": 10, "output": 40, "stated": True}
    records = [{**begin, "key": f"key-{key}", "request": str(key)} for key in range(4)]
    records += [{"key": f"key-{key}", "request": str(key), "left": 0.2, "used": [10, 40]} for key in (0, 1, 3)]
    records += [{"key": f"key-{key}", "request": f"refused-{key}", "refused": True} for key in range(4)]
    verdict = Verdict("little")
    judge(options, [*records, {"request": "away", "away": True}], verdict)
    assert verdict.faults == [
        "1 requests found Redis away",
        "key-0: under-use of requests above 2 %",
        "key-1: under-use of tokens above 2 %",
        "key-2: 1 requests were never settled",
        "key-2: never all places in use",
        "key-3: under-use of the budget above 2 %",
    ]
