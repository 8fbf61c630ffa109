"""Redis alone, with Sentinel and as a Cluster: a buyer sees no difference, and neither does a fault."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from boxoffice import sales
from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import BoxofficeError, Recovering, StoreUnavailable, Unavailable
from boxoffice.eventlog import open_log
from boxoffice.gateway import open_gateway
from boxoffice.ledger import Ledger
from boxoffice.local.redis import LocalCluster, LocalRedis, LocalSentinel
from boxoffice.node import warnings
from boxoffice.sale import parse_sale
from boxoffice.settings import Settings
from boxoffice.sightings import see
from boxoffice.store import Store
from boxoffice.tasks import end
from tests.integration.house import SALE, resource
from tests.integration.pod import Pod, open_pod, settings_of

OTHERS = [f"night-{i}" for i in range(6)]
"""With the first one they lie on every master of a Cluster, or nearly so."""


@pytest.fixture(params=["valkey", "redis7", "sentinel", "cluster"])
def server(request: pytest.FixtureRequest) -> EmbeddedStore:
    """Whichever it is, it has a `url`, and that is all that is wanted of it here."""
    return cast(EmbeddedStore, request.getfixturevalue(request.param))


@pytest.fixture
async def pod(server: EmbeddedStore) -> AsyncIterator[Pod]:
    async with open_pod(settings_of(server)) as pod:
        yield pod


async def test_from_the_street_to_an_accepted_order(pod: Pod) -> None:
    await pod.apply(resource(), *(resource(name=name) for name in OTHERS))
    for sale in (SALE, *OTHERS):
        buyer = pod.buyer(sale)
        await buyer.enter()
        hold = (await buyer.hold(count=2)).json()
        answer = await buyer.pay(hold["id"], "a key")
        assert (answer.status_code, answer.json()["state"]) == (202, "accepted"), answer.text
        replay = await buyer.pay(hold["id"], "a key")
        assert replay.headers["idempotent-replayed"] == "true"
        assert replay.json()["id"] == answer.json()["id"]


async def test_a_hundred_want_one_seat_and_one_gets_it(pod: Pod) -> None:
    await pod.apply(resource(seats=400))
    buyers = [pod.buyer() for _ in range(100)]
    await asyncio.gather(*(buyer.enter() for buyer in buyers))
    answers = await asyncio.gather(*(buyer.hold(seats=["stalls/1/7"]) for buyer in buyers))
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 99}


async def test_calls_that_are_given_up_leave_the_others_their_answers(pod: Pod) -> None:
    await pod.apply(resource())
    record = pod.store.key(SALE, "sale")
    before = await pod.store.connect(record)
    for turn in range(50):
        given_up = [asyncio.ensure_future(pod.store.execute("HGET", record, "uid")) for _ in range(20)]
        await asyncio.sleep(0)
        for task in given_up[turn % 3 :: 3]:
            task.cancel()
        await pod.store.execute("HSET", record, "turn", turn)
        assert await pod.store.execute("HGET", record, "turn") == str(turn).encode()
        await asyncio.gather(*given_up, return_exceptions=True)
    assert await pod.store.connect(record) is before, "it cost no connection"


async def test_scripts_that_somebody_flushed_are_sent_again(pod: Pod) -> None:
    await pod.apply(resource())
    client = await pod.store.client(pod.store.key(SALE, "sale"))
    await client.script_flush()
    assert (await pod.store.call("peek", SALE))[0] == b"ok"


async def _until_recovering(store: Store) -> None:
    """A server that took the place of another has another run_id: nobody may go on there as if nothing had been."""
    async with asyncio.timeout(90):
        while True:
            try:
                await store.call("peek", SALE)
            except Recovering:
                return
            except StoreUnavailable:
                pass
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("kind", [LocalRedis, LocalSentinel, LocalCluster])
async def test_a_master_dies_and_what_follows_is_known_to_be_another(tmp_path: Path, kind: Any) -> None:
    server = kind(tmp_path / "data")
    await server.start()
    try:
        async with open_pod(settings_of(server)) as pod:
            await pod.apply(resource())
            buyer = pod.buyer()
            await buyer.enter()
            if isinstance(server, LocalRedis):
                await server.kill()
                await server.start()
            else:
                master = await (server.master(pod.store.key(SALE, "sale")) if kind is LocalCluster else server.master())
                await master.kill()
            await _until_recovering(pod.store)
            answer = await buyer.hold(count=1)
            assert (answer.status_code, answer.json()["code"]) == (503, "recovering")
            assert answer.headers["retry-after"]
    finally:
        await server.stop()


async def test_a_server_that_keeps_badly_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    server = LocalRedis(tmp_path / "data", options={"appendonly": "no", "maxmemory-policy": "allkeys-lru"})
    await server.start()
    store = await Store.open(settings_of(cast(EmbeddedStore, server)))
    await store.close()
    await server.stop()
    assert "set maxmemory-policy noeviction" in caplog.text
    assert "set appendonly yes" in caplog.text


def test_a_server_that_keeps_well_is_not() -> None:
    info = {
        b"redis_version": b"7.2.4", b"maxmemory_policy": b"noeviction", b"aof_enabled": b"1",
        b"connected_slaves": b"1", b"min_slaves_good_slaves": b"1", b"redis_mode": b"standalone",
    }  # fmt: skip
    assert list(warnings(info)) == []
    del info[b"min_slaves_good_slaves"]
    assert [warning for warning in warnings(info) if "min-replicas-to-write" in warning]


async def test_out_of_reach_is_said_within_the_deadline(tmp_path: Path) -> None:
    """A server that stands still neither holds up a caller for ever nor is thrown away for it."""
    server = LocalRedis(tmp_path / "data")
    await server.start()
    store = await Store.open(settings_of(cast(EmbeddedStore, server), store_deadline_seconds=2.0))
    server.pause()
    with pytest.raises(BoxofficeError, match="in time"):
        await store.execute("GET", "anything")
    server.resume()
    assert await store.execute("GET", "anything") is None
    await store.close()
    await server.stop()


async def test_whoever_reads_for_the_audit_hears_in_our_words_that_redis_is_gone(
    tmp_path: Path, settings_for: Callable[[EmbeddedStore], Settings], ledger: Ledger
) -> None:
    """Wherever in the reading it goes."""
    server = LocalRedis(tmp_path / "data")
    await server.start()
    settings = settings_for(cast(EmbeddedStore, server))
    store = await Store.open(settings)
    log, gateway = await open_log(settings, store), await open_gateway(settings)
    await sales.apply(store, ledger, parse_sale(msgspec.json.encode(resource())), "test", "test")
    sale = await ledger.sale(SALE)
    assert sale is not None
    await asyncio.gather(*(store.execute("HSET", store.key(SALE, f"order:{i}"), "state", "x") for i in range(5000)))

    was_read = asyncio.Event()

    async def read_on() -> None:
        while True:
            try:
                seen = await see(sale, store, log, ledger, gateway)
            except Unavailable:
                await asyncio.sleep(0.02)
            else:
                assert seen.redis is not None
                assert len(seen.redis.orders) == 5000
                was_read.set()

    readers = [asyncio.create_task(read_on()) for _ in range(4)]
    for _ in range(5):
        was_read.clear()
        async with asyncio.timeout(90):
            await was_read.wait()
        await asyncio.sleep(random.uniform(0, 0.3))
        await server.kill()
        await server.start()
        run_id = (await server.processes[0].info("server"))[b"run_id"]
        await server.processes[0].ask("HSET", store.key(SALE, "sale"), "run_id", run_id)
    assert not [reader for reader in readers if reader.done()], "it was told otherwise"
    await end(readers)
    await gateway.close()
    await log.close()
    await store.close()
    await server.stop()
