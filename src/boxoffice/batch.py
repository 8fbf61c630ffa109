"""A batch of records becomes settled orders: validated, checked against the ledger, charged, written once.

Every step can be repeated from the start: a charge is idempotent by the order's id, and the ledger takes a batch
once. Whatever was charged and cannot be written is given back before anything says `refused`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from prometheus_client import Counter

from boxoffice import failpoint
from boxoffice.errors import GatewayUnavailable, LedgerUnavailable
from boxoffice.eventlog import Record
from boxoffice.events import Malformed, OrderPlaced, decode
from boxoffice.gateway import Charge, Outcome, PaymentGateway
from boxoffice.ledger import Claim, Ledger, Letter, SeatTaken
from boxoffice.orderrecords import SettledOrder, State
from boxoffice.salerecords import SaleRecord, now_ms

LOOK_UP_AFTER_MS = 20 * 3600 * 1000
"""Gateways forget an idempotency key after 24 h: an older order may have been charged long ago."""

UNRESOLVED_MS = 1000
"""Until the first new try of an order that faulted."""

MOST_COLLISIONS = 10
MOST_LETTER_BYTES = 4 * 1024 * 1024
_BIGGEST = 2**63 - 1
_RESULTS: dict[str, State] = {"paid": "paid", "declined": "declined", "fault": "unresolved"}

DEAD_LETTERS = Counter("boxoffice_settle_dead_letters", "Records that cannot be an order")


class Placed(NamedTuple):
    record: Record
    event: OrderPlaced


class Reject(NamedTuple):
    record: Record
    error: str


class Batches:
    """Shared by all partitions of a process, so that together they keep to `gateway_concurrency`."""

    def __init__(self, ledger: Ledger, gateway: PaymentGateway, gateway_concurrency: int) -> None:
        self._ledger = ledger
        self._gateway = gateway
        self._slots = asyncio.Semaphore(gateway_concurrency)
        self._sales: dict[str, SaleRecord] = {}

    async def settle(self, claim: Claim, records: Sequence[Record], applied: int) -> tuple[Claim, list[SettledOrder]]:
        """Writes what the records become. Raises Fenced, LedgerUnavailable, GatewayUnavailable: repeat it."""
        placed, rejects = _read(records)
        placed, strangers = await self._known_sales(placed)
        letters = await self._letters(rejects + strangers)
        for _ in range(MOST_COLLISIONS):
            settled = await self._decide(claim, placed)
            failpoint.reached("settle.charged")
            try:
                to = records[-1].offset + 1
                claim = await self._ledger.record_batch(claim, to, applied, settled, letters)
            except SeatTaken:
                continue  # another partition wrote one of the seats or orders: look again
            failpoint.reached("settle.committed")
            DEAD_LETTERS.inc(len(letters))
            return claim, settled
        raise LedgerUnavailable("the batch collides with what others write")

    async def _known_sales(self, placed: list[Placed]) -> tuple[list[Placed], list[Reject]]:
        """Parts what the ledger's sales can take from what they cannot."""
        if any(self._objection(p.event) for p in placed):
            self._sales = {sale.uid: sale for sale in await self._ledger.sales()}
        objections = [(p, self._objection(p.event)) for p in placed]
        good = [p for p, objection in objections if not objection]
        return good, [Reject(p.record, objection) for p, objection in objections if objection]

    def _objection(self, event: OrderPlaced) -> str:
        sale = self._sales.get(event.sale_uid)
        if sale is None:
            return f"the ledger knows no sale with the uid {event.sale_uid}"
        if sale.name != event.sale:
            return f"the sale {event.sale_uid} is not named {event.sale!r}"
        if max(event.seats) >= sale.seats_total:
            return f"the sale has {sale.seats_total} seats, there is no seat {max(event.seats)}"
        return ""

    async def _letters(self, rejects: list[Reject]) -> list[Letter]:
        if not rejects:
            return []
        rejects = sorted(rejects, key=lambda reject: reject.record.offset)
        digests = [hashlib.sha256(reject.record.value).hexdigest() for reject in rejects]
        seen = await self._ledger.letters_seen(set(digests))
        return [
            _letter(reject, digest, *seen.get(digest, (0, now_ms())))
            for reject, digest in zip(rejects, digests, strict=True)
        ]

    async def _decide(self, claim: Claim, placed: list[Placed]) -> list[SettledOrder]:
        """The outcome of every order that the ledger does not have yet; charges are made on the way."""
        known = await self._ledger.known_orders({p.event.order for p in placed})
        fresh = {p.event.order: p for p in reversed(placed) if p.event.order not in known}
        in_order = sorted(fresh.values(), key=lambda p: p.record.offset)
        sold = await self._ledger.sold_seats((p.event.sale_uid, p.event.seats) for p in in_order)
        in_order = [p for p in in_order if not _has_seats(p.event, sold)]
        free, late = _first_come(in_order, set(sold))
        refused = await self._each(partial(self._refuse, claim), late)
        return refused + await self._each(partial(self._charge, claim), free)

    async def _each(
        self, step: Callable[[Placed], Awaitable[SettledOrder]], placed: Iterable[Placed]
    ) -> list[SettledOrder]:
        """All of them at a time, as many as there are slots; the first fault of the gateway stops them."""
        fault: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._in_slot(step, p)) for p in placed]
        except* GatewayUnavailable as faults:
            fault = faults.exceptions[0]
        if fault is not None:
            raise GatewayUnavailable(str(fault))
        return [task.result() for task in tasks]

    async def _in_slot(self, step: Callable[[Placed], Awaitable[SettledOrder]], placed: Placed) -> SettledOrder:
        async with self._slots:
            return await step(placed)

    async def _refuse(self, claim: Claim, placed: Placed) -> SettledOrder:
        """A charge made before a crash, or by a consumer that lost its turn, must not stand."""
        await self._gateway.refund(placed.event.order)
        return _settled(claim, placed, "refused", reason="the seats were sold to someone else")

    async def _charge(self, claim: Claim, placed: Placed) -> SettledOrder:
        event = placed.event
        outcome = await capture(self._gateway, charge_of(event), event.placed_ms)
        state = _RESULTS[outcome.result]
        due_ms = now_ms() + UNRESOLVED_MS if state == "unresolved" else None
        return _settled(
            claim,
            placed,
            state,
            reason=outcome.reason,
            charge_id=outcome.charge_id,
            charge_minor=outcome.amount_minor,
            due_ms=due_ms,
        )


