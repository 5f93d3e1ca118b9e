"""What the token may do, and which AI Gateways there are.

Everything is allowed unless it was told otherwise. A token that lacks a permission gets 403/10000, as one that belongs
to another account does; the list of accounts is empty for a token that may not see them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from starlette.requests import Request

from app.emulator.canned import FAILURES, Canned
from app.emulator.errors import CloudflareError

Ability = Literal["run", "list", "gateways", "accounts"]
"""What a token may do: run models, list them, read the gateways, see the accounts."""

GATEWAY_HEADER = "cf-aig-authorization"


@dataclass(frozen=True, slots=True)
class Rights:
    """What the token may do.

    Attributes:
        abilities: All of it; `None` for everything.
        gateways: The AI Gateways that exist, each with the token that it wants or `None`; `None` for any name.
    """

    abilities: frozenset[str] | None = None
    gateways: Mapping[str, str | None] | None = None

    @classmethod
    def read(cls, abilities: Collection[str] | None, gateways: Mapping[str, str | None] | None) -> "Rights":
        """Check what was asked for.

        Raises:
            ValueError: There is no such ability.
        """
        for ability in abilities or ():
            if ability not in get_args(Ability):
                raise ValueError(f"a token may {', '.join(get_args(Ability))}, not {ability}")
        return cls(None if abilities is None else frozenset(abilities), gateways)

    def demand(self, ability: Ability) -> None:
        """Refuse what the token may not do.

        Raises:
            CloudflareError: 403/10000.
        """
        if self.abilities is not None and ability not in self.abilities:
            raise CloudflareError(403, 10000, "Authentication error")

    def at_gateway(self, request: Request) -> Canned | None:
        """Return how a gateway refuses a request: it does not exist, or wants its own token; nothing if it does not."""
        if self.gateways is None:
            return None
        name = str(request.path_params["gateway"])
        if name not in self.gateways:
            return FAILURES["gateway-error"][0]
        wanted = self.gateways[name]
        given = request.headers.get(GATEWAY_HEADER, "").removeprefix("Bearer ").strip()
        return FAILURES["gateway-unauthorized"][0] if wanted is not None and given != wanted else None


EVERYTHING = Rights()
"""A token that may do everything, and gateways of any name."""
