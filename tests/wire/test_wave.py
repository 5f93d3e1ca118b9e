"""WAV, read and written, with the standard library as the judge."""

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.wave import read_wave, wave_head


def written(rate=24_000, channels=1, width=2, frames=100):
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(width)
        sound.setframerate(rate)
        sound.writeframes(b"\1" * (frames * channels * width))
    return file.getvalue()


@pytest.mark.parametrize(("rate", "channels", "width"), [(24_000, 1, 2), (44_100, 2, 2), (8_000, 1, 1), (48_000, 2, 3)])
def test_what_the_library_writes_is_read(rate, channels, width):
    data = written(rate, channels, width, frames=rate // 2)
    found = read_wave(data)
    assert (found.rate, found.channels, found.bits, found.pcm) == (rate, channels, 8 * width, True)
    assert found.seconds == pytest.approx(0.5)
    assert set(data[found.offset : found.offset + found.size]) == {1}


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_stream_ends_where_its_bytes_end(size):
    data = bytearray(written())
    place = data.index(b"data") + 4
    data[place : place + 4] = size.to_bytes(4, "little")
    assert read_wave(bytes(data)).size == 200


def test_other_chunks_are_passed_over():
    data = written()
    place = data.index(b"data")
    more = data[:place] + b"LIST" + (3).to_bytes(4, "little") + b"abc\0" + data[place:]
    assert read_wave(more).size == 200


def test_what_is_written_is_read_by_the_library():
    samples = bytes(range(200))
    with wave.open(io.BytesIO(wave_head(16_000, len(samples)) + samples)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) == (16_000, 1, 2)
        assert sound.readframes(1000) == samples
    assert read_wave(wave_head(16_000, None) + samples).size == 200


@given(st.binary(max_size=80))
def test_damaged_files_are_none_or_read_within_their_bounds(tail):
    for data in (tail, b"RIFF\0\0\0\0WAVE" + tail, written()[:44] + tail):
        found = read_wave(data)
        assert found is None or 0 <= found.offset + found.size <= len(data)
