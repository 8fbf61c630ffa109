"""What a pod knows of each sale: the answer of the last beat, four times a second, and what is made of it.

Every poll of the crowd is answered from here, so the crowd costs Redis nothing. All pods beat; `lua/tick.lua`
makes sure that it changes nothing how many there are.
"""

from __future__ import annotations

import asyncio
import logging
import time
from base64 import b64encode
from typing import Any

import msgspec

from boxoffice.errors import BoxofficeError, NotFound, Recovering, StoreUnavailable, Unavailable
from boxoffice.seating import Seating
from boxoffice.spec import Spec
from boxoffice.store import Store

BEAT_SECONDS = 0.25
NAMES_SECONDS = 1.0
POLL_MIN_SECONDS, POLL_MAX_SECONDS = 2, 30
MOST_ARCHIVED = 200
"""Views of sales that have left Redis; the ledger has them all."""

log = logging.getLogger(__name__)


class View:
    """One sale as of the last beat. Times in Unix ms by the Redis server's clock."""

    spec: Spec
    seating: Seating

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = False
        self.recovering = False
        self.archived = False
        """The sale has left Redis; nothing of this changes any more."""
        self.poll_max_seconds = POLL_MAX_SECONDS
        self.uid = b""
        self.state = ""
        self.policy = ""
        self.version = self.epoch = self.issued = self.called = self.lapsed = self.waiting = 0
        self.free = self.held = self.paying = self.sold = self.total = 0
        self.active = self.target = self.per_minute = self.swing_per_mille = self.recovered_ms = 0
        self.counts: dict[str, int] = {}
        self.spec_v = self.map_v = b"-1"
        self.map = b""
        self.last_event = b""
        self.line_document = self.line_etag = self.seats_document = self.seats_etag = b""
        self._offset_ms = 0.0
        self._plan: list[dict[str, Any]] = []
        self._waiters: dict[str, set[asyncio.Event]] = {}

    def now_ms(self) -> int:
        """The Redis server's clock: this pod's monotonic clock plus the offset measured at the last beat."""
        return int(time.monotonic() * 1000 + self._offset_ms)

    def update(self, reply: list[Any]) -> None:
        """Takes the reply of `lua/tick.lua`."""
        _, flat, spec, seat_map, events, uid = reply
        fields = dict(zip(flat[::2], flat[1::2], strict=True))
        self.uid = bytes.fromhex(uid.decode())
        self.state, self.policy = fields.pop(b"state").decode(), fields.pop(b"policy").decode()
        self.spec_v, self.map_v = fields[b"spec_v"], fields[b"map_v"]
        self.counts = {name.decode(): int(value) for name, value in fields.items()}
        for name in _COPIED:
            setattr(self, name, self.counts[name])
        self._offset_ms = self.counts["now"] - time.monotonic() * 1000
        if spec:
            self._take_spec(spec)
        if seat_map or spec:
            self.map = seat_map or self.map
            self._write_seats()
        self.recovering = False
        self._write_line()
        self._take_events(events)
        self.ready = True

    @classmethod
    def of_the_past(cls, name: str, uid: str, spec: bytes, version: int, sold: int, **counts: int) -> View:
        """A sale that is in the ledger alone. `version` must be above all that the sale had while it was on."""
        view = cls(name)
        view.uid, view.state, view.version, view.sold = bytes.fromhex(uid), "closed", version, sold
        for counter, value in counts.items():
            setattr(view, counter, value)
        view._take_spec(spec)
        view.policy, view.total = view.spec.policy, view.seating.total
        view.free = view.total - sold
        view._offset_ms = (time.time() - time.monotonic()) * 1000  # nothing is decided by it any more
        view.freeze()
        view.ready = True
        return view

    def is_over(self) -> bool:
        """For good: by its spec, not by an override."""
        if not self.ready:
            return False
        return self.spec.policy == "Closed" or self.now_ms() >= self.spec.closes_time.timestamp() * 1000

    def freeze(self) -> None:
        if self.state != "closed":
            self.state, self.version = "closed", self.version + 1
        self.archived, self.recovering = True, False
        self._write_line()

    def mark_recovering(self) -> None:
        if not self.recovering:
            self.recovering = True
            self._write_line()

    def _take_spec(self, spec: bytes) -> None:
        self.spec = msgspec.json.decode(spec, type=Spec)
        self.seating = Seating.of(self.spec)
        # Whoever polls as told hears of the call while it can still be claimed.
        self.poll_max_seconds = max(POLL_MIN_SECONDS, min(POLL_MAX_SECONDS, self.spec.line.claim_seconds // 3))
        self._plan = [
            {
                "name": s.name,
                "kind": "rows" if s.rows else "general",
                "rows": s.rows,
                "seatsPerRow": s.seats_per_row,
                "capacity": s.size,
                "first": s.first,
                "size": s.size,
                "priceMinor": s.price_minor,
            }
            for s in self.seating.sections
        ]

    def _write_line(self) -> None:
        """The same bytes for everybody, on every pod, as long as the version is the same."""
        document = {
            "version": self.version,
            "state": "recovering" if self.recovering else self.state,
            "epoch": self.epoch,
            "issued": self.issued,
            "called": self.called,
            "lapsed": self.lapsed,
            "waiting": self.waiting,
            "free": self.free,
            "pacePerMinute": self.per_minute,
            "poll": {"minSeconds": POLL_MIN_SECONDS, "maxSeconds": self.poll_max_seconds},
        }
        self.line_document = msgspec.json.encode(document)
        mark = "r" if self.recovering else ""
        self.line_etag = f'"{self.uid.hex()[:8]}-{self.version}{mark}"'.encode()

    def _write_seats(self) -> None:
        states = decode_map(self.map, self.seating.total)
        for part in self._plan:
            part["free"] = states[part["first"] : part["first"] + part["size"]].count(0)
        document = {
            "sale": self.name,
            "version": int(self.map_v),
            "currency": self.spec.currency,
            "total": len(states),
            "free": states.count(0),
            "held": states.count(1) + states.count(2),
            "sold": states.count(3),
            "sections": self._plan,
            "map": b64encode(self.map).decode(),
        }
        self.seats_document = msgspec.json.encode(document)
        self.seats_etag = f'"{self.uid.hex()[:8]}-{int(self.map_v)}-{int(self.spec_v)}"'.encode()

    def _take_events(self, events: list[bytes]) -> None:
        self.last_event = events[0]
        for order in events[1::2]:
            for waiter in self._waiters.pop(order.decode(), ()):
                waiter.set()

    async def changed(self, order: str, at_most_seconds: float) -> None:
        """Waits until an order's state has changed, or that long."""
        waiter = asyncio.Event()
        self._waiters.setdefault(order, set()).add(waiter)
        try:
            async with asyncio.timeout(at_most_seconds):
                await waiter.wait()
        except TimeoutError:
            pass
        finally:
            waiting = self._waiters.get(order)
            if waiting is not None:
                waiting.discard(waiter)
                if not waiting:
                    self._waiters.pop(order, None)


def _witness(view: View) -> tuple[int, int, int, int]:
    return view.issued, view.called, view.lapsed, view.epoch


_COPIED = (
    *("version", "epoch", "issued", "called", "lapsed", "waiting", "free", "held", "paying", "sold", "total"),
    *("active", "target", "per_minute", "swing_per_mille", "recovered_ms"),
)


_UNPACKED = [bytes((b >> 6 & 3, b >> 4 & 3, b >> 2 & 3, b & 3)) for b in range(256)]


def decode_map(seat_map: bytes, total: int) -> bytes:
    """Two bits a seat, the first seat of a byte in its high bits; gives one byte a seat: 0 free, 1 held, 2 paying,
    3 sold."""
    return b"".join([_UNPACKED[b] for b in seat_map]).ljust(total, b"\0")[:total]


class Board:
    """All sales of the instance, kept up to date by one task."""

    def __init__(self, store: Store) -> None:
        self.views: dict[str, View] = {}
        self.archived: dict[str, View] = {}
        self.last_beat = 0.0
        self._store = store
        self._names_at = 0.0

    def view(self, name: str) -> View:
        """Raises NotFound for a sale that this instance does not have, Unavailable before its first beat."""
        view = self.views.get(name) or self.archived.get(name)
        if view is None:
            raise NotFound(f"there is no sale named {name!r}", code="unknown_sale")
        if not view.ready:
            raise Unavailable("this sale is being loaded", code="loading", retry_after=1)
        return view

    async def run(self) -> None:
        """Beats until cancelled. Never raises: a fault is logged once and the last answer stands."""
        fault = ""
        while True:
            started = time.monotonic()
            try:
                await self.beat()
                fault = ""
            except BoxofficeError as error:
                if fault != str(error):
                    fault = str(error)
                    log.warning("beat: %s", fault)
            except Exception:
                log.exception("beat")
            await asyncio.sleep(max(0.01, BEAT_SECONDS - (time.monotonic() - started)))

    async def beat(self) -> None:
        """In a Cluster each server may fail alone, and takes what lies on it out of the beat, but no other sale."""
        answers = [await self._find_sales()]
        answers += await asyncio.gather(*(self._tick(view) for view in list(self.views.values())))
        if any(answers):
            self.last_beat = time.monotonic()

    async def _find_sales(self) -> bool:
        """Whether Redis answered."""
        now = time.monotonic()
        if now - self._names_at < NAMES_SECONDS and self.views:
            return False
        self._names_at = now
        try:
            names = await self._store.names()
        except StoreUnavailable as error:
            if not self.views:
                raise
            log.warning("beat: %s", error)
            return False
        for name in names - self.views.keys():
            self.views[name] = View(name)
            self.archived.pop(name, None)
        return True

    async def look(self, name: str) -> View:
        """One sale as it is now. Raises NotFound, Recovering, StoreUnavailable."""
        view = self.views.setdefault(name, View(name))
        view.update(await self._store.call("tick", name, view.spec_v, view.map_v, view.last_event, *_witness(view)))
        return view

    async def _tick(self, view: View) -> bool:
        """Whether Redis answered."""
        try:
            await self.look(view.name)
        except NotFound:
            await self._forget_or_keep(view)
        except Recovering:
            view.mark_recovering()
        except StoreUnavailable as error:
            log.warning("beat of %s: %s", view.name, error)
            return False
        return True

    async def _forget_or_keep(self, view: View) -> None:
        """A sale that was dropped on purpose goes; one that Redis lost is kept until it is rebuilt, and one that is
        in the ledger alone as it is."""
        dropped = await self._store.execute("GET", self._store.key(view.name, "dropped"))
        if dropped == b"archived" and view.ready:
            self.archive(view)
        elif dropped or not view.ready:
            self.views.pop(view.name, None)
        else:
            view.mark_recovering()

    def archive(self, view: View) -> None:
        view.freeze()
        self.views.pop(view.name, None)
        self.archived[view.name] = view
        if len(self.archived) > MOST_ARCHIVED:
            del self.archived[next(iter(self.archived))]
