"""The likely mistakes in an account id, an API token and a client's key, each with what to do about it.

Every check returns the rest of a sentence whose subject is the setting, or ``None`` when the value may be right. No
sentence repeats the value: what was taken for an account id may be a token.
"""

from __future__ import annotations

import re

_PLACEHOLDER = re.compile(
    r"""\$\{ | \$\( | \{\{ | [<>] | ^\$\w+$ | ^%\w+%$ | ^\{\w+\}$
    | ^(?:your|change|replace|insert|enter)[ _-]?(?:me|this|here|the|own|cloudflare|account|api|token|secret|key|id)
    | ^(?:todo|none|null|undefined|placeholder)$ | ^[x*.]{3,}$""",
    re.IGNORECASE | re.VERBOSE,
)
_HEX_32 = re.compile(r"[0-9a-fA-F]{32}")
_GLOBAL_KEY = re.compile(r"[0-9a-f]{37}")
_TOKEN_PREFIXES = ("cfut_", "cfat_", "cfk_")
_OLD_TOKEN = re.compile(r"[A-Za-z0-9_-]{40}")

_SWAPPED = "are CLOUDFLARE_ACCOUNT_ID and CLOUDFLARE_API_TOKEN swapped?"
_GIVE_ACCOUNT = "give the account id itself, 32 hexadecimal digits from the Cloudflare dashboard"
_UNREPLACED = "holds a placeholder that nothing has replaced"


def account_id_problem(value: str) -> str | None:
    """What is wrong with an account id."""
    if _PLACEHOLDER.search(value):
        return f"{_UNREPLACED}: {_GIVE_ACCOUNT}"
    if _HEX_32.fullmatch(value):
        return None
    if "://" in value or "/" in value:
        return f"is a URL or a part of one: {_GIVE_ACCOUNT}"
    if "@" in value:
        return f"is an e-mail address: {_GIVE_ACCOUNT}"
    if value.startswith(_TOKEN_PREFIXES) or _OLD_TOKEN.fullmatch(value):
        return f"looks like an API token: {_SWAPPED}"
    if _quoted(value):
        return f"has quotes around it: {_GIVE_ACCOUNT}"
    return f"is not an account id: {_GIVE_ACCOUNT}"


def token_problem(value: str) -> str | None:
    """What is wrong with an API token."""
    if _PLACEHOLDER.search(value):
        return f"{_UNREPLACED}: give the API token itself"
    if _HEX_32.fullmatch(value):
        return f"has 32 hexadecimal digits like an account id: {_SWAPPED}"
    if _GLOBAL_KEY.fullmatch(value):
        return (
            "looks like the Global API Key, which is no API token: create a token with the permission Workers AI Read"
        )
    if value.lower().startswith("bearer "):
        return "begins with 'Bearer': give the token alone"
    return _unfit_for_a_header(value)


def key_problem(value: str) -> str | None:
    """What is wrong with a key that clients are to show."""
    if _PLACEHOLDER.search(value):
        return _UNREPLACED
    return _unfit_for_a_header(value)


def _unfit_for_a_header(value: str) -> str | None:
    if _quoted(value):
        return "has quotes in it: take them away"
    if any(character.isspace() for character in value):
        return "has white space in it: take it away"
    if not (value.isascii() and value.isprintable()):
        return "has characters that an HTTP header cannot carry: use letters, digits and punctuation of ASCII"
    return None


def _quoted(value: str) -> bool:
    return any(quote in value for quote in "\"'`\u201c\u201d\u2018\u2019")
