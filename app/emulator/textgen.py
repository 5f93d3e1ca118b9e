"""Text generation on its three routes."""

from collections.abc import Iterable, Mapping
from typing import Any

from app.emulator.answers import chat_completion, response_object, run_result
from app.emulator.ask import Ask, Route, read_ask
from app.emulator.endpoint import Visit
from app.emulator.errors import CloudflareError, bad_input, failure, invalid, no_such_model, success
from app.emulator.generation import Generation, generate
from app.emulator.jsonvalue import Json
from app.emulator.reply import Reply
from app.emulator.streams import Frame, chat_frames, run_frames
from app.emulator.validation import check_ask, check_body

_LICENCE_PROMPT = "agree"


def answer_text(visit: Visit, body: Json, route: Route) -> Reply:
    """Answer a text model.

    Args:
        visit: The request, with its model.
        body: The parsed body.
        route: The endpoint: `run`, `chat` or `responses`.

    Raises:
        CloudflareError: The request is refused.
    """
    model = visit.model
    if model is None or model.traits is None:
        raise no_such_model(model.id if model else "")
    if model.facts.get("licence"):
        agreed = _licence(visit, body)
        if agreed is not None:
            return agreed
    if route == "responses":
        _check_responses_route(body, model.traits.form, model.id)
    check_body(body, model, route)
    if "requests" in body:
        raise bad_input("'requests' needs ?queueRequest=true")
    ask = read_ask(body, model, route)
    check_ask(ask, body)
    affinity = visit.request.headers.get("x-session-affinity")
    cached = visit.state.cached_tokens(model.id, affinity, ask.prompt)
    serial = visit.incoming.record.number
    made = generate(ask, seed=visit.state.seed, serial=serial, cached=cached)
    visit.charge(made.usage.neurons)
    if ask.stream and (streamed := _streamed(visit, ask, made)) is not None:
        return streamed
    return visit.reply(_unstreamed(ask, made))


def answer_item(visit: Visit, body: Mapping[str, Any], place: int) -> dict[str, Any]:
    """Return the result of one item of an async batch.

    Raises:
        CloudflareError: The item is refused.
    """
    model = visit.model
    if model is None or model.traits is None:
        raise no_such_model(model.id if model else "")
    check_body(body, model, "run")
    ask = read_ask({**body, "stream": False}, model, "run")
    check_ask(ask, body)
    return run_result(ask, generate(ask, seed=visit.state.seed, serial=visit.incoming.record.number * 10_000 + place))


def _licence(visit: Visit, body: Json) -> Reply | None:
    """Refuse until `{"prompt": "agree"}` was sent once for the account (Q48)."""
    if isinstance(body, dict) and str(body.get("prompt", "")).strip().lower() == _LICENCE_PROMPT:
        visit.state.agreed.add(visit.account)
        return visit.reply(success({"response": "Thank you for agreeing to the licence."}))
    if visit.account not in visit.state.agreed:
        raise CloudflareError(
            403,
            5016,
            "AiError: Model Agreement: Prior to using this model, you must submit the prompt 'agree'.",
        )
    return None


def _check_responses_route(body: Json, form: str, model: str) -> None:
    """Allow gpt-oss only, and no stream (Q8). The service's own wording for either is not known."""
    if form != "gpt-oss":
        raise invalid(f"Responses API is not supported for model {model}")
    if isinstance(body, dict) and body.get("stream"):
        raise bad_input("enum true not in false at '/stream'")


def _unstreamed(ask: Ask, made: Generation) -> Json:
    match ask.route:
        case "run":
            return success(run_result(ask, made))
        case "chat":
            return chat_completion(ask, made)
        case "responses":
            return response_object(ask, made)


def _streamed(visit: Visit, ask: Ask, made: Generation) -> Reply | None:
    """Stream an answer; return nothing where the service answers a stream request with plain JSON."""
    assert ask.model.traits is not None  # noqa: S101 - only text models come here
    scenario = visit.scenario
    if scenario.stream_json == "error":
        return visit.reply(failure(8005, "AiError: Internal error during inference"))
    empty = ask.route == "run" and ask.model.traits.run_stream == "empty"
    if scenario.stream_json == "empty" or (empty and ask.schema is None):
        # Q6: a success that holds nothing.
        return visit.reply(success({}))
    if scenario.stream_json == "answer" or ask.schema is not None:
        return None  # JSON mode cannot stream (Q27)
    frames: Iterable[Frame] = chat_frames(ask, made) if ask.route == "chat" else run_frames(ask, made)
    return visit.stream(frames)
