"""The servers are those of the whole run; see ``tests/conftest.py``."""

from tests.conftest import ACCOUNT, TOKEN, settings_for

__all__ = ["ACCOUNT", "TOKEN", "settings_for"]
