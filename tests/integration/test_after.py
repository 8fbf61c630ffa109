"""After a small real sale: its report while it runs and when Redis has forgotten it, and what is left of the buyers."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from boxoffice.ledger import open_ledger
from boxoffice.local.mysql import SqlServer
from boxoffice.samples import Samples
from boxoffice.settings import Settings
from boxoffice.stack import environment
from boxoffice.tasks import end
from tests.integration.buyer import Buyer
from tests.integration.house import SALE, House, open_house, resource
from tests.servers_mysql import own_database

SEATS, BUYERS = 8, 10
SLOT_MS = 100


@pytest.fixture(params=["sqlite", "mysql"])
def server(request: pytest.FixtureRequest) -> SqlServer | None:
    return None if request.param == "sqlite" else request.getfixturevalue(request.param)


@pytest.fixture
async def house(server: SqlServer | None, settings: Settings, tmp_path: Path) -> AsyncIterator[House]:
    async with AsyncExitStack() as stack:
        changes: dict[str, Any] = {}
        if server is not None:
            own = await stack.enter_async_context(own_database(server, settings))
            changes = {"ledger_url": own.ledger_url, "ledger_reader_url": own.ledger_reader_url}
        yield await stack.enter_async_context(open_house(tmp_path / "house", gateway_latency_ms=1, **changes))


@asynccontextmanager
async def sampled(house: House) -> AsyncIterator[None]:
    """More often than `settle` does: this sale lasts some seconds."""
    async with house.store() as store:
        ledger = await open_ledger(house.stack.settings())
        samples = Samples(store, ledger, SLOT_MS)

        async def often() -> None:
            while True:
                await samples.take()
                await asyncio.sleep(SLOT_MS / 1000)

        task = asyncio.create_task(often())
        try:
            yield
            await asyncio.sleep(SLOT_MS / 1000)  # a slot has one sample, and this one's may be there
            await samples.take()
        finally:
            await end([task])
            await ledger.close()


async def boxoffice(house: House, *argv: str, code: int = 0) -> str:
    """What the command printed, or what it complained."""
    command, env = [sys.executable, "-m", "boxoffice", *argv], environment(house.stack.settings())
    done = await asyncio.to_thread(subprocess.run, command, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


async def reported(house: House) -> dict[str, Any]:
    return dict(json.loads(await boxoffice(house, "report", SALE, "-o", "json")))


async def buy(buyer: Buyer, key: str, method: str = "pm_card_visa") -> str:
    """The order's state."""
    held = await buyer.hold(count=1)
    assert held.status_code == 201, held.text
    order = await buyer.pay_surely(held.json()["id"], key, [buyer.url], method)
    return str((await buyer.until_settled(order["id"]))["state"])


async def sell(house: House) -> None:
    """One comes and goes; eight get a seat, the first of them by her second card; the last one only waits."""
    buyers = [house.buyer(i) for i in range(BUYERS)]
    for buyer in buyers:
        assert (await buyer.join()).status_code == 201
    goer, first, *others, _ = buyers
    await goer.go_in()
    assert (await goer.send("DELETE", "/places/me", goer.admission)).status_code == 204
    bought = await asyncio.gather(buy_by_the_second_card(first), *(come_and_buy(buyer) for buyer in others))
    assert bought == ["paid"] * SEATS
    await house.until_seen_by_all_pods()
    await until_opening_is_written(house)


async def come_and_buy(buyer: Buyer) -> str:
    """Nobody waits inside for the others: who chooses counts as having a seat, and the last would not be called."""
    await buyer.go_in()
    return await buy(buyer, "c")


async def buy_by_the_second_card(buyer: Buyer) -> str:
    await buyer.go_in()
    held = (await buyer.hold(count=1)).json()["id"]
    declined = await buyer.pay_surely(held, "a", [buyer.url], "pm_card_declined")
    assert (await buyer.until_settled(declined["id"]))["state"] == "declined"
    paid = await buyer.pay_surely(held, "b", [buyer.url])
    return str((await buyer.until_settled(paid["id"]))["state"])


