"""The emulator's application: Cloudflare's routes on one side, the control plane on the other."""

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from app.emulator import catalogue
from app.emulator.account import Clock, Plan, Terms
from app.emulator.batch import answer_batch, is_batch
from app.emulator.chaos import LONGEST_PAUSE, Chaos
from app.emulator.connection import Connection
from app.emulator.control import control_routes
from app.emulator.directory import list_accounts, show_gateway, verify_token
from app.emulator.embeddings import openai_embeddings
from app.emulator.endpoint import Visit, admit, canned_reply, for_listing, for_model, refusal
from app.emulator.errors import CloudflareError, bad_input, no_such_model, not_found, success, wrong_method
from app.emulator.faults import fault_from_object, fault_from_word
from app.emulator.jsonvalue import Json
from app.emulator.recorder import Recorder
from app.emulator.replay import answer_recorded
from app.emulator.reply import Reply
from app.emulator.rights import Ability, Rights
from app.emulator.scenarios import SCENARIOS
from app.emulator.schemas import input_schema, output_schema
from app.emulator.state import EmulatorState
from app.emulator.tasks import answer_task
from app.emulator.textgen import answer_text
from app.emulator.tomarkdown import supported, to_markdown
from app.emulator.transcripts import Library

_AI = "/client/v4/accounts/{account_id}/ai"

# AI Gateway has hosts of its own; their path is the same here.
_GATEWAY = "/v1/{account_id}/{gateway}/workers-ai"

Answer = Callable[[Visit], Reply]


