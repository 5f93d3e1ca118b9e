"""Redis, where replicas count their limits together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from app.doctor.findings import Clock, Finding, Reading, failed, ok, skipped, warning

if TYPE_CHECKING:
    from redis.asyncio import Redis

LEAST_VERSION: Final = (5, 0)
"""Earlier ones do not let a script ask for the time and write after it."""

_SCRIPT: Final = "local now = redis.call('TIME') return {now[1], now[2]}"


async def check_redis(url: str | None, seconds: float, clock: Clock, readings: list[Reading]) -> list[Finding]:
    """Whether Redis answers, is new enough, runs scripts, takes writes and keeps what it is told.

    Args:
        url: Where it is; ``None`` when there is none.
        seconds: How long one exchange with it may take.
        clock: Our clock.
        readings: Takes what its clock showed.
    """
    if url is None:
        return [skipped("redis", "FLARELAY_REDIS_URL is not set: each process counts its limits alone")]
    try:
        from redis.asyncio import Redis  # noqa: PLC0415 - an extra
        from redis.exceptions import AuthenticationError, RedisError  # noqa: PLC0415
    except ModuleNotFoundError:
        return [failed("redis", "the package redis is not installed", "pip install 'flarelay[redis]'")]
    try:
        client: Redis = Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, decode_responses=True, protocol=2
        )
    except ValueError:
        return [failed("redis", "FLARELAY_REDIS_URL cannot be read", "give one such as redis://host:6379/0")]
    where = _where(url)
    try:
        return [await _looked_at(client, where, clock, readings)]
    except AuthenticationError:
        return [failed("redis", f"{where} refuses the credentials", "look at the password in FLARELAY_REDIS_URL")]
    except (RedisError, OSError, TimeoutError) as error:
        # The library's own sentences name the address and what went wrong; never the password.
        advice = "start it, or look at FLARELAY_REDIS_URL; until then requests are refused or counted alone"
        return [failed("redis", f"{where} does not answer: {type(error).__name__}: {_line(error)}", advice)]
    finally:
        await client.aclose()


async def _looked_at(client: Redis, where: str, clock: Clock, readings: list[Reading]) -> Finding:
    await client.ping()
    info = await _info(client)
    version = str(info.get("redis_version", "of an unknown version"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < LEAST_VERSION:
        return failed("redis", f"{where} is Redis {version}", "5.0 or newer is needed")
    if info.get("role") not in {None, "master"}:
        return failed("redis", f"{where} is a replica, which takes no writes", "name its master in FLARELAY_REDIS_URL")
    before = clock()
    told = await client.eval(_SCRIPT, 0)
    readings.append(Reading("Redis", int(told[0]) + int(told[1]) / 1_000_000, (before + clock()) / 2))
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        found = f"{where} throws keys away when its memory is full ({policy}), and limits with them"
        return warning("redis", found, "set maxmemory-policy noeviction")
    return ok("redis", f"Redis {version} at {where} answers and runs scripts")


async def _info(client: Redis) -> dict[str, Any]:
    """What it says of itself; nothing where this user may not ask."""
    from redis.exceptions import ResponseError  # noqa: PLC0415 - an extra

    try:
        info: dict[str, Any] = await client.info()
    except ResponseError:
        return {}
    return info


def _where(url: str) -> str:
    """The address, without credentials."""
    parts = urlsplit(url)
    return f"{parts.hostname or parts.path}" + (f":{parts.port}" if parts.port else "")


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [""])[0][:160]
