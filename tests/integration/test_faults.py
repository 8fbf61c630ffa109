"""Processes and servers die at the worst moments; afterwards everything adds up."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from boxoffice.embedded import Child
from boxoffice.stack import environment
from tests.integration.buyer import Buyer
from tests.integration.house import SALE, House, open_house, resource

QUICK: dict[str, Any] = {"recovery_wait_seconds": 2.5, "gateway_latency_ms": 1}


async def _insiders(house: House, count: int) -> list[Buyer]:
    """Buyers who are inside; they took their turns in both pods."""
    buyers = [house.buyer(i) for i in range(count)]
    await asyncio.gather(*(buyer.enter() for buyer in buyers))
    return buyers


async def _holds(buyers: list[Buyer]) -> list[str]:
    answers = await asyncio.gather(*(buyer.hold(count=1) for buyer in buyers))
    assert [a.status_code for a in answers] == [201] * len(buyers)
    return [a.json()["id"] for a in answers]


async def _assert_all_paid_once(house: House, orders: list[str]) -> None:
    """Buyers, ledger and the gateway's own list agree, and the audit finds nothing."""
    settled = await house.orders()
    assert sorted(settled) == sorted(orders)
    assert set(settled.values()) == {"paid"}
    assert sorted(charge.order_id for charge in await house.charges()) == sorted(orders)
    seats = [ticket.seat for ticket in await house.tickets()]
    assert len(seats) == len(set(seats)) == len(orders)
    assert (await house.audit()).differences == []


@pytest.mark.parametrize("step", ["pay.recorded", "pay.published", "pay.marked"])
async def test_app_dies_between_two_steps_of_an_order(tmp_path: Path, step: str) -> None:
    async with open_house(tmp_path, **QUICK) as house:
        await house.apply(resource())
        buyers = await _insiders(house, 4)
        holds = await _holds(buyers)
        port = house.stack.serve_ports[0]
        pod = await house.stack.restart(f"serve-{port}", failpoint=f"{step}:2")
        paying = [
            buyer.pay_surely(hold, f"key-{hold}", house.stack.urls) for buyer, hold in zip(buyers, holds, strict=True)
        ]
        orders = [answer["id"] for answer in await asyncio.gather(*paying)]
        assert await pod.wait() == -9, "the failpoint was not reached"
        for buyer, order in zip(buyers, orders, strict=True):
            buyer.url = house.stack.urls[1]
            assert (await buyer.until_settled(order))["state"] == "paid"
        await _assert_all_paid_once(house, orders)


@pytest.mark.parametrize("step", ["settle.fetched", "settle.charged", "settle.committed", "settle.applied"])
async def test_settlement_dies_at_a_step(tmp_path: Path, step: str) -> None:
    async with open_house(tmp_path, **QUICK) as house:
        await house.apply(resource())
        buyers = await _insiders(house, 8)
        holds = await _holds(buyers)
        dying = await house.stack.restart("settle", failpoint=step)
        answers = await asyncio.gather(*(b.pay(h, f"key-{h}") for b, h in zip(buyers, holds, strict=True)))
        assert [a.status_code for a in answers] == [202] * 8
        async with asyncio.timeout(60):
            assert await dying.wait() == -9, "the failpoint was not reached"
        await house.stack.restart("settle")
        orders = [a.json()["id"] for a in answers]
        for buyer, order in zip(buyers, orders, strict=True):
            assert (await buyer.until_settled(order))["state"] == "paid"
        await _assert_all_paid_once(house, orders)


async def test_same_key_a_hundred_times_at_once_is_one_charge(tmp_path: Path) -> None:
    async with open_house(tmp_path, **QUICK) as house:
        await house.apply(resource())
        [buyer] = await _insiders(house, 1)
        [hold] = await _holds([buyer])

        async def send(i: int) -> Any:
            twin = Buyer(house.client, house.stack.urls[i % 2], SALE)
            twin.cookie, twin.admission = buyer.cookie, buyer.admission
            return await twin.pay(hold, "one key")

        answers = await asyncio.gather(*(send(i) for i in range(100)))
        statuses = Counter(answer.status_code for answer in answers)
        assert set(statuses) <= {202, 409}
        assert statuses[202] >= 1
        [order] = {answer.json()["id"] for answer in answers if answer.status_code == 202}
        assert {a.json()["code"] for a in answers if a.status_code == 409} <= {"publishing"}
        assert (await buyer.until_settled(order))["state"] == "paid"
        replay = await buyer.pay(hold, "one key")
        assert replay.json()["state"] == "paid"
        assert replay.headers["idempotent-replayed"] == "true"
        await _assert_all_paid_once(house, [order])


