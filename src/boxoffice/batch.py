"""A batch of records becomes settled orders: validated, checked against the ledger, charged, written once.

Every step can be repeated from the start: a charge is idempotent by the order's id, and the ledger takes a batch
once. Whatever was charged and cannot be written is given back before anything says `refused`.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from prometheus_client import Counter, Histogram

from boxoffice import failpoint, tracing
from boxoffice.errors import GatewayUnavailable, LedgerBusy
from boxoffice.eventlog import Record
from boxoffice.events import Malformed, OrderPlaced, decode
from boxoffice.gateway import Charge, Outcome, PaymentGateway
from boxoffice.ledger import Claim, Ledger, Letter, SeatTaken, Unfit
from boxoffice.orderrecords import SettledOrder, State
from boxoffice.salerecords import SaleRecord, now_ms

LOOK_UP_AFTER_MS = 20 * 3600 * 1000
"""Gateways forget an idempotency key after 24 h: an older order may have been charged long ago."""

UNRESOLVED_MS = 1000
"""Until the first new try of an order that faulted."""

MOST_COLLISIONS = 10
MOST_SEATS = 100
"""Of one order; what a buyer may hold is far less."""
MOST_LETTER_BYTES = 4 * 1024 * 1024
_BIGGEST = 2**63 - 1
_RESULTS: dict[str, State] = {"paid": "paid", "declined": "declined", "fault": "unresolved"}

DEAD_LETTERS = Counter("boxoffice_settle_dead_letters", "Records that cannot be an order")
ORDERS = Counter(
    "boxoffice_settle_orders", "Orders by what became of them; one that was unresolved counts again later", ["outcome"]
)
for _outcome in ("paid", "declined", "refused", "unresolved"):
    ORDERS.labels(_outcome)
SETTLE_SECONDS = Histogram(
    "boxoffice_settle_seconds",
    "Seconds from an order's acceptance until it was paid, declined or refused",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)


def count(order: SettledOrder) -> None:
    """Once written."""
    ORDERS.labels(order.state).inc()
    if order.state != "unresolved":
        SETTLE_SECONDS.observe(max(0, order.settled_ms - order.placed_ms) / 1000)


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
        """Writes what the records become, or the first of them: the claim says how far. Raises Fenced,
        LedgerUnavailable, GatewayUnavailable: repeat it."""
        placed, rejects = _read(records)
        placed, strangers = await self._known_sales(placed)
        letters = await self._letters(rejects + strangers)
        for _ in range(MOST_COLLISIONS):
            settled = await self._decide(claim, placed)
            failpoint.reached("settle.charged")
            try:
                claim = await self._write(claim, records, applied, settled, letters)
            except SeatTaken:
                continue  # another partition wrote one of the seats or orders: look again
            except Unfit as error:
                claim = await self._bury(claim, records[0], applied, str(error))
            failpoint.reached("settle.committed")
            return claim, [order for order in settled if order.log_offset < claim.next]
        raise LedgerBusy("the batch collides with what others write")

    async def _write(
        self,
        claim: Claim,
        records: Sequence[Record],
        applied: int,
        settled: Sequence[SettledOrder],
        letters: Sequence[Letter],
    ) -> Claim:
        """Once more as it is, then ever less from its beginning: fewer rows wait for fewer others, and the row
        that the database cannot hold is found. Raises Unfit when that is the first."""
        for size in _sizes(len(records)):
            to = records[size - 1].offset + 1
            ours = [letter for letter in letters if letter.log_offset < to]
            try:
                written = [order for order in settled if order.log_offset < to]
                with tracing.commit(written):
                    claim = await self._ledger.record_batch(claim, to, applied, written, ours)
            except (LedgerBusy, Unfit) as error:
                fault = error
            else:
                DEAD_LETTERS.inc(len(ours))
                return claim
        raise fault

    async def _bury(self, claim: Claim, record: Record, applied: int, error: str) -> Claim:
        """The order cannot be kept, so it must not be paid."""
        await self._gateway.refund(decode(record.value).order)
        letters = await self._letters([Reject(record, f"the ledger cannot hold it: {error}")])
        claim = await self._ledger.record_batch(claim, record.offset + 1, applied, [], letters)
        DEAD_LETTERS.inc()
        return claim

    async def _known_sales(self, placed: list[Placed]) -> tuple[list[Placed], list[Reject]]:
        """Parts what the ledger's sales can take from what they cannot."""
        objections = [self._objection(p.event) for p in placed]
        if any(objections):
            self._sales = {sale.uid: sale for sale in await self._ledger.sales()}
            objections = [self._objection(p.event) for p in placed]
        judged = list(zip(placed, objections, strict=True))
        good = [p for p, objection in judged if not objection]
        return good, [Reject(p.record, objection) for p, objection in judged if objection]

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
        settled = refused + await self._each(partial(self._charge, claim), free)
        return sorted(settled, key=lambda order: order.log_offset)

    async def _each(
        self, step: Callable[[Placed], Awaitable[SettledOrder]], placed: Iterable[Placed]
    ) -> list[SettledOrder]:
        """As many at a time as there are slots; the first fault of the gateway stops them."""
        left: deque[Placed] = deque(placed)
        done: list[SettledOrder] = []
        fault: BaseException | None = None
        try:
            async with asyncio.TaskGroup() as group:
                while left:
                    await self._slots.acquire()
                    group.create_task(self._work(step, left, done)).add_done_callback(self._free_slot)
                    await asyncio.sleep(0)  # one worker does them all, if it never has to wait
        except* GatewayUnavailable as faults:
            fault = faults.exceptions[0]
        if fault is not None:
            raise GatewayUnavailable(str(fault))
        return done

    def _free_slot(self, _: object) -> None:
        """Not the worker's business: one that is cancelled before its first step would keep its slot for ever."""
        self._slots.release()

    async def _work(
        self, step: Callable[[Placed], Awaitable[SettledOrder]], left: deque[Placed], done: list[SettledOrder]
    ) -> None:
        while left:
            done.append(await step(left.popleft()))

    async def _refuse(self, claim: Claim, placed: Placed) -> SettledOrder:
        """A charge made before a crash, or by a consumer that lost its turn, must not stand."""
        await self._gateway.refund(placed.event.order)
        return _settled(claim, placed, "refused", reason="the seats were sold to someone else")

    async def _charge(self, claim: Claim, placed: Placed) -> SettledOrder:
        event = placed.event
        with tracing.charge(placed.record):
            outcome = await capture(self._gateway, charge_of(event), event.placed_ms)
        state = _RESULTS[outcome.result]
        due_ms = now_ms() + UNRESOLVED_MS if state == "unresolved" else None
        return _settled(
            claim,
            placed,
            state,
            reason=outcome.reason[:255],
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
    if min(numbers) < 0 or max(numbers) > _BIGGEST:
        raise Malformed("a number is out of bounds")
    if len(event.seats) > MOST_SEATS:
        raise Malformed(f"there must be at most {MOST_SEATS} seats")
    for name, text, most in (("method", event.method, 64), ("sale", event.sale, 253), ("currency", event.currency, 3)):
        if len(text) > most or not text.isprintable():
            raise Malformed(f"{name} must be at most {most} printable characters")
    if max(map(len, event.names)) > 128 or not all(map(str.isprintable, event.names)):
        raise Malformed("names must be at most 128 printable characters each")


def _sizes(most: int) -> Iterable[int]:
    """All, all once more, then half as much each time, down to one."""
    return (most, *(most >> halved for halved in range(most.bit_length())))


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
