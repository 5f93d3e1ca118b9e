"""Whatever a client sends about sounds and pictures is read, or refused by name; and what is read can be written."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.catalog.facts import bundled
from app.core.errors import BadRequest
from app.core.task import Upload
from app.dialects.drawing import DrawingDialect
from app.dialects.hearing import HearingDialect
from app.dialects.speaking import SpeakingDialect
from app.emulator import media
from app.surfaces.audio.surface import SpeechSurface, TranscriptionsSurface, TranslationsSurface
from app.surfaces.images.surface import edits, generations, variations

HEARING, SPEAKING, DRAWING = HearingDialect(), SpeakingDialect(), DrawingDialect(lambda: 7)
SERVED = [
    (TranscriptionsSurface(), HEARING, {"model": "m", "file": Upload("a", None, media.wav(0.001))}),
    (TranslationsSurface(), HEARING, {"model": "m", "file": Upload("a", None, media.mp3())}),
    (SpeechSurface(), SPEAKING, {"model": "m", "input": "Hello", "voice": "alloy"}),
    (generations(), DRAWING, {"prompt": "a cat"}),
    (edits(), DRAWING, {"prompt": "a cat", "image": [Upload("a", None, media.png(2, 2, 1))]}),
    (variations(), DRAWING, {"image": Upload("a", None, media.png(2, 2, 1))}),
]
UPLOADS = st.builds(
    Upload,
    st.text(max_size=5),
    st.none() | st.text(max_size=5),
    st.binary(max_size=40) | st.just(media.png(2, 2, 1)) | st.just(media.wav(0.001)),
)
WORDS = st.sampled_from(["auto", "high", "512x512", "url", "json", "srt", "word", "en", "wav", "sse", "opaque", "zeus"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | WORDS | UPLOADS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.just("id"), inner, max_size=3),
    max_leaves=5,
)
MODELS = list(bundled().models.values())


def tried(do, *arguments):
    """What came of it, or the refusal."""
    try:
        return do(*arguments), None
    except BadRequest as refused:
        return None, refused


@pytest.mark.parametrize(("surface", "dialect", "base"), SERVED, ids=lambda one: getattr(one, "name", ""))
@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_body_is_read_or_refused_by_name(surface, dialect, base, data):
    changes = data.draw(st.dictionaries(st.sampled_from(sorted(surface.fates)), VALUES, max_size=4))
    request, refused = tried(surface.read, {**base, **changes})
    if refused is not None:
        assert None not in {refused.param, refused.code}
        return
    for model in filter(dialect.serves, MODELS):
        calls, refused = tried(dialect.write, request, model)
        if refused is not None:
            assert refused.param.partition("[")[0] in surface.fates
        else:
            assert min(call.estimate.neurons for call in calls) >= 0
