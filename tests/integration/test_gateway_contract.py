"""What every payment gateway must do; of the simulated one also what the tests of others rely on."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from boxoffice.errors import GatewayUnavailable
from boxoffice.gateway import Charge, ChargeRecord, PaymentGateway, open_gateway
from boxoffice.settings import Settings

SALE = "5" * 32


@pytest.fixture(params=["simulated"])
async def gateway(settings: Settings) -> AsyncIterator[PaymentGateway]:
    gateway = await open_gateway(settings)
    yield gateway
    await gateway.close()


def charge(method: str = "pm_card_visa", amount_minor: int = 12000) -> Charge:
    return Charge(
        order=secrets.token_hex(16),
        sale_uid=SALE,
        buyer="b" * 32,
        amount_minor=amount_minor,
        currency="KRW",
        method=method,
    )


async def listed(gateway: PaymentGateway) -> dict[str, ChargeRecord]:
    return {charge.order: charge async for chunk in gateway.charges(SALE) for charge in chunk}


async def test_a_repeated_capture_is_one_charge(gateway: PaymentGateway) -> None:
    wanted = charge()
    outcomes = await asyncio.gather(*(gateway.capture(wanted) for _ in range(50)))
    assert {(o.result, o.amount_minor) for o in outcomes} == {("paid", 12000)}
    assert len({o.charge_id for o in outcomes}) == 1
    assert await gateway.capture(wanted) == outcomes[0] == await gateway.lookup(wanted.order)
    assert list((await listed(gateway)).values()) == [ChargeRecord(wanted.order, SALE, 12000, "KRW", "paid")]


async def test_another_process_gets_the_same_outcome(gateway: PaymentGateway, settings: Settings) -> None:
    wanted = charge()
    other = await open_gateway(settings)
    outcomes = await asyncio.gather(*(g.capture(wanted) for g in [gateway, other] * 10))
    assert len(set(map(repr, outcomes))) == 1
    await other.close()
    assert len(await listed(gateway)) == 1


async def test_a_declined_card_takes_no_money_and_stays_declined(gateway: PaymentGateway) -> None:
    wanted = charge("pm_card_declined")
    first = await gateway.capture(wanted)
    assert (first.result, first.amount_minor) == ("declined", 0)
    assert first.reason
    assert await gateway.capture(wanted) == first == await gateway.lookup(wanted.order)
    assert (await listed(gateway))[wanted.order].state == "declined"


async def test_an_order_never_heard_of_has_no_charge(gateway: PaymentGateway) -> None:
    assert await gateway.lookup("0" * 32) is None
    assert await listed(gateway) == {}


async def test_a_refund_gives_the_money_back_once_and_for_good(gateway: PaymentGateway) -> None:
    wanted = charge()
    await gateway.capture(wanted)
    await asyncio.gather(*(gateway.refund(wanted.order) for _ in range(5)))
    assert (await listed(gateway))[wanted.order].state == "refunded"
    assert (await gateway.capture(wanted)).result == "declined"
    assert (await listed(gateway))[wanted.order].state == "refunded"


async def test_what_was_refunded_before_it_was_captured_cannot_be_captured(gateway: PaymentGateway) -> None:
    """A consumer that lost its turn may come late with its charge: the order was refused meanwhile."""
    wanted = charge()
    await gateway.refund(wanted.order)
    assert (await gateway.capture(wanted)).result == "declined"
    assert all(c.state != "paid" for c in (await listed(gateway)).values())


async def test_capture_and_refund_at_once_end_without_money(gateway: PaymentGateway) -> None:
    wanted = [charge() for _ in range(30)]
    await asyncio.gather(*(step for c in wanted for step in (gateway.capture(c), gateway.refund(c.order))))
    assert all(c.state != "paid" for c in (await listed(gateway)).values())


async def test_the_list_of_charges_crosses_chunks(gateway: PaymentGateway) -> None:
    wanted = {(c := charge(amount_minor=i)).order: c for i in range(1200)}
    await asyncio.gather(*(gateway.capture(c) for c in wanted.values()))
    found = await listed(gateway)
    assert {order: c.amount_minor for order, c in found.items()} == {o: c.amount_minor for o, c in wanted.items()}


async def test_a_fault_is_of_that_order_alone_and_once(settings: Settings) -> None:
    gateway = await open_gateway(settings)
    faulty, good = charge("pm_card_fault"), charge()
    results = await asyncio.gather(gateway.capture(faulty), gateway.capture(good))
    assert [r.result for r in results] == ["fault", "paid"]
    assert await gateway.lookup(faulty.order) is None
    assert (await gateway.capture(faulty)).result == "paid"
    await gateway.close()


async def test_declines_and_faults_by_configuration_are_drawn_from_the_order(settings: Settings) -> None:
    gateway = await open_gateway(replace(settings, gateway_decline_per_mille=300, gateway_fault_per_mille=100))
    wanted = [charge() for _ in range(600)]
    first = [o.result for o in await asyncio.gather(*(gateway.capture(c) for c in wanted))]
    assert 120 < first.count("declined") < 230
    assert 30 < first.count("fault") < 100
    second = [o.result for o in await asyncio.gather(*(gateway.capture(c) for c in wanted))]
    assert "fault" not in second
    assert all(a == b for a, b in zip(first, second, strict=True) if a != "fault")
    await gateway.close()


async def test_an_unknown_method_is_declined(gateway: PaymentGateway) -> None:
    assert (await gateway.capture(charge("pm_card_of_mars"))).reason == "unknown payment method"


async def test_a_gateway_out_of_reach_says_so(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "gateway.db").write_bytes(b"no database " * 1000)
    with pytest.raises(GatewayUnavailable):
        await open_gateway(settings)
