"""What clients see of every fault: ``python -m tests.e2e.faults``, from the repository's root.

Each fault that the emulator has is met by both surfaces, streamed and not, over real sockets, and what comes is held
against ``tests.e2e.outcomes``. Printed is a row for each fault, or with ``--readme`` the shorter table of the README.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
from openai import OpenAI

from app.emulator.scenarios import SCENARIOS
from app.emulator.server import create_emulator
from app.main import create_app
from tests.conftest import ACCOUNT, TOKEN, settings_for
from tests.e2e.outcomes import OUTCOMES, Outcome, by_fault
from tests.serving import serving

AT_ONCE: Final = 24
PATIENCE: Final = 4.0
"""Seconds that the proxy waits for an answer, and between its pieces: twice as long as the faults that only wait."""

DUE: Final = "one two three four five six"
BEFORE_THE_FAULT: Final = "one two three"
"""What the emulator has said of it when something happens in the middle: three pieces."""

SPOILS: Final = "length-short"
"""It leaves bytes on its connection that are nobody's, and then closes it."""

DRIPS: Final = "drip"
TERSE: Final = "@cf/meta/llama-3.1-8b-instruct-fp8"
"""Where every byte takes its time, an answer without reasoning does."""

LONGEST_WAIT: Final = 120.0
"""What an official SDK is told to wait for longer, it does not try again."""

