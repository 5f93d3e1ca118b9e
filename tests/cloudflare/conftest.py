"""What speaks to the upstream is tried on both event loops: asyncio's own, and the one that serves."""

import asyncio

import uvloop


def pytest_asyncio_loop_factories():
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
