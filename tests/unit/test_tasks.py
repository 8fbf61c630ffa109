"""A task that loses a cancellation is ended all the same."""

from __future__ import annotations

import asyncio

from boxoffice.tasks import end


async def test_a_lost_cancellation_is_repeated() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    async def finished() -> None: ...

    tasks = [asyncio.create_task(stubborn()), asyncio.create_task(finished())]
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await end(tasks)
    assert lost == 3
