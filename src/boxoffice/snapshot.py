"""What a pod knows of one sale: the answer of the last beat, and what is made of it. Every poll of the crowd is
answered from here, so the crowd costs Redis nothing."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from typing import Any

import msgspec

from boxoffice.seating import Seating
from boxoffice.spec import Spec, stored_spec

POLL_MIN_SECONDS, POLL_MAX_SECONDS = 2, 30


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
        self.spec = stored_spec(spec)
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


_COPIED = (
    *("version", "epoch", "issued", "called", "lapsed", "waiting", "free", "held", "paying", "sold", "total"),
    *("active", "target", "per_minute", "swing_per_mille", "recovered_ms"),
)


_UNPACKED = [bytes((b >> 6 & 3, b >> 4 & 3, b >> 2 & 3, b & 3)) for b in range(256)]


def decode_map(seat_map: bytes, total: int) -> bytes:
    """Two bits a seat, the first seat of a byte in its high bits; gives one byte a seat: 0 free, 1 held, 2 paying,
    3 sold."""
    return b"".join([_UNPACKED[b] for b in seat_map]).ljust(total, b"\0")[:total]
