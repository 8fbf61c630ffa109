"""Houses for nights. With full counts each night has one of its own; else one serves many nights, one after another,
as long as they want the same engines: to start and stop them takes longer than most faults last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from boxoffice.engines import Server, production
from boxoffice.local.kafka import LocalKafka
from boxoffice.local.redis import LocalRedis
from tests.chaos.night import Night, count_letters, sale_of
from tests.integration.house import SALE, House, open_house

PODS = SETTLES = 2


class Houses:
    def __init__(self, new_folder: Callable[[], Path], shared: bool) -> None:
        self._new_folder, self._shared = new_folder, shared
        self._house: House | None = None
        self._has: tuple[object, ...] = ()
        self._stack = AsyncExitStack()
        self._nights = 0

    @asynccontextmanager
    async def night(
        self, *, seats: int = 3000, active: int = 200, redis: Callable[[Path], Server] = LocalRedis, brokers: int = 1
    ) -> AsyncIterator[Night]:
        """A sale that is open. A house in which a night went wrong serves no other."""
        try:
            house = await self._house_with(redis, brokers)
            self._nights += 1
            name = f"{SALE}-{self._nights}"
            letters = await count_letters(house)
            await house.apply(sale_of(seats, active, name))
            night = Night(house, seats, name, letters)
            try:
                yield night
            finally:
                await night.watch.end()
        except BaseException:
            await self.close()
            raise
        if not self._shared:
            await self.close()

    async def close(self) -> None:
        self._house = None
        await self._stack.aclose()

    async def _house_with(self, redis: Callable[[Path], Server], brokers: int) -> House:
        if self._house is not None and self._has == (redis, brokers):
            return self._house
        await self.close()
        folder = self._new_folder()
        engines = production(folder)
        engines = replace(engines, store=redis(folder / "redis"), log=LocalKafka(folder / "kafka", brokers))
        opening = open_house(folder, PODS, settle_processes=SETTLES, engines=engines, gateway_latency_ms=1)
        self._house = await self._stack.enter_async_context(opening)
        self._has = (redis, brokers)
        return self._house
