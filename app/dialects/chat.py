"""The chat route, which speaks OpenAI's Chat Completions: it streams, and serves every model that converses."""

from __future__ import annotations

from typing import Any, Final

from app.core.model import Model
from app.core.request import GenerationRequest
from app.core.upstream import Reader, UpstreamRequest
from app.dialects.body import write_body
from app.dialects.emulated import reader_for
from app.dialects.emulation import emulation_for

PATH: Final = "/v1/chat/completions"


class ChatDialect:
    """What Cloudflare speaks on ``/ai/v1/chat/completions``."""

    name = "chat"

    def write(self, request: GenerationRequest, model: Model, *, stream: bool) -> UpstreamRequest:
        """Translate a request.

        Args:
            request: What to generate.
            model: The model that will do it.
            stream: Ask for a stream where the features in use can stream.

        Raises:
            BadRequest: A feature that this model does not have, named by its field.
        """
        written = write_body(request, model)
        stream = stream and written.streams
        body: dict[str, Any] = {"model": model.id, **written.json, "stream": stream}
        if stream and model.shape == "openai":
            body["stream_options"] = {"include_usage": True}
        notes = written.notes
        return UpstreamRequest(
            PATH,
            body,
            stream,
            written.max_tokens,
            dropped=tuple(notes.dropped),
            adjusted=tuple(notes.adjusted),
            emulation=emulation_for(request),
        )

    def reader(self, sent: UpstreamRequest, model: Model, now: float) -> Reader:
        """Make a reader for the answer to ``sent``; ``now`` is the Unix time, for errors that name a deadline."""
        return reader_for(sent, model, now)
