"""What the administration is sent: strictly read, because a misspelt limit would be a limit that does not hold."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import date, datetime
from typing import Any, Final, TypeVar

from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import Request

from app.core.errors import BadRequest
from app.core.key import ApiKey
from app.core.limits import BUDGETS, bounds
from app.keys.fields import LIMITS, FieldError, checked_metadata, checked_models, checked_name, checked_time, nearest
from app.surfaces import fields

KEY_FIELDS: Final = ("name", "models", "expires_at", *LIMITS, "metadata")
"""What can be set of a key."""

MOST_KEEP_SECONDS: Final = 30 * 86_400
"""How long the key before a rotation may be accepted beside the new one."""

_LAST_SECOND: Final = 253_402_300_799
"""The end of the year 9999: what is later was meant in milliseconds."""

_TIME_FORMS: Final = "Unix seconds, or a time with its offset such as 2027-01-01T00:00:00Z"

T = TypeVar("T")


class Edit(Struct, frozen=True):
    """What a body sets of a key.

    Attributes:
        values: By the names of ``ApiKey``'s attributes; what was null has its default.
        limits: By the names of limits; ``None`` for none.
    """

    values: Mapping[str, Any]
    limits: Mapping[str, Any]

    def applied(self, key: ApiKey) -> ApiKey:
        """A key with it; all else stays as it is."""
        return replace(key, **self.values, limits=replace(key.limits, **self.limits))


def read_edit(body: Mapping[str, Any], now: float) -> Edit:
    """Read what is to be set of a key: null clears, and what is absent stays.

    Args:
        body: The request's body.
        now: The time, in Unix seconds: keys do not expire before it.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    refuse_unknown(body, KEY_FIELDS)
    values: dict[str, Any] = {}
    if "name" in body:
        name = fields.string(body, "name")
        if name is None:
            raise fields.wrong_type(("name",), "a string", None)
        values["name"] = _checked("name", checked_name, name)
    if "models" in body:
        values["models"] = _checked("models", checked_models, fields.strings(body, "models") or ())
    if "expires_at" in body:
        values["expires_at"] = _expiry(body["expires_at"], now)
    if "metadata" in body:
        values["metadata"] = _checked("metadata", checked_metadata, fields.metadata(body) or {})
    return Edit(values, {name: _limit(body, name) for name in LIMITS if name in body})


def read_new(body: Mapping[str, Any], now: float) -> Edit:
    """Read what a new key is to be; it needs a name.

    Raises:
        BadRequest: With the path of the field at fault.
    """
    edit = read_edit(body, now)
    fields.need(body.get("name"), "name")
    return edit


def read_keep_seconds(body: Mapping[str, Any]) -> int:
    """Read for how long the key before a rotation stays accepted; not at all, where nothing is said.

    Raises:
        BadRequest: It is malformed.
    """
    refuse_unknown(body, ("keep_seconds",))
    return fields.integer(body, "keep_seconds", minimum=0, maximum=MOST_KEEP_SECONDS) or 0


def refuse_unknown(given: Iterable[str], known: Collection[str]) -> None:
    """Refuse what has a name that is not known.

    Raises:
        BadRequest: The first of them.
    """
    for name in given:
        if name not in known:
            shown = name[: fields.SHOWN_CHARACTERS]
            hint = nearest(name, tuple(known)) or "."
            raise BadRequest(f"Unknown parameter: '{shown}'{hint}", param=shown, code="unknown_parameter")


def query_flag(request: Request, name: str) -> bool:
    """Read ``true`` or ``false`` from the query; absent is false.

    Raises:
        BadRequest: It is something else.
    """
    text = request.query_params.get(name) or "false"
    if text not in {"true", "false"}:
        raise fields.wrong_value((name,), text, ("true", "false"))
    return text == "true"


def query_integer(request: Request, name: str, *, default: int, minimum: int, maximum: int) -> int:
    """Read an integer from the query.

    Raises:
        BadRequest: It is something else, or out of range.
    """
    text = request.query_params.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdecimal():
        raise fields.wrong_type((name,), "an integer", text)
    value = fields.integer({name: int(text[:9])}, name, minimum=minimum, maximum=maximum)
    return fields.need(value, name)


def _limit(body: Mapping[str, Any], name: str) -> float | None:
    least, most = bounds(name)
    if name in BUDGETS:
        return fields.number(body, name, minimum=least, maximum=most)
    return fields.integer(body, name, minimum=int(least), maximum=int(most))


def _expiry(value: object, now: float) -> float | None:
    if value is None:
        return None
    if isinstance(value, str):
        seconds = _checked("expires_at", checked_time, _moment(value))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        seconds = float(value)
    else:
        raise fields.wrong_type(("expires_at",), _TIME_FORMS, value)
    if seconds > _LAST_SECOND:
        raise fields.invalid(("expires_at",), f"it is too late. Expected {_TIME_FORMS}.")
    if seconds <= now:
        raise fields.invalid(("expires_at",), "it is in the past. To stop a key, revoke it.")
    return seconds


def _moment(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise fields.invalid(("expires_at",), f"expected {_TIME_FORMS}.") from None


def _checked(name: str, check: Callable[[Any], T], value: object) -> T:
    try:
        return check(value)
    except FieldError as error:
        raise fields.invalid((name,), f"it {error}.") from None
