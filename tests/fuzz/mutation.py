"""Making something nearly right out of something right, the same again from the same random numbers."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, TypeVar

from app.wire.codec import CodecError, decode_leniently
from tests.fuzz.corpus import FIELDS, FRAMES, STREAMS, TEXTS, VALUES

T = TypeVar("T")

_SIGNS = (b"\n", b"\r", b"\r\n", b"\n\n", b":", b"data:", b"\xe2\x80\xa8", b"\xff")


def pick(rng: Random, choices: Sequence[T]) -> T:
    """One of some; several times as fast as the library's own, which is most of what a case costs."""
    return choices[int(rng.random() * len(choices))]


def changed_frames(frames: Sequence[bytes], rng: Random) -> list[bytes]:
    """Frames of which some are missing, doubled, swapped, strange, changed, or from another stream."""
    made = list(frames)
    for _ in range(int(rng.random() * 5)):
        place = int(rng.random() * (len(made) + 1))
        match int(rng.random() * 10):
            case 0:
                del made[place : place + 1 + int(rng.random() * 3)]
            case 1:
                made[place:place] = made[place : place + 1]
            case 2 if place < len(made):
                other = int(rng.random() * len(made))
                made[place], made[other] = made[other], made[place]
            case 3:
                made.insert(place, pick(rng, FRAMES))
            case 4:
                made.insert(place, pick(rng, pick(rng, STREAMS).frames))
            case 5 if place < len(made):
                made[place] = changed_bytes(made[place], rng)
            case _ if made:
                place = min(place, len(made) - 1)
                made[place] = changed_json(made[place], rng)
    return made


def changed_json(data: bytes, rng: Random) -> bytes:
    """JSON with one to three things replaced, removed, added or doubled; other bytes when it is none."""
    try:
        value = decode_leniently(data)
    except CodecError:
        return changed_bytes(data, rng)
    return json.dumps(changed_value(value, rng)).encode()


def changed_value(value: Any, rng: Random) -> Any:
    """A JSON value with one to three things replaced, removed, added or doubled."""
    value = copy.deepcopy(value)
    for _ in range(1 + int(rng.random() * 3)):
        spots = list(_spots(value))
        if not spots:
            return pick(rng, VALUES)
        holder, step = pick(rng, spots)
        match int(rng.random() * 8):
            case 0:
                del holder[step]
            case 1 if isinstance(holder, list):
                holder.insert(step, copy.deepcopy(holder[step]))
            case 2 if isinstance(holder, dict):
                holder[pick(rng, FIELDS)] = copy.deepcopy(pick(rng, VALUES))
            case 3 if isinstance(holder[step], str):
                place = int(rng.random() * (len(holder[step]) + 1))
                holder[step] = holder[step][:place] + pick(rng, TEXTS) + holder[step][place:]
            case 4:
                holder[step] = pick(rng, TEXTS)
            case 5:
                holder[step] = [holder[step]] if rng.random() < 0.5 else {pick(rng, FIELDS): holder[step]}
            case _:
                holder[step] = copy.deepcopy(pick(rng, VALUES))
    return value


def _spots(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a value: what holds it, and its key or index there."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield value, key
            yield from _spots(inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield value, index
            yield from _spots(inner)


def changed_bytes(data: bytes, rng: Random) -> bytes:
    """Bytes of which some are flipped, cut out, doubled, or others."""
    made = bytearray(data)
    for _ in range(1 + int(rng.random() * 3)):
        start = int(rng.random() * (len(made) + 1))
        size = 1 + int(rng.random() * 12)
        match int(rng.random() * 5):
            case 0 if start < len(made):
                made[start] ^= 1 << int(rng.random() * 8)
            case 1:
                del made[start : start + size]
            case 2:
                made[start:start] = made[start : start + size]
            case 3:
                made[start:start] = pick(rng, _SIGNS)
            case _:
                made[start:start] = rng.randbytes(size)
    return bytes(made)


def written_as_stream(frames: Sequence[bytes], rng: Random) -> bytes:
    """Frames as an event stream, with the freedoms that the standard gives."""
    end = pick(rng, (b"\n", b"\n", b"\n", b"\n", b"\r\n", b"\r"))
    plain = rng.random() < 0.7
    pieces: list[bytes] = []
    for frame in frames:
        if not plain:
            pieces.append(pick(rng, (b"", b": note" + end, b"event: x" + end, b"id: 1" + end, b"retry: 9" + end, end)))
        lead = b"data: " if plain or rng.random() < 0.8 else b"data:"
        pieces.append(lead + frame.replace(b"\n", end + b"data: ") + end + end)
    return b"".join(pieces)


def cut(data: bytes, rng: Random) -> list[bytes]:
    """Data as the network may bring it: whole, in a few pieces, or in many small ones."""
    how = rng.random()
    if how < 0.4 or len(data) < 2:
        return [data]
    if how < 0.8:
        places = sorted(int(rng.random() * len(data)) for _ in range(1 + int(rng.random() * 6)))
        bounds = [0, *places, len(data)]
        return [data[start:end] for start, end in itertools.pairwise(bounds) if start < end]
    size = pick(rng, (1, 2, 3, 7, 16, 64)) if len(data) < 4096 else 1024
    return [data[start : start + size] for start in range(0, len(data), size)]
