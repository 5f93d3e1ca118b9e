"""The emulator's application: Cloudflare's routes on one side, the control plane on the other."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.routing import Route

from app.emulator import catalogue
from app.emulator.batch import answer_batch, is_batch
from app.emulator.control import control_routes
from app.emulator.embeddings import openai_embeddings
from app.emulator.endpoint import Visit, admit, for_listing, for_model, refusal
from app.emulator.errors import CloudflareError, bad_input, no_such_model, not_found, success, wrong_method
from app.emulator.recorder import Recorder
from app.emulator.reply import Reply
from app.emulator.scenarios import SCENARIOS
from app.emulator.schemas import input_schema, output_schema
from app.emulator.state import EmulatorState
from app.emulator.tasks import answer_task
from app.emulator.textgen import answer_text
from app.emulator.tomarkdown import supported, to_markdown

_AI = "/client/v4/accounts/{account_id}/ai"

# AI Gateway has hosts of its own; their path is the same here.
_GATEWAY = "/v1/{account_id}/{gateway}/workers-ai"

Answer = Callable[[Visit], Reply]


def create_emulator(
    *, account_id: str | None = None, token: str | None = None, seed: int = 0, token_delay: float = 0.0
) -> Starlette:
    """Make an emulator of Workers AI.

    Args:
        account_id: The one account that exists; `None` lets any well-formed id in.
        token: The one token that works; `None` lets any token in.
        seed: Seed of texts, ids and `cf-ray` values.
        token_delay: Seconds between the chunks of a stream.

    Returns:
        An ASGI application, with its memory in `app.state.emulator`.
    """
    state = EmulatorState(account_id, token, seed, token_delay)

    def route(path: str, answer: Answer, method: str = "GET") -> Route:
        async def endpoint(request: Request) -> Reply:
            return answer(admit(state, request))

        return Route(path, endpoint, methods=[method])

    async def refused(_request: Request, error: Exception) -> Reply:
        if isinstance(error, CloudflareError):
            return refusal(state, error)
        return refusal(state, CloudflareError(500, 10001, "Internal error"))

    async def unrouted(request: Request, error: Exception) -> Reply:
        wrong = isinstance(error, HTTPException) and error.status_code == 405
        if wrong or request.url.path.endswith("/ai/v1/models"):
            return refusal(state, wrong_method(request.method))
        return refusal(state, not_found())

    app = Starlette(
        routes=[
            *control_routes(state),
            *(route(f"{_GATEWAY}/{path}", answer, "POST") for path, answer in _MODEL_ROUTES.items()),
            *(route(f"{_AI}/{path}", answer, "POST") for path, answer in _MODEL_ROUTES.items()),
            route("/client/v4/user/tokens/verify", _verify_token),
            route("/client/v4/accounts/{account_id}/tokens/verify", _verify_token),
            route(f"{_AI}/models/search", _search),
            route(f"{_AI}/models/schema", _schema),
            route(f"{_AI}/tomarkdown", to_markdown, "POST"),
            route(f"{_AI}/tomarkdown/supported", supported),
        ],
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
    return chosen.reply(openai_embeddings(chosen.json(), model))


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


def _verify_token(visit: Visit) -> Reply:
    """Check a token: user tokens on the user's route, account tokens on the account's, plain ones on both."""
    _, _, token = visit.request.headers.get("authorization", "").partition(" ")
    other = "cfut_" if visit.account else "cfat_"
    if token.strip().startswith(other):
        raise CloudflareError(401, 1000, "Invalid API Token")
    note = {"code": 10000, "message": "This API Token is valid and active", "type": None}
    body = success({"id": "0" * 32, "status": "active"})
    return visit.reply({**body, "messages": [note]})


_MODEL_ROUTES: dict[str, Answer] = {
    "v1/chat/completions": _chat,
    "v1/responses": _responses,
    "v1/embeddings": _embeddings,
    "run": _run_generic,
    "run/{model:path}": _run,
}
