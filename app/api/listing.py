"""Which routes there are, and which of OpenAI's there are not: for the documentation, and for whoever asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Served(NamedTuple):
    """A route that is served.

    Attributes:
        methods: Its methods.
        path: Its path; what stands for an id is in braces.
        what: What it is, for the documentation; Markdown.
    """

    methods: tuple[str, ...]
    path: str
    what: str


SERVED: Final = (
    Served(("POST",), "/v1/chat/completions", "Chat Completions"),
    Served(("POST",), "/v1/completions", "the older Completions, each prompt as a user's message"),
    Served(("POST",), "/v1/responses", "Responses: streamed or not, stored, continued, in the background"),
    Served(("GET",), "/v1/responses", "the same as a WebSocket: `response.create` messages; see below"),
    Served(
        ("GET", "DELETE"),
        "/v1/responses/{response_id}",
        "what was answered; `?stream=true&starting_after=N` follows a background response",
    ),
    Served(("POST",), "/v1/responses/{response_id}/cancel", "ends background work"),
    Served(("GET",), "/v1/responses/{response_id}/input_items", "the whole context, page by page"),
    Served(("POST",), "/v1/responses/input_tokens", "the size of a request, estimated (`x-flarelay-estimated: true`)"),
    Served(("POST",), "/v1/responses/compact", "the user's latest messages and a sealed summary, to go on with"),
    Served(("POST",), "/v1/conversations", "conversations"),
    Served(("GET", "POST", "DELETE"), "/v1/conversations/{conversation_id}", "one conversation"),
    Served(("GET", "POST"), "/v1/conversations/{conversation_id}/items", "its items"),
    Served(("GET", "DELETE"), "/v1/conversations/{conversation_id}/items/{item_id}", "one of them"),
    Served(("POST",), "/v1/embeddings", "Embeddings"),
    Served(("POST",), "/v1/moderations", "Moderations, by Llama Guard"),
    Served(("POST",), "/v1/rerank", "ranking documents by a query, in the form of Jina and Cohere"),
    Served(("POST",), "/v1/audio/transcriptions", "speech to text"),
    Served(("POST",), "/v1/audio/translations", "speech to English text"),
    Served(("POST",), "/v1/audio/speech", "text to speech"),
    Served(("POST",), "/v1/images/generations", "pictures from a text"),
    Served(("POST",), "/v1/images/edits", "pictures changed by a text"),
    Served(("POST",), "/v1/images/variations", "pictures like another one"),
    Served(("GET",), "/v1/images/temporary/{name}", "a picture by the URL that it was told with; no key is needed"),
    Served(("GET", "POST"), "/v1/files", "files: list, upload"),
    Served(("GET", "DELETE"), "/v1/files/{file_id}", "one of them"),
    Served(("GET",), "/v1/files/{file_id}/content", "its bytes"),
    Served(("GET", "POST"), "/v1/batches", "batches: list, create"),
    Served(("GET",), "/v1/batches/{batch_id}", "one of them"),
    Served(("POST",), "/v1/batches/{batch_id}/cancel", "ends it"),
    Served(("GET",), "/v1/models", "the catalogue"),
    Served(("GET",), "/v1/models/{model}", "one model"),
    Served(("GET", "POST"), "/admin/keys", "API keys, for the admin key"),
    Served(("GET", "PATCH", "POST", "DELETE"), "/admin/keys/{key_id}", "one of them"),
    Served(("POST",), "/admin/keys/{key_id}/rotate", "gives it a new secret"),
    Served(("GET",), "/admin/usage", "what was used, for the admin key"),
    Served(("GET",), "/admin/limits", "how the limiter and the account's guard stand, for the admin key"),
    Served(("GET",), "/metrics", "metrics for Prometheus"),
    Served(("GET",), "/healthz", "the process lives; no key is needed"),
    Served(("GET",), "/readyz", "it takes requests; no key is needed"),
)
"""Every route, without the forms that have no ``/v1`` in front."""

_STORED_CHATS: Final = "chat completions are not stored; responses are"
_HOSTED: Final = "it runs on OpenAI's own machines"
_ADMINISTRATION: Final = "it administers an organisation at OpenAI; keys and usage are below /admin here"

UNSERVED: Final[Mapping[str, str]] = {
    "/agents": _HOSTED,
    "/assistants": "OpenAI has retired it; use Responses and Conversations",
    "/audio/voice_consents": "the voices of Workers AI's models cannot be added to",
    "/audio/voices": "the voices of Workers AI's models cannot be added to",
    "/chat/completions/{completion_id}": _STORED_CHATS,
    "/chatkit": _HOSTED,
    "/containers": _HOSTED,
    "/content_provenance_checks": "nothing on Workers AI can do it",
    "/decisions": "nothing on Workers AI can do it in this form",
    "/evals": _HOSTED,
    "/fine_tuning": "Workers AI trains no models; adapters are loaded at Cloudflare and named with `lora`",
    "/live": "no model on Workers AI speaks this protocol",
    "/organization": _ADMINISTRATION,
    "/projects": _ADMINISTRATION,
    "/realtime": "no model on Workers AI speaks this protocol",
    "/safety": _HOSTED,
    "/skills": _HOSTED,
    "/threads": "OpenAI has retired it; use Responses and Conversations",
    "/uploads": "files are uploaded in one piece, with /files",
    "/vaults": _HOSTED,
    "/vector_stores": "files are not indexed; embeddings and ranking are served",
    "/videos": "no model on Workers AI makes videos",
    "/webhook_endpoints": "nobody is called back; follow or fetch what works in the background",
    "/webhook_event_types": "nobody is called back; follow or fetch what works in the background",
}
"""What of OpenAI's API is not served, with all below it: the head of its path without ``/v1``, and why."""


def why_unserved(path: str) -> str | None:
    """Why a path of OpenAI's API is not served; ``None`` for any other path.

    Args:
        path: With or without ``/v1`` in front.
    """
    path = path.removeprefix("/v1")
    for head, reason in UNSERVED.items():
        beginning, braces, _ = head.partition("{")
        if path.startswith(beginning) and (braces or path[len(beginning) :][:1] in {"", "/"}):
            return reason
    return None


def served_table() -> str:
    """Write the routes as a Markdown table."""
    rows = [f"| {', '.join(f'`{one}`' for one in route.methods)} | `{route.path}` | {route.what} |" for route in SERVED]
    return "\n".join(["| Method | Path | |", "|---|---|---|", *rows])


def unserved_table() -> str:
    """Write what is not served as a Markdown table."""
    rows = [f"| `/v1{head}` | {reason} |" for head, reason in UNSERVED.items()]
    return "\n".join(["| Path, and all below | Why not |", "|---|---|", *rows])
