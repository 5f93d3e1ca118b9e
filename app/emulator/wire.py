"""From frames to bytes on the socket, and the ways a stream can go wrong on the way."""

import enum
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import orjson

Frame = dict[str, Any]


class Signal(enum.Enum):
    """What a stream does besides sending a frame."""

    DONE = "done"
    CUT = "cut"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause of some seconds."""

    seconds: float


Part = Frame | bytes | Signal | Wait
Step = bytes | Signal | Wait
Fault = Callable[[Iterable[Frame], float], Iterator[Part]]


@dataclass(frozen=True, slots=True)
class Framing:
    """How frames are written.

    Attributes:
        newline: Line ending.
        prefix: Field name and what follows it.
        bytewise: Whether each byte is a write of its own.
        comments: Whether comment lines come between frames.
    """

    newline: bytes = b"\n"
    prefix: bytes = b"data: "
    bytewise: bool = False
    comments: bool = False


PLAIN = Framing()


def whole(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Everything, and the terminator."""
    yield from frames
    yield Signal.DONE


def steps(parts: Iterable[Part], framing: Framing) -> Iterator[Step]:
    """Write parts as server-sent events; each step is one write."""
    for part in parts:
        match part:
            case dict():
                data = orjson.dumps(part)
            case Signal.DONE:
                data = b"[DONE]"
            case bytes():
                yield from _written(part, framing)
                continue
            case _:
                yield part
                continue
        if framing.comments:
            yield b": keep-alive" + framing.newline * 2
        yield from _written(framing.prefix + data + framing.newline * 2, framing)


def _written(data: bytes, framing: Framing) -> Iterator[bytes]:
    if framing.bytewise:
        yield from (data[place : place + 1] for place in range(len(data)))
    else:
        yield data


def body_steps(body: bytes, fault: Fault, seconds: float, *, bytewise: bool) -> Iterator[Step]:
    """Write an unstreamed body, under the stream faults that make sense for one."""
    half = len(body) // 2
    if fault is slow:
        yield Wait(seconds)
    if fault is cut or fault is stall:
        yield body[:half]
        yield Signal.CUT if fault is cut else Signal.SILENCE
        return
    yield from _written(body, Framing(bytewise=bytewise))


def _parted(frames: Iterable[Frame], texts: int = 3) -> tuple[list[Frame], list[Frame]]:
    """Part a stream after its third piece of text, or before its end when it has less."""
    every = list(frames)
    seen = 0
    for place, frame in enumerate(every):
        seen += _carries_text(frame)
        if seen == texts:
            return every[: place + 1], every[place + 1 :]
    end = next((place for place, frame in enumerate(every) if _ends(frame)), len(every))
    return every[:end], every[end:]


def _choice(frame: Frame) -> dict[str, Any]:
    choices = frame.get("choices")
    return choices[0] if choices else {}


def _carries_text(frame: Frame) -> bool:
    said = _choice(frame).get("delta", {}).get("content") if "choices" in frame else frame.get("response")
    return said is not None and said != ""  # a number 0 is text


def _ends(frame: Frame) -> bool:
    if "choices" in frame:
        return not frame["choices"] or not _choice(frame).get("delta")
    return not frame.get("tool_calls") and frame.get("response") in {"", None}


def cut(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Some text, then the connection breaks in the middle of the body."""
    yield from _parted(frames)[0]
    yield Signal.CUT


def cut_first(_frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Headers, then the connection breaks before any byte of the body."""
    yield Signal.CUT


def cut_clean(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Some text, then an orderly end with neither finish reason nor terminator."""
    yield from _parted(frames)[0]


def no_done(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Everything except the terminator."""
    yield from frames


ERROR_FRAME: Frame = {
    "errors": [{"code": 3040, "message": "AiError: Capacity temporarily exceeded, please try again."}],
    "success": False,
}
ERROR_OBJECT: Frame = {"error": {"message": "The engine stopped.", "type": "server_error", "code": 8005}}


def error_mid_stream(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Some text, then an envelope with an error, then nothing more."""
    yield from _parted(frames)[0]
    yield ERROR_FRAME


def error_mid_stream_object(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Some text, then an `error` object and the terminator."""
    yield from _parted(frames)[0]
    yield ERROR_OBJECT
    yield Signal.DONE


def error_first_frame(_frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """An error is all the stream says."""
    yield ERROR_FRAME


def slow(frames: Iterable[Frame], seconds: float) -> Iterator[Part]:
    """A pause before every frame."""
    for frame in frames:
        yield Wait(seconds)
        yield frame
    yield Signal.DONE


def stall(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Some text, then silence for ever."""
    yield from _parted(frames)[0]
    yield Signal.SILENCE


def garbage_frame(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """A frame that is not JSON between good ones."""
    before, after = _parted(frames)
    yield from before
    yield b"data: {not json\n\n"
    yield b"data: keep-alive\n\n"
    yield from after
    yield Signal.DONE


def trailing(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """More frames and a second terminator after the terminator."""
    every = list(frames)
    yield from every
    yield Signal.DONE
    yield every[-1]
    yield Signal.DONE
