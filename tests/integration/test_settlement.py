"""Settlement on a real log, ledger and gateway: each order once, whatever fails in between."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from boxoffice import deadletters, refunds
from boxoffice.arrears import Arrears
from boxoffice.batch import Batches
from boxoffice.database import connect
from boxoffice.effects import Effect
from boxoffice.errors import Conflict, GatewayUnavailable, LedgerUnavailable, NotFound, Recovering
from boxoffice.eventlog import EventLog, open_log
from boxoffice.events import OrderPlaced, encode
from boxoffice.gateway import Charge, ChargeRecord, Outcome, PaymentGateway, open_gateway
from boxoffice.ledger import Claim, Ledger
from boxoffice.orderrecords import SettledOrder
from boxoffice.partition import BUSY_SECONDS, Desk
from boxoffice.sale import parse_sale
from boxoffice.salerecords import SaleRecord
from boxoffice.settings import Settings
from boxoffice.settlement import consume
from boxoffice.store import Store
from tests.integration.house import resource
from tests.integration.processes import settle_process

SEATS = 5000


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, log_partitions=2, settle_batch=50)


@pytest.fixture
async def log(settings: Settings, store: Store) -> AsyncIterator[EventLog]:
    log = await open_log(settings, store)
    yield log
    await log.close()


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[PaymentGateway]:
    gateway = await open_gateway(settings)
    yield gateway
    await gateway.close()


@pytest.fixture
async def sale(ledger: Ledger) -> SaleRecord:
    """In the ledger only: what becomes of effects in Redis is told in test_faults.py."""
    spec = msgspec.json.encode(parse_sale(msgspec.json.encode(resource())).spec).decode()
    sale = await ledger.ensure_sale("tide-seoul", "1" * 64, spec, SEATS)
    await ledger.mark_dropped(sale.name)
    return sale


@dataclass
class Listener:
    """A sink that keeps what it was told, and can refuse to listen."""

    deaf: int = 0
    told: list[Effect] = field(default_factory=list)
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, effects: Sequence[Effect]) -> None:
        if effects and self.deaf:
            self.deaf -= 1
            raise Recovering("Redis is being rebuilt")
        self.told += effects
        self.bell.set()

    def outcomes(self) -> dict[str, str]:
        return {effect.order.id: effect.order.state for effect in self.told}


@dataclass
class Awkward:
    """The real gateway, with faults on the way."""

    inner: PaymentGateway
    failures: int = 0
    captured: list[str] = field(default_factory=list)
    looked_up: list[str] = field(default_factory=list)
    before_answer: dict[str, Any] = field(default_factory=dict)

    async def capture(self, charge: Charge) -> Outcome:
        if self.failures:
            self.failures -= 1
            raise GatewayUnavailable("no route to the gateway")
        self.captured.append(charge.order)
        outcome = await self.inner.capture(charge)
        if step := self.before_answer.pop(charge.order, None):
            await step()
        return outcome

    async def lookup(self, order: str) -> Outcome | None:
        self.looked_up.append(order)
        return await self.inner.lookup(order)

    async def refund(self, order: str) -> None:
        await self.inner.refund(order)

    def charges(self, sale_uid: str) -> AsyncIterator[list[ChargeRecord]]:
        return self.inner.charges(sale_uid)

    async def close(self) -> None: ...


def event(sale: SaleRecord, seats: list[int], **changes: Any) -> OrderPlaced:
    values: dict[str, Any] = {
        "order": secrets.token_hex(16),
        "sale": sale.name,
        "sale_uid": sale.uid,
        "buyer": "b" * 32,
        "hold": 1,
        "fence": 1,
        "seats": seats,
        "names": [f"floor/{seat:04}" for seat in seats],
        "amount_minor": 12000 * len(seats),
        "currency": "KRW",
        "method": "pm_card_visa",
        "placed_ms": int(time.time() * 1000),
    }
    return OrderPlaced(**{**values, **changes})


async def publish(log: EventLog, *events: OrderPlaced) -> None:
    await asyncio.gather(*(log.publish(bytes.fromhex(e.order), encode(e)) for e in events))


async def publish_together(log: EventLog, *events: OrderPlaced) -> None:
    """Into one partition, in this order."""
    for e in events:
        await log.publish(b"one key", encode(e))


@asynccontextmanager
async def settling(desk: Desk) -> AsyncIterator[None]:
    stop = asyncio.Event()

    async def until_stop() -> None:
        while not stop.is_set():
            await consume(desk, stop)

    task = asyncio.create_task(until_stop())
    try:
        yield
    finally:
        stop.set()
        await task


@dataclass
class Scene:
    settings: Settings
    log: EventLog
    ledger: Ledger
    gateway: Awkward
    sale: SaleRecord
    listener: Listener = field(default_factory=Listener)

    def desk(self, **changes: Any) -> Desk:
        ledger = changes.pop("ledger", self.ledger)
        desk = Desk(self.settings, self.log, ledger, Batches(ledger, self.gateway, 20), self.listener)
        return replace(desk, **changes)

    def arrears(self) -> Arrears:
        return Arrears(self.ledger, self.gateway, self.listener)

    async def settle_all(self, **changes: Any) -> None:
        async with settling(self.desk(**changes)):
            await self.until_settled()

    async def until_settled(self, seconds: float = 60) -> None:
        """Until every partition is settled to its end and `applied` has followed."""
        log_id, ends = await self.log.log_id(), await self.log.ends()
        async with asyncio.timeout(seconds):
            while True:
                positions = await self.ledger.positions(self.log.topic, log_id)
                if all(positions.get(p, (0, 0)) == (end, end) for p, end in enumerate(ends)):
                    return
                await asyncio.sleep(0.02)

    async def orders(self) -> dict[str, SettledOrder]:
        return {o.id: o async for chunk in self.ledger.orders_of(self.sale.uid) for o in chunk}

    async def states(self) -> Counter[str]:
        return Counter(order.state for order in (await self.orders()).values())

    async def money(self) -> set[str]:
        """The orders for which the gateway holds money."""
        charges = [c async for chunk in self.gateway.charges(self.sale.uid) for c in chunk]
        return {charge.order for charge in charges if charge.state == "paid"}

    async def assert_sound(self) -> None:
        """Money for just the paid orders, one ticket a seat, no dead letters."""
        orders = await self.orders()
        assert await self.money() == {o.id for o in orders.values() if o.state == "paid"}
        seats = [t.seat async for chunk in self.ledger.tickets_of(self.sale.uid) for t in chunk if t.seat is not None]
        assert len(seats) == len(set(seats))
        assert sorted(seats) == sorted(s for o in orders.values() if o.state == "paid" for s in o.seats)
        assert await deadletters.list_letters(self.ledger) == []


@pytest.fixture
def scene(settings: Settings, log: EventLog, ledger: Ledger, gateway: PaymentGateway, sale: SaleRecord) -> Scene:
    return Scene(settings, log, ledger, Awkward(gateway), sale)


# -- the plain way -----------------------------------------------------------------------------------------------


async def test_a_backlog_is_settled_each_order_once(scene: Scene) -> None:
    events = [event(scene.sale, [2 * i, 2 * i + 1]) for i in range(400)]
    await publish(scene.log, *events)
    await scene.settle_all()
    await scene.assert_sound()
    orders = await scene.orders()
    assert set(orders) == {e.order for e in events}
    for e in events:
        row = orders[e.order]
        assert (row.state, row.charge_minor, row.seats, row.names) == ("paid", e.amount_minor, e.seats, e.names)
    assert Counter(scene.gateway.captured) == Counter(list(orders))
    assert Counter(effect.order.id for effect in scene.listener.told) == Counter(list(orders))


async def test_records_repeated_and_reordered_are_one_order(scene: Scene) -> None:
    events = [event(scene.sale, [i]) for i in range(60)]
    await publish(scene.log, *events, *reversed(events), *events)
    await scene.settle_all()
    await publish(scene.log, *events)
    await scene.settle_all()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 60}
    assert Counter(scene.gateway.captured).most_common(1)[0][1] == 1


async def test_declined_orders_are_told_why_and_sell_nothing(scene: Scene) -> None:
    await publish(scene.log, event(scene.sale, [1], method="pm_card_declined"), event(scene.sale, [2], method="gold"))
    await scene.settle_all()
    await scene.assert_sound()
    told = [effect.order for effect in scene.listener.told]
    assert {order.reason for order in told} == {"the card was declined", "unknown payment method"}
    assert {order.state for order in told} == {"declined"}


async def test_a_sold_seat_is_refused_uncharged(scene: Scene) -> None:
    first = event(scene.sale, [1, 2])
    await publish(scene.log, first)
    await scene.settle_all()
    late = event(scene.sale, [2, 3])
    await publish(scene.log, late)
    await scene.settle_all()
    await scene.assert_sound()
    assert late.order not in scene.gateway.captured
    [effect] = [e for e in scene.listener.told if e.order.id == late.order]
    assert (effect.order.state, effect.order.seats, effect.sold) == ("refused", [2, 3], [2])


async def test_of_two_in_one_batch_the_first_gets_the_seat(scene: Scene) -> None:
    first, second, other = (event(scene.sale, seats) for seats in ([5], [4, 5], [6]))
    await publish_together(scene.log, first, second, other)
    await scene.settle_all()
    await scene.assert_sound()
    assert scene.listener.outcomes() == {first.order: "paid", second.order: "refused", other.order: "paid"}


async def test_orders_for_the_same_seats_in_different_partitions_sell_each_seat_once(scene: Scene) -> None:
    await publish(scene.log, *(event(scene.sale, [i % 40]) for i in range(300)))
    await scene.settle_all()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 40, "refused": 260}


# -- dead letters ------------------------------------------------------------------------------------------------


def malformed(sale: SaleRecord) -> list[bytes]:
    good = msgspec.to_builtins(event(sale, [1]))
    wrong: list[dict[str, Any]] = [
        {"sale_uid": "f" * 32},
        {"sale": "another"},
        {"seats": [sale.seats_total]},
        {"seats": []},
        {"seats": [1, 1], "names": ["a", "b"]},
        {"names": []},
        {"names": ["n" * 200]},
        {"amount_minor": 2**63},
        {"amount_minor": -1},
        {"amount_minor": "12000"},
        {"placed_ms": 2**63},
        {"method": "m" * 65},
        {"method": "pm\x00"},
        {"currency": "WON!"},
        {"order": "x" * 32},
        {"buyer": "b"},
        {"needs": 99},
        {"hold": None},
    ]
    broken = [b"", b"\xff\xfe", b"null", b"{}", b"x" * 100_000]
    return broken + [msgspec.json.encode({**good, "order": secrets.token_hex(16), **change}) for change in wrong]


async def test_records_that_are_no_orders_become_dead_letters_and_stop_nobody(scene: Scene) -> None:
    bad, good = malformed(scene.sale), [event(scene.sale, [100 + i]) for i in range(30)]
    for i, value in enumerate(bad):
        await publish_together(scene.log, good[i]) if i < len(good) else None
        await scene.log.publish(b"one key", value)
    await publish(scene.log, *good[len(bad) :])
    await scene.settle_all()
    letters = await deadletters.list_letters(scene.ledger)
    assert [letter.payload for letter in letters] == bad
    assert all(letter.error and letter.attempts == 1 and letter.state == "open" for letter in letters)
    assert await scene.states() == {"paid": 30}
    assert len(await scene.money()) == 30


async def test_a_replayed_letter_is_settled_or_comes_back_counted(scene: Scene) -> None:
    early = event(scene.sale, [1], sale_uid="e" * 32)
    await publish(scene.log, early)
    await scene.settle_all()
    [letter] = await deadletters.list_letters(scene.ledger)
    assert "knows no sale" in letter.error
    await deadletters.replay_letter(scene.ledger, scene.log, letter.id, "ana", "the reader is mended")
    with pytest.raises(Conflict):
        await deadletters.replay_letter(scene.ledger, scene.log, letter.id, "ana", "again")
    await scene.settle_all()
    [again] = await deadletters.list_letters(scene.ledger)
    assert (again.attempts, again.first_seen_ms) == (2, letter.first_seen_ms)
    await deadletters.discard_letter(scene.ledger, again.id, "ana", "it never was an order")
    assert await deadletters.list_letters(scene.ledger) == []
    shown = await deadletters.show_letter(scene.ledger, again.id)
    assert (shown.state, shown.who, shown.why) == ("discarded", "ana", "it never was an order")
    assert [entry["what"] for entry in await scene.ledger.trail()] == ["dead letter discarded", "dead letter replayed"]
    with pytest.raises(NotFound):
        await deadletters.show_letter(scene.ledger, 999)


# -- how busy ----------------------------------------------------------------------------------------------------


def busy_seconds() -> float:
    """Of all partitions."""
    return sum(s.value for metric in BUSY_SECONDS.collect() for s in metric.samples if s.name.endswith("_total"))


async def test_a_batch_that_is_far_from_full_is_far_from_busy(scene: Scene) -> None:
    """However long it takes: orders that come meanwhile go into the next one."""
    events = [event(scene.sale, [i]) for i in range(10)]
    scene.gateway.before_answer = {events[0].order: lambda: asyncio.sleep(0.5)}
    await publish_together(scene.log, *events)
    before, began = busy_seconds(), time.monotonic()
    await scene.settle_all()
    share = 10 / scene.settings.settle_batch
    assert 0.5 * share <= busy_seconds() - before <= (time.monotonic() - began) * share


async def test_one_that_a_fault_holds_up_is_busy(scene: Scene) -> None:
    scene.gateway.failures = 3  # pauses of about 0.1, 0.2 and 0.4 s
    await publish_together(scene.log, event(scene.sale, [1]))
    before, began = busy_seconds(), time.monotonic()
    await scene.settle_all()
    assert 0.5 < busy_seconds() - before < time.monotonic() - began


# -- faults of the gateway ---------------------------------------------------------------------------------------


async def test_a_gateway_out_of_reach_pauses_in_order_and_kills_no_letter(scene: Scene) -> None:
    scene.gateway.failures = 5
    await publish(scene.log, *(event(scene.sale, [i]) for i in range(100)))
    await scene.settle_all()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 100}
    for partition in range(scene.log.partitions):
        offsets = [e.order.log_offset for e in scene.listener.told if e.order.log_partition == partition]
        assert offsets == sorted(offsets)


async def test_an_order_that_faults_alone_is_unresolved_and_later_paid(scene: Scene) -> None:
    faulty, good = event(scene.sale, [1], method="pm_card_fault"), event(scene.sale, [2])
    await publish_together(scene.log, faulty, good)
    await scene.settle_all()
    assert scene.listener.outcomes() == {faulty.order: "unresolved", good.order: "paid"}
    await due_worked_off(scene)
    assert scene.listener.outcomes() == {faulty.order: "paid", good.order: "paid"}
    await scene.assert_sound()


async def test_an_unresolved_order_whose_seat_was_sold_meanwhile_is_refused_and_keeps_no_money(scene: Scene) -> None:
    faulty = event(scene.sale, [1], method="pm_card_fault")
    await publish(scene.log, faulty)
    await scene.settle_all()
    await publish(scene.log, event(scene.sale, [1]))
    await scene.settle_all()
    await due_worked_off(scene)
    assert scene.listener.outcomes()[faulty.order] == "refused"
    await scene.assert_sound()


async def due_worked_off(scene: Scene) -> None:
    async with asyncio.timeout(60):
        while await scene.ledger.due_orders(2**62):
            await scene.arrears().sweep()
            await asyncio.sleep(0.05)


async def test_an_old_order_is_looked_up_before_it_is_charged(scene: Scene) -> None:
    """A gateway forgets idempotency keys after a day: a blind repeat would charge twice."""
    old_ms = int(time.time() * 1000) - 21 * 3600 * 1000
    charged, never = event(scene.sale, [1], placed_ms=old_ms), event(scene.sale, [2], placed_ms=old_ms)
    young = event(scene.sale, [3])
    await scene.gateway.inner.capture(
        Charge(
            order=charged.order,
            sale_uid=scene.sale.uid,
            buyer="b" * 32,
            amount_minor=12000,
            currency="KRW",
            method="pm_card_visa",
        )
    )
    await publish(scene.log, charged, never, young)
    await scene.settle_all()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 3}
    assert sorted(scene.gateway.looked_up) == sorted([charged.order, never.order])
    assert sorted(scene.gateway.captured) == sorted([never.order, young.order])


# -- charged, and then ... ---------------------------------------------------------------------------------------


async def test_a_seat_sold_between_charge_and_commit_costs_nobody_anything(scene: Scene) -> None:
    """Only the unique key can see it: the charge goes back, the order is refused, the rest of the batch stands."""
    beaten, unharmed = event(scene.sale, [7]), event(scene.sale, [8])

    async def sell_seat_7() -> None:
        rival = await scene.ledger.claim_partition("another", "log", 0, 0)
        winner = event(scene.sale, [7])
        await scene.gateway.inner.capture(
            Charge(
                order=winner.order,
                sale_uid=scene.sale.uid,
                buyer="c" * 32,
                amount_minor=12000,
                currency="KRW",
                method="pm_card_visa",
            )
        )
        await scene.ledger.record_batch(rival, 1, 0, [settled(winner)], [])

    scene.gateway.before_answer[beaten.order] = sell_seat_7
    await publish_together(scene.log, beaten, unharmed)
    await scene.settle_all()
    await scene.assert_sound()
    assert scene.listener.outcomes() == {beaten.order: "refused", unharmed.order: "paid"}


async def test_charged_before_a_crash_and_sold_to_another_since_gives_the_money_back(scene: Scene) -> None:
    crashed, winner = event(scene.sale, [7]), event(scene.sale, [7])
    for e in (crashed, winner):
        await scene.gateway.inner.capture(
            Charge(
                order=e.order,
                sale_uid=scene.sale.uid,
                buyer="c" * 32,
                amount_minor=12000,
                currency="KRW",
                method="pm_card_visa",
            )
        )
    rival = await scene.ledger.claim_partition("another", "log", 0, 0)
    await scene.ledger.record_batch(rival, 1, 0, [settled(winner)], [])
    await publish(scene.log, crashed)
    await scene.settle_all()
    await scene.assert_sound()
    assert scene.listener.outcomes() == {crashed.order: "refused"}


def settled(e: OrderPlaced) -> SettledOrder:
    return SettledOrder(
        id=e.order,
        sale_uid=e.sale_uid,
        sale=e.sale,
        buyer=e.buyer,
        hold=e.hold,
        fence=e.fence,
        seats=e.seats,
        names=e.names,
        amount_minor=e.amount_minor,
        currency=e.currency,
        method=e.method,
        state="paid",
        placed_ms=e.placed_ms,
        settled_ms=e.placed_ms,
        log_id="log",
        log_partition=0,
        log_offset=0,
        charge_id="ch",
        charge_minor=e.amount_minor,
    )


# -- faults of the ledger, and two owners ------------------------------------------------------------------------


class Forgetful(Ledger):
    """Fails now and then, before or after a commit: the caller cannot know which."""

    calls = 0

    async def record_batch(self, claim: Claim, to: int, applied: int, *rest: Any) -> Claim:
        self.calls += 1
        if self.calls % 5 == 1:
            raise LedgerUnavailable("the connection was refused")
        moved = await super().record_batch(claim, to, applied, *rest)
        if self.calls % 5 == 3:
            raise LedgerUnavailable("the connection broke after the commit")
        return moved


async def test_a_ledger_that_fails_before_and_after_commits_has_each_order_once(scene: Scene) -> None:
    ledger = Forgetful(connect(scene.settings.ledger_url))
    await publish(scene.log, *(event(scene.sale, [i]) for i in range(300)))
    await scene.settle_all(ledger=ledger)
    await ledger.close()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 300}
    assert set(scene.listener.outcomes().values()) == {"paid"}
    assert len(scene.listener.outcomes()) == 300, "what was committed and not heard of is told after the next claim"


async def test_a_zombie_writes_nothing_and_joins_again(scene: Scene) -> None:
    """Its partition was taken over while it was charging."""
    slow = event(scene.sale, [1])
    others = [event(scene.sale, [i]) for i in range(2, 20)]
    fences: list[int] = []

    async def take_over() -> None:
        for partition in range(scene.log.partitions):
            log_id = await scene.log.log_id()
            claim = await scene.ledger.claim_partition(scene.log.topic, log_id, partition, 0)
            fences.append(claim.fence)

    scene.gateway.before_answer[slow.order] = take_over
    await publish(scene.log, slow, *others)
    await scene.settle_all()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 19}
    claim = await scene.ledger.claim_partition(scene.log.topic, await scene.log.log_id(), 0, 0)
    assert claim.fence > max(fences) + 1, "it took its turn anew"


# -- Redis away --------------------------------------------------------------------------------------------------


async def test_settling_goes_on_while_redis_is_away_and_tells_it_later(scene: Scene) -> None:
    scene.listener.deaf = 7
    events = [event(scene.sale, [i]) for i in range(200)]
    await publish(scene.log, *events)
    await scene.settle_all()
    assert scene.listener.deaf == 0
    assert set(scene.listener.outcomes()) == {e.order for e in events}


async def test_what_was_committed_and_not_told_is_told_by_the_next_owner(scene: Scene) -> None:
    scene.listener.deaf = 10**9
    events = [event(scene.sale, [i]) for i in range(700)]
    await publish(scene.log, *events)
    log_id, ends = await scene.log.log_id(), await scene.log.ends()
    async with settling(scene.desk()), asyncio.timeout(60):
        while [p[0] for p in (await scene.ledger.positions(scene.log.topic, log_id)).values()] != ends:
            await asyncio.sleep(0.02)
    assert scene.listener.told == []
    assert {p[1] for p in (await scene.ledger.positions(scene.log.topic, log_id)).values()} == {0}
    scene.listener.deaf = 0
    await scene.settle_all()
    assert set(scene.listener.outcomes()) == {e.order for e in events}
    assert len(scene.gateway.captured) == 700


# -- refunds -----------------------------------------------------------------------------------------------------


async def test_a_refund_frees_the_seat_for_the_next_buyer(scene: Scene) -> None:
    first, second = event(scene.sale, [1, 2]), event(scene.sale, [2])
    await publish(scene.log, first)
    await scene.settle_all()
    done = await refunds.refund_order(scene.ledger, scene.arrears(), first.order, "ana", "the buyer fell ill")
    assert (done.state, done.who, done.why, done.due_ms) == ("refunded", "ana", "the buyer fell ill", None)
    assert scene.listener.outcomes() == {first.order: "refunded"}
    again = await refunds.refund_order(scene.ledger, scene.arrears(), first.order, "bo", "twice")
    assert again == done
    await publish(scene.log, second)
    await scene.settle_all()
    await scene.assert_sound()
    assert await scene.states() == {"refunded": 1, "paid": 1}
    assert len(await scene.ledger.trail()) == 1


async def test_what_is_not_paid_cannot_be_refunded(scene: Scene) -> None:
    declined = event(scene.sale, [1], method="pm_card_declined")
    await publish(scene.log, declined)
    await scene.settle_all()
    with pytest.raises(Conflict):
        await refunds.refund_order(scene.ledger, scene.arrears(), declined.order, "ana", "why not")
    with pytest.raises(NotFound):
        await refunds.refund_order(scene.ledger, scene.arrears(), "0" * 32, "ana", "why not")


class Dying(Exception):
    """Stands for a `kill -9` of the process that refunds."""


@pytest.mark.parametrize("step", ["asked", "taken", "paid back", "written", "told"])
async def test_a_refund_that_dies_is_finished_by_settlement(scene: Scene, step: str) -> None:
    paid = event(scene.sale, [1])
    await publish(scene.log, paid)
    await scene.settle_all()

    class Mortal(Ledger):
        changes = 0

        async def change_order(self, seen: SettledOrder, **changes: Any) -> SettledOrder | None:
            self.changes += 1
            dies_at = {"asked": 1, "taken": 1, "paid back": 2, "written": 2, "told": 3}[step]
            if self.changes == dies_at and step in ("asked", "paid back", "told"):
                raise Dying
            changed = await super().change_order(seen, **changes)
            if self.changes == dies_at:
                raise Dying
            return changed

    mortal = Mortal(connect(scene.settings.ledger_url))
    with pytest.raises(Dying):
        await refunds.refund_order(
            mortal, Arrears(mortal, scene.gateway, scene.listener), paid.order, "ana", "the show is off"
        )
    await mortal.close()
    for order in await scene.ledger.due_orders(2**62):  # what the dead one took comes up again after a while
        await scene.ledger.change_order(order, due_ms=0)
    await due_worked_off(scene)
    await scene.assert_sound()
    assert await scene.states() == {"refunded": 1}
    assert scene.listener.outcomes() == {paid.order: "refunded"}


async def test_a_whole_sale_is_refunded(scene: Scene) -> None:
    declined = event(scene.sale, [900], method="pm_card_declined")
    await publish(scene.log, declined, *(event(scene.sale, [i]) for i in range(130)))
    await scene.settle_all()
    assert await refunds.refund_sale(scene.ledger, scene.arrears(), scene.sale.name, "ana", "the singer is ill") == 130
    assert await refunds.refund_sale(scene.ledger, scene.arrears(), scene.sale.name, "ana", "again") == 0
    assert await scene.states() == {"refunded": 130, "declined": 1}
    assert await scene.money() == set()
    assert Counter(e.order.state for e in scene.listener.told)["refunded"] == 130


# -- processes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["settle.fetched", "settle.charged", "settle.committed", "settle.applied"])
async def test_a_process_killed_at_a_step_again_and_again(scene: Scene, tmp_path: Path, step: str) -> None:
    events = [event(scene.sale, [i]) for i in range(200)]
    await publish(scene.log, *events)
    for _ in range(2):
        async with settle_process(scene.settings, tmp_path, failpoint=f"{step}:2") as dying:
            assert await asyncio.wait_for(dying.wait(), 20) == -9
    async with settle_process(scene.settings, tmp_path):
        await scene.until_settled()
    await scene.assert_sound()
    assert await scene.states() == {"paid": 200}


async def test_another_process_takes_over(scene: Scene, tmp_path: Path) -> None:
    async with settle_process(scene.settings, tmp_path) as first:
        await publish(scene.log, event(scene.sale, [0]))
        await scene.until_settled()
        async with settle_process(scene.settings, tmp_path) as second:
            await until_shared(scene)
            await first.kill()
            await publish(scene.log, *(event(scene.sale, [1 + i]) for i in range(20)))
            await scene.until_settled()  # it was killed: its leases lapse
        assert second.process is not None
        assert second.process.returncode == 0, second.last_lines()
        async with settle_process(scene.settings, tmp_path) as third:
            await publish(scene.log, *(event(scene.sale, [50 + i]) for i in range(20)))
            await scene.until_settled()
            assert third.running
    await scene.assert_sound()
    assert await scene.states() == {"paid": 41}


async def until_shared(scene: Scene) -> None:
    """Until each of two processes has one of the two partitions."""
    key = f"{{{scene.settings.instance}:log}}:leases"
    store = await Store.open(scene.settings)
    async with asyncio.timeout(60):
        while len({await store.execute("HGET", key, p) for p in range(2)}) != 2:
            await asyncio.sleep(0.05)
    await store.close()
