"""Who is let in: the keys of clients, and the address where they come."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from typing import TYPE_CHECKING, Final

import httpx

from app.doctor.findings import Finding, failed, ok, skipped, warning
from app.keys.declared import KeyFileError
from app.keys.file import KeyFile
from app.settings.model import is_loopback

if TYPE_CHECKING:
    from app.settings import Settings

WEAK: Final = 20
"""Characters below which a key can be guessed."""

LEAST_VARIETY: Final = 8
"""Different characters below which it can, however long it is."""

_CREATE: Final = "flarelay keys create --name NAME"


async def check_keys(settings: Settings, stored: tuple[int, int] | None) -> list[Finding]:
    """Whether anybody is let in, and whether somebody is who should not be.

    Args:
        settings: The settings.
        stored: The keys of the store: how many, and how many of them were not revoked; ``None`` when unknown.
    """
    findings = [*_weak(settings)]
    declared = 0
    if settings.keys_file is not None:
        try:
            declared = len((await asyncio.to_thread(KeyFile, settings.keys_file)).keys)
        except KeyFileError as error:
            return [failed("keys", str(error))]
        if settings.keys_file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            path = settings.keys_file
            findings.append(warning("keys", f"others may write {path}, and so let themselves in", f"chmod go-w {path}"))
    return [_let_in(settings, len(settings.api_keys) + declared, stored), *findings]


def _let_in(settings: Settings, fixed: int, stored: tuple[int, int] | None) -> Finding:
    ever, usable = stored or (0, 0)
    unknown = "" if stored is not None else ", and those of the store are not known"
    if fixed + usable:
        return ok("keys", f"{_count(fixed + usable)} let in{unknown}")
    if stored is None:
        return skipped("keys", "they are in the store, which cannot be read")
    if settings.asks_for_keys or ever:
        return failed("keys", "a key is asked for, and there is none: nobody is let in", _CREATE)
    if is_loopback(settings.host):
        return ok("keys", "no key is asked for, and only this machine is let in")
    found = f"no key is asked for on {settings.host}: whoever reaches it spends your quota"
    return warning("keys", found, _CREATE)


def _weak(settings: Settings) -> list[Finding]:
    """Keys that can be guessed, by their place in the setting."""
    findings: list[Finding] = []
    for number, secret in enumerate(settings.api_keys, start=1):
        key = secret.get_secret_value()
        if len(key) < WEAK or len(set(key)) < LEAST_VARIETY:
            found = f"key {number} of FLARELAY_API_KEYS can be guessed ({len(key)} characters)"
            findings.append(warning("keys", found, "use one of `openssl rand -hex 32`, or flarelay keys create"))
    return findings


def _count(number: int) -> str:
    return "1 key is" if number == 1 else f"{number} keys are"


async def check_address(host: str, port: int, transport: httpx.AsyncBaseTransport) -> list[Finding]:
    """Whether the port is free, or flarelay has it."""
    if port == 0:
        return [ok("address", f"any free port of {host}")]
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family) as trial:
            if os.name == "posix":
                # As servers do: otherwise a connection that was just closed would count as taken.
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        if await _is_flarelay(host, port, transport):
            return [ok("address", f"flarelay is running on port {port} of {host}")]
        advice = "set FLARELAY_PORT or FLARELAY_HOST to another"
        return [failed("address", f"port {port} of {host} cannot be had: {error.strerror or error}", advice)]
    return [ok("address", f"port {port} of {host} is free")]


async def _is_flarelay(host: str, port: int, transport: httpx.AsyncBaseTransport) -> bool:
    """What has the port says of itself that it is flarelay."""
    to = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared, not bound
    url = f"http://[{to}]:{port}/healthz" if ":" in to else f"http://{to}:{port}/healthz"
    request = httpx.Request("GET", url, extensions={"timeout": {"connect": 2.0, "pool": 2.0}})
    try:
        async with asyncio.timeout(3):
            response = await transport.handle_async_request(request)
            assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101 - tells the type checker
            body = await anext(aiter(response.stream), b"")
            await response.stream.aclose()
    except (httpx.TransportError, TimeoutError):
        return False
    return response.status_code == 200 and b'"status"' in body and b'"version"' in body
