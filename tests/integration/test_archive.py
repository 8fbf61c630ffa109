"""After a sale its keys are gone; what buyers ask then comes from the ledger, and nothing brings it back by itself."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxoffice import refunds, sales, stack
from boxoffice.archive import Archive
from boxoffice.arrears import Arrears
from boxoffice.effects import sink_of
from boxoffice.errors import Gone
from boxoffice.eventlog import EventLog, open_log
from boxoffice.gateway import open_gateway
from boxoffice.ledger import Ledger, open_ledger
from boxoffice.sale import parse_sale
from boxoffice.settings import Settings
from boxoffice.store import Store
from tests.integration.buyer import Buyer
from tests.integration.house import SALE, House, open_house, resource
from tests.integration.pod import refused
from tests.integration.test_ledger_contract import order

STEPS = ("archive.settled", "archive.marked", "archive.unlisted", "archive.hidden", "archive.sweeping")
QUICK: dict[str, Any] = {"recovery_wait_seconds": 0.5, "gateway_latency_ms": 1}


def after(minutes: float) -> dict[str, Any]:
    """The same sale, closed so long ago."""
    now = datetime.now(UTC)
    opened, closed = now - timedelta(hours=1), now - timedelta(minutes=minutes)
    start = opened.isoformat()
    return resource(preQueueTime=start, opensTime=start, closesTime=closed.isoformat())


async def bought(house: House, key: str, pod: int = 0) -> tuple[Buyer, dict[str, Any]]:
    buyer = house.buyer(pod)
    await buyer.enter()
    hold = (await buyer.hold(count=2)).json()["id"]
    placed = (await buyer.pay(hold, key)).json()["id"]
    return buyer, await buyer.until_settled(placed)


async def close(house: House, failpoint: str = "") -> None:
    """The sale is over for long, and a process to archive it has just begun; it may die at a step."""
    await house.apply(after(minutes=6))
    await go_on(house, failpoint)


async def go_on(house: House, failpoint: str = "") -> None:
    await house.stack.child("settle").stop()
    async with house.store() as store:
        await store.execute("DEL", f"{store.instance}:archive")  # as if the lease had run out
    await house.stack.restart("settle", failpoint)


async def until_gone(house: House, seconds: float = 60.0) -> None:
    """Nothing is left but the mark that it is gone on purpose."""
    async with house.store() as store:
        mark = store.key(SALE, "dropped").encode()
        left = await store.keys(SALE, "")
        try:
            async with asyncio.timeout(seconds):
                while left - {mark} or SALE in await store.names():
                    await asyncio.sleep(0.1)
                    left = await store.keys(SALE, "")
        except TimeoutError:
            raise AssertionError(f"still there: {left}") from None


async def until_over(house: House) -> None:
    """In every pod."""
    async with asyncio.timeout(60):
        for url in house.stack.urls:
            while (await house.client.get(f"{url}/api/v1/sales/{SALE}/seats")).status_code != 410:
                await asyncio.sleep(0.05)


async def assert_over(house: House, buyer: Buyer, before: dict[str, Any], line: dict[str, Any]) -> None:
    """To everybody; and the buyer's own orders are there, to the buyer alone."""
    now = await house.line()
    assert now.keys() == line.keys()
    assert (now["state"], now["version"] >= line["version"]) == ("closed", True)
    assert (await buyer.whereabouts()).json()["state"] == "over"
    for answer in (
        await house.buyer().join(),
        await buyer.claim(),
        await buyer.hold(count=1),
        await buyer.pay("1", "late"),
        await buyer.send("GET", "/seats"),
    ):
        refused(answer, 410, "over")
    assert (await buyer.send("GET", "/orders", buyer.admission)).json() == {"orders": [before]}
    assert await buyer.order(before["id"]) == before
    events = await buyer.send("GET", f"/orders/{before['id']}/events", buyer.admission)
    assert events.text.startswith("event: order\n")
    assert events.text.count("\n\n") == 1, "it is final, so it ends"


async def test_a_sale_that_is_over_is_in_the_ledger_alone(tmp_path: Path) -> None:
    async with open_house(tmp_path, **QUICK) as house:
        await house.apply(resource())
        (one, ones), (other, others) = await bought(house, "one", 0), await bought(house, "other", 1)
        await close(house)
        line = await house.line()
        await until_gone(house)
        await until_over(house)
        for buyer, paid in ((one, ones), (other, others)):
            await assert_over(house, buyer, paid, line)
        port = house.stack.serve_ports[0]
        await house.stack.restart(f"serve-{port}")
        assert one.url.endswith(str(port)), "which has never seen the sale"
        await assert_over(house, one, ones, line)
        assert (await house.line())["free"] == line["free"] == 96
        await assert_nobody_elses(one, other, others)
        report = await house.audit()
        assert (report.redis, report.tickets, report.differences) == (False, 4, [])
        assert await house.ledger("SELECT subject FROM actions WHERE what = 'archive'") == [(SALE,)]
        assert parse_sale(await said_by(house, "sale", "get", SALE)).metadata.name == SALE
        assert ones["id"].encode() in await said_by(house, "orders", "list", SALE)


