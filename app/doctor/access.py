"""The account: its token, its id, what the token may do, the models that it may use, and its AI Gateway."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from app.catalog.catalogue import Catalogue
from app.core.cost import USD_PER_NEURON, rates
from app.core.errors import NotFound
from app.core.model import Model
from app.core.request import GenerationRequest, Message
from app.doctor.asking import Asker, Reply, UnreachableError
from app.doctor.findings import Clock, Finding, failed, ok, skipped, warning
from app.exchange.counting import count_input

SOON: Final = 14 * 86_400
"""A token that expires within so many seconds is told of."""

PROBED: Final = "@cf/openai/gpt-oss-20b"
"""The model whose refusal of an empty request shows that models may be called at all."""

SHORTEST: Final = GenerationRequest(PROBED, (Message("user", "Hi"),), max_tokens=1)
"""What is asked when something is to be generated."""

_TOKENS: Final = "https://dash.cloudflare.com/profile/api-tokens"
_VALIDATED: Final = frozenset({3003, 5004, 5006, 8001, 8006, 8007})
_BUSY: Final = frozenset({3021, 3040})
_SPENT: Final = frozenset({3036, 4006})
_NOT_ALLOWED: Final = frozenset({3023, 3041, 5018})
_ABSENT: Final = frozenset({3042, 5007})
_GATEWAY: Final = frozenset({2001, 2008, 2019})


class GatewayToAsk(Struct, frozen=True):
    """The AI Gateway of the settings.

    Attributes:
        name: Its id.
        token: What an authenticated gateway asks for; empty for none.
        url: Where the gateways are.
    """

    name: str
    token: str
    url: str


async def check_token(asker: Asker, name: str, clock: Clock) -> list[Finding]:
    """Whether Cloudflare knows the token, and how long it will. Tokens of users and of accounts are verified apart."""
    replies = await asyncio.gather(asker.get("/user/tokens/verify"), asker.get("/accounts/{account}/tokens/verify"))
    for kind, reply in zip(("a user's token", "an account's token"), replies, strict=True):
        if reply.status == 200 and isinstance(reply.result, dict):
            return [_verified(name, kind, reply.result, clock())]
    if all(reply.unrouted for reply in replies):
        return [skipped(name, "this upstream does not verify tokens")]
    if any(reply.refused for reply in replies):
        told = next(reply for reply in replies if reply.refused).told()
        advice = f"make a new one at {_TOKENS}, and copy all of it"
        return [failed(name, f"Cloudflare does not know it ({told})", advice)]
    return [warning(name, f"Cloudflare could not verify it ({replies[0].told()})", "try again later")]


def _verified(name: str, kind: str, result: Mapping[str, Any], now: float) -> Finding:
    status = result.get("status")
    renew = f"make another one at {_TOKENS}"
    if status != "active":
        return failed(name, f"{kind}, and it is {str(status)[:32]}", renew)
    left = _seconds_left(result.get("expires_on"), now)
    if left is not None and left <= 0:
        return failed(name, f"{kind}, and it has expired", renew)
    if left is not None and left < SOON:
        return warning(name, f"{kind}, and it expires in {left / 86_400:.1f} days", f"{renew} before that")
    until = "" if left is None else f", for {left / 86_400:.0f} days"
    return ok(name, f"{kind}, and it is active{until}")


def _seconds_left(moment: object, now: float) -> float | None:
    if not isinstance(moment, str):
        return None
    try:
        return datetime.fromisoformat(moment).timestamp() - now
    except ValueError:
        return None


async def check_account(asker: Asker, account: str, permission: str) -> list[Finding]:
    """Whether the account is there and the token's, and whether the token may list and run its models."""
    listed, run = await asyncio.gather(
        asker.get("/accounts/{account}/ai/models/search?per_page=1&search=gpt-oss"), probe(asker, PROBED)
    )
    if listed.status == 200:
        lists = ok(account, f"{shortened(asker.account_id)} is there, and the token is for it")
        return [lists, _may_run(permission, run)]
    if listed.unrouted:
        found = f"Cloudflare knows no account {shortened(asker.account_id)} ({listed.told()})"
        advice = "copy the account id (32 hexadecimal digits) from the dashboard, and look at FLARELAY_UPSTREAM_URL"
        return [failed(account, found, advice), skipped(permission, "the account has to be there first")]
    if not listed.refused:
        found = f"Cloudflare's list of models could not be had ({listed.told()})"
        return [warning(account, found, "try again later"), _may_run(permission, run)]
    if not run.refused:
        found = "it may run models, and not list them: the bundled catalogue is used"
        advice = f"give it the permission Workers AI: Read at {_TOKENS}"
        seen = ok(account, f"{shortened(asker.account_id)} is there, and the token is for it")
        return [seen, warning(permission, found, advice)]
    return await _whose_token(asker, account, permission, listed)


