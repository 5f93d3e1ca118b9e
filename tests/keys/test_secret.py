import hashlib
import os
import re

from hypothesis import given
from hypothesis import strategies as st

from app.keys.secret import PATTERN, digest, new_key_id, new_secret

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def made_of(pool):
    """Randomness that is known beforehand."""

    def random_bytes(count):
        assert count >= 16, "fewer bits than a key or an id is to have"
        return (pool * count)[:count]

    return random_bytes


def test_a_key_names_its_id_and_has_the_form_that_scanners_know():
    key_id = new_key_id(os.urandom)
    secret = new_secret(key_id, os.urandom)
    assert re.fullmatch(r"key-[0-9a-z]{12}", key_id)
    assert re.fullmatch(PATTERN, secret)
    assert secret.startswith(f"sk-fl-{key_id[4:]}-")
    assert new_secret(key_id, os.urandom) != secret
    assert new_key_id(os.urandom) != key_id


@given(st.binary(min_size=32, max_size=32))
def test_every_random_bit_is_in_the_key(raw):
    secret = new_secret("key-000000000000", lambda count: raw[:count])
    number = 0
    for digit in secret.rpartition("-")[2]:
        number = number * 62 + ALPHABET.index(digit)
    assert number.to_bytes(32) == raw


@given(st.binary(min_size=1, max_size=32))
def test_the_form_does_not_depend_on_chance(pool):
    key_id = new_key_id(made_of(pool))
    secret = new_secret(key_id, made_of(pool))
    assert re.fullmatch(r"key-[0-9a-z]{12}", key_id)
    assert re.fullmatch(PATTERN, secret)


def test_scanners_find_a_key_in_the_middle_of_a_text():
    secret = new_secret(new_key_id(os.urandom), os.urandom)
    assert re.findall(PATTERN, f'curl -H "Authorization: Bearer {secret}" {secret}x') == [secret]


def test_the_digest_is_the_sha_256_of_the_whole_text_and_takes_any_text():
    assert digest("sk-fl-x") == hashlib.sha256(b"sk-fl-x").digest()
    assert len(digest("\udcff ä")) == 32
