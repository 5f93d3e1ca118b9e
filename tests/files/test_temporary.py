"""Pictures that are served for a while."""

import pytest

from app.api.ids import new_id
from app.files.contract import FilesUnavailable
from app.files.temporary import TemporaryPictures


class Clock:
    now = 1_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def pictures(tmp_path, clock):
    return TemporaryPictures(tmp_path / "pictures", new_id, clock, most_bytes=100, life_seconds=60)


async def test_what_is_kept_is_found_by_its_name_for_a_while(pictures, clock):
    name = await pictures.keep(b"picture")
    assert await pictures.find(name) == b"picture"
    clock.now += 59
    assert await pictures.find(name) == b"picture"
    clock.now += 1
    assert await pictures.find(name) is None


async def test_another_process_finds_it_too(pictures, tmp_path, clock):
    name = await pictures.keep(b"picture")
    assert await TemporaryPictures(tmp_path / "pictures", new_id, clock).find(name) == b"picture"


@pytest.mark.parametrize("name", ["", "x", "../" * 3 + "etc/passwd", "0" * 32, "A" * 32, "0" * 31 + "/", "\0" * 32])
async def test_other_names_find_nothing(pictures, name):
    await pictures.keep(b"picture")
    assert await pictures.find(name) is None


async def test_the_oldest_make_room_for_new_ones(pictures, clock, tmp_path):
    names = []
    for _ in range(4):
        clock.now += 1
        names.append(await pictures.keep(b"x" * 40))
    assert [await pictures.find(name) is not None for name in names] == [False, False, True, True]
    assert sum(path.stat().st_size for path in (tmp_path / "pictures").iterdir()) == 80


async def test_what_is_too_old_is_removed(pictures, clock, tmp_path):
    await pictures.keep(b"x")
    clock.now += 60
    name = await pictures.keep(b"y")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == [name]


async def test_only_the_owner_may_read_them(pictures, tmp_path):
    name = await pictures.keep(b"x")
    assert (tmp_path / "pictures").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "pictures" / name).stat().st_mode & 0o777 == 0o600


async def test_what_cannot_be_kept_is_told(pictures, tmp_path):
    with pytest.raises(FilesUnavailable):
        await pictures.keep(b"x" * 101)
    (tmp_path / "pictures").write_bytes(b"a file where the directory should be")
    with pytest.raises(FilesUnavailable):
        await pictures.keep(b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["pictures"]
