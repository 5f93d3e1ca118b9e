"""Fuzzing a proxy with requests, and judging every answer as a client would."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final

from tests.fuzz import asks
from tests.fuzz.asks import Ask
from tests.fuzz.target import ADMIN_KEY, KEY, Answer, Target, inside, outside
from tests.surfaces.chat import chunk_rules
from tests.surfaces.responses import stream_rules

AT_ONCE: Final = 8
LONGEST_SECONDS: Final = 30.0
STATUSES: Final = frozenset({200, 201, 400, 401, 403, 404, 405, 413, 429, 502, 503, 504})
"""What may be answered at all; 502 and beyond are shown with how often, because the emulator fails nobody by itself."""

_GPT = "@cf/openai/gpt-oss-20b"
_GENERATING: Final = frozenset({"chat", "responses", "completions", "compact", "count"})


class WrongError(Exception):
    """An answer is not what it has to be."""


@dataclass(slots=True)
class Tally:
    """What was done.

    Attributes:
        requests: How many were sent.
        statuses: The answers by what was asked, their status, and the error's code.
        findings: What was wrong, by its sentence: the first case, and how often.
        examples: A case for every failure that was not the client's.
    """

    requests: int = 0
    statuses: Counter[tuple[str, int, str]] = field(default_factory=Counter)
    findings: dict[str, tuple[int, int]] = field(default_factory=dict)
    examples: dict[tuple[str, int, str], int] = field(default_factory=dict)


class Run:
    """A run against one target.

    Args:
        target: What answers.
        seed: Of the requests.
        key: For all but ``/admin``.
        admin_key: For ``/admin``; without it such requests are left out.
    """

    def __init__(self, target: Target, seed: int, key: str, admin_key: str | None) -> None:
        self._target = target
        self._seed = seed
        self._keys = {"authorization": f"Bearer {key}"}
        self._admin = {"authorization": f"Bearer {admin_key}"} if admin_key else None
        self._known: dict[str, str] = {}
        self.tally = Tally()

    async def prepare(self) -> None:
        """Make what the requests name."""
        response = {"model": _GPT, "input": "Say exactly: ok"}
        kept = await self._made("/v1/responses", response)
        self._known["<response>"] = kept["id"]
        self._known["<chain>"] = (await self._made("/v1/responses", {**response, "previous_response_id": kept["id"]}))[
            "id"
        ]
        self._known["<background>"] = await self._streamed({**response, "background": True, "stream": True})
        self._known["<silent>"] = (await self._made("/v1/responses", {**response, "background": True}))["id"]
        items = [{"type": "message", "role": "user", "content": "Hello"}]
        conversation = await self._made("/v1/conversations", {"items": items})
        self._known["<conversation>"] = conversation["id"]
        listed = await self._target.send("GET", f"/v1/conversations/{conversation['id']}/items", b"", dict(self._keys))
        self._known["<item>"] = json.loads(listed.body)["data"][0]["id"]
        if self._admin:
            self._known["<key>"] = (await self._made("/admin/keys", {"name": "fuzz"}, self._admin))["id"]

    async def _streamed(self, body: Any) -> str:
        answer = await self._target.send("POST", "/v1/responses", json.dumps(body).encode(), dict(self._keys))
        return stream_rules.parse(answer.body)[0]["response"]["id"]

    async def _made(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        sent = {"content-type": "application/json", **(headers or self._keys)}
        answer = await self._target.send("POST", path, json.dumps(body).encode(), sent)
        if answer.status not in {200, 201}:
            raise WrongError(f"{path} cannot be prepared: {answer.status} {answer.body[:300]!r}")
        return json.loads(answer.body)

    def ask(self, number: int) -> Ask:
        """Make a request, with what it names put in."""
        ask = asks.make(self._seed, number)
        for word in asks.KNOWN:
            real = self._known.get(word, "x_unknown")
            ask.content = ask.content.replace(word.encode(), real.encode())
            ask.path = ask.path.replace(word, real)
        is_admin = urllib.parse.unquote(ask.path).startswith("/admin")
        keys = self._admin if is_admin and self._admin else self._keys
        ask.headers = {**keys, **ask.headers}
        return ask

    async def one(self, number: int, *, show: bool = False) -> None:
        """Send one request and judge its answer."""
        ask = self.ask(number)
        if self._admin is None and ask.kind == "keys":
            return
        answer = Answer(0, {}, b"")
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                answer = await self._target.send(ask.method, ask.path, ask.content, ask.headers)
            judge(ask, answer, self._target.secrets)
        except TimeoutError:
            self._wrong(number, f"no end within {LONGEST_SECONDS:.0f} s")
        except (WrongError, AssertionError, ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
            self._wrong(number, f"{ask.kind}: {type(error).__name__}: {error}"[:300])
        self.tally.requests += 1
        kind = (ask.kind, answer.status, _code(answer))
        self.tally.statuses[kind] += 1
        if answer.status >= 500:
            self.tally.examples.setdefault(kind, number)
        if show:
            print(ask.method, ask.path, ask.headers, ask.content[:4000], "", sep="\n")
            print(answer.status, answer.headers, answer.body[:4000], *answer.logged, "", sep="\n")

    def _wrong(self, number: int, sentence: str) -> None:
        first, times = self.tally.findings.get(sentence, (number, 0))
        self.tally.findings[sentence] = (first, times + 1)


def judge(ask: Ask, answer: Answer, secrets: Sequence[bytes]) -> None:
    """Check one answer.

    Raises:
        WrongError: It is not what it has to be; so do other errors of reading it.
    """
    if answer.logged:
        raise WrongError("logged: " + " | ".join(answer.logged))
    if answer.status not in STATUSES:
        raise WrongError(f"status {answer.status}")
    if not answer.complete:
        raise WrongError("broken off")
    if "x-request-id" not in answer.headers:
        raise WrongError("no x-request-id")
    if any(secret in answer.body for secret in secrets):
        raise WrongError("a secret is in the answer")
    if b"Traceback (most" in answer.body:
        raise WrongError("a traceback is in the answer")
    if answer.status >= 400:
        _judge_error(ask, answer)
    elif answer.headers.get("content-type", "").startswith("text/event-stream"):
        _judge_stream(ask, answer.body)
    elif answer.headers.get("content-type", "").startswith("application/json") and ask.method != "HEAD":
        _judge_body(ask, json.loads(answer.body))


def _judge_error(ask: Ask, answer: Answer) -> None:
    if ask.method == "HEAD":
        return
    told = json.loads(answer.body)
    if set(told) != {"error"} or set(told["error"]) != {"message", "type", "param", "code"}:
        raise WrongError(f"{answer.status} is not OpenAI's error: {answer.body[:200]!r}")
    error = told["error"]
    for name, value in error.items():
        if value is not None and not isinstance(value, str):
            raise WrongError(f"the error's {name} is no text")
    if not error["message"] or not error["type"]:
        raise WrongError("the error says nothing")
    if "AiError" in error["message"] or "AiError" in (error["param"] or ""):
        raise WrongError("the upstream's own words are in the error")
    readable = isinstance(ask.body, dict) and "\\ud" not in ask.content.decode("utf-8", "replace")
    named = error["param"] or "content-encoding" in ask.headers
    if answer.status == 400 and ask.kind in _GENERATING and readable and not named:
        raise WrongError(f"400 without a param: {error['message'][:120]}")


def _judge_stream(ask: Ask, stream: bytes) -> None:
    frames = [frame for frame in stream.split(b"\n\n") if not frame.startswith(b":")]
    plain = b"\n\n".join(frames)
    if ask.kind == "chat":
        body = ask.body if isinstance(ask.body, dict) else json.loads(ask.content)
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        chunk_rules.fold(plain, include_usage=usage, count=int(body.get("n") or 1))
    elif ask.kind in {"responses", "stored"}:
        if ask.kind == "stored":
            _judge_followed(plain, from_the_middle="starting_after" in ask.path)
        elif isinstance(ask.body, dict) and ask.body.get("background"):
            _judge_followed(plain)
        else:
            stream_rules.check(plain)
    elif ask.kind == "completions":
        if not plain.endswith(b"data: [DONE]\n\n") and b'"error"' not in frames[-2]:
            raise WrongError(f"a stream ends with {plain[-60:]!r}")
        for frame in frames[:-2]:
            if set(json.loads(frame.removeprefix(b"data: "))) - {"usage"} != {
                "id",
                "object",
                "created",
                "model",
                "choices",
            }:
                raise WrongError(f"a chunk is {frame[:200]!r}")
    else:
        raise WrongError(f"a stream for {ask.kind}")


def _judge_followed(stream: bytes, *, from_the_middle: bool = False) -> None:
    """Such a response may be waiting when it begins, and may be followed from any place, also beyond its end."""
    events = stream_rules.parse(stream)
    if from_the_middle and not events:
        return
    if [event["type"] for event in events] == ["error"]:
        # It ended, or was deleted, without a stream.
        return
    numbers = [event["sequence_number"] for event in events]
    if not events or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise WrongError(f"the events of a background response are numbered {numbers}")
    if [event["type"] in stream_rules.TERMINALS for event in events] != [False] * (len(events) - 1) + [True]:
        raise WrongError("a background response does not end once")


_OBJECTS: Final = {
    "chat": {"chat.completion"},
    "responses": {"response"},
    "completions": {"text_completion"},
    "compact": {"response.compaction"},
    "count": {"response.input_tokens"},
}


def _judge_body(ask: Ask, body: Any) -> None:
    if not isinstance(body, dict):
        raise WrongError("a body that is no object")
    due = _OBJECTS.get(ask.kind)
    if due is not None and body.get("object") not in due:
        raise WrongError(f"object is {body.get('object')!r}")
    if ask.kind == "responses" and body["status"] not in {"completed", "incomplete", "queued", "in_progress"}:
        raise WrongError(f"200 and the status is {body['status']}")


def _code(answer: Answer) -> str:
    if answer.status < 400:
        return ""
    try:
        return str(json.loads(answer.body)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "?"


async def fuzz(
    requests: int,
    seed: int,
    *,
    first: int = 0,
    step: int = 1,
    url: str | None = None,
    key: str = KEY,
    admin_key: str | None = ADMIN_KEY,
    keep_going: bool = False,
    only: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Tally:
    """Send so many requests, or one of them; stop at the first that is answered wrongly, unless told to keep going."""
    async with AsyncExitStack() as stack:
        target: Target = await stack.enter_async_context(outside(url) if url else inside())
        run = Run(target, seed, key, admin_key)
        await run.prepare()
        if only is not None:
            await run.one(only, show=True)
            return run.tally
        numbers = iter(range(first, first + requests * step, step))

        async def work() -> None:
            for number in numbers:
                await run.one(number)
                say(f"{run.tally.requests:,} requests, {len(run.tally.findings)} findings")
                if run.tally.findings and not keep_going:
                    return
                if run.tally.requests % 50 == 0:
                    # Some of the requests delete what others name.
                    await run.prepare()

        # One after the other inside: what is logged then belongs to the one that was sent.
        await asyncio.gather(*(work() for _ in range(AT_ONCE if url else 1)))
        return run.tally


def main(options: argparse.Namespace, say: Callable[[str], None]) -> int:
    """Do what the command line asks for."""
    began, cpu = time.monotonic(), time.process_time()
    where = {"url": options.url, "key": options.key, "admin_key": options.admin_key} if options.url else {}
    tally = asyncio.run(
        fuzz(options.count, options.seed, only=options.case, keep_going=options.keep_going, say=say, **where)
    )
    seconds = time.monotonic() - began
    print(summary(tally, options.seed, seconds, time.process_time() - cpu))
    return int(bool(tally.findings))


def summary(tally: Tally, seed: int, seconds: float, cpu_seconds: float) -> str:
    """What is printed at the end."""
    by_status = Counter[int]()
    for (_, status, _), count in tally.statuses.items():
        by_status[status] += count
    shown = ", ".join(f"{count:,} with {status}" for status, count in sorted(by_status.items()))
    rate = tally.requests / max(seconds, 1e-9)
    time_taken = f"{seconds:.0f} s, {cpu_seconds:.0f} s of CPU on one of {os.cpu_count()} cores"
    lines = [f"{tally.requests:,} requests, seed {seed}: {shown}", f"{rate:,.0f} requests per second, {time_taken}"]
    for kind, number in sorted(tally.examples.items()):
        lines.append(f"{tally.statuses[kind]:,} with {kind[1]} {kind[2]} for {kind[0]}, such as case {number}")
    lines.append(f"{len(tally.findings)} findings")
    for sentence, (number, times) in tally.findings.items():
        lines.append(f"FINDING, met {times} times: {sentence}")
        lines.append(f"  repeat: python -m tests.fuzz bodies --seed {seed} --case {number}")
    return "\n".join(lines)
