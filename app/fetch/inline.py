"""Putting the images of a conversation into it, since the upstream fetches none."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec.structs import replace

from app.core.errors import BadRequest
from app.core.request import Content, ImageContent, Message
from app.fetch.budget import Budget
from app.fetch.images import ImageFetcher
from app.fetch.pictures import check_data_uri

MAX_IMAGES: Final = 50
MAX_TOTAL_BYTES: Final = 50 * 1024 * 1024
MAX_FETCHES_AT_ONCE: Final = 4
MAX_SECONDS: Final = 60.0
"""The time for all images of one request."""


async def inline_images(messages: Sequence[Message], fetcher: ImageFetcher) -> tuple[Message, ...]:
    """Replace every image URL by the image; each URL is fetched once. Images that are there already are checked.

    Raises:
        BadRequest: One of them cannot be had or used, or there are too many.
    """
    images = [
        part
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
        if isinstance(part, ImageContent)
    ]
    if not images:
        return tuple(messages)
    if len(images) > MAX_IMAGES:
        raise BadRequest(
            f"Too many images: a request may hold {MAX_IMAGES}.",
            param=images[MAX_IMAGES].param,
            code="invalid_image_url",
        )
    budget = Budget(MAX_TOTAL_BYTES)
    inlined: dict[str, str] = {}
    remote: dict[str, str] = {}
    # What is here is checked before anything is fetched: it costs nobody else anything.
    for image in images:
        scheme = image.url[:8].lower()
        if image.url in inlined:
            continue
        if scheme.startswith("data:"):
            inlined[image.url], size = check_data_uri(image.url, image.param, fetcher.max_bytes)
            budget.spend(size, image.param)
        elif scheme.startswith(("http://", "https://")):
            remote.setdefault(image.url, image.param)
        else:
            raise BadRequest(
                "Invalid image URL: expected an 'https:' URL or a base64 'data:' URI.",
                param=image.param,
                code="invalid_image_url",
            )
    if remote:
        inlined.update(await _fetch_all(remote, fetcher, budget))
        # Fetched once, but sent as often as it is named: a few bytes per mention would grow to megabytes each.
        if sum(len(inlined[image.url]) for image in images) > MAX_TOTAL_BYTES * 3 // 2:
            raise budget.exceeded(images[-1].param)
    return tuple(_inlined(message, inlined) for message in messages)


async def _fetch_all(remote: Mapping[str, str], fetcher: ImageFetcher, budget: Budget) -> dict[str, str]:
    turn = asyncio.Semaphore(MAX_FETCHES_AT_ONCE)

    async def fetch(url: str, param: str) -> str:
        async with turn:
            return await fetcher.fetch(url, param, budget)

    try:
        # The first failure ends the others: the request fails with it.
        async with asyncio.timeout(MAX_SECONDS), asyncio.TaskGroup() as group:
            tasks = {url: group.create_task(fetch(url, param)) for url, param in remote.items()}
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    except TimeoutError:
        raise BadRequest(
            f"Timeout while downloading the images: over {MAX_SECONDS:g} seconds.",
            param=next(iter(remote.values())),
            code="invalid_image_url",
        ) from None
    return {url: task.result() for url, task in tasks.items()}


def _inlined(message: Message, inlined: Mapping[str, str]) -> Message:
    if isinstance(message.content, str):
        return message
    content: tuple[Content, ...] = tuple(
        replace(part, url=inlined[part.url]) if isinstance(part, ImageContent) else part for part in message.content
    )
    return message if content == message.content else replace(message, content=content)
