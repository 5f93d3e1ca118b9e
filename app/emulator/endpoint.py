"""One request on its way through the emulator: who asks, which model, which scenario."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate

import orjson
from starlette.requests import Request

from app.emulator import catalogue, wire
from app.emulator.canned import JSON, Canned
from app.emulator.catalogue import SCENARIO_PREFIX, Model
from app.emulator.chaos import Fate
from app.emulator.delivery import PLAIN as AS_MADE
from app.emulator.delivery import delivered
from app.emulator.errors import (
    CloudflareError,
    bad_input,
    no_route,
    no_such_model,
    not_found,
    unauthenticated,
)
from app.emulator.faults import scenario_called, scenario_of
from app.emulator.jsonvalue import Json
from app.emulator.recorder import Incoming
from app.emulator.reply import Reply
from app.emulator.scenarios import PLAIN, Scenario
from app.emulator.state import EmulatorState
from app.emulator.wire import Step, body_steps

FAULT_HEADER = "x-emulator-fault"
_ACCOUNT = re.compile(r"[0-9a-f]{32}")
LARGEST_BODY = 13 * 1024 * 1024


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
        if len(body) > LARGEST_BODY:
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
        if self.scenario.numbered_bytes and content_type.startswith(("audio/", "image/")):
            return self.reply({str(place): byte for place, byte in enumerate(body)})
        steps = list(body_steps(body, self.scenario.fault, self.scenario.seconds))
        whole = len(steps) == 1 and isinstance(steps[0], bytes)
        size = len(steps[0]) if whole and isinstance(steps[0], bytes) else None
        return self.send(steps, [("content-type", content_type)], status=status, size=size)

    def reply_pieces(self, pieces: Sequence[bytes], content_type: str) -> Reply:
        """Answer with bytes as they come to be, under the scenario's faults."""
        if self.scenario != PLAIN or len(pieces) < 2:
            return self.reply_bytes(b"".join(pieces), content_type)
        return self.send(pieces, [("content-type", content_type)], delay=self.state.token_delay, streamed=True)

    def stream(self, frames: Iterable[wire.Frame]) -> Reply:
        """Answer with server-sent events, under the scenario's faults."""
        parts = self.scenario.fault(frames, self.scenario.seconds)
        headers = [("content-type", "text/event-stream"), ("cache-control", "no-cache")]
        return self.send(wire.steps(parts, self.scenario.framing), headers, delay=self.state.token_delay, streamed=True)

    def send(
        self,
        steps: Iterable[Step],
        headers: Iterable[tuple[str, str]],
        *,
        status: int = 200,
        size: int | None = None,
        first_byte: float = 0.0,
        delay: float = 0.0,
        streamed: bool = False,
    ) -> Reply:
        """Put a body on the wire as the scenario wants it.

        Args:
            steps: The body.
            headers: Headers, the content type among them.
            status: HTTP status.
            size: Length of the body to announce; nothing to send it in chunks.
            first_byte: Seconds before the headers, where the scenario does not want more.
            delay: Seconds between writes.
            streamed: Whether it counts as an open stream.
        """
        scenario = self.scenario
        steps, length = delivered(steps, scenario.delivery, scenario.seconds)
        fields = list(headers)
        if scenario.delivery.gzip:
            fields.append(("content-encoding", "gzip"))
        if scenario.delivery == AS_MADE:
            length = size
        if length is not None:
            fields.append(("content-length", str(length)))
        return Reply(
            self.state,
            status=status,
            content_type="",
            steps=steps,
            first_byte=scenario.first_byte or first_byte,
            delay=delay if scenario.delivery.writes == "frames" else 0.0,
            headers=fields,
            opening=scenario.opening,
            streamed=streamed,
        )

    def charge(self, neurons: float) -> None:
        """Book what the request costs."""
        if self.model is not None:
            self.incoming.record.neurons += neurons
            self.state.accounts.of(self.account).charge(self.model, neurons)


def refusal(state: EmulatorState, error: CloudflareError) -> Reply:
    """Answer with an error envelope."""
    return canned_reply(state, Canned(error.status, orjson.dumps(error.body())))


