"""The audit that settlement makes by itself, every minute: what it shows, and that one process makes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import get_args

import httpx2
import msgspec
import pytest
from prometheus_client import REGISTRY

from boxoffice import sales
from boxoffice.audit import Kind
from boxoffice.auditing import LEASE_MS, Audits
from boxoffice.errors import StoreUnavailable
from boxoffice.eventlog import open_log
from boxoffice.gateway import open_gateway
from boxoffice.ledger import Ledger
from boxoffice.ports import free_ports
from boxoffice.sale import parse_sale
from boxoffice.settings import Settings
from boxoffice.store import Store
from tests.integration.house import SALE, resource
from tests.integration.processes import settle_process

SEAT = 7


@pytest.fixture
async def new_audits(settings: Settings, store: Store, ledger: Ledger) -> AsyncIterator[Callable[[], Audits]]:
    """Each as another process would have it; the gauge is one."""
    await sales.apply(store, ledger, parse_sale(msgspec.json.encode(resource())), "test", "test")
    log, gateway = await open_log(settings, store), await open_gateway(settings)
    made: list[Audits] = []

    def make() -> Audits:
        made.append(Audits(store, log, ledger, gateway))
        return made[-1]

    yield make
    await store.execute("SET", lease_of(store), "nobody")
    for audits in made:
        assert not await audits.renew(), "which takes its values out of the registry"
    await gateway.close()
    await log.close()


def lease_of(store: Store) -> str:
    return f"{store.instance}:audits"


def shown() -> dict[str, float]:
    """Value by kind."""
    found = {kind: REGISTRY.get_sample_value("boxoffice_audit_differences", labels(kind)) for kind in get_args(Kind)}
    return {kind: value for kind, value in found.items() if value is not None}


def labels(kind: str) -> dict[str, str]:
    return {"sale": SALE, "kind": kind}


def failures() -> float:
    return REGISTRY.get_sample_value("boxoffice_audit_failures_total") or 0.0


async def mark(store: Store, bit: int) -> None:
    """Sold, in Redis only, or free again."""
    for of_two in range(2):
        await store.execute("SETBIT", store.key(SALE, "map"), 2 * SEAT + of_two, bit)


async def test_a_difference_is_shown_until_it_is_repaired(
    new_audits: Callable[[], Audits], store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    audits, clean = new_audits(), dict.fromkeys(get_args(Kind), 0.0)
    assert await audits.renew()
    await audits.turn()
    assert shown() == clean
    await mark(store, 1)
    with caplog.at_level(logging.ERROR):
        await audits.turn()
    assert shown() == {**clean, "sold_in_redis_only": 1.0}
    assert f"audit of {SALE}: sold_in_redis_only: seat {SEAT} is sold in Redis" in caplog.text
    await mark(store, 0)
    await audits.turn()
    assert shown() == clean


async def test_a_dropped_sale_is_not_shown_any_more(
    new_audits: Callable[[], Audits], ledger: Ledger, store: Store
) -> None:
    audits = new_audits()
    await audits.renew()
    await audits.turn()
    assert shown()
    await ledger.mark_dropped(SALE)
    await audits.turn()
    assert not shown()


async def test_a_witness_out_of_reach_skips_a_turn_and_counts_it(
    new_audits: Callable[[], Audits], store: Store
) -> None:
    audits, before = new_audits(), failures()
    await audits.renew()
    await mark(store, 1)
    await audits.turn()
    run_id = await store.execute("HGET", store.key(SALE, "sale"), "run_id")
    await store.execute("HSET", store.key(SALE, "sale"), "run_id", "a stranger's")
    await audits.turn()
    assert failures() == before + 1
    assert shown()["sold_in_redis_only"] == 1.0, "as it was last seen"
    await store.execute("HSET", store.key(SALE, "sale"), "run_id", run_id)
    await mark(store, 0)
    await audits.turn()
    assert (failures(), shown()["sold_in_redis_only"]) == (before + 1, 0.0)


async def test_the_lease_has_one_holder(new_audits: Callable[[], Audits], store: Store) -> None:
    first, second = new_audits(), new_audits()
    assert [await first.renew(), await second.renew()] == [True, False]
    await second.turn()
    assert not shown(), "who does not have it audits nothing"
    await first.turn()
    await store.execute("PEXPIRE", lease_of(store), LEASE_MS // 2)
    assert [await second.renew(), await first.renew()] == [False, True]
    assert await store.execute("PTTL", lease_of(store)) > LEASE_MS // 2, "its holder prolongs it, and nobody else"
    await store.execute("SET", lease_of(store), "another")
    assert not await first.renew()
    assert not shown(), "who has lost it shows nothing"
    await store.execute("DEL", lease_of(store))
    assert [await second.renew(), await first.renew()] == [True, False]


async def test_who_cannot_renew_it_shows_nothing_once_it_has_run_out(
    new_audits: Callable[[], Audits], store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    audits, before = new_audits(), failures()
    await audits.renew()
    await audits.turn()

    async def silence(*_: object) -> None:
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(store, "execute", silence)
        assert await audits.renew()
        assert shown(), "nobody else can have it yet"
        audits._ours_until = 0.0
        assert await audits.renew()
        assert not shown()
        await audits.turn()
    assert failures() == before + 1, "it goes on to try"


async def test_of_two_processes_one_audits(settings: Settings, store: Store, ledger: Ledger, tmp_path: Path) -> None:
    await sales.apply(store, ledger, parse_sale(msgspec.json.encode(resource())), "test", "test")
    async with AsyncExitStack() as stack, httpx2.AsyncClient() as client:
        children = {}
        for port in free_ports(2):
            (tmp_path / str(port)).mkdir()
            process = settle_process(replace(settings, settle_port=port), tmp_path / str(port))
            children[port] = await stack.enter_async_context(process)

        async def showing() -> list[int]:
            pages = {port: await page(client, port) for port, child in children.items() if child.running}
            return [port for port, text in pages.items() if f'{{kind="oversold",sale="{SALE}"}} 0.0' in text]

        async with asyncio.timeout(120):
            while not (first := await showing()):
                await asyncio.sleep(0.05)
            assert len(first) == 1
            await children[first[0]].kill()
            await store.execute("DEL", lease_of(store))  # as if its time were over
            while not (second := await showing()):
                await asyncio.sleep(0.05)
        assert second == [port for port in children if port not in first]


async def page(client: httpx2.AsyncClient, port: int) -> str:
    try:
        return (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    except httpx2.TransportError:
        return ""