async def said_by(house: House, *command: str) -> bytes:
    """`boxoffice …`, on a machine of those who run the sales."""
    argv = (sys.executable, "-m", "boxoffice", *command)
    environment = stack.environment(house.stack.settings())
    process = await asyncio.create_subprocess_exec(*argv, env=environment, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    assert process.returncode == 0
    return said


async def assert_nobody_elses(one: Buyer, other: Buyer, others: dict[str, Any]) -> None:
    path = f"/orders/{others['id']}"
    refused(await one.send("GET", path, one.admission), 404, "unknown_order")
    refused(await one.send("GET", path, other.admission), 401, "bad_token")
    refused(await one.send("GET", "/orders", other.admission), 401, "bad_token")
    refused(await one.send("GET", "/orders", one.ticket), 401, "bad_token")
    refused(await one.client.get(f"{one.url}/api/v1/sales/{SALE}/orders"), 401, "token_required")


@pytest.mark.parametrize("step", STEPS)
async def test_the_archive_dies_at_a_step(tmp_path: Path, step: str) -> None:
    async with open_house(tmp_path, serve_processes=1, **QUICK) as house:
        await house.apply(resource())
        buyer, paid = await bought(house, "one")
        await close(house, failpoint=step)
        async with asyncio.timeout(60):
            assert await house.stack.child("settle").wait() == -9, "the failpoint was not reached"
        line = await house.line()
        assert line["state"] == "closed"
        async with asyncio.timeout(60):
            while (await buyer.order(paid["id"])) != paid:
                await asyncio.sleep(0.05)
        await go_on(house)
        await until_gone(house)
        await until_over(house)
        await assert_over(house, buyer, paid, line)
        assert (await house.audit()).differences == []


async def test_after_the_archive(tmp_path: Path) -> None:
    """A refund needs the ledger alone; a Redis that is wiped is not filled again; the sale is over until its end is
    another one, and then it is the same sale."""
    async with open_house(tmp_path, serve_processes=1, **QUICK) as house:
        await house.apply(resource())
        (buyer, paid), (other, others) = await bought(house, "one"), await bought(house, "other")
        await close(house)
        await until_gone(house)
        await until_over(house)

        await refund(house, paid["id"])
        async with asyncio.timeout(60):
            while (await buyer.order(paid["id"]))["state"] != "refunded":
                await asyncio.sleep(0.1)
        assert await house.orders() == {paid["id"]: "refunded", others["id"]: "paid"}
        assert (await house.audit()).differences == []

        await house.stack.store.kill()
        house.stack.store.wipe()
        await house.stack.store.start()
        with pytest.raises(Gone, match="later closesTime"):
            await house.apply(after(minutes=5.5))
        await asyncio.sleep(3)  # thrice as long as recovery and renewals take to look at everything
        assert (await house.line())["state"] == "closed"
        async with house.store() as store:
            assert (await store.keys(SALE, ""), await store.names()) == (set(), set())

        await house.apply(resource())
        async with asyncio.timeout(30):
            while (await house.line()).get("state") != "open":
                await asyncio.sleep(0.1)
        assert (await house.seats())["sold"] == 2
        assert await other.order(others["id"]) == others
        assert await house.ledger("SELECT archived_ms, dropped_ms FROM sales") == [(None, None)]
        assert (await house.audit()).differences == []


async def refund(house: House, order_id: str) -> None:
    settings = house.stack.settings()
    ledger, gateway = await open_ledger(settings), await open_gateway(settings)
    async with house.store() as store:
        log = await open_log(settings, store)
        arrears = Arrears(ledger, gateway, sink_of(store, log))
        refunded = await refunds.refund_order(ledger, arrears, order_id, "a tester", "a test")
        assert (refunded.state, refunded.due_ms) == ("refunded", None)
        await log.close()
    await gateway.close()
    await ledger.close()


# -- what keeps a sale in Redis ----------------------------------------------------------------------------------


@pytest.fixture
async def event_log(settings: Settings, store: Store) -> AsyncIterator[EventLog]:
    log = await open_log(settings, store)
    yield log
    await log.close()


@pytest.fixture
def archive(store: Store, event_log: EventLog, ledger: Ledger) -> Archive:
    return Archive(store, event_log, ledger)


async def apply(store: Store, ledger: Ledger, document: dict[str, Any]) -> None:
    await sales.apply(store, ledger, parse_sale(msgspec.json.encode(document)), "test", "test")


async def test_closed_by_time_and_settled_it_goes(store: Store, ledger: Ledger, archive: Archive) -> None:
    await apply(store, ledger, after(minutes=4.9))
    assert await archive.turn() == []
    await apply(store, ledger, after(minutes=5.1))
    assert await archive.turn() == [SALE]
    assert await archive.turn() == []
    assert await store.keys(SALE, "") == {store.key(SALE, "dropped").encode()}


async def test_closed_by_policy_it_goes_some_time_later(store: Store, event_log: EventLog, ledger: Ledger) -> None:
    archive = Archive(store, event_log, ledger, wait_seconds=1)
    await apply(store, ledger, resource(policy="Closed"))
    assert await archive.turn() == []
    await apply(store, ledger, resource())
    await asyncio.sleep(1)
    assert await archive.turn() == [], "it was taken back"
    await apply(store, ledger, resource(policy="Closed"))
    assert await archive.turn() == [], "its time begins anew"
    await asyncio.sleep(1)
    assert await archive.turn() == [SALE]


async def test_an_override_closes_nothing_for_good(store: Store, event_log: EventLog, ledger: Ledger) -> None:
    archive = Archive(store, event_log, ledger, wait_seconds=0)
    await apply(store, ledger, resource())
    await sales.override(store, ledger, SALE, "Closed", "a tester", "a test")
    assert await archive.turn() == []


@pytest.mark.parametrize(
    "unsettled",
    [
        ("HSET", "sale", "paying", 1),
        ("ZADD", "unpublished", 1, "an order"),
        ("ZADD", "hold_until", 9e15, "a hold"),
        ("HSET", "sale", "run_id", "of a server that is no more"),
    ],
)
async def test_what_is_on_its_way_in_redis_is_waited_for(
    store: Store, ledger: Ledger, archive: Archive, unsettled: tuple[Any, ...]
) -> None:
    await apply(store, ledger, after(minutes=6))
    command, name, *rest = unsettled
    await store.execute(command, store.key(SALE, name), *rest)
    assert await archive.turn() == []


async def test_what_the_log_held_is_waited_for_and_no_more(
    store: Store, ledger: Ledger, event_log: EventLog, archive: Archive
) -> None:
    await apply(store, ledger, after(minutes=6))
    first = await event_log.publish(b"k", b"{}")
    claim = await ledger.claim_partition(event_log.topic, await event_log.log_id(), first.partition, 0)
    assert await archive.turn() == []
    claim = await ledger.record_batch(claim, first.offset + 1, 0, [], [])
    assert await archive.turn() == [], "settled, and its effects are not told"
    await event_log.publish(b"k", b"of another sale")
    await ledger.move_applied(claim, first.offset + 1)
    assert await archive.turn() == [SALE]


async def test_what_is_still_owed_to_an_order_is_waited_for(store: Store, ledger: Ledger, archive: Archive) -> None:
    await apply(store, ledger, after(minutes=6))
    sale = await ledger.sale(SALE)
    assert sale
    owed = order(sale, 0, [1], state="unresolved", due_ms=1)
    claim = await ledger.claim_partition("t.orders", "log-1", 0, 0)
    await ledger.record_batch(claim, 1, 0, [owed], [])
    assert await archive.turn() == []
    await ledger.change_order(owed, state="declined", due_ms=None)
    assert await archive.turn() == [SALE]


async def test_a_sale_that_comes_back_in_the_middle_stays(store: Store, ledger: Ledger, archive: Archive) -> None:
    """Marked in the ledger by one who stood still since; Redis was told of a later end first."""
    await apply(store, ledger, after(minutes=6))
    sale = await ledger.sale(SALE)
    assert sale
    await apply(store, ledger, resource())
    assert not await ledger.mark_archived(sale), "it is another spec now"
    now = await ledger.sale(SALE)
    assert now
    assert await ledger.mark_archived(now)
    assert await archive.turn() == []
    assert await store.execute("HGET", store.key(SALE, "sale"), "uid") == sale.uid.encode()


async def test_one_process_at_a_time(store: Store, event_log: EventLog, ledger: Ledger) -> None:
    one, other = Archive(store, event_log, ledger), Archive(store, event_log, ledger)
    assert [await one._lease(), await other._lease(), await one._lease()] == [True, False, True]
    await store.execute("DEL", f"{store.instance}:archive")
    assert [await other._lease(), await one._lease()] == [True, False]
