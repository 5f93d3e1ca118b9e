"""How long a model thinks: OpenAI's efforts as the nearest that the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.core.model import Model
from app.dialects.notes import Notes

SCALE: Final = ("minimal", "low", "medium", "high", "xhigh", "max")
"""From the least to the most."""

OFF: Final = "none"

_THINKING_OFF: Final = {"enable_thinking": False, "thinking": False}
"""Templates differ in the name of the switch, and ignore the other's."""


def write_effort(effort: str | None, model: Model, notes: Notes) -> dict[str, Any]:
    """Write the fields that set how long the model thinks."""
    if effort is None:
        return {}
    efforts = model.reasoning_efforts
    supported = [name for name in SCALE if efforts is not None and name in efforts.supported]
    if efforts is None or not supported:
        # A model that does not think already does what "none" asks for.
        if effort != OFF or model.reasoning:
            notes.drop("reasoning_effort")
        return {}
    if effort == OFF and not efforts.mandatory:
        off: dict[str, Any] = {"reasoning_effort": OFF} if OFF in efforts.supported else {}
        if model.shape == "openai":
            off["chat_template_kwargs"] = dict(_THINKING_OFF)
        if off:
            return off
    chosen = _nearest(effort, supported)
    if chosen != effort:
        notes.adjust("reasoning_effort")
    return {"reasoning_effort": chosen}


def _nearest(effort: str, supported: Sequence[str]) -> str:
    if effort in supported:
        return effort
    if effort in (OFF, "minimal"):
        return supported[0]
    if effort not in SCALE or effort in ("xhigh", "max"):
        return supported[-1] if effort in SCALE else supported[len(supported) // 2]
    wanted = SCALE.index(effort)
    # Of two that are as near, the one that thinks longer.
    return min(reversed(supported), key=lambda name: abs(SCALE.index(name) - wanted))
