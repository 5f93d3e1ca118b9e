"""Routes whose endpoints take a request and the parts of its path, and return an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Concatenate

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Routes(list[Route]):
    """Routes of Starlette's.

    FastAPI's own make models of every endpoint's parameters, which takes a tenth of the start; here they are read
    otherwise, so that their errors are OpenAI's.
    """

    def add(self, path: str, endpoint: Callable[Concatenate[Request, ...], Awaitable[Response]], *methods: str) -> None:
        """Add a route.

        Args:
            path: With its parts in braces, as Starlette writes them.
            endpoint: Gets the request and, by their names, the parts.
            methods: The HTTP methods; ``HEAD`` only when it is named.
        """

        async def serve(request: Request) -> Response:
            return await endpoint(request, **request.path_params)

        route = Route(path, serve, methods=methods)
        route.methods = set(methods)
        self.append(route)
