"""How a finished body is put on the wire: its writes, its length, its compression."""

import random
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from app.emulator.wire import Signal, Spill, Step, Wait

_GZIP = 16 + zlib.MAX_WBITS
_LARGEST_PIECE = 64
_MISSING = 64


@dataclass(frozen=True, slots=True)
class Delivery:
    """What happens to a body on its way.

    Attributes:
        writes: `frames` as they come, `one` write for all, `bytes` one by one, `pieces` of random size, or
            `characters`: every write ends inside a character of more than one byte, where there is one.
        seed: Seed of the pieces' sizes.
        gzip: Whether the body is compressed, asked for or not.
        length: Whether the announced length is `right`, `long` (more than comes) or `short` (less than comes).
    """

    writes: Literal["frames", "one", "bytes", "pieces", "characters"] = "frames"
    seed: int = 0
    gzip: bool = False
    length: Literal["right", "long", "short"] = "right"


PLAIN = Delivery()


def delivered(steps: Iterable[Step], delivery: Delivery, pause: float) -> tuple[Iterable[Step], int | None]:
    """Return the writes of a body, and the length to announce, or nothing where it is not known beforehand.

    Args:
        steps: The body.
        delivery: What happens to it.
        pause: Seconds before every write of single bytes.
    """
    if delivery.gzip:
        steps = _compressed(steps)
    if delivery.length != "right":
        body = b"".join(step for step in steps if isinstance(step, bytes))
        if delivery.length == "long":
            return [body, Signal.CUT], len(body) + _MISSING
        half = len(body) // 2
        return [body[:half], Spill(body[half:])], half
    if delivery.writes == "frames":
        return steps, None
    return _written(steps, delivery, pause), None


def _compressed(steps: Iterable[Step]) -> Iterator[Step]:
    press = zlib.compressobj(wbits=_GZIP)
    for step in steps:
        yield press.compress(step) + press.flush(zlib.Z_SYNC_FLUSH) if isinstance(step, bytes) else step
    yield press.flush()


def _written(steps: Iterable[Step], delivery: Delivery, pause: float) -> Iterator[Step]:
    if delivery.writes == "one":
        yield from _joined(steps)
        return
    rng = random.Random(delivery.seed)  # noqa: S311 - reproducible on purpose
    for step in steps:
        if not isinstance(step, bytes):
            yield step
            continue
        for piece in _pieces(step, delivery, rng):
            if pause > 0:
                yield Wait(pause)
            yield piece


def _joined(steps: Iterable[Step]) -> Iterator[Step]:
    """Keep everything back until the end, or until the stream breaks or falls silent."""
    held: list[bytes] = []
    for step in steps:
        match step:
            case bytes():
                held.append(step)
            case Wait():
                continue
            case _:
                yield b"".join(held)
                held.clear()
                yield step
    if held:
        yield b"".join(held)


def _pieces(data: bytes, delivery: Delivery, rng: random.Random) -> Iterator[bytes]:
    match delivery.writes:
        case "bytes":
            cuts = list(range(1, len(data)))
        case "characters":
            cuts = [place for place in range(1, len(data)) if data[place] & 0xC0 == 0x80]
        case _:
            cuts = []
            place = rng.randint(1, _LARGEST_PIECE)
            while place < len(data):
                cuts.append(place)
                place += rng.randint(1, _LARGEST_PIECE)
    start = 0
    for cut in [*cuts, len(data)]:
        yield data[start:cut]
        start = cut
