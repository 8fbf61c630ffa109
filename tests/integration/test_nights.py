"""Whole sales with awkward buyers, and orders from above while they run."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from boxoffice import sales
from boxoffice.ledger import open_ledger
from boxoffice.spec import Policy
from boxoffice.store import Store
from tests.integration.buyer import Buyer
from tests.integration.house import SALE, House, open_house, resource


class Story(msgspec.Struct):
    """What one buyer was told."""

    number: int
    called_ms: int = 0
    seat: str = ""
    end: str = ""


async def _night(house: House, buyer: Buyer, nth: int) -> Story:
    """Joins, waits, and pays; or, of ten, one lets the hold run out and two are declined and go."""
    assert (await buyer.join()).status_code == 201
    story = Story(buyer.number)
    while not story.called_ms:
        answer = await buyer.whereabouts()
        if answer.status_code in (429, 503):
            await asyncio.sleep(1)
            continue
        state = answer.json()["state"]
        if state in ("soldOut", "over", "lapsed"):
            story.end = state
            return story
        if state == "called":
            claimed = await buyer.claim()
            if claimed.status_code == 201:
                story.called_ms = claimed.json()["calledAtMs"]
                break
            if claimed.status_code == 410:
                story.end = claimed.json()["code"]
                return story
            assert claimed.status_code == 425, claimed.text
        await asyncio.sleep(0.5)
    return await _inside(buyer, story, nth)


async def _inside(buyer: Buyer, story: Story, nth: int) -> Story:
    held = await buyer.hold(count=1)
    if held.status_code == 409:
        story.end = held.json()["code"]
        return story
    assert held.status_code == 201, held.text
    if nth % 10 == 0:
        story.end = "hold lapsed"
        return story
    declined = nth % 10 in (1, 2)
    method = "pm_card_declined" if declined else "pm_card_visa"
    paid = await buyer.pay(held.json()["id"], f"key {nth}", method)
    if paid.status_code == 409:  # on a busy machine the hold may have run out
        story.end = paid.json()["code"]
        return story
    settled = await buyer.until_settled(paid.json()["id"])
    story.end = settled["state"]
    if declined:
        await buyer.send("DELETE", "/places/me", buyer.admission)
    else:
        [story.seat] = settled["seats"]
    return story


async def test_a_hall_of_100_sells_to_the_last_seat_when_a_third_of_the_buyers_do_not_buy(tmp_path: Path) -> None:
    async with open_house(tmp_path, gateway_latency_ms=1) as house:
        await house.apply(
            resource(
                seats=100,
                opens_in=4,
                line={"claimSeconds": 30},
                admission={"initialActive": 60, "maxActive": 60, "sessionSeconds": 20},
                hold={"seconds": 5, "maxSeatsPerBuyer": 1},
            )
        )
        buyers = [house.buyer(i) for i in range(300)]
        async with asyncio.timeout(180):
            stories = await asyncio.gather(*(_night(house, buyer, i) for i, buyer in enumerate(buyers)))
        seats = [story.seat for story in stories if story.seat]
        assert len(seats) == len(set(seats)) == 100, "every seat found a buyer, each just one"
        assert (await house.seats())["sold"] == 100
        assert {s.end for s in stories if not s.called_ms} == {"soldOut"}, "nobody was sent away early"
        called = sorted((s for s in stories if s.called_ms), key=lambda s: s.number)
        moments = [s.called_ms for s in called]
        assert moments == sorted(moments), "in the order of the line"
        mark = (await house.line())["called"]
        assert called[-1].number <= mark, "whoever came in had been called, lower numbers with them"
        assert (await house.audit()).differences == []


async def _steer(house: House, policy: Policy | None) -> None:
    settings = house.stack.settings()
    store, ledger = await Store.open(settings), await open_ledger(settings)
    try:
        await sales.override(store, ledger, SALE, policy, "test", "a test")
    finally:
        await ledger.close()
        await store.close()


async def _until(house: House, state: str) -> None:
    """Seconds until both pods say so."""
    async with asyncio.timeout(60):
        for pod in (0, 1):
            while (await house.line(pod=pod))["state"] != state:
                await asyncio.sleep(0.02)


async def test_hold_drain_and_close_take_effect_and_nobody_stampedes_after(tmp_path: Path) -> None:
    async with open_house(tmp_path, gateway_latency_ms=1) as house:
        await house.apply(resource(seats=500, opens_in=2, active=20))
        buyers = [house.buyer(i) for i in range(60)]
        await asyncio.gather(*(buyer.join() for buyer in buyers))
        buyers.sort(key=lambda buyer: buyer.number)
        await buyers[0].go_in()

        await _steer(house, "Hold")
        await _until(house, "hold")
        called = (await house.line())["called"]
        assert (await house.buyer().join()).status_code == 201, "the line itself stays open"
        held = await buyers[0].hold(count=1)
        assert held.status_code == 201, "who is inside goes on"
        await asyncio.sleep(1.2)  # several beats, in which nothing may happen
        assert (await house.line())["called"] == called

        await _steer(house, "Drain")
        await _until(house, "drain")
        refused = await house.buyer().join()
        assert (refused.status_code, refused.json()["code"]) == (410, "joining_closed")

        await _steer(house, None)
        await _until(house, "open")
        async with asyncio.timeout(60):
            while (now := (await house.line())["called"]) == called:
                await asyncio.sleep(0.05)
        assert now - called <= 8, "the pace starts as it always does, not with all that was missed"

        await _steer(house, "Closed")
        await _until(house, "closed")
        answer = await buyers[30].whereabouts()
        assert answer.json()["state"] == "over"
        assert (await house.buyer().join()).status_code == 410
        paid = await buyers[0].pay(held.json()["id"], "the last one")
        assert paid.status_code == 202, "what is held at the close may still be paid"
        assert (await buyers[0].until_settled(paid.json()["id"]))["state"] == "paid"


async def test_a_sale_opens_and_closes_by_itself_by_redis_time(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        await house.apply(resource(opens_in=6))
        early = house.buyer()
        assert (await early.join()).status_code == 201
        assert (await early.whereabouts()).json()["state"] == "prequeue"
        assert (await early.claim()).json()["code"] in ("not_called", "ticket_stale")
        old = early.ticket
        await _until(house, "open")
        await early.until_called()
        assert early.ticket != old, "opening exchanges the ticket"
        early.ticket, newest = old, early.ticket
        assert (await early.claim()).json()["code"] == "ticket_stale"
        early.ticket = newest
        assert (await early.claim()).status_code == 201
