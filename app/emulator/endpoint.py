"""One request on its way through the emulator: who asks, which model, which scenario."""

import re
from dataclasses import dataclass, replace

import orjson
from starlette.requests import Request

from app.emulator import catalogue
from app.emulator.canned import JSON, Canned
from app.emulator.catalogue import SCENARIO_PREFIX, Model
from app.emulator.control import ANY_STATUS
from app.emulator.errors import (
    CloudflareError,
    bad_input,
    no_route,
    no_such_model,
    not_found,
    unauthenticated,
)
from app.emulator.jsonvalue import Json
from app.emulator.recorder import Incoming
from app.emulator.reply import Reply
from app.emulator.scenarios import PLAIN, SCENARIOS, Scenario
from app.emulator.state import EmulatorState, QueuedFault
from app.emulator.wire import Step, body_steps

_ACCOUNT = re.compile(r"[0-9a-f]{32}")
_LARGEST_BODY = 13 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Visit:
    """An admitted request.

    Attributes:
        state: The emulator's memory.
        request: The HTTP request.
        incoming: Its record and body.
        account: The account in the path.
        model: The model asked for, with the scenario's habits; `None` where no model is named.
        scenario: How to behave.
    """

    state: EmulatorState
    request: Request
    incoming: Incoming
    account: str
    model: Model | None = None
    scenario: Scenario = PLAIN

    def json(self) -> Json:
        """Return the parsed body.

        Raises:
            CloudflareError: 3006 when too large, 3003 when absent, 5006 when not JSON.
        """
        body = self.incoming.body
        if len(body) > _LARGEST_BODY:
            raise CloudflareError(413, 3006, "AiError: Request is too large")
        if not body:
            raise CloudflareError(400, 3003, "AiError: Incomplete request")
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError as problem:
            raise bad_input("the body is not valid JSON") from problem

    def reply(self, body: Json, *, status: int = 200) -> Reply:
        """Answer with JSON, under the scenario's faults."""
        return self.reply_bytes(orjson.dumps(body), JSON, status=status)

    def reply_bytes(self, body: bytes, content_type: str, *, status: int = 200) -> Reply:
        """Answer with bytes, under the scenario's faults."""
        scenario = self.scenario
        steps = list(body_steps(body, scenario.fault, scenario.seconds, bytewise=scenario.framing.bytewise))
        whole = len(steps) == 1 and isinstance(steps[0], bytes)
        return Reply(
            self.state,
            status=status,
            content_type=content_type,
            steps=steps,
            first_byte=scenario.first_byte,
            headers={"content-length": str(len(body))} if whole else {},
        )

    def stream(self, steps: Json) -> Reply:
        """Answer with server-sent events."""
        return Reply(
            self.state,
            content_type="text/event-stream",
            steps=steps,
            first_byte=self.scenario.first_byte,
            delay=0.0 if self.scenario.framing.bytewise else self.state.token_delay,
            headers={"cache-control": "no-cache"},
            streamed=True,
        )


def refusal(state: EmulatorState, error: CloudflareError) -> Reply:
    """Answer with an error envelope."""
    return canned_reply(state, Canned(error.status, orjson.dumps(error.body())))


def canned_reply(state: EmulatorState, canned: Canned) -> Reply:
    """Answer with a ready body."""
    steps: list[Step] = [canned.body] if canned.body else []
    headers = {"content-length": str(len(canned.body)), **canned.headers}
    return Reply(state, status=canned.status, content_type=canned.content_type, steps=steps, headers=headers)


def admit(state: EmulatorState, request: Request) -> Visit:
    """Check the path, the account and the token.

    Raises:
        CloudflareError: 7000 for an encoded slash, 7003 for a wrong account, 10000 for a wrong token.
    """
    incoming: Incoming = request.scope["emulator.incoming"]
    account = str(request.path_params.get("account_id", ""))
    path = incoming.record.path
    if "%2f" in path.lower():
        raise not_found()
    if "account_id" in request.path_params and not _ACCOUNT.fullmatch(account):
        raise no_route(path.removeprefix("/client/v4"))
    _authenticate(state, request)
    if state.account_id is not None and account and account != state.account_id:
        raise no_route(path.removeprefix("/client/v4"))
    return Visit(state, request, incoming, account)


def _authenticate(state: EmulatorState, request: Request) -> None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        token = request.headers.get("x-auth-key", "") if request.headers.get("x-auth-email") else ""
    token = token.strip()
    if not token or (state.token is not None and token != state.token):
        raise unauthenticated()


def for_model(visit: Visit, name: str) -> Visit | Reply:
    """Choose the model and the scenario; return a reply when the scenario is a ready answer.

    A queued fault goes before the scenario in the model's name.

    Raises:
        CloudflareError: 5007 or 5028 when there is no such model.
    """
    record = visit.incoming.record
    record.model = name
    scenario = PLAIN
    if name.startswith(SCENARIO_PREFIX):
        scenario = _named(name)
        model: Model | None = catalogue.scenario_model(name)
    else:
        model = _known(name)
    fault = visit.state.take_fault(record.path, name, paid_model=bool(model and model.facts.get("paid_only")))
    if fault is not None:
        scenario = _faulty(fault)
    record.scenario = scenario.name
    if scenario.canned is not None and (not scenario.paid_models or fault or name.startswith(SCENARIO_PREFIX)):
        return canned_reply(visit.state, scenario.canned)
    if model is None:
        model = catalogue.find(name)
    if model.traits is not None and scenario.traits:
        model = replace(model, traits=replace(model.traits, **scenario.traits))
    return replace(visit, model=model, scenario=scenario)


def for_listing(visit: Visit) -> Visit | Reply:
    """Choose the scenario of a request that names no model."""
    fault = visit.state.take_fault(visit.incoming.record.path, None)
    if fault is None:
        return visit
    scenario = _faulty(fault)
    visit.incoming.record.scenario = scenario.name
    if scenario.canned is not None:
        return canned_reply(visit.state, scenario.canned)
    return replace(visit, scenario=scenario)


def _known(name: str) -> Model | None:
    try:
        return catalogue.find(name)
    except CloudflareError:
        return None


def _named(name: str) -> Scenario:
    """Return the scenario a model name asks for, as in `@cf/emulator/slow` or `@cf/emulator/slow:0.2`."""
    key, _, pause = name.removeprefix(SCENARIO_PREFIX).partition(":")
    scenario = SCENARIOS.get(key)
    if scenario is None:
        raise no_such_model(name)
    try:
        return _paced(scenario, float(pause)) if pause else scenario
    except ValueError as problem:
        raise no_such_model(name) from problem


def _faulty(fault: QueuedFault) -> Scenario:
    if fault.name == ANY_STATUS:
        body = fault.body if isinstance(fault.body, str) else orjson.dumps(fault.body or {}).decode()
        kind = "text/html" if body.startswith("<") else JSON
        canned = Canned(fault.status or 500, body.encode(), kind, dict(fault.headers))
        return Scenario(fault.name, "a status and a body of choice", "", canned=canned)
    scenario = SCENARIOS[fault.name]
    return scenario if fault.seconds is None else _paced(scenario, fault.seconds)


def _paced(scenario: Scenario, seconds: float) -> Scenario:
    return replace(scenario, first_byte=seconds) if scenario.first_byte else replace(scenario, seconds=seconds)
