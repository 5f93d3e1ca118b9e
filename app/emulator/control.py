"""The control plane under `/_emulator/`: what was received, what was counted, which faults come next."""

import dataclasses
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.emulator.faults import fault_from_object
from app.emulator.jsonvalue import Json
from app.emulator.scenarios import described
from app.emulator.state import EmulatorState, QueuedFault
from app.emulator.vectors import listed


def control_routes(state: EmulatorState) -> list[Route]:
    """Return the control plane's routes.

    - `GET requests`: every request with its fate; `DELETE requests` forgets them.
    - `GET faults`, `POST faults`, `DELETE faults`: the queue of faults.
    - `GET streams`: `{open, in_flight}`, the streams being written and the requests being served.
    - `GET account`: neurons, requests and refusals by account and model, and who runs and waits at each model;
      `DELETE account` begins to count anew.
    - `GET chaos`: how often chance struck, by kind.
    - `GET replay`: which recordings answered, and what none was found for; `DELETE replay` begins anew.
    - `GET refusing`: `{host, port}`, an address where every connection is refused.
    - `GET scenarios`, `GET vectors`: the faults there are, and what can go wrong with the names that show it.
    - `GET healthz`.
    """

    async def requests(request: Request) -> Response:
        if request.method == "DELETE":
            state.received.clear()
            return Response(status_code=204)
        return JSONResponse([dataclasses.asdict(one) for one in state.received])

    async def faults(request: Request) -> Response:
        if request.method == "DELETE":
            state.faults.clear()
            return Response(status_code=204)
        if request.method == "POST":
            try:
                state.faults.append(fault_from_object(orjson.loads(await request.body())))
            except (ValueError, TypeError) as problem:
                return JSONResponse({"error": str(problem)}, status_code=400)
        return JSONResponse([_shown(fault) for fault in state.faults])

    async def streams(_request: Request) -> Response:
        return JSONResponse({"open": state.open_streams, "in_flight": state.in_flight})

    async def vectors(_request: Request) -> Response:
        return JSONResponse(listed())

    async def scenarios(_request: Request) -> Response:
        return JSONResponse(described())

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return [
        *_ledger_routes(state),
        Route("/_emulator/requests", requests, methods=["GET", "DELETE"]),
        Route("/_emulator/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/_emulator/streams", streams),
        Route("/_emulator/scenarios", scenarios),
        Route("/_emulator/vectors", vectors),
        Route("/_emulator/healthz", healthz),
    ]


def _ledger_routes(state: EmulatorState) -> list[Route]:
    """Return the routes that tell what was counted."""

    async def account(request: Request) -> Response:
        if request.method == "DELETE":
            state.accounts.forget()
            return Response(status_code=204)
        return JSONResponse({**state.accounts.shown(), "capacity": state.capacity.shown()})

    async def chaos(_request: Request) -> Response:
        return _or_absent(state.chaos and state.chaos.shown(), "there is no chaos")

    async def replay(request: Request) -> Response:
        if request.method == "DELETE" and state.library is not None:
            state.library.rewind()
            return Response(status_code=204)
        return _or_absent(state.library and state.library.shown(), "there are no recordings")

    async def refusing(_request: Request) -> Response:
        host, port = state.refusing_address()
        return JSONResponse({"host": host, "port": port})

    return [
        Route("/_emulator/account", account, methods=["GET", "DELETE"]),
        Route("/_emulator/chaos", chaos),
        Route("/_emulator/replay", replay, methods=["GET", "DELETE"]),
        Route("/_emulator/refusing", refusing),
    ]


def _or_absent(shown: Json, otherwise: str) -> Response:
    return JSONResponse({"error": otherwise}, status_code=404) if shown is None else JSONResponse(shown)


def _shown(fault: QueuedFault) -> dict[str, Any]:
    row = dataclasses.asdict(fault)
    return {"fault": row.pop("name"), **row}
