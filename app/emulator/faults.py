"""How a fault is asked for: as a word with its options, or as an object on the control plane."""

import dataclasses
import re

import orjson

from app.emulator.canned import JSON, Canned
from app.emulator.jsonvalue import Json
from app.emulator.scenarios import SCENARIOS, Scenario
from app.emulator.state import QueuedFault

# Besides the scenarios: any status and body one likes.
ANY_STATUS = "status"
_WORD = re.compile(r"(?P<name>[a-z0-9-]+)(?::(?P<seconds>\d+(?:\.\d+)?))?(?:\*(?P<times>[1-9]\d*))?")


def scenario_called(word: str) -> Scenario:
    """Return the scenario that `NAME` or `NAME:SECONDS` asks for.

    Raises:
        ValueError: There is none of that name, or the pause is no number.
    """
    found = _WORD.fullmatch(word)
    if found is None or found["times"] or found["name"] not in SCENARIOS:
        raise ValueError(f"unknown fault: {word}")
    return paced(SCENARIOS[found["name"]], None if found["seconds"] is None else float(found["seconds"]))


def fault_from_word(word: str) -> QueuedFault:
    """Read `NAME[:SECONDS][*TIMES]`, as on the command line; without `*TIMES` it stays for good.

    Raises:
        ValueError: There is none of that name, or an option is no number.
    """
    found = _WORD.fullmatch(word)
    if found is None or found["name"] not in SCENARIOS:
        raise ValueError(f"unknown fault: {word}")
    times, seconds = found["times"], found["seconds"]
    return QueuedFault(
        found["name"], times=int(times) if times else None, seconds=float(seconds) if seconds is not None else None
    )


def fault_from_object(asked: Json) -> QueuedFault:
    """Read `{"fault": name, "times": 1, "model": …, "path": …, "seconds": …}`; `times: null` means always.

    `{"plan": "free"}` is short for the fault `free-plan` for good.

    Raises:
        TypeError: It is no object.
        ValueError: It makes no sense; the text says what.
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


def scenario_of(fault: QueuedFault) -> Scenario:
    """Return the scenario that a queued fault plays."""
    if fault.name == ANY_STATUS:
        body = fault.body if isinstance(fault.body, str) else orjson.dumps(fault.body or {}).decode()
        kind = "text/html" if body.startswith("<") else JSON
        canned = Canned(fault.status or 500, body.encode(), kind, dict(fault.headers))
        return Scenario(fault.name, "a status and a body of choice", "", canned=canned)
    return paced(SCENARIOS[fault.name], fault.seconds)


def paced(scenario: Scenario, seconds: float | None) -> Scenario:
    """Return a scenario with another pause, if one is named."""
    if seconds is None:
        return scenario
    if scenario.first_byte:
        return dataclasses.replace(scenario, first_byte=seconds)
    return dataclasses.replace(scenario, seconds=seconds)
