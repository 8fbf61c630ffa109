"""Redis fails under a crowd: killed, wiped, behind by a second, still answering when another is the master."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace

import pytest

from boxoffice.local.redis import MASTER_NAME, LocalCluster, LocalRedis, LocalSentinel, RedisProcess
from boxoffice.store import Store
from tests.chaos.conftest import Chaos
from tests.chaos.crowd import Guest
from tests.chaos.houses import Houses
from tests.chaos.night import Night
from tests.servers_redis import move_slot

pytestmark = pytest.mark.asyncio(loop_scope="session")
"""The houses' own."""

AT_A_TIME = 64
"""Requests of those who only wait."""
LOOK_SECONDS = 0.05


async def test_redis_is_killed_and_reads_its_file(houses: Houses, chaos: Chaos) -> None:
    count = chaos.scale(1, 10)
    async with houses.night() as night:
        redis = night.engine(LocalRedis)
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                await redis.kill()
                await redis.start()
                await crowd.heals()
        findings = await night.close()
    chaos.row("Redis is killed and reads its file", count, findings)
    findings.assert_clean()


class Insider(Guest):
    """Has seats in hand when Redis forgets them, and buys only after that."""

    def __init__(self, night: Night, nth: int, forgotten: asyncio.Event) -> None:
        super().__init__(night.house, night.sale, nth)
        self.holds = asyncio.Event()
        self._forgotten = forgotten

    async def _buy(self) -> None:
        await self._ask("hold", self._buyer.hold, 201)
        self.holds.set()
        await self._forgotten.wait()
        await super()._buy()


class Waiter(Guest):
    """Comes, and looks once, after Redis forgot all, whether the place is still its own; then it goes."""

    @property
    def number(self) -> int:
        return self._buyer.number

    async def join(self) -> None:
        await self._enter()

    async def look(self) -> None:
        where = await self._ask("poll", self._buyer.whereabouts, 200, 401, 409, 410)
        state = where.json().get("state") or where.json()["code"]
        self.end = state if state in ("waiting", "called") else f"place lost: {state}"
        if where.json().get("number", self.number) != self.number:
            self.end = "place lost: another number"

    async def leave(self) -> None:
        await self._ask("leave", lambda: self._buyer.send("DELETE", "/places/me", self._buyer.ticket), 204, 410)


async def few_at_a_time(steps: Iterable[Callable[[], Awaitable[None]]]) -> None:
    """In their order."""
    rest = iter(steps)

    async def work() -> None:
        for step in rest:
            await step()

    await asyncio.gather(*(work() for _ in range(AT_A_TIME)))


