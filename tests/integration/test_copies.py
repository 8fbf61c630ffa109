"""One order on two partitions, settled by both at the same moment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from typing import Any

import msgspec
import pytest

from boxoffice.batch import Batches
from boxoffice.database import connect
from boxoffice.eventlog import Record
from boxoffice.events import OrderPlaced, encode
from boxoffice.gateway import PaymentGateway, open_gateway
from boxoffice.ledger import Ledger
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
