import hashlib
import json
import re
import sqlite3
import time

import pytest
from msgspec.structs import replace

from app.core.limits import LimitSpec
from app.keys.declared import parse
from app.keys.fields import LIMITS
from app.keys.secret import PATTERN, digest

BUDGET = "2.5"


def create(run, *arguments):
    """Make a key; returns its id and the key."""
    told = json.loads(run("keys", "create", "--name", "ci", "--json", *arguments).stdout)
    return told["id"], told["key"]


def kept(stored, key_id):
    return stored(lambda store: store.keys.find(key_id))


def test_standard_output_is_the_key_alone(run, stored):
    for quiet in ([], ["--quiet"]):
        result = run("keys", "create", "--name", "ci", *quiet)
        secret = result.stdout.removesuffix("\n")
        assert re.fullmatch(PATTERN, secret)
        assert "only this once" in result.stderr
        assert secret not in result.stderr
        key = kept(stored, f"key-{secret[6:18]}")
        assert (key.name, key.digest) == ("ci", digest(secret))
        assert time.time() - 60 < key.created_at <= time.time()


def test_a_key_gets_what_it_is_given(run, stored):
    options = [f"--{name.replace('_', '-')}={7 if name == 'concurrency' else 9}" for name in LIMITS]
    key_id, _ = create(
        run,
        *options,
        "--usd-per-day=0.25",
        "--models",
        "gpt-oss-*, llama-*,",
        "--expires=2099-01-01",
        "--metadata=team=search",
        "--metadata=note=a=b",
    )
    key = kept(stored, key_id)
    assert key.limits == LimitSpec(9, 9, 9, 9, 7, 9, 9, 0.25, 9)
    assert key.models == ("gpt-oss-*", "llama-*")
    assert key.expires_at == 4_070_908_800
    assert key.metadata == {"team": "search", "note": "a=b"}


def test_what_is_told_as_json_is_what_the_administration_tells(run):
    key_id, secret = create(run, "--requests-per-minute=5")
    assert re.fullmatch(PATTERN, secret)
    shown = json.loads(run("keys", "show", key_id, "--json").stdout)
    listed = json.loads(run("keys", "list", "--json").stdout)
    assert listed == [shown]
    assert shown["object"] == "api_key"
    assert (shown["source"], shown["status"], shown["expires_at"]) == ("store", "active", None)
    assert shown["limits"]["requests_per_minute"] == 5
    assert isinstance(shown["created_at"], int)


def test_neither_keys_nor_hashes_are_in_the_database_or_shown_again(run, data_dir):
    key_id, secret = create(run)
    for command in (["list"], ["list", "--json"], ["show", key_id], ["show", key_id, "--json"]):
        output = run("keys", *command).output
        assert secret[-43:] not in output
        assert digest(secret).hex() not in output
    assert all(secret[-43:].encode() not in path.read_bytes() for path in data_dir.iterdir())


def test_the_table(run, stored):
    assert "no keys yet" in run("keys", "list").stderr
    assert run("keys", "list").stdout == ""
    assert run("keys", "list", "--json").stdout == "[]\n"
    first, _ = create(run, "--requests-per-minute=60", "--tokens-per-day=1000000", "--usd-per-month", BUDGET)
    second, _ = create(run, "--expires=1d")
    stored(lambda store: store.keys.change(second, lambda key: replace(key, expires_at=86_400.0)))
    third, _ = create(run)
    run("keys", "revoke", third, "--yes")
    head, *rows = run("keys", "list").stdout.splitlines()
    assert head.split() == ["ID", "NAME", "STATE", "EXPIRES", "LIMITS"]
    assert [re.split(r"  +", row) for row in rows] == [
        [first, "ci", "active", "never", "60 requests/min, 1,000,000 tokens/day, $2.5/month"],
        [second, "ci", "expired", "1970-01-02T00:00:00Z"],
        [third, "ci", "revoked", "never"],
    ]


def test_one_key_for_people(run):
    key_id, _ = create(run, "--models=a,b", "--metadata=team=search", "--concurrency=3")
    run("keys", "rotate", key_id, "--keep=1h")
    lines = [re.split(r"  +", line, maxsplit=1) for line in run("keys", "show", key_id).stdout.splitlines()]
    told = dict(lines)
    assert told["id"] == key_id
    assert (told["state"], told["expires"], told["models"]) == ("active", "never", "a, b")
    assert (told["limits"], told["metadata"]) == ("3 at once", "team=search")
    assert "accepted until 2" in told["rotated"]


