"""Faults by chance: now and then one, and the same ones again under the same seed.

The fate of a request hangs on the seed and on its number among the requests that named a model, on nothing else: not
on the time, on the model, or on what else is being served. Listings are not counted and never harmed, so a proxy that
refreshes its catalogue does not shift the fates. Requests that ask for a fault themselves get that one; they are
counted all the same.

No fault changes a text without a trace. What comes twice are frames that add nothing when they come again (role,
finish, usage, comments): a text frame that came twice could not be told from a model that says a word twice. Garbage
is no JSON and no UTF-8, so no reader can take it for a frame. Of failures only those are chosen that pass: a spent
quota would stop a proxy until midnight. Answers that are no streams have no frames: there `duplicate` and `garbage`
do nothing.
"""

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from app.emulator.delivery import Delivery
from app.emulator.scenarios import SCENARIOS, Scenario

LONGEST_PAUSE = 1.0
_SHORTEST_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class Fate:
    """What chance has in store for one request.

    Attributes:
        kind: The kind of fault.
        scenario: How it plays.
    """

    kind: str
    scenario: Scenario


def _one_of(*names: str) -> Callable[[random.Random, float], Scenario]:
    return lambda rng, _longest: SCENARIOS[rng.choice(names)]


def _delay(rng: random.Random, longest: float) -> Scenario:
    return replace(SCENARIOS["slow-first"], first_byte=_pause(rng, longest))


def _stall(rng: random.Random, longest: float) -> Scenario:
    return replace(SCENARIOS["pause"], seconds=_pause(rng, longest))


def _split(rng: random.Random, _longest: float) -> Scenario:
    if rng.random() < 0.5:
        return SCENARIOS["split-utf8"]
    return replace(SCENARIOS["split"], delivery=Delivery(writes="pieces", seed=rng.getrandbits(32)))


def _pause(rng: random.Random, longest: float) -> float:
    return min(_SHORTEST_PAUSE, longest) + rng.random() * max(longest - _SHORTEST_PAUSE, 0.0)


_KINDS: dict[str, Callable[[random.Random, float], Scenario]] = {
    "status": _one_of(
        "capacity", "rate-limited", "timeout-inner", "aborted", "engine-error", "unavailable", "html-502", "html-503",
        "html-520", "empty-502", "empty-429", "error-1101",
    ),
    "delay": _delay,
    "cut": _one_of("cut", "cut-first", "cut-frame", "cut-clean", "cut-frame-clean"),
    "stall": _stall,
    "split": _split,
    "duplicate": _one_of("duplicate-frames"),
    "garbage": _one_of("garbage-frame", "garbage-bytes", "comments", "event-names"),
    "reset": _one_of("reset", "reset-first", "reset-mid-stream"),
}  # fmt: skip
KINDS = tuple(_KINDS)


class Chaos:
    """Chance, with a memory of what it did.

    Args:
        probability: How likely a request is to meet a fault, from 0 to 1.
        seed: Chooses among the sequences of fates.
        longest_pause: The most seconds that a delay or a stall lasts.

    Raises:
        ValueError: The probability is none, or the pause is negative.
    """

    def __init__(self, probability: float, seed: int, longest_pause: float = LONGEST_PAUSE) -> None:
        if not 0 <= probability <= 1:
            raise ValueError("chaos is a probability from 0 to 1")
        if longest_pause < 0:
            raise ValueError("the longest pause is a number of seconds from 0")
        self._probability = probability
        self._seed = seed
        self._longest = longest_pause
        self._seen = 0
        self._met: Counter[str] = Counter()

    def fate(self, number: int) -> Fate | None:
        """Return what the `number`-th request meets, counted from 1; nothing for most."""
        rng = random.Random(f"{self._seed}:chaos:{number}")  # noqa: S311 - reproducible on purpose
        if rng.random() >= self._probability:
            return None
        kind = rng.choice(KINDS)
        return Fate(kind, _KINDS[kind](rng, self._longest))

    def next_fate(self) -> Fate | None:
        """Number the next request, and return what it meets."""
        self._seen += 1
        return self.fate(self._seen)

    def note(self, fate: Fate) -> None:
        """Count a fate that came true."""
        self._met[fate.kind] += 1

    def shown(self) -> dict[str, Any]:
        """Return `{probability, seed, longest_pause, requests, faults: {kind: number}}`."""
        return {
            "probability": self._probability,
            "seed": self._seed,
            "longest_pause": self._longest,
            "requests": self._seen,
            "faults": {kind: self._met[kind] for kind in KINDS},
        }