async def until_opening_is_written(house: House) -> None:
    """By the checkpoint of every five seconds."""
    async with asyncio.timeout(60):
        while await house.ledger("SELECT opened_ms FROM sales") == [(None,)]:
            await asyncio.sleep(0.1)


async def test_a_sale_is_told_and_then_its_buyers_are_forgotten(house: House, tmp_path: Path) -> None:
    async with sampled(house):
        await house.apply(resource(seats=SEATS))
        await sell(house)
    told = await reported(house)
    assert (told["state"], told["seats"], told["seatsSold"], told["erased"]) == ("open", SEATS, SEATS, False)
    assert 0 < told["secondsToSellOut"] < 60
    assert told["money"] == {"currency": "KRW", "revenueMinor": SEATS * 1000, "refundedMinor": 0}
    line = told["conversions"]
    assert (line["joined"], line["came"], line["holds"], line["paid"]) == (BUYERS, BUYERS - 1, SEATS, SEATS)
    assert told["fairness"]["inversions"] == 0
    assert (told["fairness"]["buyers"], told["fairness"]["mostSeatsOfOneBuyer"]) == (SEATS, 1)
    assert told["waiting"]["sinceJoining"]["numbers"] == line["called"] >= BUYERS - 1
    assert {o["state"]: o["orders"] for o in told["outcomes"]} == {"declined": 1, "paid": SEATS}
    assert told["pace"]["moments"][-1]["soldSeats"] == SEATS
    assert told["faults"]["recoveries"] == []

    refusal = await boxoffice(house, "purge", SALE, "--why", "a test", "--yes", code=1)
    assert "is not archived" in refusal
    await boxoffice(house, "sale", "hold", SALE, "--who", "the night shift", "--why", "a <slow> ledger")
    await boxoffice(house, "sale", "close", SALE, "--why", "over")
    await boxoffice(house, "sale", "delete", SALE, "--why", "over")
    gone = await reported(house)
    assert gone["state"] == "archived"
    same = ("money", "sections", "outcomes", "conversions", "seatsSold", "secondsToSellOut", "settling", "fairness")
    assert {name: gone[name] for name in same} == {name: told[name] for name in same}
    assert [deed["what"] for deed in gone["deeds"]] == ["apply", "hold", "closed", "delete"]

    places = [place for (place,) in await house.ledger("SELECT DISTINCT buyer FROM orders")]
    assert len(places) == SEATS
    said = await boxoffice(house, "purge", SALE, "--why", "thirty days after", "--yes")
    assert said == f"{SALE}: erased in {SEATS + 1} orders, 0 dead letters, 0 reasons of refunds\n"
    assert await house.ledger("SELECT DISTINCT buyer, method FROM orders") == [("0" * 32, "")]
    report = await house.audit()
    assert (report.differences, report.tickets, report.charges) == ([], SEATS, SEATS)

    order = min(id for id, state in (await house.orders()).items() if state == "paid")
    assert await boxoffice(house, "orders", "refund", order, "--why", "ill") == f"order {order} refunded\n"
    report = await house.audit()
    assert (report.differences, report.tickets, report.charges) == ([], SEATS - 1, SEATS - 1)
    said = await boxoffice(house, "purge", SALE, "--why", "once more", "--yes")
    assert said == f"{SALE}: erased in 1 orders, 0 dead letters, 1 reasons of refunds\n"

    page = tmp_path / "page.html"
    assert await boxoffice(house, "report", SALE, "--html", str(page)) == ""
    assert "Personal data was erased." in (text := page.read_text())
    assert "a &lt;slow&gt; ledger" in text
    last = await reported(house)
    assert last["money"] == {"currency": "KRW", "revenueMinor": (SEATS - 1) * 1000, "refundedMinor": 1000}
    assert (last["erased"], last["fairness"]["buyers"], last["conversions"]["joined"]) == (True, None, BUYERS)


async def test_a_report_needs_no_redis(house: House) -> None:
    await house.apply(resource(seats=SEATS))
    await house.stack.store.stop()
    text = await boxoffice(house, "report", SALE)
    assert text.startswith(f"A Night for Tests, The Bench ({SALE}): ")
    assert "no sale named 'nobody'" in await boxoffice(house, "report", "nobody", code=1)