async def test_four_pods_pace_like_one(tmp_path: Path) -> None:
    """Manual pace of 600 a minute: never more than that by Redis' clock, however many pods beat."""
    async with open_house(tmp_path, serve_processes=4, **QUICK) as house:
        admission = {"mode": "Manual", "perMinute": 600, "maxActive": 1000, "sessionSeconds": 300}
        await house.apply(resource(seats=500, opens_in=3, admission=admission))
        buyers = [house.buyer(i) for i in range(150)]
        answers = await asyncio.gather(*(buyer.join() for buyer in buyers))
        assert [a.status_code for a in answers] == [201] * 150
        async with asyncio.timeout(60):
            while (await house.line())["called"] < 100:
                await asyncio.sleep(0.05)
        calls = await _calls(house)
        pods_seen = [(await house.line(pod=i))["called"] for i in range(4)]
        assert min(pods_seen) >= 100 - 10
        seconds = (calls[-1][0] - calls[0][0]) / 1000
        called = calls[-1][1] - calls[0][1]
        assert called <= 10 * seconds + 2
        assert all(later[1] > earlier[1] for earlier, later in itertools.pairwise(calls))
        assert all(b[0] - a[0] >= 225 for a, b in itertools.pairwise(calls)), "one beat for all pods"


async def _calls(house: House) -> list[tuple[int, int]]:
    """When (Redis ms) and up to which number was called."""
    async with house.store() as store:
        flat = await store.execute("ZRANGE", store.key(SALE, "calls"), 0, -1, "WITHSCORES")
    return [(int(flat[i].split(b":")[0]), int(flat[i + 1])) for i in range(0, len(flat), 2)]


@pytest.mark.parametrize("wiped", [False, True], ids=["restarted", "wiped"])
async def test_valkey_dies_with_buyers_waiting_and_inside(tmp_path: Path, wiped: bool) -> None:
    async with open_house(tmp_path, **QUICK) as house:
        await house.apply(resource(seats=60, active=50))
        insiders = await _insiders(house, 12)
        holds = await _holds(insiders)
        paid = [(await b.pay(h, f"k{h}")).json()["id"] for b, h in zip(insiders[:6], holds, strict=False)]
        for buyer, order in zip(insiders, paid, strict=False):
            await buyer.until_settled(order)
        waiting = [house.buyer(i) for i in range(80)]
        await asyncio.gather(*(buyer.join() for buyer in waiting))
        waiting.sort(key=lambda buyer: buyer.number)
        await house.until_seen_by_all_pods()
        before = {buyer.number for buyer in insiders + waiting}
        assert len(before) == 92

        await house.stack.store.kill()
        if wiped:
            house.stack.store.wipe()
        await house.stack.store.start()
        await house.until_recovered()

        late = [house.buyer(i) for i in range(10)]
        await asyncio.gather(*(buyer.join() for buyer in late))
        assert not before & {buyer.number for buyer in late}, "a number was given twice"
        assert min(buyer.number for buyer in late) > max(before)

        for buyer in insiders[6:]:
            answer = await buyer.hold(count=1)
            assert answer.status_code == 201, answer.text
            order = (await buyer.pay(answer.json()["id"], "after")).json()["id"]
            paid.append((await buyer.until_settled(order))["id"])
        await asyncio.gather(*(buyer.go_in(60) for buyer in waiting[:20]))
        assert {buyer.number for buyer in waiting} <= before, "nobody lost the place in line"
        await _assert_all_paid_once(house, paid)


async def test_a_sale_is_rebuilt_by_hand(tmp_path: Path) -> None:
    """Whoever waits, holds or has paid goes on as before."""
    async with open_house(tmp_path, **QUICK) as house:
        await house.apply(resource(seats=60))
        buyers = await _insiders(house, 4)
        holds = await _holds(buyers)
        paid = [(await b.pay(h, f"k{h}")).json()["id"] for b, h in zip(buyers[:2], holds, strict=False)]
        for buyer, order in zip(buyers, paid, strict=False):
            assert (await buyer.until_settled(order))["state"] == "paid"
        assert "rebuilt" in await _command(house, tmp_path, "rebuild", SALE, "--yes")
        await house.until_recovered()
        for buyer, hold in zip(buyers[2:], holds[2:], strict=True):
            answer = await buyer.pay_surely(hold, "after", house.stack.urls)
            paid.append((await buyer.until_settled(answer["id"]))["id"])
        await _assert_all_paid_once(house, paid)
        assert "no sale named 'nobody'" in await _command(house, tmp_path, "rebuild", "nobody", "--yes")


async def _command(house: House, folder: Path, *argv: str) -> str:
    """What `boxoffice` prints, as somebody in the stack's own shell runs it."""
    env = environment(house.stack.settings())
    child = Child("command", [sys.executable, "-m", "boxoffice", *argv], folder / f"{argv[1]}.log", env)
    await child.start()
    await child.wait()
    return child.last_lines()
