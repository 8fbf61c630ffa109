"""What a buyer's pod makes of a ledger: as one who may only read, and never to the harm of what it does without."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace

import msgspec
import pytest

from boxoffice import ledgerreader
from boxoffice.embedded import EmbeddedStore
from boxoffice.errors import LedgerUnavailable, NotFound, Unavailable
from boxoffice.ledger import open_ledger
from boxoffice.ledgerreader import LedgerReader
from boxoffice.local.mysql import LocalMySql
from boxoffice.migrations import migrate
from boxoffice.sale import parse_sale
from boxoffice.sales import spec_text
from boxoffice.seating import Seating
from boxoffice.settings import Settings
from tests.integration.house import SALE, resource
from tests.integration.pod import open_pod, refused, settings_of
from tests.integration.test_ledger_contract import claim, order
from tests.servers_mysql import own_database

BUYER, STRANGER = b"\xbb" * 16, b"\xcc" * 16
SOON = 1.0
"""A pod that waits for a ledger takes longer."""


@pytest.fixture
async def settings(mysql: LocalMySql, settings: Settings) -> AsyncIterator[Settings]:
    """With a reader as production has one: the server lets it SELECT."""
    async with own_database(mysql, settings) as changed:
        await migrate(changed)
        yield changed


@pytest.fixture
async def reader(settings: Settings) -> AsyncIterator[LedgerReader]:
    reader = LedgerReader(replace(settings, ledger_url="sqlite+aiosqlite:////not/for/buyers.db"))
    yield reader
    await reader.close()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a database that takes connections and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        yield f"mysql+aiomysql://nobody@127.0.0.1:{listening.getsockname()[1]}/boxoffice"


async def archive(settings: Settings, name: str = SALE) -> str:
    """Writes down a sale that is over, with two seats sold; the id of their order."""
    sale = parse_sale(msgspec.json.encode(resource(name=name)))
    seating, ledger = Seating.of(sale.spec), await open_ledger(settings)
    try:
        record = await ledger.ensure_sale(name, seating.digest, spec_text(sale), seating.total)
        paid = order(record, 0, [1, 2], buyer=BUYER.hex())
        turn = await claim(ledger)
        await ledger.record_batch(turn, turn.next + 1, 0, [paid], [])
        assert await ledger.mark_archived(record)
    finally:
        await ledger.close()
    return paid.id


async def test_a_sale_that_is_over_is_found_and_its_orders_by_their_buyer(
    settings: Settings, reader: LedgerReader
) -> None:
    paid = await archive(settings)
    view = await reader.find(SALE)
    assert view
    assert (view.state, view.archived, view.total, view.free, view.sold) == ("closed", True, 100, 98, 2)
    assert msgspec.json.decode(view.line_document)["state"] == "closed"
    [found] = await reader.orders(view, BUYER)
    assert (found.id, found.state, found.amount_minor) == (paid, "paid", 24000)
    assert await reader.order(view, BUYER, paid) == found
    assert await reader.orders(view, STRANGER) == []
    with pytest.raises(NotFound, match="no such order"):
        await reader.order(view, STRANGER, paid)


async def test_whatever_names_are_asked_for_the_ledger_is_asked_now_and_then(
    settings: Settings, reader: LedgerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await reader.find("never-was") is None
    await archive(settings)
    assert await reader.find(SALE) is None, "that was not known a moment ago"
    monkeypatch.setattr(ledgerreader, "NAMES_SECONDS", 0.0)
    reader._names_until = 0.0
    assert await reader.find(SALE)
    assert await reader.find("never-was") is None


async def test_without_a_ledger_to_read_it_says_so(settings: Settings, reader: LedgerReader) -> None:
    await archive(settings)
    view = await reader.find(SALE)
    assert view
    without = LedgerReader(replace(settings, ledger_reader_url=""))
    assert await without.find(SALE) is None
    with pytest.raises(Unavailable, match="BOXOFFICE_LEDGER_READER_URL") as refusal:
        await without.orders(view, BUYER)
    assert refusal.value.code == "no_ledger"


async def test_a_ledger_that_is_away_is_asked_again_later(settings: Settings, silent: str) -> None:
    reader = LedgerReader(replace(settings, ledger_reader_url=silent))
    with pytest.raises(LedgerUnavailable):
        await reader.find(SALE)
    started = time.monotonic()
    with pytest.raises(LedgerUnavailable):
        await reader.find(SALE)
    assert time.monotonic() - started < SOON
    await reader.close()


async def test_no_more_wait_for_it_than_are_let(
    settings: Settings, reader: LedgerReader, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive(settings)
    view = await reader.find(SALE)
    assert view
    monkeypatch.setattr(ledgerreader, "MOST_WAITING", 3)
    away = LedgerReader(replace(settings, ledger_reader_url=silent))
    asking = [asyncio.create_task(away.orders(view, bytes([n]) * 16)) for n in range(4)]
    done, waiting = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
    assert [str(task.exception()) for task in done] == ["too many ask the ledger at once"]
    assert len(waiting) == 3
    await asyncio.wait(waiting)
    assert {type(task.exception()) for task in waiting} == {LedgerUnavailable}
    await away.close()


async def test_a_pod_does_not_wait_for_the_ledger(valkey: EmbeddedStore, silent: str) -> None:
    async with open_pod(settings_of(valkey, ledger_reader_url=silent)) as pod:
        await pod.apply(resource())
        unknown = asyncio.create_task(pod.client.get(f"{pod.url}/api/v1/sales/another/line"))
        while not pod.context.past._waiting:
            await asyncio.sleep(0.01)
        for path in ("/readyz", f"/api/v1/sales/{SALE}/line", f"/api/v1/sales/{SALE}/seats"):
            started = time.monotonic()
            assert (await pod.client.get(f"{pod.url}{path}")).status_code == 200
            assert time.monotonic() - started < SOON
        assert not unknown.done()
        refused(await unknown, 503, "ledger_unavailable")


async def test_a_pod_without_a_ledger_knows_what_it_has_seen(valkey: EmbeddedStore) -> None:
    async with open_pod(settings_of(valkey)) as pod:
        await pod.apply(resource())
        buyer = pod.buyer()
        await buyer.enter()
        await pod.store.execute("HSET", pod.store.key(SALE, "sale"), "closes_ms", 1)
        await pod.store.remove_name(SALE)
        await pod.store.call("archive", SALE, 0)
        async with asyncio.timeout(60):
            while SALE in pod.context.board.views:
                await pod.beat()
        assert (await buyer.send("GET", "/line")).json()["state"] == "closed"
        refused(await buyer.send("GET", "/orders", buyer.admission), 503, "no_ledger")
        refused(await buyer.send("GET", "/seats"), 410, "over")
        assert (await pod.client.get(f"{pod.url}/api/v1/sales")).json() == {"sales": []}
        refused(await pod.buyer("another").send("GET", "/line"), 404, "unknown_sale")
