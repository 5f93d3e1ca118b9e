"""How long a model thinks: OpenAI's efforts as the nearest that the model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from app.core.model import Model
from app.dialects.notes import Notes

SCALE: Final = ("minimal", "low", "medium", "high", "xhigh", "max")
"""From the least to the most."""

OFF: Final = "none"

_SCHEMAS: Final = ("low", "medium", "high")
"""What OpenAI's shape takes where the catalogue does not say."""

_THINKING_OFF: Final = {"enable_thinking": False, "thinking": False}
"""Templates differ in the name of the switch, and ignore the other's."""


def write_effort(effort: str | None, model: Model, notes: Notes) -> dict[str, Any]:
    """Write the fields that set how long the model thinks."""
    if effort is None:
        return {}
    if effort == OFF and (off := write_thinking_off(model)):
        return off
    efforts = model.reasoning_efforts
    takes = efforts.supported if efforts is not None else _SCHEMAS if _is_switched(model) else ()
    supported = [name for name in SCALE if name in takes]
    if not supported:
        # A model that does not think already does what "none" asks for.
        if effort != OFF or model.reasoning:
            notes.drop("reasoning_effort")
        return {}
    chosen = _nearest(effort, supported)
    if chosen != effort:
        notes.adjust("reasoning_effort")
    return {"reasoning_effort": chosen}


def write_thinking_off(model: Model) -> dict[str, Any]:
    """Write the fields that turn thinking off, where the model can do without; nothing where it cannot."""
    efforts = model.reasoning_efforts
    if efforts is not None and efforts.mandatory:
        return {}
    off: dict[str, Any] = {"reasoning_effort": OFF} if efforts is not None and OFF in efforts.supported else {}
    if _is_switched(model):
        off["chat_template_kwargs"] = dict(_THINKING_OFF)
    return off


def _is_switched(model: Model) -> bool:
    """Its template has a switch for thinking."""
    return model.shape == "openai" and (model.reasoning or model.reasoning_efforts is not None)


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
