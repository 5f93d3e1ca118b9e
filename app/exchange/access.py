"""Which models a caller may ask."""

from __future__ import annotations

from app.core.caller import Caller
from app.core.errors import Forbidden
from app.core.model import Model


def check_access(caller: Caller, asked: str, model: Model) -> None:
    """Let a caller ask its own models only.

    Args:
        caller: Who asks.
        asked: The model as the caller named it.
        model: The model that is meant.

    Raises:
        Forbidden: It is none of the caller's.
    """
    if not caller.may_use(asked, *model.names):
        message = f"The key '{caller.id}' does not have access to the model '{asked}'."
        raise Forbidden(message, param="model", code="model_not_found")