class _Emulator(Starlette):
    """The application; it shows the connection to what lies inside."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["emulator.connection"] = Connection.under(send)
        await super().__call__(scope, receive, send)


def create_emulator(
    *,
    account_id: str | None = None,
    token: str | None = None,
    seed: int = 0,
    token_delay: float = 0.0,
    plan: Plan | None = None,
    neurons_per_day: float | None = None,
    rate_limits: bool | Mapping[str, int] = False,
    capacity: int | None = None,
    clock: Clock = time.time,
    faults: Iterable[str | Mapping[str, Json]] = (),
    chaos: float = 0.0,
    chaos_pause: float = LONGEST_PAUSE,
    replay: str | Path | None = None,
    replay_timing: bool = False,
    abilities: Collection[Ability] | None = None,
    gateways: Mapping[str, str | None] | None = None,
) -> Starlette:
    """Make an emulator of Workers AI.

    Args:
        account_id: The one account that exists; `None` lets any well-formed id in.
        token: The one token that works; `None` lets any token in.
        seed: Seed of texts, ids, `cf-ray` values and chaos.
        token_delay: Seconds between the chunks of a stream.
        plan: `free` stops accounts that have used up the day's neurons (429/3036) and keeps models of the paid plan
            from them (403/5035); `paid` counts what goes past the allowance; `None` has no limits.
        neurons_per_day: The day's allowance, 10,000 when not told; needs a plan.
        rate_limits: Whether Cloudflare's requests per minute and model hold (429/3021); a mapping from a model id, a
            task or `paid_only` to a number replaces parts of its table.
        capacity: Requests that one model serves at a time; more wait, or get 429/3040 with `options.rejectIfBusy`.
        clock: Gives Unix time in seconds, for days, minutes and dates.
        faults: Faults from the beginning: words `NAME[:SECONDS][*TIMES]`, or objects as the control plane takes them.
        chaos: How likely a request to a model is to meet a fault by chance, from 0 to 1.
        chaos_pause: The most seconds that a delay or a stall by chance lasts.
        replay: A folder of recordings; then requests are answered from these alone.
        replay_timing: Whether recorded answers come as slowly as they came then.
        abilities: What the token may do: `run` models, `list` them, read the `gateways`, see the `accounts`;
            `None` lets it do everything. The rest is 403/10000.
        gateways: The AI Gateways that exist, each with the token that it wants or `None`; `None` lets any name through.

    Returns:
        An ASGI application, with its memory in `app.state.emulator`.

    Raises:
        ValueError: An argument makes no sense, or a recording cannot be read; the text says what.
    """
    if replay is not None and chaos:
        raise ValueError("chaos strikes models, and with replay there are none: choose one of the two")
    library = Library(Path(replay)) if replay is not None else None
    state = EmulatorState(
        account_id,
        token,
        seed,
        token_delay,
        terms=Terms.read(plan, neurons_per_day, rate_limits),
        capacity=capacity,
        clock=clock,
        faults=[fault_from_word(one) if isinstance(one, str) else fault_from_object(dict(one)) for one in faults],
        chaos=Chaos(chaos, seed, chaos_pause) if chaos else None,
        library=library,
        rights=Rights.read(abilities, gateways),
    )

    def route(path: str, answer: Answer, *methods: str, needs: Ability | None = None) -> Route:
        async def endpoint(request: Request) -> Reply:
            if path.startswith(_GATEWAY):
                refused = state.rights.at_gateway(request)
                if refused is not None:
                    return canned_reply(state, refused)
            visit = admit(state, request)
            if needs is not None:
                state.rights.demand(needs)
            return answer(visit)

        return Route(path, endpoint, methods=methods or ["GET"])

    async def verification(request: Request) -> Reply:
        try:
            return verify_token(admit(state, request))
        except CloudflareError as error:
            # Here it is the token itself that is asked about.
            raise CloudflareError(401, 1000, "Invalid API Token") if error.code == 10000 else error from None

    def recorded(visit: Visit) -> Reply:
        assert library is not None  # noqa: S101 - the route is there with a library only
        return answer_recorded(visit, library, timed=replay_timing)

    async def refused(_request: Request, error: Exception) -> Reply:
        if isinstance(error, CloudflareError):
            return refusal(state, error)
        return refusal(state, CloudflareError(500, 10001, "Internal error"))

    async def unrouted(request: Request, error: Exception) -> Reply:
        wrong = isinstance(error, HTTPException) and error.status_code == 405
        if wrong or request.url.path.endswith("/ai/v1/models"):
            return refusal(state, wrong_method(request.method))
        return refusal(state, not_found())

    served = [
        *(
            route(f"{base}/{path}", answer, "POST", needs="run")
            for base in (_GATEWAY, _AI)
            for path, answer in _MODEL_ROUTES.items()
        ),
        Route("/client/v4/user/tokens/verify", verification),
        Route("/client/v4/accounts/{account_id}/tokens/verify", verification),
        route("/client/v4/accounts", list_accounts),
        route("/client/v4/accounts/{account_id}/ai-gateway/gateways/{gateway}", show_gateway),
        route(f"{_AI}/models/search", _search, needs="list"),
        route(f"{_AI}/models/schema", _schema, needs="list"),
        route(f"{_AI}/tomarkdown", to_markdown, "POST"),
        route(f"{_AI}/tomarkdown/supported", supported),
    ]
    if library is not None:
        served = [route("/{path:path}", recorded, "GET", "POST", "PUT", "PATCH", "DELETE")]
    app = _Emulator(
        routes=[*control_routes(state), *served],
        middleware=[Middleware(Recorder, state=state)],
        exception_handlers={404: unrouted, 405: unrouted, CloudflareError: refused},
    )
    app.router.redirect_slashes = False
    app.state.emulator = state
    return app


def _run(visit: Visit) -> Reply:
    return _run_model(visit, str(visit.request.path_params["model"]))


def _run_generic(visit: Visit) -> Reply:
    """The form without a model in the path: `{model, input}`."""
    body = visit.json()
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise bad_input("required properties at '/' are 'model,input'")
    chosen = for_model(visit, body["model"])
    if isinstance(chosen, Reply):
        return chosen
    if chosen.model is None or chosen.model.traits is None:
        raise bad_input("required properties at '/' are 'model,input'")
    return answer_text(chosen, body.get("input"), "run")


def _run_model(visit: Visit, name: str) -> Reply:
    chosen = for_model(visit, name)
    if isinstance(chosen, Reply):
        return chosen
    model = chosen.model
    if model is None:
        raise no_such_model(name)
    if model.traits is None or "llama-guard" in model.id:
        if model.facts.get("batch") and is_batch(chosen, body := chosen.json()):
            return answer_batch(chosen, body)
        return answer_task(chosen)
    body = chosen.json()
    if is_batch(chosen, body):
        return answer_batch(chosen, body)
    return answer_text(chosen, body, "run")


def _named_model(visit: Visit) -> Visit | Reply:
    body = visit.json()
    if not isinstance(body, dict) or not isinstance(body.get("model"), str):
        raise bad_input("required properties at '/' are 'model'")
    return for_model(visit, body["model"])


def _chat(visit: Visit) -> Reply:
    chosen = _named_model(visit)
    return chosen if isinstance(chosen, Reply) else answer_text(chosen, chosen.json(), "chat")


def _responses(visit: Visit) -> Reply:
    chosen = _named_model(visit)
    return chosen if isinstance(chosen, Reply) else answer_text(chosen, chosen.json(), "responses")


def _embeddings(visit: Visit) -> Reply:
    chosen = _named_model(visit)
    if isinstance(chosen, Reply):
        return chosen
    model = chosen.model
    if model is None or ("dimensions" not in model.facts and model.task != "Text Embeddings"):
        raise no_such_model(model.id if model else "")
    body = openai_embeddings(chosen.json(), model)
    chosen.charge(model.neurons(body["usage"]["prompt_tokens"], 0))
    return chosen.reply(body)


def _search(visit: Visit) -> Reply:
    chosen = for_listing(visit)
    if isinstance(chosen, Reply):
        return chosen
    repeat = chosen.scenario.repeat_list
    return chosen.reply(catalogue.search(visit.request.query_params, tuple(SCENARIOS), repeat=repeat))


def _schema(visit: Visit) -> Reply:
    model = catalogue.find(visit.request.query_params.get("model", ""))
    shown = input_schema(model) if model.traits is not None else {"type": "object"}
    return visit.reply(success({"input": shown, "output": output_schema()}))


_MODEL_ROUTES: dict[str, Answer] = {
    "v1/chat/completions": _chat,
    "v1/responses": _responses,
    "v1/embeddings": _embeddings,
    "run": _run_generic,
    "run/{model:path}": _run,
}
