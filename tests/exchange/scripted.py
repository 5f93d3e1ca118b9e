"""An upstream that answers call after call from a script, and a leg on top of it. Time is turned by hand."""

import asyncio
from dataclasses import dataclass, field

import httpx

from app.catalog.catalogue import build
from app.catalog.facts import bundled
from app.cloudflare.client import CloudflareClient, Timeouts
from app.core.request import GenerationRequest, Message
from app.dialects.chat import ChatDialect
from app.dialects.native import NativeDialect
from app.exchange import Wiring
from app.exchange.attempts import Patience
from app.exchange.breaker import Tolerance
from app.exchange.health import Health
from app.exchange.leg import Leg
from app.exchange.route import Account
from app.exchange.upstream import Upstream
from app.wire.codec import decode, encode

CATALOGUE = build(bundled())
BIG, SMALL = CATALOGUE.resolve("gpt-oss-120b"), CATALOGUE.resolve("gpt-oss-20b")
HELLO = GenerationRequest("gpt-oss-120b", (Message("user", "Hello"),), stream=True)


def frames(*texts, finish="stop", usage=True):
    """A stream's blocks: the role, one per text, then the end."""
    deltas = [{"role": "assistant", "content": ""}, *({"content": text} for text in texts)]
    blocks = [_frame({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    if finish:
        end = {"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}
        if usage:
            end["usage"] = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        blocks += [_frame(end), b"data: [DONE]\n\n"]
    return blocks


def _frame(payload):
    return b"data: " + encode(payload) + b"\n\n"


@dataclass
class Stream:
    """A good answer: blocks, then an exception if there is one."""

    blocks: list = field(default_factory=lambda: frames("Hi"))
    error: Exception | None = None
    kind: str = "text/event-stream"
    headers: dict = field(default_factory=dict)


@dataclass
class Refusal:
    """A bad answer."""

    status: int
    code: int | None = None
    text: str = "x"
    headers: dict = field(default_factory=dict)


class _Body(httpx.AsyncByteStream):
    def __init__(self, blocks, error):
        self.blocks, self.error = blocks, error
        self.closed = False

    async def __aiter__(self):
        for block in self.blocks:
            if isinstance(block, asyncio.Event):
                await block.wait()
            else:
                yield block
        if self.error is not None:
            raise self.error

    async def aclose(self):
        self.closed = True


class Script(httpx.AsyncBaseTransport):
    """Answers each call with the next step: a `Stream`, a `Refusal`, an exception, or an event to wait for first."""

    def __init__(self, *steps):
        self.steps = list(steps)
        self.sent = []
        self.bodies = []

    async def handle_async_request(self, request):
        account = request.url.path.split("/accounts/")[-1].split("/")[0]
        self.sent.append((account, _json(request), request))
        # As on a real connection, others come in between.
        await asyncio.sleep(0)
        step = self.steps.pop(0)
        while isinstance(step, asyncio.Event):
            await step.wait()
            step = self.steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Refusal):
            content = b"" if step.code is None else encode({"errors": [{"code": step.code, "message": step.text}]})
            body, headers = _Body([content], None), {"content-type": "application/json", **step.headers}
            return httpx.Response(step.status, headers=headers, stream=body)
        body = _Body(step.blocks, step.error)
        self.bodies.append(body)
        return httpx.Response(200, headers={"content-type": step.kind, "cf-ray": "ray", **step.headers}, stream=body)

    @property
    def asked(self):
        """Whom each call asked: the account and the model's short name."""
        return [(account, body["model"].rpartition("/")[2]) for account, body, _ in self.sent]

    @property
    def rejecting(self):
        """Which calls did not want to wait in the upstream's queue."""
        return [body.get("options") == {"rejectIfBusy": True} for _, body, _ in self.sent]


class World:
    """An upstream and what it needs.

    Args:
        steps: What the upstream does, call after call.
        accounts: How many there are: `one`, `two`, …
        more: Arguments of the upstream.
    """

    def __init__(self, *steps, accounts=1, fallbacks=None, guards=(), strict=False, remembers=True, **more):
        self.script = Script(*steps)
        self.now = 1_790_000_000.0
        self.slept = []
        self.health = Health(Tolerance(streak=4, pause=5.0)) if remembers else None
        names = ("one", "two", "three")[:accounts]
        self.accounts = [
            Account(f"account-{number}", self.client(name), guards[number - 1] if guards else None)
            for number, name in enumerate(names, start=1)
        ]
        self.upstream = Upstream(
            self.accounts,
            **{
                "clock": lambda: self.now,
                "roll": lambda: 0.5,
                "patience": Patience(retries=2, longest_wait=15.0),
                "health": self.health,
                "sleep": self.sleep,
                **more,
            },
        )
        self.wiring = Wiring(
            upstream=self.upstream,
            catalogue=lambda: CATALOGUE,
            dialects={"chat": ChatDialect(), "native": NativeDialect()},
            limits=None,
            memory=None,
            images=None,
            report=None,
            new_id=lambda prefix: f"{prefix}new",
            clock=lambda: self.now,
            timer=lambda: self.now,
            affinity_secret=b"secret",
            fallbacks=lambda model: CATALOGUE.fallbacks(model, fallbacks or {}),
            strict=strict,
        )

    def client(self, account, **more):
        return CloudflareClient(
            self.script,
            base_url="http://cloudflare.test/client/v4",
            account_id=account,
            token="secret",
            timeouts=Timeouts(),
            user_agent="test",
            clock=lambda: self.now,
            **more,
        )

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)

    def leg(self, request=HELLO, model=BIG, headers=None, **more):
        return Leg(self.wiring, request, model, headers or {}, self.now, **more)

    async def run(self, request=HELLO, model=BIG, **more):
        """One whole answer: the leg and all its events."""
        leg = self.leg(request, model, **more)
        await leg.open()
        events = []
        while not leg.ended:
            events.extend(await leg.hear_more())
        await leg.close(finished=True)
        return leg, events


def _json(request):
    return decode(request.read()) if request.headers.get("content-type") == "application/json" else None
