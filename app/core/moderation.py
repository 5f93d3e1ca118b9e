"""What is to be moderated and what the model said of it, in words that belong to no surface and no dialect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ModerationRequest:
    """Texts to be moderated, each by itself.

    Attributes:
        model: As the client named it.
        texts: The texts; none of them is empty.
        dropped: Fields that nothing is done with.
    """

    model: str
    texts: Sequence[str] = field(repr=False)
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the model said of one text.

    Attributes:
        safe: Nothing is wrong with it.
        hazards: The codes of what is, such as ``S10``; empty when the model named none.
    """

    safe: bool
    hazards: tuple[str, ...] = ()
