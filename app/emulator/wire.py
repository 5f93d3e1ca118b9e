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
    RESET = "reset"
    SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Wait:
    """A pause of some seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Spill:
    """Bytes past the announced length of a body; the connection closes behind them."""

    data: bytes


Part = Frame | bytes | Signal | Wait
Step = bytes | Signal | Wait | Spill
Fault = Callable[[Iterable[Frame], float], Iterator[Part]]


@dataclass(frozen=True, slots=True)
class Framing:
    """How frames are written.

    Attributes:
        newline: Line ending.
        prefix: Field name and what follows it.
        before: Blocks of their own before every frame: comments, or events of another name.
        fields: Lines inside every frame, before its data.
        bom: Whether the stream begins with a byte order mark.
    """

    newline: bytes = b"\n"
    prefix: bytes = b"data: "
    before: tuple[bytes, ...] = ()
    fields: tuple[bytes, ...] = ()
    bom: bool = False


PLAIN = Framing()


def whole(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Everything, and the terminator."""
    yield from frames
    yield Signal.DONE


def steps(parts: Iterable[Part], framing: Framing) -> Iterator[Step]:
    """Write parts as server-sent events; each step is one write."""
    end = framing.newline
    before = b"".join(block.replace(b"\n", end) + end * 2 for block in framing.before)
    fields = b"".join(line + end for line in framing.fields)
    if framing.bom:
        yield b"\xef\xbb\xbf"
    for part in parts:
        match part:
            case dict():
                data = orjson.dumps(part)
            case Signal.DONE:
                data = b"[DONE]"
            case _:
                yield part
                continue
        if before:
            yield before
        yield fields + framing.prefix + data + end * 2


def body_steps(body: bytes, fault: Fault, seconds: float) -> Iterator[Step]:
    """Write an unstreamed body, under the stream faults that make sense for one."""
    if fault is slow:
        yield Wait(seconds)
    if fault not in _ON_BODY:
        yield body
        return
    share, then = _ON_BODY[fault]
    sent = int(len(body) * share)
    if sent:
        yield body[:sent]
    if fault is pause:
        yield Wait(seconds)
        yield body[sent:]
    if then is not None:
        yield then


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


def cut_frame(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Some text, then the connection breaks in the middle of a frame."""
    yield from cut_frame_clean(frames, _seconds)
    yield Signal.CUT


def cut_frame_clean(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Some text, then an orderly end in the middle of a frame."""
    before, after = _parted(frames)
    yield from before
    broken = orjson.dumps(after[0] if after else before[-1])
    yield b"data: " + broken[: len(broken) // 2]


def reset_first(_frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Headers, then the connection is reset."""
    yield Signal.RESET


def reset_mid_stream(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Some text, then the connection is reset."""
    yield from _parted(frames)[0]
    yield Signal.RESET


def nothing(_frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Headers and an orderly end, with nothing between."""
    return iter(())


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
QUOTA_FRAME: Frame = {
    "errors": [{"code": 3036, "message": "AiError: you have used up your daily free allocation of 10,000 neurons"}],
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


def quota_in_stream(_frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """The spent quota is all the stream says."""
    yield QUOTA_FRAME


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


def stall_first(_frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Headers, then silence for ever."""
    yield Signal.SILENCE


def pause(frames: Iterable[Frame], seconds: float) -> Iterator[Part]:
    """Some text, a silence, then all the rest."""
    before, after = _parted(frames)
    yield from before
    yield Wait(seconds)
    yield from after
    yield Signal.DONE


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


def garbage_bytes(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """A frame that is not even UTF-8 between good ones."""
    before, after = _parted(frames)
    yield from before
    yield b"data: \xff\xfe\xc3\n\n"
    yield from after
    yield Signal.DONE


def duplicate_frames(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """Twice every frame that adds nothing when it comes again: the role, the finish, the usage; and comments.

    A frame with text, thinking or a piece of a call is never doubled: nothing tells the copy from a model that says
    a word twice, so no reader could mend it. Nor is a frame that counts a part of the usage.
    """
    for frame in frames:
        yield frame
        if _adds_nothing(frame):
            yield b": keep-alive\n\n: keep-alive\n\n"
            yield frame
    yield Signal.DONE


def _adds_nothing(frame: Frame) -> bool:
    if _ends(frame):
        return True
    delta = _choice(frame).get("delta", {})
    return set(delta) == {"role", "content"} and delta["content"] == "" and not frame.get("usage")


def huge_frame(frames: Iterable[Frame], _seconds: float) -> Iterator[Part]:
    """One frame is padded to more than a mebibyte."""
    before, after = _parted(frames)
    every = [*before, *after]
    place = max(len(before) - 1, 0)
    every[place] = {**every[place], "p": "x" * _HUGE}
    yield from every
    yield Signal.DONE


_HUGE = 1024 * 1024

# What a fault does to a body that is no stream: how much of it comes, and what then.
_ON_BODY: dict[Fault, tuple[float, Signal | None]] = {
    cut: (0.5, Signal.CUT),
    cut_first: (0.0, Signal.CUT),
    cut_frame: (0.5, Signal.CUT),
    cut_clean: (0.5, None),
    cut_frame_clean: (0.5, None),
    reset_first: (0.0, Signal.RESET),
    reset_mid_stream: (0.5, Signal.RESET),
    nothing: (0.0, None),
    stall: (0.5, Signal.SILENCE),
    stall_first: (0.0, Signal.SILENCE),
    pause: (0.5, None),
}
