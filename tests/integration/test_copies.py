"""Batches where others are in the way: one order on two partitions at the same moment, a gateway that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any, cast

import msgspec
import pytest

from boxoffice.batch import Batches
from boxoffice.database import connect
from boxoffice.errors import GatewayUnavailable
from boxoffice.eventlog import Record
from boxoffice.events import OrderPlaced, encode
from boxoffice.gateway import Charge, Outcome, PaymentGateway, open_gateway
from boxoffice.ledger import Ledger
from boxoffice.salerecords import now_ms
from boxoffice.settings import Settings
from tests.unit.test_events import GOOD


@pytest.fixture
async def gateway(settings: Settings) -> AsyncIterator[PaymentGateway]:
    gateway = await open_gateway(settings)
    yield gateway
    await gateway.close()


class Overtaken(Ledger):
    """Between two questions of this one, the other partition commits."""

    overtake: Callable[[], Awaitable[Any]]

    async def known_orders(self, ids: Collection[str]) -> set[str]:
        known = await super().known_orders(ids)
        if not known:
            await self.overtake()
        return known


def record(event: OrderPlaced, partition: int) -> Record:
    return Record(partition, 0, bytes.fromhex(event.order), encode(event), 1)


async def test_the_slower_one_does_not_pay_the_charge_back(
    settings: Settings, ledger: Ledger, gateway: PaymentGateway
) -> None:
    sale = await ledger.ensure_sale(GOOD.sale, "1" * 64, "{}", 100)
    event = msgspec.structs.replace(GOOD, sale_uid=sale.uid)
    claims = [await ledger.claim_partition("t.orders", "log", partition, 0) for partition in (0, 1)]
    slow = Overtaken(connect(settings.ledger_url))
    faster, slower = Batches(ledger, gateway, 10), Batches(slow, gateway, 10)
    slow.overtake = lambda: faster.settle(claims[0], [record(event, 0)], 0)
    claim, settled = await slower.settle(claims[1], [record(event, 1)], 0)
    assert (claim.next, settled) == (1, [])
    order = await ledger.order(event.order)
    outcome = await gateway.lookup(event.order)
    assert order is not None
    assert outcome is not None
    assert (order.state, outcome.result, outcome.amount_minor) == ("paid", "paid", event.amount_minor)
    assert [charge.state for charges in [c async for c in gateway.charges(sale.uid)] for charge in charges] == ["paid"]
    await slow.close()


class Away:
    """A gateway that is not there."""

    async def capture(self, charge: Charge) -> Outcome:
        await asyncio.sleep(0)
        raise GatewayUnavailable("no route to the gateway")


async def test_a_gateway_that_is_away_leaves_all_slots(
    settings: Settings, ledger: Ledger, gateway: PaymentGateway
) -> None:
    """A worker may be called off before it took its first step."""
    sale = await ledger.ensure_sale(GOOD.sale, "1" * 64, "{}", 100)
    of_sale = msgspec.structs.replace(GOOD, sale_uid=sale.uid, names=["floor/1"], placed_ms=now_ms())
    events = [msgspec.structs.replace(of_sale, order=f"{n:032x}", seats=[n]) for n in range(20)]
    records = [Record(0, n, bytes.fromhex(event.order), encode(event), 1) for n, event in enumerate(events)]
    claim = await ledger.claim_partition("t.orders", "log", 0, 0)
    batches = Batches(ledger, cast(PaymentGateway, Away()), 4)
    for _ in range(10):
        with pytest.raises(GatewayUnavailable):
            async with asyncio.timeout(60):
                await batches.settle(claim, records, 0)
    batches._gateway = gateway
    async with asyncio.timeout(60):
        claim, settled = await batches.settle(claim, records, 0)
    assert (claim.next, [order.state for order in settled]) == (20, ["paid"] * 20)