async def capture(gateway: PaymentGateway, charge: Charge, placed_ms: int) -> Outcome:
    """One charge, however often it is asked for, however old the order."""
    if now_ms() - placed_ms > LOOK_UP_AFTER_MS and (known := await gateway.lookup(charge.order)):
        return known
    return await gateway.capture(charge)


def charge_of(order: OrderPlaced | SettledOrder) -> Charge:
    return Charge(
        order=order.id if isinstance(order, SettledOrder) else order.order,
        sale_uid=order.sale_uid,
        buyer=order.buyer,
        amount_minor=order.amount_minor,
        currency=order.currency,
        method=order.method,
    )


def _read(records: Sequence[Record]) -> tuple[list[Placed], list[Reject]]:
    placed: list[Placed] = []
    rejects: list[Reject] = []
    for record in records:
        try:
            event = decode(record.value)
            _check_bounds(event)
            placed.append(Placed(record, event))
        except Malformed as error:
            rejects.append(Reject(record, str(error)))
    return placed, rejects


def _check_bounds(event: OrderPlaced) -> None:
    """What the ledger's columns cannot hold must not stop a partition. Raises Malformed."""
    numbers = (event.amount_minor, event.placed_ms, event.hold, event.fence, *event.seats)
    if not all(0 <= number <= _BIGGEST for number in numbers):
        raise Malformed("a number is out of bounds")
    for name, most in (("method", 64), ("sale", 253), ("currency", 3)):
        text = getattr(event, name)
        if len(text) > most or not text.isprintable():
            raise Malformed(f"{name} must be at most {most} printable characters")
    if any(len(name) > 128 or not name.isprintable() for name in event.names):
        raise Malformed("names must be at most 128 printable characters each")


def _has_seats(event: OrderPlaced, sold: Mapping[tuple[str, int], str]) -> bool:
    """Settled by another partition since the known orders were asked for: its charge must not be paid back."""
    return any(sold.get((event.sale_uid, seat)) == event.order for seat in event.seats)


def _first_come(placed: Sequence[Placed], sold: set[tuple[str, int]]) -> tuple[list[Placed], list[Placed]]:
    """Those whose seats are all free, and those who come too late, for one of this batch too."""
    free: list[Placed] = []
    late: list[Placed] = []
    for p in placed:
        wanted = {(p.event.sale_uid, seat) for seat in p.event.seats}
        (late if wanted & sold else free).append(p)
        if not wanted & sold:
            sold |= wanted
    return free, late


def _settled(claim: Claim, placed: Placed, state: State, **rest: object) -> SettledOrder:
    event = placed.event
    return SettledOrder(
        id=event.order,
        sale_uid=event.sale_uid,
        sale=event.sale,
        buyer=event.buyer,
        hold=event.hold,
        fence=event.fence,
        seats=event.seats,
        names=event.names,
        amount_minor=event.amount_minor,
        currency=event.currency,
        method=event.method,
        state=state,
        placed_ms=event.placed_ms,
        settled_ms=now_ms(),
        log_id=claim.log_id,
        log_partition=claim.partition,
        log_offset=placed.record.offset,
        **rest,  # type: ignore[arg-type]
    )


def _letter(reject: Reject, digest: str, attempts: int, first_seen_ms: int) -> Letter:
    return Letter(
        log_offset=reject.record.offset,
        record_key=reject.record.key[:MOST_LETTER_BYTES],
        payload=reject.record.value[:MOST_LETTER_BYTES],
        payload_digest=digest,
        error=reject.error[:512],
        attempts=attempts + 1,
        first_seen_ms=first_seen_ms,
    )
