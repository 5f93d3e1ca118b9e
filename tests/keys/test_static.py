import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.caller import ANONYMOUS
from app.keys.static import StaticKeys


def test_a_known_key_finds_its_caller():
    keys = StaticKeys(["alpha", "beta"])
    found = keys.find("beta")
    assert found is not None
    assert found.id == "key-" + hashlib.sha256(b"beta").hexdigest()[:8]
    assert found.name == found.id
    assert keys.find("alpha") != found


@pytest.mark.parametrize("secret", ["", "alph", "alphaa", "ALPHA", " alpha", "älpha", "\udcff"])
def test_anything_else_finds_nobody(secret):
    assert StaticKeys(["alpha"]).find(secret) is None


def test_without_keys_everybody_is_anonymous():
    keys = StaticKeys()
    assert keys.accepts_anyone
    assert keys.find("") is ANONYMOUS
    assert keys.find("whatever") is ANONYMOUS
    assert not StaticKeys(["alpha"]).accepts_anyone


def test_an_empty_key_is_a_mistake():
    with pytest.raises(ValueError, match="empty"):
        StaticKeys(["alpha", ""])


def test_the_keys_themselves_are_not_kept():
    keys = StaticKeys(["alpha-secret"])
    assert "alpha-secret" not in repr([getattr(keys, slot) for slot in StaticKeys.__slots__])


@given(st.lists(st.text(min_size=1), min_size=1, max_size=5), st.text())
def test_exactly_the_keys_are_found(known, secret):
    assert (StaticKeys(known).find(secret) is not None) == (secret in known)