async def _whose_token(asker: Asker, account: str, permission: str, refusal: Reply) -> list[Finding]:
    """What is wrong when the token may do nothing with the account: the one or the other."""
    accounts = (await asker.get("/accounts?per_page=50")).result
    rows = accounts if isinstance(accounts, list) else []
    ids = [row["id"] for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
    missing = f"the token may not use Workers AI in this account ({refusal.told()})"
    advice = f"make a token with the permission Workers AI: Read for this account at {_TOKENS}"
    if asker.account_id in ids:
        return [ok(account, f"the token is for {shortened(asker.account_id)}"), failed(permission, missing, advice)]
    if ids:
        others = ", ".join(shortened(one) for one in ids[:3])
        found = f"the token is for {others}, and not for {shortened(asker.account_id)}"
        swap = "set CLOUDFLARE_ACCOUNT_ID to the account of the token, or make a token for this account"
        return [failed(account, found, swap), skipped(permission, "the token has to be for the account first")]
    unsure = skipped(account, "it cannot be told: the token may see no account")
    return [unsure, failed(permission, missing, f"look at the account id, and {advice}")]


def _may_run(permission: str, run: Reply) -> Finding:
    if run.refused:
        advice = f"give the token the permission Workers AI: Read at {_TOKENS}"
        return failed(permission, f"the token may list models, and not run them ({run.told()})", advice)
    return ok(permission, "the token may list and run models")


async def check_plan(asker: Asker, catalogue: Catalogue, plan: str) -> list[Finding]:
    """Which plan the account is on: a model of the paid plan refuses even a request that it cannot read."""
    paid = [model for model in catalogue.models() if model.requires_paid]
    if not paid:
        return [skipped("plan", "no model needs the paid plan")]
    reply = await probe(asker, paid[0].id)
    if reply.code == 5035:
        names = ", ".join(model.short_name for model in paid)
        found = f"the account is on the free plan: 10,000 neurons a day, and without {names}"
        if plan == "free":
            return [ok("plan", found)]
        advice = "set FLARELAY_PLAN=free, so that the day's neurons are counted here; or upgrade to Workers Paid"
        return [warning("plan", found, advice)]
    if reply.code not in _VALIDATED:
        return [skipped("plan", f"it cannot be told ({reply.told()})")]
    found = f"{paid[0].short_name}, which needs the paid plan, did not refuse the account"
    return [ok("plan", found, "if it is on Workers Paid, set FLARELAY_PLAN=paid" if plan == "free" else "")]


async def check_model(asker: Asker, catalogue: Catalogue, name: str, *, call: bool) -> list[Finding]:
    """Whether the account may use a model.

    Args:
        asker: Asks.
        catalogue: Knows the names.
        name: Any name of the model.
        call: Have it generate one token, which is charged for.
    """
    check = f"model {name}"
    try:
        model = catalogue.resolve(name)
    except NotFound as error:
        return [failed(check, error.message)]
    if call and model.task == "Text Generation":
        body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": SHORTEST.max_tokens, "stream": False}
        reply = await asker.post("/accounts/{account}/ai/v1/chat/completions", {"model": model.id, **body})
    else:
        reply = await probe(asker, model.id)
    return [_model_finding(check, model, reply)]


def _model_finding(check: str, model: Model, reply: Reply) -> Finding:
    paid = "; it needs the Workers Paid plan" if model.requires_paid else ""
    retires = f"; it will be gone on {model.deprecated_on}" if model.deprecated_on else ""
    told, code = reply.told(), reply.code
    if reply.status == 200:
        return ok(check, f"{model.id} answers{paid}{retires}")
    if code in _VALIDATED:
        sure = "--call makes sure, and is charged for one token" if model.requires_paid else ""
        finding = ok(check, f"{model.id} may be called{paid}{retires}", sure)
        return warning(check, finding.found, "choose its successor") if retires else finding
    if code == 5035:
        found = f"{model.id} needs the Workers Paid plan, and the account is on the free plan"
        return failed(check, found, "upgrade the account, or use a model such as gpt-oss-120b")
    if code == 5016:
        return failed(check, f"the licence of {model.id} was not agreed to", "send it the prompt 'agree' once")
    if code in _ABSENT:
        return failed(check, f"Workers AI has no {model.id} ({told})", "`flarelay models` lists what there is")
    if code == 5028 or reply.status == 410:
        return failed(check, f"Workers AI has taken {model.id} away", "`flarelay models` lists what there is")
    if code in _NOT_ALLOWED:
        return failed(check, f"the account may not use {model.id} ({told})", "ask Cloudflare")
    if code in _SPENT:
        return warning(check, "today's free neurons are used up", "wait until 00:00 UTC, or upgrade to Workers Paid")
    if code in _BUSY or reply.status == 429:
        return warning(check, f"{model.id} is busy ({told})", "try again later")
    if reply.refused:
        return failed(check, f"the token may not run {model.id} ({told})", "see the token and its permission")
    return warning(check, f"it cannot be told ({told})", "try again later")


def price_of_calls(models: Sequence[Model]) -> float:
    """What it costs to have models generate one token each, in US dollars, estimated."""
    prompt = count_input(SHORTEST)
    return sum((prompt * rates(model).input + rates(model).output) * USD_PER_NEURON for model in models)


async def check_gateway(asker: Asker, gateway: GatewayToAsk | None) -> list[Finding]:
    """Whether the gateway is there and lets this proxy in."""
    if gateway is None:
        return [skipped("gateway", "no AI Gateway is set")]
    headers = {"cf-aig-authorization": f"Bearer {gateway.token}"} if gateway.token else {}
    url = f"{gateway.url}/{{account}}/{gateway.name}/workers-ai/run/{PROBED}"
    facts, reply = await asyncio.gather(
        asker.get(f"/accounts/{{account}}/ai-gateway/gateways/{gateway.name}"), asker.post(url, {}, headers)
    )
    if reply.code in _GATEWAY or facts.status == 404:
        return [failed("gateway", f"the account has no gateway {gateway.name}", "make it in the dashboard: AI Gateway")]
    if reply.code == 2009:
        wanted = "refuses its token" if gateway.token else "wants a token of its own"
        found = f"{gateway.name} {wanted} (code 2009)"
        return [failed("gateway", found, "set FLARELAY_GATEWAY_TOKEN to a token with the permission AI Gateway: Run")]
    if reply.refused:
        return [failed("gateway", f"{gateway.name} refuses the token ({reply.told()})", "see the token above")]
    if reply.code not in _VALIDATED and reply.status != 200:
        return [warning("gateway", f"{gateway.name} could not be tried ({reply.told()})", "try again later")]
    guarded = facts.result.get("authentication") if isinstance(facts.result, dict) else None
    how = "whose settings the token may not read" if guarded is None else "authenticated" if guarded else "open"
    return [ok("gateway", f"{gateway.name} lets requests through ({how})")]


async def probe(asker: Asker, model_id: str) -> Reply:
    """Send a model a request that it cannot read: it is refused, costs nothing, and how it is refused tells much."""
    return await asker.post(f"/accounts/{{account}}/ai/run/{model_id}", {})


async def reached(asker: Asker, where: str) -> Finding | None:
    """Why Cloudflare cannot be reached; ``None`` when it can."""
    try:
        await asker.get("/user/tokens/verify")
    except UnreachableError as error:
        advice = "look at the network, the proxy variables (HTTPS_PROXY) and FLARELAY_UPSTREAM_URL"
        return failed("cloudflare", f"{where} cannot be reached: {error}", advice)
    return None


def shortened(account_id: str) -> str:
    """An account id as it is shown: enough to tell it from another."""
    return f"{account_id[:4]}…{account_id[-4:]}"
