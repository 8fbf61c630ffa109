"""What pods and settlement tell Prometheus beside their traffic: true of a real sale, and no more than so much."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from prometheus_client import REGISTRY

from boxoffice import deadletters
from boxoffice.database import connect
from boxoffice.embedded import EmbeddedStore
from boxoffice.enginewatch import watch_engines
from boxoffice.errors import LedgerUnavailable, LogUnavailable, StoreUnavailable
from boxoffice.eventlog import published
from boxoffice.ledger import Ledger
from boxoffice.local.redis import LocalRedis
from boxoffice.settings import Settings
from boxoffice.store import Store
from boxoffice.tasks import end
from boxoffice.vitals import watch_loop
from tests.integration.house import SALE, resource
from tests.integration.pod import Pod, lay_out, open_pod, settings_of
from tests.integration.test_settlement import Scene, event, gateway, log, publish, sale, scene, settling

__all__ = ["gateway", "log", "sale", "scene"]

ROOT = Path(__file__).parents[2]
MOST_SERIES = 500
"""Of a pod with one sale."""
MOST_OF_A_SALE = 50


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, log_partitions=2, settle_batch=50)


async def page(pod: Pod) -> str:
    return (await pod.client.get(f"{pod.url}/metrics")).text


def value(text: str, series: str) -> float:
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    assert found, series
    return float(found[1])


def told(name: str, **labels: str) -> float:
    """By this process."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


# -- pods ----------------------------------------------------------------------------------------------------------


async def test_times_and_state_of_a_sale(valkey: EmbeddedStore) -> None:
    async with open_pod(settings_of(valkey)) as pod:
        await pod.apply(resource(), resource(name="later", opens_in=600))
        async with asyncio.timeout(60):
            while pod.context.board.view(SALE).state != "open":
                await pod.beat()
        text = await page(pod)
    assert value(text, 'boxoffice_sale_state{sale="later",state="prequeue"}') == 1
    assert value(text, f'boxoffice_sale_state{{sale="{SALE}",state="open"}}') == 1
    assert value(text, f'boxoffice_sale_state{{sale="{SALE}",state="prequeue"}}') == 0
    assert value(text, 'boxoffice_sale_opens_timestamp_seconds{sale="later"}') == pytest.approx(
        time.time() + 600, abs=60
    )
    assert value(text, 'boxoffice_sale_opened_timestamp_seconds{sale="later"}') == 0
    assert value(text, f'boxoffice_sale_opened_timestamp_seconds{{sale="{SALE}"}}') == pytest.approx(
        time.time(), abs=60
    )
    assert 0 <= value(text, "boxoffice_snapshot_age_seconds") < 60


async def test_a_target_that_nobody_renews_is_below_what_was_decided(valkey: EmbeddedStore) -> None:
    decided, target = (f'boxoffice_admission_target{what}{{sale="{SALE}"}}' for what in ("_decided", ""))
    auto = {"mode": "Auto", "initialActive": 400, "minActive": 10, "maxActive": 1000, "fallbackActive": 100}
    async with open_pod(settings_of(valkey)) as pod:
        await pod.apply(resource(admission=auto))
        record = pod.store.key(SALE, "sale")
        now = await pod.store.now_ms(SALE)
        await pod.store.execute("HSET", record, "target", 400, "decided_ms", now)
        await pod.beat()
        fresh = await page(pod)
        await pod.store.execute("HSET", record, "decided_ms", now - 180_000)
        await pod.beat()
        text = await page(pod)
    assert value(fresh, decided) == value(fresh, target) == 400
    assert value(text, decided) == 400
    assert 100 < value(text, target) <= 250, "half of what is above the fallback is gone after a minute"


async def test_orders_that_the_log_has_not_got(valkey: EmbeddedStore) -> None:
    async with open_pod(settings_of(valkey)) as pod:
        await pod.apply(resource())
        quiet, now = await page(pod), await pod.store.now_ms(SALE)
        for age, order in ((5_000, "young"), (90_000, "old")):
            await pod.store.execute("HSET", pod.store.key(SALE, f"order:{order}"), "placed_ms", now - age)
            await pod.store.execute("ZADD", pod.store.key(SALE, "unpublished"), now + 3_600_000, order)
        await pod.beat()
        text = await page(pod)
    count, oldest = (f'boxoffice_intents_{what}{{sale="{SALE}"}}' for what in ("unpublished", "oldest_seconds"))
    assert (value(quiet, count), value(quiet, oldest)) == (0, 0)
    assert value(text, count) == 2
    assert value(text, oldest) == pytest.approx(90, abs=60)