def canned_reply(state: EmulatorState, canned: Canned) -> Reply:
    """Answer with a ready body."""
    steps: list[Step] = [canned.body] if canned.body else []
    headers = {"content-length": str(len(canned.body)), **canned.headers}
    if canned.retry_date is not None:
        headers["retry-after"] = formatdate(state.clock() + canned.retry_date, usegmt=True)
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
    """Choose the model and the scenario, and let the account and the model admit the request.

    The header goes before a queued fault, this before the scenario in the model's name, this before chance. A reply is
    returned when the scenario is a ready answer; it comes before the account's limits.

    Raises:
        CloudflareError: 5007 or 5028 when there is no such model, 5035, 3036, 3021 or 3040 from the account's limits.
    """
    record = visit.incoming.record
    record.model = name
    named = _named(name) if name.startswith(SCENARIO_PREFIX) else None
    model = catalogue.scenario_model(name) if named else _known(name)
    scenario, fate = _chosen(visit, name, named, paid=bool(model and model.facts.get("paid_only")))
    record.scenario = scenario.name
    if scenario.canned is not None:
        _note(visit, fate)
        return canned_reply(visit.state, scenario.canned)
    model = model or catalogue.find(name)
    _admitted(visit, model)
    # Only now: what the account refuses has met no fault.
    _note(visit, fate)
    if model.traits is not None and scenario.traits:
        model = replace(model, traits=replace(model.traits, **scenario.traits))
    return replace(visit, model=model, scenario=scenario)


def _chosen(visit: Visit, name: str, named: Scenario | None, *, paid: bool) -> tuple[Scenario, Fate | None]:
    """Return the scenario of a request to a model, and the fate that chose it.

    Scenarios of the paid plan are for models of that plan only.
    """
    state = visit.state
    fate = state.chaos.next_fate() if state.chaos else None
    if (asked := _asked_for(visit)) is not None:
        return PLAIN if asked.paid_models and not paid else asked, None
    if (fault := state.take_fault(visit.incoming.record.path, name, paid_model=paid)) is not None:
        return scenario_of(fault), None
    if named is not None:
        return named, None
    return (PLAIN, None) if fate is None else (fate.scenario, fate)


def _note(visit: Visit, fate: Fate | None) -> None:
    if fate is not None and visit.state.chaos is not None:
        visit.state.chaos.note(fate)
        visit.incoming.record.chaos = fate.kind


def _admitted(visit: Visit, model: Model) -> None:
    """Let the account count the request, and give it a place at the model.

    Raises:
        CloudflareError: The account or the model has enough.
    """
    account = visit.state.accounts.of(visit.account)
    key = str(model.facts.get("id", model.id))
    try:
        account.admit(model)
        reject = visit.state.capacity.busy(key) and _rejects_if_busy(visit.incoming.parsed())
        visit.incoming.place = visit.state.capacity.enter(key, reject_if_busy=reject)
    except CloudflareError as error:
        account.refused[error.code] += 1
        raise


def _rejects_if_busy(body: Json) -> bool:
    """Whether `options.rejectIfBusy` is set, in the body or in the `input` of the form without a model in the path."""
    if not isinstance(body, dict):
        return False
    options = [one.get("options") for one in (body, body.get("input")) if isinstance(one, dict)]
    return any(isinstance(one, dict) and one.get("rejectIfBusy") is True for one in options)


def for_listing(visit: Visit) -> Visit | Reply:
    """Choose the scenario of a request that names no model."""
    scenario = _asked_for(visit)
    if scenario is None:
        fault = visit.state.take_fault(visit.incoming.record.path, None)
        if fault is None:
            return visit
        scenario = scenario_of(fault)
    visit.incoming.record.scenario = scenario.name
    if scenario.canned is not None:
        return canned_reply(visit.state, scenario.canned)
    return replace(visit, scenario=scenario)


def _asked_for(visit: Visit) -> Scenario | None:
    """Return the scenario that the request's header asks for.

    Raises:
        CloudflareError: 5006: there is no such scenario.
    """
    word = visit.request.headers.get(FAULT_HEADER)
    if word is None:
        return None
    try:
        return scenario_called(word)
    except ValueError as problem:
        raise bad_input(f"{FAULT_HEADER}: {problem}") from problem


def _known(name: str) -> Model | None:
    try:
        return catalogue.find(name)
    except CloudflareError:
        return None


def _named(name: str) -> Scenario:
    """Return the scenario a model name asks for, as in `@cf/emulator/slow` or `@cf/emulator/slow:0.2`."""
    try:
        return scenario_called(name.removeprefix(SCENARIO_PREFIX))
    except ValueError as problem:
        raise no_such_model(name) from problem
