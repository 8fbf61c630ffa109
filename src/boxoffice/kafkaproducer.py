"""Publishing to Kafka: every call ends within `publish_seconds`, and a producer that is stuck is replaced."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from aiokafka import AIOKafkaProducer  # type: ignore[import-untyped]
from aiokafka.errors import KafkaError  # type: ignore[import-untyped]

from boxoffice.errors import LogUnavailable
from boxoffice.kafkaclient import as_log_unavailable, begun, connection
from boxoffice.settings import Settings
from boxoffice.tasks import end

RENEW_SECONDS = 10.0
"""Nothing went through for so long: whatever it waits for, a new producer looks for the cluster afresh."""

OPEN_AGAIN_SECONDS = 0.5
STOP_SECONDS = 3.0
BATCH_BYTES = 256 * 1024

logger = logging.getLogger(__name__)

Done = TypeVar("Done")


class Producer:
    def __init__(self, settings: Settings) -> None:
        self._seconds = settings.publish_seconds
        self._given = connection(settings)
        self._opening: asyncio.Task[AIOKafkaProducer] | None = None
        self._stopping: set[asyncio.Task[None]] = set()
        self._well_at = 0.0

    async def do(self, action: Callable[[AIOKafkaProducer], Awaitable[Done]]) -> Done:
        """Raises LogUnavailable, after `publish_seconds` at the latest."""
        try:
            with as_log_unavailable():
                async with asyncio.timeout(self._seconds):
                    done = await action(await self._open())
        except LogUnavailable:
            self._look()
            raise
        self._well_at = asyncio.get_running_loop().time()
        return done

    async def _open(self) -> AIOKafkaProducer:
        if self._opening is None:
            self._opening = asyncio.create_task(self._start())
            self._well_at = asyncio.get_running_loop().time()
        return await asyncio.shield(self._opening)

    async def _start(self) -> AIOKafkaProducer:
        """Idempotent batches of aiokafka never expire and would outlive our bound; duplicates end at the order id."""
        while True:
            producer = AIOKafkaProducer(
                **self._given,
                acks="all",
                enable_idempotence=False,
                request_timeout_ms=2000,
                linger_ms=0,
                max_batch_size=BATCH_BYTES,
            )
            try:
                await begun(producer.start())
            except (KafkaError, OSError) as error:
                logger.warning("no way to Kafka: %s", error)
                await producer.stop()
                await asyncio.sleep(OPEN_AGAIN_SECONDS)
            except BaseException:
                await producer.stop()
                raise
            else:
                return producer

    def _look(self) -> None:
        """After a failure: a producer whose sender has ended, or that did nothing for long, is given up.
        One that has not found Kafka yet looks for it by itself."""
        if self._opening is None or not self._opening.done():
            return
        late = asyncio.get_running_loop().time() - self._well_at > RENEW_SECONDS
        if late or self._opening.result()._sender.sender_task.done():
            logger.warning("a new producer takes over")
            self._give_up(self._opening)

    def _give_up(self, opening: asyncio.Task[AIOKafkaProducer]) -> None:
        self._opening = None
        task = asyncio.create_task(_stop(opening))
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)

    async def close(self) -> None:
        if self._opening is not None:
            self._give_up(self._opening)
        await asyncio.gather(*self._stopping)


async def _stop(opening: asyncio.Task[AIOKafkaProducer]) -> None:
    if not opening.done():
        opening.cancel()
        await asyncio.wait({opening}, timeout=STOP_SECONDS)  # a second cancel would leave half of it open
        await end([opening])
    if opening.cancelled():
        return
    producer = opening.result()
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await producer.stop()
    except (TimeoutError, KafkaError):
        with suppress(KafkaError):
            await producer._sender.close()
        await producer.client.close()
