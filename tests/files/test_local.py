"""Files on a disk."""

import os
import stat
import time

import pytest

from app.files.contract import FilesError, FilesUnavailable
from app.files.opening import open_local

NAME = "file-0123456789abcdef"


def new_id(prefix):
    return prefix + os.urandom(8).hex()


async def test_files_are_for_their_owner_alone(tmp_path):
    blobs = open_local(tmp_path / "a" / "files", new_id, time.time)
    writer = await blobs.writer(NAME)
    await writer.write(b"abc")
    await writer.finish()
    assert [path.name for path in (tmp_path / "a" / "files").iterdir()] == [NAME]
    assert stat.S_IMODE((tmp_path / "a" / "files" / NAME).stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "a" / "files").stat().st_mode) == 0o700


async def test_what_a_killed_process_left_is_removed_a_day_later(tmp_path):
    blobs = open_local(tmp_path, new_id, time.time)
    writer = await blobs.writer(NAME)
    await writer.write(b"x" * 2_000_000)
    (left,) = tmp_path.iterdir()
    open_local(tmp_path, new_id, time.time)
    assert left.exists()
    open_local(tmp_path, new_id, lambda: time.time() + 90_000)
    assert not left.exists()
    await writer.abandon()


def test_a_directory_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FilesError, match="cannot be used"):
        open_local(tmp_path / "file" / "below", new_id, time.time)


async def test_a_full_disk_is_503_and_leaves_nothing(tmp_path, monkeypatch):
    blobs = open_local(tmp_path, new_id, time.time)
    writer = await blobs.writer(NAME)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("app.files.local.os.fsync", full)
    await writer.write(b"abc")
    with pytest.raises(FilesUnavailable) as caught:
        await writer.finish()
    assert caught.value.status == 503
    await writer.abandon()
    assert list(tmp_path.iterdir()) == []
