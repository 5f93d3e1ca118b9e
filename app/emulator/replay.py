"""Answering from recordings in place of the models."""

from collections.abc import Iterator

from app.emulator.endpoint import Visit, for_listing
from app.emulator.errors import CloudflareError
from app.emulator.reply import Reply
from app.emulator.transcripts import Asked, Library, Transcript, asked_of
from app.emulator.wire import Signal, Step, Wait


def answer_recorded(visit: Visit, library: Library, *, timed: bool) -> Reply:
    """Answer a request as it was answered once; a fault that was asked for goes before.

    Args:
        visit: The request.
        library: The recordings.
        timed: Whether headers and chunks come when they came then; at once otherwise.

    Raises:
        CloudflareError: 404/7000: nothing was recorded for it; the message names the request, never its body.
    """
    chosen = for_listing(visit)
    if isinstance(chosen, Reply):
        return chosen
    record = visit.incoming.record
    asked = asked_of(record.method, record.path, visit.request.url.query, visit.incoming.body)
    record.model = asked.model
    found = library.find(asked)
    if found is None:
        raise CloudflareError(404, 7000, _unmatched(asked, library.near(asked)))
    record.scenario = record.scenario or f"recording {found.name}"
    return chosen.send(
        _steps(found, timed=timed),
        found.headers,
        status=found.status,
        size=len(found.body) if found.end == "whole" and not found.streamed else None,
        first_byte=found.started if timed else 0.0,
        streamed=found.streamed,
    )


def _unmatched(asked: Asked, near: int) -> str:
    what = f"{asked.method} {asked.path}" + (f" with the model {asked.model}" if asked.model else "")
    if near:
        return f"No recording for {what}: none of the {near} for it has this body, and all have been served in order"
    return f"No recording for {what}"


def _steps(transcript: Transcript, *, timed: bool) -> Iterator[Step]:
    place, now = 0, transcript.started
    for at, size in transcript.chunks:
        if timed and at > now:
            yield Wait(at - now)
            now = at
        if size:
            yield transcript.body[place : place + size]
            place += size
    if transcript.end != "whole":
        yield Signal.CUT if transcript.end == "cut" else Signal.RESET
