"""Cloudflare's failure envelope."""

from typing import Any

from app.emulator.jsonvalue import Json


class CloudflareError(Exception):
    """A refusal, answered as `{"result":null,"success":false,"errors":[{code,message}],"messages":[]}`.

    Attributes:
        status: HTTP status.
        code: Cloudflare's numeric code.
        message: Text; Workers AI's own begin with `AiError: `.
        result: `None`, or `{}` where the service sends an empty object.
    """

    def __init__(self, status: int, code: int, message: str, *, result: Json = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.result = result

    def body(self) -> dict[str, Any]:
        """Return the envelope."""
        return failure(self.code, self.message, result=self.result)


def failure(code: int, message: str, *, result: Json = None) -> dict[str, Any]:
    """Build a failure envelope."""
    return {
        "result": result,
        "success": False,
        "errors": [{"code": code, "message": message}],
        "messages": [],
    }


def success(result: Json, **more: Json) -> dict[str, Any]:
    """Build a success envelope."""
    return {"result": result, "success": True, "errors": [], "messages": [], **more}


def bad_input(text: str) -> CloudflareError:
    """A body that breaks the model's schema: 400/5006."""
    return CloudflareError(400, 5006, f"AiError: Bad input: Error: {text}")


def invalid(text: str) -> CloudflareError:
    """A body that fits the schema but not the service: 400/8001."""
    return CloudflareError(400, 8001, f"AiError: Invalid input: {text}")


def engine_refused(text: str) -> CloudflareError:
    """A refusal by the serving engine, passed on: 400/8007, with an empty object as result."""
    return CloudflareError(400, 8007, f"AiError: {text}", result={})


def no_such_model(model: str) -> CloudflareError:
    """An id that the catalogue does not have: 400/5007."""
    return CloudflareError(400, 5007, f"AiError: No such model {model} or task")


def no_route(path: str) -> CloudflareError:
    """A path whose account or object is malformed: 404/7003."""
    return CloudflareError(404, 7003, f"Could not route to {path}, perhaps your object identifier is invalid?")


def not_found() -> CloudflareError:
    """A path that leads nowhere: 404/7000."""
    return CloudflareError(404, 7000, "No route for that URI")


def wrong_method(method: str) -> CloudflareError:
    """A known path with another method: 405/7001."""
    return CloudflareError(405, 7001, f"{method} not supported for requested URI.")


def unauthenticated() -> CloudflareError:
    """A missing or unknown token: 401/10000."""
    return CloudflareError(401, 10000, "Authentication error")
