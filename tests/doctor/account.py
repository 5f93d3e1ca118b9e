"""The account of the emulators that are examined."""

ACCOUNT = "0123456789abcdef0123456789abcdef"
TOKEN = "right-token-0123456789"

OFF = {"host": "127.0.0.1", "port": 0, "store": False}
"""Settings with which nothing but the account is looked at."""
