"""All that can be asked: the accounts, and what is known of them and their models."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from app.cloudflare.client import CloudflareClient
from app.core.caller import Caller
from app.core.errors import ApiError
from app.core.model import Model
from app.core.request import GenerationRequest
from app.exchange.attempts import Patience, RetryBudget
from app.exchange.health import Health
from app.exchange.route import Account, Route, Rules, Target
from app.exchange.targets import suffices

T = TypeVar("T")

_NO_MODEL: Final = Model("")

IMPATIENT: Final = Patience(retries=0)


class Upstream:
    """Workers AI, by way of one account or several of the same owner.

    Args:
        accounts: The accounts, in the order of preference.
        clock: Unix seconds.
        roll: A random number from 0 to 1, for pauses.
        patience: How much is done for one request.
        health: What is known of the targets; ``None`` to remember nothing.
        total_seconds: How long an answer may take all in all, from its first call to its last byte; ``None`` for ever.
        believes_quota: When all accounts have used up their quota, none is asked before it is renewed.
        sleep: Waits for so many seconds.

    Attributes are the arguments.
    """

    def __init__(
        self,
        accounts: Sequence[Account],
        *,
        clock: Callable[[], float],
        roll: Callable[[], float],
        patience: Patience = IMPATIENT,
        health: Health | None = None,
        total_seconds: float | None = None,
        believes_quota: bool = True,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.accounts = tuple(accounts)
        self.health = health
        self.total_seconds = total_seconds
        self.sleep = sleep
        self._rules = Rules(health, patience, RetryBudget(), clock, roll, believes_quota)
        # Conversions need other permissions than models, and say nothing about them.
        self._other_rules = Rules(None, patience, RetryBudget(), clock, roll)

    @property
    def through_gateway(self) -> bool:
        """Models are called through an AI Gateway."""
        return any(account.client.gateway is not None for account in self.accounts)

    def route(
        self,
        request: GenerationRequest,
        model: Model,
        fallbacks: Sequence[Model],
        caller: Caller,
        *,
        retries: bool = True,
    ) -> Route:
        """The way of one request: its model on every account, then every model that may take its place.

        Args:
            request: What to generate.
            model: What is to generate it.
            fallbacks: What may be asked in its place, in order, as far as it can do what is asked.
            caller: Who asks; nothing is asked that this caller may not use.
            retries: ``False`` never to ask the same target again.
        """
        first, *more = self.accounts
        others: Sequence[Target] = [(account, model) for account in more] if more else ()
        if fallbacks:
            able = [other for other in fallbacks if caller.may_use(*other.names) and suffices(request, other)]
            others = [*others, *((account, other) for other in able for account in self.accounts)]
        return Route(first, model, others, self._rules, retries=retries)

    def task_route(self, model: Model, *, retries: bool = True) -> Route:
        """The way of one call of a model that does not generate text: the model on every account, and no other model.

        Args:
            model: The model.
            retries: ``False`` never to ask the same account again.
        """
        first, *more = self.accounts
        return Route(first, model, [(account, model) for account in more], self._rules, retries=retries)

    async def post_files(self, path: str, files: Sequence[tuple[str, bytes, str]]) -> bytes:
        """Send files as a form; return the whole JSON body of the answer, from the first account that gives one.

        Raises:
            ApiError: None does.
        """
        return await self._call(lambda client: client.post_files(path, files))

    async def aclose(self) -> None:
        """Close every connection."""
        for account in self.accounts:
            await account.client.aclose()

    async def _call(self, do: Callable[[CloudflareClient], Awaitable[T]]) -> T:
        first, *more = self.accounts
        route = Route(first, _NO_MODEL, [(account, _NO_MODEL) for account in more], self._other_rules)
        route.start()
        while True:
            try:
                return await do(route.account.client)
            except ApiError as error:
                wait = route.after(error, math.inf)
                if wait is None:
                    raise
            if wait:
                await self.sleep(wait)
