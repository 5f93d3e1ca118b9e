import logging
import os
import threading

import pytest

from app.keys.declared import KeyFileError, declaration
from app.keys.file import MAX_BYTES, KeyFile
from tests.keys.keyring import key


def text_of(*names):
    return "\n".join(declaration(key(name)) for name in names) or "keys = []\n"


def ids(file):
    return [one.name for one in file.keys]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "keys.toml"
    path.write_text(text_of("a"), "utf-8")
    return path


def open_quickly(path):
    """A file whose settling is not waited for."""
    return KeyFile(path, lambda _: None)


def said(caplog):
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return lines


def test_nothing_happens_while_nothing_changes(path, caplog):
    caplog.set_level(logging.DEBUG)
    file = open_quickly(path)
    before = file.keys
    assert [file.refresh() for _ in range(3)] == [False, False, False]
    assert file.keys is before
    assert caplog.records == []


def written_in_place(path, text):
    path.write_text(text, "utf-8")


def renamed_over(path, text):
    new = path.with_name("new")
    new.write_text(text, "utf-8")
    new.replace(path)


def deleted_and_made(path, text):
    path.unlink()
    path.write_text(text, "utf-8")


@pytest.mark.parametrize("change", [written_in_place, renamed_over, deleted_and_made])
def test_a_change_is_seen_however_it_is_made(path, change, caplog):
    caplog.set_level(logging.INFO)
    file = open_quickly(path)
    change(path, text_of("a", "b"))
    assert file.refresh()
    assert ids(file) == ["a", "b"]
    assert said(caplog) == [("INFO", f"the key file {path} has changed (keys: 2)")]
    assert not file.refresh()


def test_a_comment_is_no_change(path):
    file = open_quickly(path)
    path.write_text("# new\n" + text_of("a"), "utf-8")
    assert not file.refresh()


def test_a_second_change_that_looks_like_the_first_is_seen(path, monkeypatch):
    """Two writes within one tick of the file system's clock have the same time, and these have the same size too."""
    file = open_quickly(path)
    monkeypatch.setattr("app.keys.file._identity", lambda _: (1,))
    path.write_text(text_of("b"), "utf-8")
    assert file.refresh()
    path.write_text(text_of("c"), "utf-8")
    assert file.refresh()
    assert ids(file) == ["c"]


def test_a_mounted_secret_is_followed_when_its_links_are_turned(tmp_path):
    """As the kubelet does it: ..data is renamed over, and the file's own link never changes."""

    def version(name, text):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "keys.toml").write_text(text, "utf-8")
        (tmp_path / "..data_tmp").symlink_to(name)
        (tmp_path / "..data_tmp").replace(tmp_path / "..data")

    version("..1", text_of("a"))
    path = tmp_path / "keys.toml"
    path.symlink_to("..data/keys.toml")
    file = open_quickly(path)
    assert ids(file) == ["a"]
    version("..2", text_of("b"))
    # The old directory goes away at once.
    (tmp_path / "..1" / "keys.toml").unlink()
    assert file.refresh()
    assert ids(file) == ["b"]


def test_a_file_that_is_being_written_is_waited_for(path, caplog):
    whole = text_of("a", "b")
    pieces = [whole[: len(whole) // 3], whole[: len(whole) // 2], whole]

    def pause(_):
        if pieces:
            path.write_text(pieces.pop(0), "utf-8")

    file = KeyFile(path, pause)
    path.write_text("", "utf-8")
    assert file.refresh()
    assert ids(file) == ["a", "b"]
    assert [level for level, _ in said(caplog) if level == "ERROR"] == []


def test_a_file_that_never_rests_is_not_waited_for_for_ever(path):
    waits = []

    def pause(_):
        waits.append(1)
        path.write_text(text_of(*"b" * (1 + len(waits) % 2)), "utf-8")

    file = KeyFile(path, pause)
    path.write_text(text_of("c"), "utf-8")
    file.refresh()
    assert 2 < len(waits) < 100


def test_what_cannot_be_used_changes_nothing_and_is_said_once(path, caplog):
    file = open_quickly(path)
    path.write_text(text_of("a", "b") + "requests_per_minut = 5\n", "utf-8")
    assert not file.refresh()
    assert not file.refresh()
    ((level, sentence),) = said(caplog)
    assert level == "ERROR"
    assert sentence == (
        f"the key file {path} cannot be used: requests_per_minut of key 2 (key-b) is not a field; did you mean "
        "requests_per_minute? (the keys that it held before stay in use)"
    )
    assert ids(file) == ["a"]
    path.write_text(text_of("a", "c"), "utf-8")
    assert file.refresh()
    assert ids(file) == ["a", "c"]
    assert said(caplog) == [("WARNING", f"the key file {path} can be used again (keys: 2)")]


def test_it_is_said_too_when_it_is_good_again_with_the_same_keys(path, caplog):
    file = open_quickly(path)
    good = path.read_text("utf-8")
    path.write_text("[[", "utf-8")
    file.refresh()
    path.write_text(good, "utf-8")
    assert not file.refresh()
    assert [level for level, _ in said(caplog)] == ["ERROR", "WARNING"]
    assert ids(file) == ["a"]


def test_a_deleted_file_leaves_the_last_keys(path, caplog):
    file = open_quickly(path)
    path.unlink()
    assert [file.refresh() for _ in range(3)] == [False, False, False]
    ((level, sentence),) = said(caplog)
    assert (level, ids(file)) == ("ERROR", ["a"])
    assert "No such file" in sentence
    path.write_text(text_of("b"), "utf-8")
    assert file.refresh()
    assert ids(file) == ["b"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "not a file"),
        (os.mkfifo, "not a file"),
        (lambda path: path.write_bytes(b"\xff\xfe"), "UTF-8"),
        (lambda path: path.write_bytes(b"#" * (MAX_BYTES + 1)), "larger"),
        (lambda path: path.write_bytes(b""), "no keys"),
    ],
)
def test_a_file_that_cannot_be_used_stops_the_start(tmp_path, make, reason):
    path = tmp_path / "absent.toml"
    make(path)
    with pytest.raises(KeyFileError, match=reason) as caught:
        KeyFile(path)
    assert str(path) in str(caught.value)


def test_a_byte_order_mark_is_no_obstacle(path):
    path.write_bytes(b"\xef\xbb\xbf" + text_of("b").encode())
    assert ids(KeyFile(path)) == ["b"]


def test_readers_never_see_anything_but_what_was_written_whole(path):
    """A writer that is not careful at all, and a reader that looks all the time."""
    versions = [text_of(*names) for names in ("a", "ab", "abc", "abcd")]
    file = KeyFile(path, lambda _: None)
    stop = threading.Event()

    def write():
        for number in range(300):
            renamed_over(path, versions[number % len(versions)])
        stop.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not stop.is_set():
        file.refresh()
        assert ids(file) in (["a"], ["a", "b"], ["a", "b", "c"], ["a", "b", "c", "d"])
    writer.join()
    file.refresh()
    file.refresh()
    assert ids(file) == ["a", "b", "c", "d"]
