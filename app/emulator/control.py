"""The control plane under `/_emulator/`: what was received, which faults come next."""

import dataclasses
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from app.emulator.jsonvalue import Json
from app.emulator.scenarios import SCENARIOS, described
from app.emulator.state import EmulatorState, QueuedFault

# Besides the scenarios: any status and body one likes.
ANY_STATUS = "status"


def control_routes(state: EmulatorState) -> list[Route]:
    """Return the control plane's routes.

    - `GET requests`: every request with its fate; `DELETE requests` forgets them.
    - `GET faults`, `POST faults`, `DELETE faults`: the queue of faults.
    - `GET streams`: `{open, in_flight}`, the streams being written and the requests being served.
    - `GET scenarios`, `GET healthz`.
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
                state.faults.append(_fault(orjson.loads(await request.body())))
            except (ValueError, TypeError) as problem:
                return JSONResponse({"error": str(problem)}, status_code=400)
        return JSONResponse([_shown(fault) for fault in state.faults])

    async def streams(_request: Request) -> Response:
        return JSONResponse({"open": state.open_streams, "in_flight": state.in_flight})

    async def scenarios(_request: Request) -> Response:
        return JSONResponse(described())

    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return [
        Route("/_emulator/requests", requests, methods=["GET", "DELETE"]),
        Route("/_emulator/faults", faults, methods=["GET", "POST", "DELETE"]),
        Route("/_emulator/streams", streams),
        Route("/_emulator/scenarios", scenarios),
        Route("/_emulator/healthz", healthz),
    ]


def _fault(asked: Json) -> QueuedFault:
    """Read `{"fault": name, "times": 1, "model": …, "path": …, "seconds": …}`; `times: null` means always.

    `{"plan": "free"}` is short for the fault `free-plan` for good.
    """
    if not isinstance(asked, dict):
        raise TypeError("a fault is an object")
    if "plan" in asked and "fault" not in asked:
        if asked["plan"] != "free":
            raise ValueError("the only other plan is free")
        asked = {"times": None, **asked, "fault": "free-plan"}
    fields = {field.name for field in dataclasses.fields(QueuedFault)} - {"name"}
    unknown = set(asked) - fields - {"fault", "plan"}
    if unknown:
        raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
    name = asked.get("fault")
    if name not in SCENARIOS and name != ANY_STATUS:
        raise ValueError(f"unknown fault: {name}")
    times = asked.get("times", 1)
    if times is not None and (not isinstance(times, int) or times < 1):
        raise ValueError("times is a number from 1, or null for always")
    return QueuedFault(name, **{key: value for key, value in asked.items() if key in fields})


def _shown(fault: QueuedFault) -> dict[str, Any]:
    row = dataclasses.asdict(fault)
    return {"fault": row.pop("name"), **row}
