"""What is private or large does not come into a text that may be logged."""

import pytest

from app.cloudflare.client import Gateway
from app.core.key import ApiKey
from app.core.quiet import Quiet
from app.core.sounds import HearingRequest
from app.core.task import Given, TaskReply
from app.core.upstream import UpstreamRequest
from app.surfaces.images.write import UrlReply

SECRET = "canary"


class Two(Quiet, frozen=True):
    hidden = frozenset({"b"})

    a: int
    b: int = 2


def test_the_others_are_shown():
    assert repr(Two(1)) == "Two(a=1)"


@pytest.mark.parametrize(
    "record",
    [
        Gateway("name", SECRET),
        ApiKey("key-1", "name", SECRET.encode(), previous_digest=SECRET.encode()),
        UpstreamRequest("/run/x", {}, stream=False, content=SECRET.encode()),
        Given("text/plain", SECRET.encode(), SECRET),
        TaskReply(SECRET.encode()),
        UrlReply(SECRET.encode(), pictures=(SECRET,)),
        HearingRequest("whisper", SECRET.encode(), "audio/mpeg", prompt=SECRET),
    ],
    ids=lambda record: type(record).__name__,
)
def test_what_is_hidden_is_not(record):
    assert SECRET not in repr(record)
    assert type(record).__name__ in repr(record)