def test_what_is_not_named_stays(run, stored):
    key_id, secret = create(
        run, "--requests-per-minute=5", "--tokens-per-day=9", "--expires=30d", "--metadata=a=1", "--models=x"
    )
    before = kept(stored, key_id)
    run("keys", "update", key_id, "--name", "new", "--concurrency=2", "--metadata=b=2")
    after = kept(stored, key_id)
    assert after.limits == LimitSpec(requests_per_minute=5, tokens_per_day=9, concurrency=2)
    assert (after.name, after.metadata) == ("new", {"a": "1", "b": "2"})
    assert (after.models, after.expires_at, after.digest) == (before.models, before.expires_at, digest(secret))
    told = json.loads(
        run(
            *("keys", "update", key_id, "--no-expires", "--clear=requests-per-minute", "--clear=metadata"),
            *("--clear=models", "--tokens-per-day=10", "--metadata=c=3", "--json"),
        ).stdout
    )
    after = kept(stored, key_id)
    assert after.limits == LimitSpec(tokens_per_day=10, concurrency=2)
    assert (after.metadata, after.models, after.expires_at) == ({"c": "3"}, (), None)
    assert told["limits"]["tokens_per_day"] == 10
    run("keys", "update", key_id, "--expires=1h")
    assert 3500 < kept(stored, key_id).expires_at - time.time() <= 3600


def test_rotation(run, stored):
    key_id, first = create(run, "--concurrency=2")
    result = run("keys", "rotate", key_id)
    second = result.stdout.strip()
    assert re.fullmatch(PATTERN, second)
    assert second[:18] == first[:18]
    assert second != first
    assert "only this once" in result.stderr
    key = kept(stored, key_id)
    assert (key.digest, key.previous_digest, key.limits.concurrency) == (digest(second), None, 2)
    third = json.loads(run("keys", "rotate", key_id, "--keep", "24h", "--json").stdout)
    key = kept(stored, key_id)
    assert (key.digest, key.previous_digest) == (digest(third["key"]), digest(second))
    assert 86_300 < key.previous_until - time.time() <= 86_400
    assert third["previous_until"] == int(key.previous_until)


def test_revoking(run, stored):
    key_id, _ = create(run)
    run("keys", "revoke", key_id, "--yes")
    first = kept(stored, key_id).revoked_at
    assert time.time() - 60 < first <= time.time()
    run("keys", "revoke", key_id, "--yes")
    assert kept(stored, key_id).revoked_at == first
    for command in (["rotate", key_id], ["update", key_id, "--name=x"]):
        result = run("keys", *command, status=2)
        assert result.stdout == ""
        assert result.stderr == f"flarelay: {key_id} is revoked, and stays so: make a new key\n"


def test_revoking_is_not_done_where_nobody_can_be_asked(run, stored):
    key_id, _ = create(run)
    assert "--yes" in run("keys", "revoke", key_id, status=2, input="y\n").stderr
    assert kept(stored, key_id).revoked_at is None


@pytest.mark.parametrize(
    "command", [["show"], ["update", "--name=x"], ["rotate"], ["revoke", "--yes"]], ids=lambda command: command[0]
)
def test_there_is_no_such_key(run, command):
    result = run("keys", *command, "key-000000000000", status=1)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "no key key-000000000000" in result.stderr


def test_the_key_in_the_place_of_its_id_is_not_repeated(run):
    key_id, secret = create(run)
    for command in ("show", "rotate", "revoke", "update"):
        result = run("keys", command, secret, status=2)
        assert key_id in result.stderr
        assert secret not in result.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create"], "--name"),
        (["create", "--name="], "not empty"),
        (["create", "--name", "sk-fl-abc"], "must not hold a key"),
        (["create", "--name=x", "--requests-per-minute=0"], "whole number between 1"),
        (["create", "--name=x", "--requests-per-minute=1.5"], "whole number"),
        (["create", "--name=x", "--usd-per-day=nan"], "number between"),
        (["create", "--name=x", "--usd-per-day=much"], "number between"),
        (["create", "--name=x", "--expires=2001-01-01"], "future"),
        (["create", "--name=x", "--metadata=team"], "team=search"),
        (["create", "--name=x", "--metadata==x"], "empty"),
        (["create", "--name=x", "--models=a b"], "white space"),
        (["create", "--name=x", "--toml", "--json"], "--toml"),
        (["create", "--name=x", "--request-per-minute=5"], "--requests-per-minute"),
        (["update", "key-a"], "what is to change"),
        (["update", "key-a", "--expires=1d", "--no-expires"], "--no-expires"),
        (["update", "key-a", "--clear=concurrency", "--concurrency=1"], "--clear"),
        (["update", "key-a", "--clear=name"], "requests-per-minute"),
        (["rotate", "key-a", "--keep=long"], "24h"),
    ],
)
def test_wrong_use(run, arguments, said):
    result = run("keys", *arguments, status=2)
    assert said in result.stderr
    assert result.stdout == ""
    assert run("keys", "list").stdout == ""


