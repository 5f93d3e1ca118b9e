"""What is to be moderated and what the model said of it, in words that belong to no surface and no dialect."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from app.core.quiet import Quiet


class ModerationRequest(Quiet, frozen=True):
    """Texts to be moderated, each by itself.

    Attributes:
        model: As the client named it.
        texts: The texts; none of them is empty.
        dropped: Fields that nothing is done with.
    """

    hidden = frozenset({"texts"})

    model: str
    texts: Sequence[str]
    dropped: tuple[str, ...] = ()


class Verdict(Struct, frozen=True):
    """What the model said of one text.

    Attributes:
        safe: Nothing is wrong with it.
        hazards: The codes of what is, such as ``S10``; empty when the model named none.
    """

    safe: bool
    hazards: tuple[str, ...] = ()
