"""The native route, which every model has: Cloudflare's own envelope, and streams of ``response`` fields."""

from __future__ import annotations

from typing import Final

from app.core.model import Model
from app.core.request import GenerationRequest
from app.core.upstream import Reader, UpstreamRequest
from app.dialects.body import write_body
from app.dialects.choice import is_raw
from app.dialects.emulated import reader_for
from app.dialects.emulation import emulation_for

PREFIX: Final = "/run/"


class NativeDialect:
    """What Cloudflare speaks on ``/ai/run/{model}``."""

    name = "native"

    def write(self, request: GenerationRequest, model: Model, *, stream: bool) -> UpstreamRequest:
        """Translate a request.

        Args:
            request: What to generate.
            model: The model that will do it.
            stream: Ask for a stream where the model and the features in use can stream.

        Raises:
            BadRequest: A feature that this model does not have, named by its field.
        """
        written = write_body(request, model, raw=model.shape != "openai" and is_raw(request))
        # Asked for a stream here, models of the newer shapes answer with an empty unstreamed result.
        stream = stream and written.streams and model.shape == "legacy"
        notes = written.notes
        # The model's id keeps its "@" and slashes: escaped, it is not found.
        return UpstreamRequest(
            PREFIX + model.id,
            {**written.json, "stream": stream},
            stream,
            written.max_tokens,
            dropped=tuple(notes.dropped),
            adjusted=tuple(notes.adjusted),
            emulation=emulation_for(request),
        )

    def reader(self, sent: UpstreamRequest, model: Model, now: float) -> Reader:
        """Make a reader for the answer to ``sent``; ``now`` is the Unix time, for errors that name a deadline."""
        return reader_for(sent, model, now)