async def test_a_slow_poll_is_counted(valkey: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = 'boxoffice_requests_slow_total{step="whereabouts"}'
    async with open_pod(settings_of(valkey)) as pod:
        await pod.apply(resource())
        buyer = pod.buyer()
        await buyer.join()
        monkeypatch.setattr("boxoffice.traffic.SLOW_SECONDS", 1e9)
        assert (await buyer.whereabouts()).status_code == 200
        before = value(await page(pod), slow)
        monkeypatch.setattr("boxoffice.traffic.SLOW_SECONDS", 0.0)
        assert (await buyer.whereabouts()).status_code == 200
        assert (before, value(await page(pod), slow)) == (0, 1)


async def test_the_page_is_bounded_and_all_of_it_in_the_table(valkey: EmbeddedStore) -> None:
    table = (ROOT / "docs" / "metrics.md").read_text()
    async with open_pod(settings_of(valkey)) as pod:
        await pod.apply(resource())
        one = await page(pod)
        for _ in range(20):
            await pod.buyer().join()
        crowded = await page(pod)
        await pod.apply(resource(name="another"))
        two = await page(pod)
    assert series(one) == series(crowded), "a crowd adds nothing"
    assert len(series(one)) <= MOST_SERIES
    assert 0 < len(series(two) - series(one)) <= MOST_OF_A_SALE
    named = re.findall(r"^# TYPE (boxoffice_\w+)", one, re.MULTILINE)
    assert [name for name in named if f"`{name}`" not in table and not name.endswith("_created")] == []
    assert not [name for name, count in Counter(named).items() if count > 1], "each family once"


async def test_what_a_kubelet_asks_is_no_traffic(valkey: EmbeddedStore, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = [f'boxoffice_requests_total{{outcome="{outcome}",step="other"}}' for outcome in ("2xx", "5xx")]
    async with open_pod(settings_of(valkey)) as pod:
        first, second = await page(pod), await page(pod)
        assert (await pod.client.get(f"{pod.url}/readyz")).status_code == 200
        monkeypatch.setattr("boxoffice.app.STALE_SECONDS", -1.0)
        assert (await pod.client.get(f"{pod.url}/readyz")).status_code == 503
        third = await page(pod)
    each = [value(second, name) - value(first, name) for name in counted]
    assert [value(third, name) - value(second, name) for name in counted] == each


def series(text: str) -> set[str]:
    """Without those of tests that ran in this process before: labels of settlement and operator."""
    lines = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]
    return {line for line in lines if not line.startswith(("boxoffice_settle", "boxoffice_audit", "boxoffice_engine"))}


# -- engines -------------------------------------------------------------------------------------------------------


async def test_calls_of_redis_are_timed_and_faults_counted(tmp_path: Path) -> None:
    server = EmbeddedStore(tmp_path)
    await server.start()
    calls, connects = told("boxoffice_redis_call_seconds_count"), told("boxoffice_redis_connects_total")
    broken, unreachable = (told("boxoffice_redis_errors_total", error=e) for e in ("broken", "unreachable"))
    store = await Store.open(settings_of(server, store_deadline_seconds=60.0))
    await store.execute("GET", "nothing")
    assert told("boxoffice_redis_call_seconds_count") > calls
    assert told("boxoffice_redis_connects_total") == connects + 1
    waiting = (await store.connect("x")).send("XREAD", "BLOCK", 60_000, "STREAMS", "none", "$")
    await server.stop()
    with pytest.raises(StoreUnavailable):
        await waiting
    assert told("boxoffice_redis_errors_total", error="broken") == broken + 1
    async with asyncio.timeout(60):
        while told("boxoffice_redis_errors_total", error="unreachable") == unreachable:
            with pytest.raises(StoreUnavailable):
                await store.execute("GET", "nothing")
            await asyncio.sleep(0.05)
    await store.close()


async def test_transactions_are_timed_and_faults_counted(ledger: Ledger, tmp_path: Path) -> None:
    count, errors = (
        "boxoffice_ledger_transaction_seconds_count",
        told("boxoffice_ledger_errors_total", error="unreachable"),
    )
    before = told(count, kind="read")
    await ledger.sales()
    assert told(count, kind="read") == before + 1
    away = Ledger(connect(f"sqlite+aiosqlite:///{tmp_path}/no/such/folder.db"))
    with pytest.raises(LedgerUnavailable):
        await away.sales()
    await away.close()
    assert told("boxoffice_ledger_errors_total", error="unreachable") == errors + 1


def test_a_record_that_the_log_did_not_take_is_counted() -> None:
    tries, failures = (told(f"boxoffice_log_publish_{what}") for what in ("seconds_count", "failures_total"))
    with published():
        pass
    with pytest.raises(LogUnavailable), published():
        raise LogUnavailable("away")
    assert told("boxoffice_log_publish_seconds_count") == tries + 2
    assert told("boxoffice_log_publish_failures_total") == failures + 1


async def test_an_engine_that_would_forget_is_shown(tmp_path: Path) -> None:
    server = LocalRedis(tmp_path / "data", options={"appendonly": "no"})
    await server.start()
    settings = settings_of(cast(EmbeddedStore, server), ledger_url="sqlite+aiosqlite://")
    store = await Store.open(settings)
    await lay_out(store, resource())
    checks = ("persistence", "eviction")
    watching = asyncio.create_task(watch_engines(settings, store))
    async with asyncio.timeout(60):
        while [told("boxoffice_engine_unsafe", engine="redis", check=check) for check in checks] != [1, 0]:
            await asyncio.sleep(0.02)
    await end([watching])
    await store.execute("CONFIG", "SET", "appendonly", "yes")
    watching = asyncio.create_task(watch_engines(settings, store))
    async with asyncio.timeout(60):
        while told("boxoffice_engine_unsafe", engine="redis", check="persistence"):
            await asyncio.sleep(0.02)
    await end([watching])
    await store.close()
    await server.stop()


async def test_a_loop_that_is_held_up_is_late() -> None:
    late = told("boxoffice_event_loop_lag_seconds_sum")
    watching = asyncio.create_task(watch_loop())
    await asyncio.sleep(0)
    time.sleep(0.6)  # noqa: ASYNC251 - that is what is measured
    async with asyncio.timeout(60):
        while told("boxoffice_event_loop_lag_seconds_sum") - late < 0.3:
            await asyncio.sleep(0.02)
    await end([watching])


# -- settlement ----------------------------------------------------------------------------------------------------


@pytest.fixture
async def settled(scene: Scene) -> AsyncIterator[Scene]:
    async with settling(scene.desk()):
        yield scene


async def test_orders_are_timed_from_accepted_to_settled(settled: Scene) -> None:
    def seen() -> dict[str, float]:
        bounds = {f"le {le}": told("boxoffice_settle_seconds_bucket", le=le) for le in ("10.0", "300.0")}
        return {**bounds, "paid": told("boxoffice_settle_orders_total", outcome="paid")}

    before = seen()
    long_ago = int(time.time() * 1000) - 100_000
    await publish(settled.log, event(settled.sale, [1], placed_ms=long_ago), event(settled.sale, [2]))
    await settled.until_settled()
    after = seen()
    assert {name: after[name] - before[name] for name in after} == {"le 10.0": 1, "le 300.0": 2, "paid": 2}


async def test_a_partition_tells_of_its_progress_while_it_has_any(scene: Scene) -> None:
    progress, age = "boxoffice_settle_last_progress_timestamp_seconds", "boxoffice_settle_oldest_unsettled_seconds"
    async with settling(scene.desk()):
        async with asyncio.timeout(60):
            while not all(told(progress, partition=str(p)) > 0 for p in range(2)):
                await asyncio.sleep(0.02)
        scene.gateway.failures = 1_000_000
        await publish(scene.log, event(scene.sale, [1], placed_ms=int(time.time() * 1000)))
        async with asyncio.timeout(60):
            while not any(told(age, partition=str(p)) > 0 for p in range(2)):
                await asyncio.sleep(0.02)
        [stuck] = [str(p) for p in range(2) if told(age, partition=str(p)) > 0]
        stood = told(progress, partition=stuck)
        other = told(progress, partition=str(1 - int(stuck)))
        async with asyncio.timeout(60):
            while told(progress, partition=str(1 - int(stuck))) <= other:
                await asyncio.sleep(0.02)
        assert told(progress, partition=stuck) == stood, "it has an order in hand that nobody charges"
        scene.gateway.failures = 0
        await scene.until_settled()
    assert REGISTRY.get_sample_value(progress, {"partition": stuck}) is None, "it is not ours any more"


async def test_dead_letters_are_shown_until_somebody_decides(scene: Scene) -> None:
    async with settling(scene.desk()):
        await scene.log.publish(b"key", b"no order")
        await scene.until_settled()
    [letter] = await deadletters.list_letters(scene.ledger)
    for want in (1, 0):
        watching = asyncio.create_task(deadletters.watch_letters(scene.ledger))
        async with asyncio.timeout(60):
            while told("boxoffice_dead_letters_open") != want:
                await asyncio.sleep(0.02)
        await end([watching])
        if want:
            await deadletters.discard_letter(scene.ledger, letter.id, "test", "test")