async def test_redis_is_wiped_with_buyers_waiting_and_inside(houses: Houses, chaos: Chaos) -> None:
    """The places are in the buyers' tickets, and nowhere else any more."""
    inside, waiting = chaos.scale(10, 200), chaos.scale(200, 10_000)
    forgotten = asyncio.Event()
    async with houses.night(active=inside) as night:
        redis = night.engine(LocalRedis)
        async with night.crowd(concurrency=10) as crowd:
            await crowd.paid(20)
        async with night.crowd(concurrency=0) as crowd:
            insiders = [Insider(night, 1000 + nth, forgotten) for nth in range(inside)]
            crowd.guests += insiders
            async with asyncio.TaskGroup() as group:
                buying = [group.create_task(insider.live(lambda: night.watch.era)) for insider in insiders]
                await asyncio.gather(*(insider.holds.wait() for insider in insiders))
                waiters = [Waiter(night.house, night.sale, nth) for nth in range(waiting)]
                await few_at_a_time(waiter.join for waiter in waiters)
                waiters.sort(key=lambda waiter: waiter.number)
                await night.house.until_seen_by_all_pods(night.sale)

                await redis.kill()
                redis.wipe()
                await redis.start()
                begun = time.monotonic()
                forgotten.set()
                await few_at_a_time(waiter.look for waiter in waiters[: waiting // 50])
                await asyncio.gather(*buying)
                crowd.healed.append(time.monotonic() - begun)
                await few_at_a_time(waiter.look for waiter in waiters[waiting // 50 :])
                await few_at_a_time(waiter.leave for waiter in waiters)
        async with night.crowd() as crowd:
            await crowd.heals()
        findings = await night.close()
    numbers = Counter(waiter.number for waiter in waiters) + Counter(guest.story.number for guest in night.guests)
    findings = replace(
        findings,
        places_lost=findings.places_lost + sum(waiter.end.startswith("place lost") for waiter in waiters),
        numbers_twice=sum(count > 1 for count in numbers.values()),
        problems=[*findings.problems, *(surprise for waiter in waiters for surprise in waiter.surprises)],
    )
    chaos.row(f"Redis is wiped with {waiting:,} waiting and {inside} inside", 1, findings)
    findings.assert_clean()


async def cut_off(master: RedisProcess) -> None:
    """Its replicas hear no more of it, and it goes on taking writes, as any does until `min-replicas-max-lag`."""
    await master.ask("CONFIG", "SET", "min-replicas-to-write", "0")
    await master.ask("ACL", "SETUSER", "default", "-psync", "-sync")
    await master.ask("CLIENT", "KILL", "TYPE", "replica")


async def let_in_again(former: RedisProcess) -> None:
    await former.ask("ACL", "SETUSER", "default", "+psync", "+sync")
    await former.ask("CONFIG", "SET", "min-replicas-to-write", "1")


async def another_master(sentinel: LocalSentinel, former: RedisProcess, seconds: float = 90.0) -> RedisProcess:
    async with asyncio.timeout(seconds):
        while (master := await sentinel.master()) is former:
            await asyncio.sleep(LOOK_SECONDS)
    return master


async def test_a_failover_loses_the_last_second(houses: Houses, chaos: Chaos) -> None:
    count = chaos.scale(1, 10)
    async with houses.night(redis=LocalSentinel) as night:
        redis = night.engine(LocalSentinel)
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                master = await redis.master()
                await cut_off(master)
                await asyncio.sleep(1)
                await master.kill()
                await another_master(redis, master)
                await crowd.heals()
                await redis.start()
        findings = await night.close()
    chaos.row("a failover loses the last second", count, findings)
    findings.assert_clean()


async def test_an_old_master_still_answers_for_five_seconds(houses: Houses, chaos: Chaos) -> None:
    """To one pod, whose only sentinel stands still while the others elect; writes to it are lost."""
    count = chaos.scale(1, 5)
    async with houses.night(redis=LocalSentinel) as night:
        redis = night.engine(LocalSentinel)
        blind = redis.sentinels[0]
        alone = f"redis+sentinel://127.0.0.1:{blind.port}/{MASTER_NAME}/0"
        pod = f"serve-{night.stack.serve_ports[0]}"
        async with night.otherwise(pod, BOXOFFICE_STORE_URL=alone), night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                master = await redis.master()
                await cut_off(master)
                os.kill(blind.pid, signal.SIGSTOP)
                await redis.sentinels[1].ask("SENTINEL", "FAILOVER", MASTER_NAME)
                await asyncio.sleep(5)
                assert (await master.info("replication"))[b"role"] == b"master", "it was told too early"
                os.kill(blind.pid, signal.SIGCONT)
                await crowd.heals()
                await let_in_again(master)
                await redis.start()
        findings = await night.close()
    chaos.row("an old master still answers for 5 s", count, findings)
    findings.assert_clean()


async def test_a_master_of_the_cluster_is_killed(houses: Houses, chaos: Chaos) -> None:
    count = chaos.scale(1, 10)
    async with houses.night(redis=LocalCluster) as night:
        redis = night.engine(LocalCluster)
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                await (await redis.master(key_of_the_sale(night))).kill()
                await crowd.heals()
                await redis.start()
        findings = await night.close()
    chaos.row("a master of the Redis Cluster is killed", count, findings)
    findings.assert_clean()


async def test_the_sale_moves_to_another_server_of_the_cluster(houses: Houses, chaos: Chaos) -> None:
    """Nothing is lost, but nobody there can know that."""
    count = chaos.scale(1, 10)
    async with houses.night(redis=LocalCluster) as night:
        async with night.crowd() as crowd:
            for _ in range(count):
                await crowd.paid(20)
                await move_slot(night.engine(LocalCluster), key_of_the_sale(night))
                await crowd.heals()
        findings = await night.close()
    chaos.row("the sale's slot moves in the Redis Cluster", count, findings)
    findings.assert_clean()


def key_of_the_sale(night: Night) -> str:
    return Store(night.stack.settings()).key(night.sale, "sale")
