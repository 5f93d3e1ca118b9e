"""What may be fetched for a client: the rules on addresses and on the form of URLs.

A URL is a client's word, and this process may stand where that client cannot: beside a metadata service, a database
or an admin page on loopback. Names prove nothing, because their owner decides what they resolve to. So the rules on
URLs here only keep odd forms out; what decides is the address that a socket is about to be connected to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, TypeAlias

import yarl
from msgspec import Struct

IPAddress: TypeAlias = IPv4Address | IPv6Address
Allow: TypeAlias = Callable[[IPAddress], bool]

WEB_PORTS: Final = frozenset({80, 443, 8080, 8443})
"""Where pictures are served. Any other port is more likely to be something that HTTP should not talk to."""

MAX_URL_CHARS: Final = 8192

_REFUSED_V4: Final = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers; Alibaba's metadata is 100.100.100.200
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # Azure's platform service, a public number that never leaves the host
        "169.254.0.0/16",  # link-local; the metadata services of most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata is 192.0.0.192
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, withdrawn
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

_GLOBAL_V6: Final = IPv6Network("2000::/3")
"""All that has been given out for the internet; loopback, unique-local, link-local and multicast lie outside."""

_REFUSED_V6: Final = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: any IPv4 address inside, by way of a relay
        "3fff::/20",  # documentation
    )
)

_NAT64: Final = IPv6Network("64:ff9b::/96")

_NAME: Final = re.compile(r"(?=.{1,253}\.?\Z)(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)*[a-z0-9_-]{1,63}\.?")

_ODD_HOST: Final = "its host is not a name or a plain IP address."

_NUMBER: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\.?")


class Refused(ValueError):
    """A URL that is not fetched; its text says why, for the client."""


class Target(Struct, frozen=True):
    """What a URL names, once its form has been found good.

    Attributes:
        url: The URL.
        host: A name in ASCII, or an address without brackets.
        port: The port, stated or not.
        literal: The address, when the host is one.
    """

    url: yarl.URL
    host: str
    port: int
    literal: IPAddress | None


def is_public(address: IPAddress) -> bool:
    """Tell whether an address is a host's on the open internet.

    An IPv6 address that stands for an IPv4 one is judged as that one where such addresses are still in use (mapped,
    and NAT64, without which networks that have only IPv6 could reach nothing); the withdrawn forms (compatible, 6to4,
    Teredo) are refused altogether.
    """
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return False
        if (mapped := address.ipv4_mapped) is not None:
            return is_public(mapped)
        if address in _NAT64:
            return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
        if address not in _GLOBAL_V6 or any(address in network for network in _REFUSED_V6):
            return False
    elif any(address in network for network in _REFUSED_V4):
        return False
    # Python's own registry is asked too: it may know what has been set aside since.
    return address.is_global


def read_address(text: str) -> IPAddress | None:
    """Read an address as a socket reports it; ``None`` when it is none."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def read_target(url: str, ports: Collection[int] | None = WEB_PORTS) -> Target:
    """Check the form of a URL.

    Args:
        url: As the client, or a redirect, wrote it.
        ports: The ports that may be named; ``None`` for all.

    Raises:
        Refused: It is not to be fetched.
    """
    if len(url) > MAX_URL_CHARS:
        raise Refused(f"it is longer than {MAX_URL_CHARS} characters.")
    # Parsers disagree about these, and some drop them silently.
    if any(character <= " " or character in "\\\x7f" for character in url):
        raise Refused("it holds white space, control characters or backslashes.")
    try:
        parsed = yarl.URL(url)
        host, port = parsed.raw_host, parsed.port
    except ValueError:
        raise Refused("it is not a valid URL.") from None
    if parsed.scheme not in {"http", "https"}:
        raise Refused("only 'http' and 'https' URLs are fetched.")
    if not host or port is None:
        raise Refused("it names no host.")
    authority = re.split("[/?#]", url.partition("://")[2], maxsplit=1)[0]
    if "@" in authority:
        raise Refused("it holds a user name.")
    if "[" in authority and ":" not in host:
        raise Refused(_ODD_HOST)
    if ports is not None and port not in ports:
        raise Refused(f"its port has to be one of {', '.join(map(str, sorted(ports)))}.")
    return Target(parsed, host, port, _read_literal(host))


def _read_literal(host: str) -> IPAddress | None:
    literal = read_address(host)
    if literal is not None:
        if isinstance(literal, IPv6Address) and literal.scope_id is not None:
            raise Refused(_ODD_HOST)
        return literal
    # A last label that is a number makes the host an address in an old form (2130706433, 0x7f.1, 127.1), which the
    # system would read without asking the name service.
    last = host.rstrip(".").rpartition(".")[2]
    if not _NAME.fullmatch(host) or _NUMBER.fullmatch(last):
        raise Refused(_ODD_HOST)
    return None
