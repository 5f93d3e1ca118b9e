"""What Cloudflare's API says about tokens, accounts and AI Gateways."""

from typing import Any

from app.emulator.endpoint import Visit
from app.emulator.errors import CloudflareError, success
from app.emulator.reply import Reply


def verify_token(visit: Visit) -> Reply:
    """Check a token: user tokens on the user's route, account tokens on the account's, plain ones on both."""
    _, _, token = visit.request.headers.get("authorization", "").partition(" ")
    other = "cfut_" if visit.account else "cfat_"
    if token.strip().startswith(other):
        raise CloudflareError(401, 1000, "Invalid API Token")
    note = {"code": 10000, "message": "This API Token is valid and active", "type": None}
    body = success({"id": "0" * 32, "status": "active"})
    return visit.reply({**body, "messages": [note]})


def list_accounts(visit: Visit) -> Reply:
    """List the one account, for a token that may see it."""
    rights, account = visit.state.rights, visit.state.account_id
    seen = account is not None and (rights.abilities is None or "accounts" in rights.abilities)
    rows = [{"id": account, "name": "The emulator's account", "type": "standard"}] if seen else []
    info = {"page": 1, "per_page": 20, "count": len(rows), "total_count": len(rows), "total_pages": 1}
    return visit.reply(success(rows, result_info=info))


def show_gateway(visit: Visit) -> Reply:
    """Show a gateway's settings; 404/7002 when there is none."""
    rights = visit.state.rights
    rights.demand("gateways")
    name = str(visit.request.path_params["gateway"])
    if rights.gateways is not None and name not in rights.gateways:
        raise CloudflareError(404, 7002, "Gateway not found")
    shown: dict[str, Any] = {
        "id": name,
        "authentication": rights.gateways is not None and rights.gateways[name] is not None,
        "cache_invalidate_on_update": False,
        "cache_ttl": 0,
        "collect_logs": True,
        "rate_limiting_interval": 0,
        "rate_limiting_limit": 0,
        "created_at": "2025-08-05T10:27:29.131Z",
        "modified_at": "2025-08-05T10:27:29.131Z",
    }
    return visit.reply(success(shown))
