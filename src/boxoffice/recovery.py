"""Losing Redis: a server whose run_id is not the one in a sale's record has lost its memory, all or a second of it.

Until it is rebuilt no script changes anything there. One `settle` process rebuilds each sale, under a lease: wait
until whatever was under way has ended, settle the log to its end, then write seats, orders and counts from the
ledger, the line's counters above anything that was ever given out, and keep what survived and does not contradict
the ledger. Buyers put their own places and sessions back with their signed tokens.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from boxoffice.errors import BoxofficeError, NotFound, Recovering, StoreUnavailable, Unavailable
from boxoffice.eventlog import EventLog
from boxoffice.ledger import Ledger
from boxoffice.orderrecords import SettledOrder
from boxoffice.payments import fingerprint
from boxoffice.sale import record_of
from boxoffice.salerecords import LineCheckpoint, SaleRecord
from boxoffice.seating import Seating
from boxoffice.settings import Settings
from boxoffice.spec import stored_spec
from boxoffice.store import Argument, Store
from boxoffice.tasks import end

LOOK_SECONDS = 1.0
LEASE_MS = 10_000
"""Renewed while we rebuild; when we die, another process begins anew."""
RENEW_SECONDS = 3.0
SETTLE_SECONDS = 60.0
NUMBER_MARGIN = 10_000
"""More than the joins of the time between a checkpoint or snapshot and the fault."""
GRACE_MS = 5_000
"""Before the next call: those at the front poll every two seconds and put their places back first."""
CHUNK = 200

log = logging.getLogger(__name__)


class Recovery:
    def __init__(self, settings: Settings, store: Store, ledger: Ledger, event_log: EventLog) -> None:
        self._settings, self._store, self._ledger, self._log = settings, store, ledger, event_log
        self._me = secrets.token_hex(8)

    async def run(self) -> None:
        """Looks every second for sales to rebuild; never raises."""
        while True:
            try:
                await self.look()
            except BoxofficeError as error:
                log.warning("recovery waits: %s", error)
            except Exception:
                log.exception("recovery")
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> list[str]:
        """Rebuilds what needs it; returns the names."""
        listed = await self._store.names()  # before the ledger: a sale that is dropped leaves the ledger first
        sales = [sale for sale in await self._ledger.sales() if sale.dropped_ms is None]
        losses = await _of_each(sales, self._loss)
        lost = [sale for sale in sales if losses.get(sale.name)]
        kept = [sale for sale in sales if sale.name in losses and sale not in lost]
        await self._list_again([sale for sale in kept if sale.name not in listed])
        if not lost:
            return []
        leases = await _of_each(lost, self._lease)
        leased = [sale for sale in lost if leases.get(sale.name)]
        if not leased:
            return []
        names = [sale.name for sale in leased]
        log.warning("rebuilding after a loss of Redis: %s", ", ".join(names))
        renewing = asyncio.create_task(self._renew(names))
        try:
            await asyncio.sleep(self._settings.recovery_wait_seconds)
            await self._settle_to_the_end()
            # A sale is in the ledger before it is in Redis for the first time.
            unknown = [sale for sale in leased if isinstance(losses[sale.name], NotFound)]
            still = await _of_each(unknown, self._loss)
            made = [sale for sale in unknown if sale.name in still and not still[sale.name]]
            present = {sale.uid for sale in await self._ledger.sales() if sale.dropped_ms is None}
            made += [sale for sale in leased if sale.uid not in present]  # meanwhile taken out on purpose
            await _of_each(made, self._end_lease)
            rest = [sale for sale in leased if sale not in made and (sale not in unknown or sale.name in still)]
            return list(await _of_each(rest, self.rebuild))
        finally:
            await end([renewing])

    async def _list_again(self, sales: Sequence[SaleRecord]) -> None:
        """In a Cluster the list of the names may be lost alone: it lies on one server, each sale on its own."""
        for sale in sales:
            log.warning("%s was not in the list of the sales; it is again", sale.name)
            await self._store.add_name(sale.name)

    async def rebuild_by_hand(self, sale: SaleRecord) -> None:
        """As if Redis had lost it: nobody changes the sale until it is rebuilt, by us or by a settle process."""
        await self._store.execute("HSET", self._store.key(sale.name, "sale"), "run_id", "by hand")
        while await self._loss(sale):
            await self.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _loss(self, sale: SaleRecord) -> Recovering | NotFound | None:
        """Of its memory, whole or in part; None when there is nothing to rebuild."""
        try:
            await self._store.call("peek", sale.name)
        except (Recovering, NotFound) as loss:
            return loss
        return None

    async def _lease(self, sale: SaleRecord) -> bool:
        key = self._store.key(sale.name, "recovery")
        return bool(await self._store.execute("SET", key, self._me, "NX", "PX", LEASE_MS))

    async def _end_lease(self, sale: SaleRecord) -> None:
        await self._store.execute("DEL", self._store.key(sale.name, "recovery"))

    async def _renew(self, names: list[str]) -> None:
        """Should a lease be lost all the same, the one who took it begins anew and what we write is refused."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            for name in names:
                with contextlib.suppress(StoreUnavailable):
                    key = self._store.key(name, "recovery")
                    if await self._store.execute("GET", key) == self._me.encode():
                        await self._store.execute("PEXPIRE", key, LEASE_MS)

    async def _settle_to_the_end(self) -> None:
        """Waits until the ledger has everything that the log held when the fault was over. Raises Unavailable."""
        ends = dict(enumerate(await self._log.ends()))
        log_id = await self._log.log_id()
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                while True:
                    if await self._is_settled(log_id, ends):
                        return
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise Unavailable("settlement has not caught up with the log: is `boxoffice settle` running?") from None

    async def _is_settled(self, log_id: str, ends: dict[int, int]) -> bool:
        settled = await self._ledger.positions(self._log.topic, log_id)
        return all(end == 0 or settled.get(p, (0, 0))[0] >= end for p, end in ends.items())

    async def rebuild(self, sale: SaleRecord) -> None:
        """Writes one sale from the ledger. Raises Unavailable when Redis is lost again on the way."""
        spec = stored_spec(sale.spec)
        seating = Seating.of(spec)
        point = await self._ledger.checkpoint_of(sale.uid) or LineCheckpoint(sale.uid, 1, 0, 0, 0, 0)
        reply = await self._store.call(
            "rebuild_begin", sale.name, self._me, sale.uid, seating.digest, seating.total, sale.spec,
            spec.admission.initial_active, point.issued, point.called, point.lapsed, point.epoch,
            sale.opened_ms or 0, NUMBER_MARGIN, *record_of(spec),
        )  # fmt: skip
        survived = bool(reply[1])
        async for orders in self._ledger.orders_of(sale.uid):
            for start in range(0, len(orders), CHUNK):
                args = [arg for order in orders[start : start + CHUNK] for arg in _order_args(order)]
                await self._store.call("rebuild_orders", sale.name, self._me, *args)
        _, kept, lost, again = await self._store.call("rebuild_end", sale.name, self._me, GRACE_MS)
        await self._store.add_name(sale.name)
        await self._store.execute("DEL", self._store.key(sale.name, "recovery"))
        log.warning(
            "%s is rebuilt (%s): %d holds kept, %d lost, %d orders to publish again",
            sale.name, "what survived was kept" if survived else "from nothing", kept, lost, again,
        )  # fmt: skip


_T = TypeVar("_T")


async def _of_each(sales: Sequence[SaleRecord], ask: Callable[[SaleRecord], Awaitable[_T]]) -> dict[str, _T]:
    """The answers, by name. In a Cluster one server may be away: the sales that lie on it wait, and no other.
    Raises StoreUnavailable, Recovering when there is no answer at all."""
    answers: dict[str, _T] = {}
    fault: StoreUnavailable | Recovering | None = None
    for sale in sales:
        try:
            answers[sale.name] = await ask(sale)
        except (StoreUnavailable, Recovering) as error:
            log.info("recovery: %s waits: %s", sale.name, error)
            fault = error
    if fault is not None and not answers:
        raise fault
    return answers


def _order_args(order: SettledOrder) -> list[Argument]:
    o = order
    seats = ",".join(map(str, o.seats))
    mark = fingerprint(str(o.hold), o.method)
    place = bytes.fromhex(o.buyer)
    return [o.id, o.state, o.reason, place, o.hold, seats, o.placed_ms, o.method, o.currency, mark]