def test_too_much_metadata_in_all(run, stored):
    key_id, _ = create(run, *(f"--metadata=n{number}=x" for number in range(16)))
    result = run("keys", "update", key_id, "--metadata=more=x", status=2)
    assert result.stderr == "flarelay: metadata must hold at most 16 texts\n"
    assert len(kept(stored, key_id).metadata) == 16


def test_a_key_for_the_file_is_kept_nowhere_else(run, data_dir, tmp_path, monkeypatch):
    monkeypatch.setenv("FLARELAY_DATA_DIR", str(tmp_path / "absent"))
    result = run("keys", "create", "--name", 'a "b"', "--toml", "--models=x", "--usd-per-day", BUDGET, "--expires=30d")
    (key,) = parse(result.stdout)
    (secret,) = re.findall(PATTERN, result.stderr)
    assert secret not in result.stdout
    assert key.digest == digest(secret)
    assert (key.name, key.models, key.limits) == ('a "b"', ("x",), LimitSpec(usd_per_day=2.5))
    assert key.id == f"key-{secret[6:18]}"
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("given", ["sk-my-own-key", "sk-my-own-key\n", "  sk-my-own-key \r\nmore\n"])
def test_hashing(run, given):
    result = run("keys", "hash", input=given)
    assert result.stdout == hashlib.sha256(b"sk-my-own-key").hexdigest() + "\n"


@pytest.mark.parametrize("given", ["", "\n", "two words\n", "schlüssel\n", b"\xff\xfe\n", "a\x07b"])
def test_hashing_what_is_no_key(run, given):
    result = run("keys", "hash", input=given, status=2)
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert "words" not in result.stderr


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FLARELAY_DATABASE_URL", "mysql://user:canary@host/x", "sqlite or postgresql"),
        ("FLARELAY_DATABASE_URL", "postgresql://user:canary@127.0.0.1:1/x", "cannot be opened"),
        ("FLARELAY_DATA_DIR", "/dev/null/x", "cannot be made"),
        ("FLARELAY_STORE", "false", "flarelay keys create --toml"),
        ("FLARELAY_DATABSE_URL", "x", "FLARELAY_DATABASE_URL"),
        ("FLARELAY_CONFIG", "/absent.toml", "/absent.toml"),
    ],
)
def test_what_cannot_be_opened_is_said_in_one_sentence(run, monkeypatch, variable, value, said):
    monkeypatch.setenv(variable, value)
    for command in (["keys", "list"], ["keys", "create", "--name=x"], ["usage"]):
        result = run(*command, status=2)
        assert said in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert result.stdout == ""
        assert "canary" not in result.stderr


def test_a_database_that_cannot_be_read(run, data_dir):
    (data_dir / "flarelay.sqlite3").write_bytes(b"this is no database" * 100)
    result = run("keys", "list", status=2)
    assert "not a database" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_database_that_is_locked(run, data_dir, monkeypatch):
    monkeypatch.setattr("app.store.sqlite._BUSY_MILLISECONDS", 50)
    with sqlite3.connect(data_dir / "flarelay.sqlite3", isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        result = run("keys", "create", "--name=x", status=2)
        other.execute("ROLLBACK")
    other.close()
    assert result.stderr == "flarelay: the database is not available: database is locked\n"
    assert result.stdout == ""


def test_neither_credentials_nor_keys_are_needed(run, monkeypatch):
    monkeypatch.setenv("FLARELAY_HOST", "0.0.0.0")
    create(run)


def test_settings_may_come_from_a_file(run, tmp_path, monkeypatch):
    monkeypatch.delenv("FLARELAY_DATA_DIR")
    config = tmp_path / "settings.toml"
    config.write_text(f'data_dir = "{tmp_path}"\n', "utf-8")
    run("keys", "create", "--name=x", "--config", config)
    assert len(run("keys", "list", "--config", config).stdout.splitlines()) == 2
