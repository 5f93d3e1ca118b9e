"""What is asked during a soak, each with the one right answer: the emulator says what it is told to say.

Every request names a text of its own, so an answer that belongs to another request, or of which a part is missing or
comes twice, is seen.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

import aiohttp

ABORTS: Final = 0.05
"""How many of the requests are given up on the way."""

LONGEST_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02

MODELS: Final = (
    "@cf/openai/gpt-oss-20b",
    "@cf/openai/gpt-oss-120b",
    "@cf/meta/llama-3.1-8b-instruct-fp8",
    "@cf/zai-org/glm-5.3-flash",
    "@cf/qwen/qwen3-30b-a3b-fp8",
)
_TOOL: Final = {"name": "look_up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}}
_WORDS: Final = (
    "alpha",
    "beta",
    "épsilon",
    "🙂",
    "“eta”",
    "theta\n\niota",
    "{lambda}",
    "<mu>",
    "nu",
    "1",
    "2",
    "\u2028",
)
_INVALID: Final[tuple[Any, ...]] = (
    {"messages": "x"},
    {"messages": [{"role": "nobody", "content": "x"}]},
    {"temperature": "hot"},
    {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
    {"model": 7},
    [],
)


class WrongError(Exception):
    """An answer is not what it has to be."""


class _Aborted(Exception):
    """We left."""


class _Failed(Exception):
    """The proxy told of a failure, as it should; the text is its code."""


@dataclass(slots=True)
class Tally:
    """What came of everything that was asked.

    Attributes:
        asked: Requests by their kind.
        complete: Answers that were complete and right.
        aborted: Requests that we gave up.
        failed: Failures that were told in the right way, by status or place, and code.
        wrong: What was not as it has to be, with how often.
        characters: Of text in the complete answers.
    """

    asked: Counter[str] = field(default_factory=Counter)
    complete: int = 0
    aborted: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)
    characters: int = 0


class Traffic:
    """Mixed traffic over one client.

    Args:
        session: The client.
        address: The proxy's.
        seed: Of everything that is chosen.
    """

    def __init__(self, session: aiohttp.ClientSession, address: str, seed: int) -> None:
        self._session = session
        self._address = address
        self._rng = Random(f"soak {seed}")
        self._number = 0
        self.tally = Tally()
        self._kinds: list[tuple[int, str, Callable[[Random], Awaitable[None]]]] = [
            (20, "chat stream", lambda rng: self._chat(rng, stream=True)),
            (10, "chat", lambda rng: self._chat(rng, stream=False)),
            (18, "responses stream", lambda rng: self._response(rng, stream=True)),
            (8, "responses", lambda rng: self._response(rng, stream=False)),
            (5, "completions stream", lambda rng: self._completion(rng, stream=True)),
            (5, "completions", lambda rng: self._completion(rng, stream=False)),
            (6, "tool call", self._tool_call),
            (6, "tool result", self._tool_result),
            (6, "continued", self._continued),
            (5, "background", self._background),
            (6, "websocket", self._websocket),
            (5, "invalid", self._invalid),
        ]

    async def one(self) -> None:
        """Ask something, and judge what comes."""
        rng = Random(self._rng.getrandbits(64))
        (kind,) = rng.choices(self._kinds, [weight for weight, _, _ in self._kinds])
        _, name, ask = kind
        self.tally.asked[name] += 1
        try:
            async with asyncio.timeout(LONGEST_SECONDS):
                await ask(rng)
        except _Aborted:
            self.tally.aborted += 1
        except _Failed as failure:
            self.tally.failed[str(failure)] += 1
        except TimeoutError:
            self.tally.wrong[f"{name}: no end within {LONGEST_SECONDS:.0f} s"] += 1
        except WrongError as error:
            self.tally.wrong[f"{name}: {error}"[:300]] += 1
        except (aiohttp.ClientError, ValueError, KeyError, IndexError, TypeError) as error:
            self.tally.wrong[f"{name}: {type(error).__name__}: {error}"[:300]] += 1

    def _task(self, rng: Random) -> tuple[str, str]:
        """A prompt with the one answer to it."""
        self._number += 1
        if rng.random() < 0.4:
            first = self._number * 1000
            last = first + rng.randint(5, 60)
            return f"Count from {first} to {last}.", ", ".join(map(str, range(first, last + 1)))
        said = f"{self._number}: " + " ".join(rng.choices(_WORDS, k=rng.randint(3, 60)))
        return f"Say exactly: {said}", said

    def _check(self, said: str, due: str, *, whole: bool = True) -> None:
        right = said == due if whole else due.startswith(said)
        if not right:
            place = next(
                (n for n, (a, b) in enumerate(zip(said, due, strict=False)) if a != b), min(len(said), len(due))
            )
            raise WrongError(
                f"the text is {said[place - 20 : place + 40]!r} where {due[place - 20 : place + 40]!r} is due"
            )
        if whole:
            self.tally.complete += 1
            self.tally.characters += len(said)

    async def _post(self, rng: Random, path: str, body: Any) -> bytes:
        """Send a request, and read its answer; now and then give it up on the way.

        Raises:
            _Aborted: It was given up.
            _Failed: It was refused.
        """
        leaves = rng.random() < ABORTS
        if leaves and rng.random() < 0.5:
            try:
                async with asyncio.timeout(rng.random() * 0.2):
                    await self._whole(path, body, None)
            except TimeoutError:
                raise _Aborted from None
            raise _Aborted
        return await self._whole(path, body, rng.randrange(3000) if leaves else None)

    async def _whole(self, path: str, body: Any, most: int | None) -> bytes:
        data = bytearray()
        async with self._session.post(f"{self._address}{path}", json=body) as answer:
            async for piece in answer.content.iter_any():
                data += piece
                if most is not None and len(data) >= most:
                    # Leaving the block with the answer unread closes the connection.
                    answer.close()
                    raise _Aborted
            if answer.status != 200:
                raise _refused(answer.status, bytes(data))
        if most is not None:
            raise _Aborted
        return bytes(data)

    async def _chat(self, rng: Random, *, stream: bool) -> None:
        prompt, due = self._task(rng)
        body = {"model": rng.choice(MODELS), "messages": [{"role": "user", "content": prompt}], "stream": stream}
        data = await self._post(rng, "/v1/chat/completions", body)
        self._judge_chat(data, due, stream=stream)

    def _judge_chat(self, data: bytes, due: str, *, stream: bool) -> None:
        if not stream:
            self._check(json.loads(data)["choices"][0]["message"]["content"], due)
            return
        chunks, failure = _chunks(data)
        said = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
        self._check(said, due, whole=failure is None)
        if failure is not None:
            raise failure

    async def _completion(self, rng: Random, *, stream: bool) -> None:
        prompt, due = self._task(rng)
        body = {"model": rng.choice(MODELS), "prompt": prompt, "stream": stream, "max_tokens": 4096}
        data = await self._post(rng, "/v1/completions", body)
        if not stream:
            self._check(json.loads(data)["choices"][0]["text"], due)
            return
        chunks, failure = _chunks(data)
        self._check("".join(c["text"] for chunk in chunks for c in chunk["choices"]), due, whole=failure is None)
        if failure is not None:
            raise failure

    async def _response(self, rng: Random, *, stream: bool) -> None:
        prompt, due = self._task(rng)
        body = {"model": rng.choice(MODELS), "input": prompt, "stream": stream, "store": rng.random() < 0.3}
        data = await self._post(rng, "/v1/responses", body)
        if stream:
            self._judge_events(_events(data), due)
        else:
            self._check(_output_text(json.loads(data)), due)

    def _judge_events(self, events: list[dict[str, Any]], due: str) -> None:
        if [event["sequence_number"] for event in events] != list(range(len(events))):
            raise WrongError("the events are not numbered one after the other")
        said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
        last = events[-1]
        if last["type"] == "response.failed":
            self._check(said, due, whole=False)
            raise _Failed(f"in the stream: {last['response']['error']['code']}")
        if last["type"] != "response.completed":
            raise WrongError(f"the last event is {last['type']}")
        if said != _output_text(last["response"]):
            raise WrongError("the deltas are not the final text")
        self._check(said, due)

    async def _tool_call(self, rng: Random) -> None:
        model = rng.choice(MODELS[:2])
        if rng.random() < 0.5:
            body = {
                "model": model,
                "messages": [{"role": "user", "content": "Look up a word."}],
                "tool_choice": "required",
            }
            data = await self._post(
                rng, "/v1/chat/completions", body | {"tools": [{"type": "function", "function": _TOOL}]}
            )
            call = json.loads(data)["choices"][0]["message"]["tool_calls"][0]["function"]
        else:
            body = {"model": model, "input": "Look up a word.", "tool_choice": "required", "store": False}
            data = await self._post(rng, "/v1/responses", body | {"tools": [{"type": "function", **_TOOL}]})
            call = next(item for item in json.loads(data)["output"] if item["type"] == "function_call")
        if call["name"] != "look_up" or not isinstance(json.loads(call["arguments"]), dict):
            raise WrongError(f"the call is {call}")
        self.tally.complete += 1

    async def _tool_result(self, rng: Random) -> None:
        _, result = self._task(rng)
        calls = [{"id": "c1", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}]
        messages = [
            {"role": "user", "content": "Look up a word."},
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": result},
        ]
        tools = [{"type": "function", "function": _TOOL}]
        body = {"model": MODELS[0], "messages": messages, "tools": tools, "stream": rng.random() < 0.5}
        data = await self._post(rng, "/v1/chat/completions", body)
        self._judge_chat(data, f"The tool answered: {result}", stream=body["stream"])

    async def _continued(self, rng: Random) -> None:
        (first_prompt, first_due), (prompt, due) = self._task(rng), self._task(rng)
        first = json.loads(await self._post(rng, "/v1/responses", {"model": MODELS[0], "input": first_prompt}))
        self._check(_output_text(first), first_due)
        body = {"model": MODELS[0], "input": prompt, "previous_response_id": first["id"], "stream": rng.random() < 0.5}
        data = await self._post(rng, "/v1/responses", body)
        if body["stream"]:
            self._judge_events(_events(data), due)
        else:
            self._check(_output_text(json.loads(data)), due)
        async with self._session.get(f"{self._address}/v1/responses/{first['id']}") as answer:
            if _output_text(await answer.json()) != first_due:
                raise WrongError("what was kept is not what was answered")
        await self._forget(first["id"])

    async def _background(self, rng: Random) -> None:
        prompt, due = self._task(rng)
        body = {"model": rng.choice(MODELS), "input": prompt, "background": True, "stream": rng.random() < 0.3}
        data = await self._post(rng, "/v1/responses", body)
        if body["stream"]:
            self._judge_events(_events(data), due)
            return
        made = json.loads(data)
        while made["status"] in {"queued", "in_progress"}:
            await asyncio.sleep(_POLL_SECONDS)
            async with self._session.get(f"{self._address}/v1/responses/{made['id']}") as answer:
                made = await answer.json()
        if made["status"] == "failed":
            raise _Failed(f"in the background: {made['error']['code']}")
        self._check(_output_text(made), due)
        await self._forget(made["id"])

    async def _forget(self, response_id: str) -> None:
        async with self._session.delete(f"{self._address}/v1/responses/{response_id}") as answer:
            if answer.status != 200:
                raise _refused(answer.status, await answer.read())

    async def _websocket(self, rng: Random) -> None:
        leaves = rng.random() < ABORTS
        async with self._session.ws_connect(f"{self._address}/v1/responses") as socket:
            for _ in range(rng.randint(1, 3)):
                prompt, due = self._task(rng)
                await socket.send_json({"type": "response.create", "model": rng.choice(MODELS), "input": prompt})
                events: list[dict[str, Any]] = []
                while not events or events[-1]["type"] not in {
                    "response.completed",
                    "response.failed",
                    "response.incomplete",
                }:
                    message = await socket.receive()
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        raise WrongError(f"the socket ends with {message.type.name}")
                    event = json.loads(message.data)
                    if event["type"] == "error" and "sequence_number" not in event:
                        raise _Failed(f"over a socket: {event['error']['code']}")
                    events.append(event)
                    if leaves and rng.random() < 0.1:
                        raise _Aborted
                self._judge_events(events, due)

    async def _invalid(self, rng: Random) -> None:
        good = {"model": MODELS[0], "messages": [{"role": "user", "content": "x"}]}
        wrong = rng.choice(_INVALID)
        body = {**good, **wrong} if isinstance(wrong, dict) else wrong
        async with self._session.post(f"{self._address}/v1/chat/completions", json=body) as answer:
            data = await answer.read()
        if answer.status != 400:
            raise WrongError(f"an invalid body is answered with {answer.status}")
        _refused(400, data)
        self.tally.complete += 1


def _refused(status: int, data: bytes) -> _Failed:
    """What a refusal says.

    Raises:
        WrongError: It is no refusal as OpenAI would write it, or a defect.
    """
    try:
        error = json.loads(data)["error"]
        right = set(error) == {"message", "type", "param", "code"}
    except (ValueError, KeyError, TypeError):
        right = False
    if not right or status in {422, 500}:
        raise WrongError(f"{status} with {data[:200]!r}")
    return _Failed(f"{status} {error['code']}")


def _chunks(data: bytes) -> tuple[list[Any], _Failed | None]:
    """The chunks of a stream, and the failure that ended it.

    Raises:
        WrongError: It does not end as it has to.
    """
    frames = [frame for frame in data.split(b"\n\n") if frame and not frame.startswith(b":")]
    if not data.endswith(b"\n\n") or not frames:
        raise WrongError(f"a stream ends with {data[-60:]!r}")
    payloads = [frame.removeprefix(b"data: ") for frame in frames]
    if payloads[-1] == b"[DONE]":
        return [json.loads(payload) for payload in payloads[:-1]], None
    last = json.loads(payloads[-1])
    if set(last) != {"error"}:
        raise WrongError(f"a stream ends with {data[-60:]!r}")
    return [json.loads(payload) for payload in payloads[:-1]], _Failed(f"in the stream: {last['error']['code']}")


def _events(data: bytes) -> list[dict[str, Any]]:
    """The events of a Responses stream.

    Raises:
        WrongError: It does not end as it has to.
    """
    if not data.endswith(b"data: [DONE]\n\n"):
        raise WrongError(f"a stream ends with {data[-60:]!r}")
    frames = [frame for frame in data.split(b"\n\n") if frame and not frame.startswith(b":")]
    return [json.loads(frame.partition(b"data: ")[2]) for frame in frames[:-1]]


def _output_text(response: Any) -> str:
    if response["status"] != "completed":
        raise WrongError(f"a response is {response['status']}")
    items = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in items for part in item["content"])