_CALLS: Final = frozenset(
    (
        "null-finaliser", "object-args", "double-encoded-args", "args-before-name", "index-reset", "duplicate-tool-ids",
        "functions-tool-ids", "stop-with-tool-calls", "leaked-tool-call", "xml-tool-call", "null-tool-calls",
        "calls-in-every-frame", "empty-tool-calls", "ignores-tools",
    )
)  # fmt: skip
_TOOL: Final = {"name": "look_up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}}
_ERROR: Final = {"message", "type", "param", "code"}
_RESPONSE_ERRORS: Final = {"server_error", "rate_limit_exceeded"}

Way = tuple[str, bool]
"""A surface, and whether the answer is streamed."""

WAYS: Final[tuple[Way, ...]] = (("chat", False), ("chat", True), ("responses", False), ("responses", True))


@dataclass(slots=True)
class Seen:
    """What a client saw.

    Attributes:
        status: HTTP status.
        code: The code of the error, wherever it was told.
        type: Its type.
        wait: Seconds to wait that it was told.
        again: Whether an official SDK would try again, by the status and the headers.
        text: The answer's text; of calls their names and arguments; of JSON that.
        reason: Why it ended, if it did.
        looks_finished: A client that does not look for errors would take it for whole.
        wrong: What of its form is not as it has to be.
    """

    status: int
    code: str | None = None
    type: str | None = None
    wait: float | None = None
    again: bool = False
    text: str = ""
    reason: str | None = None
    looks_finished: bool = False
    wrong: str = ""


def ask(fault: str, surface: str, *, stream: bool) -> tuple[str, dict[str, Any]]:
    """The path and the body of the request that meets a fault."""
    chat = surface == "chat"
    prompt: Any = f"Say exactly: {DUE}"
    body: dict[str, Any] = {"model": TERSE if fault == DRIPS else f"@cf/emulator/{fault}", "stream": stream}
    limit = 400
    if fault in _CALLS:
        prompt = "Look up the word rain."
        tool = {"type": "function", "function": _TOOL} if chat else {"type": "function", **_TOOL}
        body |= {"tools": [tool], "tool_choice": "required"}
    elif fault == "text-content-only":
        prompt = [{"type": "text" if chat else "input_text", "text": prompt}]
    elif fault == "object-content":
        prompt = "Give me JSON."
        body |= {"response_format": {"type": "json_object"}} if chat else {"text": {"format": {"type": "json_object"}}}
    elif fault == "cut-says-stop":
        limit = 20
    messages = [{"role": "user", "content": prompt}]
    if chat:
        return "/v1/chat/completions", {**body, "messages": messages, "max_tokens": limit}
    return "/v1/responses", {**body, "input": messages, "max_output_tokens": limit, "store": False}


def read(surface: str, answer: httpx.Response, sdk: OpenAI) -> Seen:
    """What a client makes of an answer."""
    seen = Seen(answer.status_code, again=sdk._should_retry(answer))
    if "retry-after-ms" in answer.headers:
        seen.wait = float(answer.headers["retry-after-ms"]) / 1000
        # An SDK is told two things, and takes the longer wait for none at all.
        seen.again = seen.again and seen.wait <= LONGEST_WAIT
    if answer.status_code >= 400:
        error = answer.json()["error"]
        seen.code, seen.type = error["code"], error["type"]
        if set(error) != _ERROR or "<html" in error["message"].lower() or not answer.headers.get("x-request-id"):
            seen.wrong = f"the error is {error}"
    elif answer.headers["content-type"].startswith("text/event-stream"):
        payloads = [line.removeprefix("data: ") for line in answer.text.split("\n") if line.startswith("data: ")]
        (_read_chunks if surface == "chat" else _read_events)(payloads, seen)
    elif surface == "chat":
        _read_choice(answer.json()["choices"][0], seen)
    else:
        _read_response(answer.json(), seen)
    return seen


def _read_choice(choice: Mapping[str, Any], seen: Seen) -> None:
    message = choice["message"]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    seen.text = (message["content"] or "") + _calls(calls)
    seen.reason = choice["finish_reason"]
    seen.looks_finished = True


def _read_chunks(payloads: Sequence[str], seen: Seen) -> None:
    *chunks, last = [payload if payload == "[DONE]" else json.loads(payload) for payload in payloads]
    if last != "[DONE]":
        error = last.get("error", {})
        seen.code, seen.type = error.get("code"), error.get("type")
        if set(error) != _ERROR:
            seen.wrong = f"the last frame is {last}"
    calls: dict[int, dict[str, str]] = {}
    for choice in (chunk["choices"][0] for chunk in chunks if chunk["choices"]):
        delta = choice["delta"]
        seen.text += delta.get("content") or ""
        seen.reason = choice["finish_reason"] or seen.reason
        for piece in delta.get("tool_calls") or ():
            call = calls.setdefault(piece["index"], {"name": "", "arguments": ""})
            for name in call:
                call[name] += piece["function"].get(name) or ""
    seen.text += _calls(calls.values())
    seen.looks_finished = last == "[DONE]" or seen.reason is not None


def _read_events(payloads: Sequence[str], seen: Seen) -> None:
    if payloads[-1] != "[DONE]":
        seen.wrong = "no [DONE]"
    events = [json.loads(payload) for payload in payloads[:-1]]
    last = events[-1]
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    _read_response(last["response"], seen)
    if last["type"] == "response.failed":
        told = events[-2]
        seen.code, seen.type = (told.get("error", {}).get(name) for name in ("code", "type"))
        if told["type"] != "error" or last["response"]["error"]["code"] not in _RESPONSE_ERRORS:
            seen.wrong = f"it fails with {told} and {last['response']['error']}"
    if not seen.text.startswith(said):
        seen.wrong = f"the deltas are {said!r}, the text is {seen.text!r}"


def _read_response(response: Mapping[str, Any], seen: Seen) -> None:
    messages = [item for item in response["output"] if item["type"] == "message"]
    calls = [item for item in response["output"] if item["type"] == "function_call"]
    seen.text = "".join(part["text"] for item in messages for part in item["content"]) + _calls(calls)
    seen.looks_finished = response["status"] in {"completed", "incomplete"}
    if seen.looks_finished:
        cut = response["status"] == "incomplete"
        seen.reason = "length" if cut else "tool_calls" if calls else "stop"


def _calls(calls: Any) -> str:
    return "".join(f"{call['name']}({sorted(json.loads(call['arguments']))})" for call in calls)


def problems(fault: str, outcome: Outcome, seen: Seen, *, stream: bool) -> Iterator[str]:
    """What a client saw that it should not have seen."""
    if seen.wrong:
        yield seen.wrong
    if outcome.moment == "whole":
        yield from _not_whole(fault, seen)
        return
    broken_stream = stream and outcome.moment == "within" and seen.status == 200
    due = (200 if stream and outcome.moment == "within" else outcome.status, outcome.code)
    early = (outcome.status, "upstream_error") if outcome.loses else due
    if (seen.status, seen.code) not in {due, early}:
        yield f"{seen.status} {seen.code}"
    if seen.type != (outcome.type if seen.code == outcome.code else "server_error"):
        yield f"type {seen.type}"
    if seen.looks_finished:
        yield f"it looks finished ({seen.reason})"
    if broken_stream:
        if seen.text != BEFORE_THE_FAULT and not (outcome.loses and BEFORE_THE_FAULT.startswith(seen.text)):
            yield f"of the text came {seen.text!r}"
        return
    if seen.again is not outcome.again:
        yield f"the SDK would {'' if seen.again else 'not '}try again"
    least, most = outcome.waits or (None, None)
    if (seen.wait is None) is not (least is None):
        yield f"told to wait {seen.wait}"
    elif seen.wait is not None and least is not None and most is not None and not least <= seen.wait <= most:
        yield f"told to wait {seen.wait} s"


def _not_whole(fault: str, seen: Seen) -> Iterator[str]:
    reason, text = "stop", DUE
    if fault in {"empty-tool-calls", "ignores-tools"}:
        text = seen.text
    elif fault == "think-no-open":
        text = seen.text
        if not text.endswith(f"</think>\n\n{DUE}"):
            yield f"the answer is not the end of the text: {text!r}"
    elif fault in _CALLS:
        reason, text = "tool_calls", "look_up(['word'])"
    elif fault == "object-content":
        text = seen.text
        if not isinstance(json.loads(seen.text or "0"), dict):
            yield f"no JSON: {seen.text!r}"
    elif fault == "cut-says-stop":
        reason, text = "length", seen.text
    if (seen.status, seen.reason, seen.text, seen.code) != (200, reason, text, None):
        yield f"{seen.status} {seen.code} {seen.reason} {seen.text!r}"


async def look(proxy: str) -> dict[str, dict[Way, Seen]]:
    """Meet every fault in all ways."""
    places = asyncio.Semaphore(AT_ONCE)
    found: dict[str, dict[Way, Seen]] = {fault: {} for fault in SCENARIOS}
    limits = httpx.Limits(max_connections=AT_ONCE)
    with OpenAI(base_url=f"{proxy}/v1", api_key="any") as sdk:
        async with httpx.AsyncClient(base_url=proxy, timeout=60, trust_env=False, limits=limits) as client:

            async def one(fault: str, way: Way) -> None:
                surface, stream = way
                path, body = ask(fault, surface, stream=stream)
                async with places:
                    found[fault][way] = read(surface, await client.post(path, json=body), sdk)

            # The slow ones first: the others then fill the time. Last the one that spoils its connection: whoever used
            # that next would see it break.
            faults = sorted(SCENARIOS.values(), key=lambda one: -(one.first_byte + one.seconds))
            await asyncio.gather(*(one(fault.name, way) for fault in faults if fault.name != SPOILS for way in WAYS))
            await asyncio.gather(*(one(SPOILS, way) for way in WAYS))
    return found


def look_at_all() -> dict[str, dict[Way, Seen]]:
    """The same, with a proxy and an emulator of its own."""
    with serving(create_emulator(account_id=ACCOUNT, token=TOKEN)) as emulator:
        patience = {"first_byte_timeout": PATIENCE, "idle_timeout": PATIENCE}
        fault = {"fault": DRIPS, "times": None, "model": TERSE, "seconds": 0.0005}
        httpx.post(f"{emulator}/_emulator/faults", json=fault, trust_env=False).raise_for_status()
        settings = settings_for(emulator, remember_failures=False, account_guard="off", **patience)
        # What goes to standard output is the table; the exchanges' log goes nowhere.
        with (
            Path(os.devnull).open("w") as nowhere,
            contextlib.redirect_stdout(nowhere),
            serving(create_app(settings)) as proxy,
        ):
            return asyncio.run(look(proxy))


def judged(found: Mapping[str, Mapping[Way, Seen]]) -> list[str]:
    """Everything that clients should not have seen."""
    outcomes = by_fault()
    return [
        f"{fault}, {surface}, {'streamed' if stream else 'unstreamed'}: {problem}"
        for fault, ways in found.items()
        for (surface, stream), seen in ways.items()
        for problem in problems(fault, outcomes[fault], seen, stream=stream)
    ]


def page(found: Mapping[str, Mapping[Way, Seen]]) -> list[str]:
    """The long table: what was seen of each fault."""
    outcomes = by_fault()
    lines = [
        "| fault | Chat Completions | streamed | Responses | streamed | tried again |",
        "|---|---|---|---|---|---|",
    ]
    for fault, ways in found.items():
        cells = [_cell(ways[way]) for way in WAYS]
        lines.append(f"| `{fault}` | {' | '.join(cells)} | {_again(outcomes[fault])} |")
    return lines


def _cell(seen: Seen) -> str:
    if seen.code is None and seen.status == 200:
        return "the answer"
    if seen.status == 200:
        return f"text, then `{seen.code}`"
    return f"{seen.status} `{seen.code}`" if seen.code else f"{seen.status}"


def readme() -> list[str]:
    """The short table: a row for each kind of fault."""
    lines = ["| what happens | faults | not streamed | streamed | SDKs try again |", "|---|---|---|---|---|"]
    for outcome in OUTCOMES:
        names = ", ".join(f"`{name}`" for name in outcome.faults.split())
        status = f"{outcome.status} `{outcome.code}`" if outcome.code else f"{outcome.status}"
        status = "the answer" if outcome.moment == "whole" else status
        streamed = "the text so far, then an error event" if outcome.moment == "within" else "the same"
        lines.append(f"| {outcome.about} | {names} | {status} | {streamed} | {_again(outcome)} |")
    return lines


def _again(outcome: Outcome) -> str:
    if outcome.moment == "whole":
        return ""
    if outcome.moment == "within":
        return "yes; a stream, no"
    return "yes" if outcome.again else "no"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table; the exit status is 1 when something is not as it has to be."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.faults", description=__doc__)
    parser.add_argument("--readme", action="store_true", help="the table of the README; nothing is run")
    if parser.parse_args(arguments).readme:
        print(*readme(), sep="\n")
        return 0
    found = look_at_all()
    print(*page(found), sep="\n")
    wrong = judged(found)
    print("", f"{len(found)} faults in {len(WAYS)} ways, {len(wrong)} of them wrong", *wrong, sep="\n", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
