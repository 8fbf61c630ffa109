"""A rehearsal can be erased whole, and nothing else can: no sale becomes one."""

from __future__ import annotations

import msgspec
import pytest

from boxoffice import erasing, sales
from boxoffice.arrears import Arrears
from boxoffice.board import Board
from boxoffice.console import Office
from boxoffice.effects import sink_of
from boxoffice.errors import BoxofficeError, Conflict, NotFound
from boxoffice.eventlog import open_log, prepare_log
from boxoffice.gateway import open_gateway
from boxoffice.ledger import Ledger
from boxoffice.sale import ConcertSale, parse_sale
from boxoffice.settings import Settings
from boxoffice.store import Store
from tests.integration.house import SALE, resource

WHO, WHY = "ann", "it was a rehearsal"


def sale(listing: str) -> ConcertSale:
    return parse_sale(msgspec.json.encode(resource(listing=listing)))


async def erase(settings: Settings, store: Store, ledger: Ledger) -> None:
    await prepare_log(settings, store)
    log, gateway = await open_log(settings, store), await open_gateway(settings)
    office = Office(settings, store, ledger, Board(store))
    try:
        await erasing.erase(office, Arrears(ledger, gateway, sink_of(store, log)), SALE, WHO, WHY)
    finally:
        await gateway.close()
        await log.close()


@pytest.mark.parametrize(("first", "then"), [("Listed", "Rehearsal"), ("Rehearsal", "Unlisted")])
async def test_no_sale_becomes_a_rehearsal_nor_the_other_way(
    store: Store, ledger: Ledger, first: str, then: str
) -> None:
    """Neither while Redis has it nor when the ledger alone does."""
    await sales.apply(store, ledger, sale(first), WHO)
    with pytest.raises(Conflict, match="a rehearsal stays one"):
        await sales.apply(store, ledger, sale(then), WHO)
    await sales.drop(store, ledger, SALE, WHO, WHY)
    with pytest.raises(Conflict, match="a rehearsal stays one"):
        await sales.apply(store, ledger, sale(then), WHO)
    await sales.apply(store, ledger, sale(first), WHO)


@pytest.mark.parametrize("listing", ["Listed", "Unlisted"])
async def test_a_sale_is_not_erased(settings: Settings, store: Store, ledger: Ledger, listing: str) -> None:
    await sales.apply(store, ledger, sale(listing), WHO)
    with pytest.raises(Conflict, match="is no rehearsal"):
        await erase(settings, store, ledger)
    assert await store.names() == {SALE}
    assert await ledger.sale(SALE) is not None


async def test_a_rehearsal_goes_and_its_name_is_free(settings: Settings, store: Store, ledger: Ledger) -> None:
    await sales.apply(store, ledger, sale("Rehearsal"), WHO)
    await erase(settings, store, ledger)
    assert (await store.names(), await ledger.sale(SALE)) == (set(), None)
    with pytest.raises(NotFound, match="the ledger knows no sale"):
        await erase(settings, store, ledger)
    assert await sales.apply(store, ledger, sale("Listed"), WHO)


async def test_one_that_has_left_redis_is_erased_too(settings: Settings, store: Store, ledger: Ledger) -> None:
    await sales.apply(store, ledger, sale("Rehearsal"), WHO)
    await sales.drop(store, ledger, SALE, WHO, WHY)
    await erase(settings, store, ledger)
    assert await ledger.sale(SALE) is None


async def test_an_operator_that_has_the_resource_would_make_it_anew(
    settings: Settings, store: Store, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasing, "STEP_SECONDS", 1.0)
    await sales.apply(store, ledger, sale("Rehearsal"), WHO, writer=sales.Writer(1, "tickets"))
    with pytest.raises(BoxofficeError, match=f"kubectl delete concertsale {SALE} -n tickets"):
        await erase(settings, store, ledger)
    await store.call("orphan", SALE, 1)
    await erase(settings, store, ledger)
    assert await ledger.sale(SALE) is None


async def test_a_rehearsal_has_no_revenue(store: Store, ledger: Ledger) -> None:
    await sales.apply(store, ledger, sale("Rehearsal"), WHO)
    board = Board(store)
    await board.beat()
    [state] = await sales.states(store, ledger, board)
    assert state.revenue_minor == 0
