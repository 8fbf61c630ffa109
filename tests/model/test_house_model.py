"""Seats, holds and orders: whatever buyers do and whatever the ledger decides, in whatever order it is heard, every
seat is somebody's or nobody's, counted once, and a seat that is paid is never given to another."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from boxoffice.embedded import EmbeddedStore
from boxoffice.seating import Block
from tests.model.clockwork import Clockwork, Workshop, open_workshop

FREE, HELD, PAYING, SOLD = range(4)
BUYERS = [f"buyer-{n:010d}".encode() for n in range(4)]
HOLD_MS, SESSION_MS, LEAST_MS = 20_000, 90_000, 60_000
CAP = 4
SECTIONS = [
    {"name": "stalls", "rows": 2, "seatsPerRow": 5, "priceMinor": 1000},
    {"name": "floor", "capacity": 6, "priceMinor": 500},
]
TOTAL = 16


@pytest.fixture(scope="module")
def workshop(valkey: EmbeddedStore) -> Iterator[Workshop]:
    with open_workshop(valkey) as workshop:
        yield workshop


def best(states: bytes, sections: list[Block], count: int, together: bool) -> list[int] | None:
    """What a buyer of good sense would choose."""
    if not together:
        free = [s for block in sections for s in range(block.first, block.first + block.size) if states[s] == FREE]
        return free[:count] if len(free) >= count else None
    for block in sections:
        width = block.seats_per_row or block.size
        for row in range(block.first, block.first + block.size, width):
            starts = range(row, row + width - count + 1)
            fits = [start for start in starts if not any(states[start : start + count])]
            if fits:
                middle = row + (width - 1) / 2
                start = min(fits, key=lambda start: abs(start + (count - 1) / 2 - middle))
                return list(range(start, start + count))
    return None


def best_args(sections: list[Block], count: int, together: bool) -> list[Any]:
    args: list[Any] = ["best", count, int(together)]
    for block in sections:
        args += [block.first, block.rows or 1, block.seats_per_row or block.size]
    return args


@dataclass
class Hold:
    place: bytes
    seats: list[int]
    until: int
    order: str = ""
    """While it is being paid."""
    rest: int = 0
    tries: int = 0


@dataclass
class Order:
    place: bytes
    hold: str
    seats: list[int]
    fingerprint: str
    state: str = "pending"
    told: list[str] = field(default_factory=list)
    """What the ledger has decided, in order; any of it may be heard at any time, again and again."""
    sold: list[int] = field(default_factory=list)


AFTER = {"": ["paid", "declined", "refused", "unresolved"], "unresolved": ["paid", "declined"], "paid": ["refunded"]}


class House(RuleBasedStateMachine):
    workshop: Workshop

    def __init__(self) -> None:
        super().__init__()
        self.sale: Clockwork = self.workshop.sale(
            seating={"sections": SECTIONS},
            hold={"seconds": HOLD_MS // 1000, "maxSeatsPerBuyer": CAP},
            admission={"initialActive": 100, "maxActive": 100, "sessionSeconds": SESSION_MS // 1000},
        )
        self.states = bytearray(TOTAL)
        self.owners: dict[int, str] = {}
        self.holds: dict[str, Hold] = {}
        self.orders: dict[str, Order] = {}
        self.counts: Counter[bytes] = Counter()
        self.turns: dict[bytes, tuple[int, int, int, int]] = {}
        """Of each buyer who was let in: sid, issued, until, number."""
        self.fence = 0

    @initialize()
    def everybody_comes_in(self) -> None:
        for place in BUYERS:
            self.sale.call("join", place, "10.0.0.1", "")
        self.sale.pass_time(3000, 250)
        for place in BUYERS:
            self.come_in(place)

    def come_in(self, place: bytes) -> None:
        _, number, _, epoch, now, _ = self.sale.call("join", place, "10.0.0.1", "")
        reply = self.sale.call("claim", place, number, epoch, now)
        if reply[0] == b"ok":
            self.turns[place] = (reply[1], now, reply[2], number)

    @rule(place=st.sampled_from(BUYERS))
    def come_back(self, place: bytes) -> None:
        """In again, by a place still called or by a new one."""
        if self.sale.call("join", place, "10.0.0.1", "")[0] == b"ok":
            self.time_passes(2000)
            self.come_in(place)

    @rule(place=st.sampled_from(BUYERS))
    def stand_in_line(self, place: bytes) -> None:
        self.sale.call("join", place, "10.0.0.1", "")

    def entry(self, place: bytes) -> tuple[Any, ...]:
        sid, issued, until, number = self.turns[place]
        return place, sid, issued, until, number

    def inside(self, place: bytes) -> bool:
        session, until = self.sale.hash("session").get(place), self.sale.scores("sessions").get(place, 0)
        return session is not None and int(session.split(b":")[0]) == self.turns[place][0] and until > self.sale.now

    @rule(place=st.sampled_from(BUYERS), seats=st.lists(st.integers(0, TOTAL - 1), min_size=1, max_size=5, unique=True))
    def hold_by_name(self, place: bytes, seats: list[int]) -> None:
        gone = [seat for seat in seats if self.states[seat] != FREE]
        reply = self.sale.call("take", *self.entry(place), "named", *seats)
        self.took(place, reply, len(seats), seats if not gone else None, [b"taken", gone])

    @rule(
        place=st.sampled_from(BUYERS),
        count=st.integers(1, 5),
        together=st.booleans(),
        which=st.sampled_from([[0], [1], [0, 1], [1, 0]]),
    )
    def hold_the_best(self, place: bytes, count: int, together: bool, which: list[int]) -> None:
        sections = [self.sale.seating.sections[i] for i in which]
        reply = self.sale.call("take", *self.entry(place), *best_args(sections, count, together))
        self.took(place, reply, count, best(bytes(self.states), sections, count, together), [b"short"])

    def took(self, place: bytes, reply: list[Any], want: int, seats: list[int] | None, refusal: list[Any]) -> None:
        if reply[0] == b"limited":
            return
        if not self.inside(place):
            assert reply[0] in (b"not_admitted", b"superseded")
        elif self.counts[place] + want > CAP:
            assert reply == [b"cap", CAP, self.counts[place]]
        elif seats is None:
            assert reply == refusal
        else:
            code, hold, until, now, _, taken = reply
            assert (code, taken) == (b"ok", seats)
            assert until == min(now + HOLD_MS, self.sale.scores("sessions")[place])
            assert int(hold) > self.fence
            self.fence = int(hold)
            self.holds[hold.decode()] = Hold(place, seats, until)
            self.counts[place] += want
            self.move(seats, HELD, f"h{hold.decode()}")

    def move(self, seats: list[int], state: int, owner: str) -> None:
        for seat in seats:
            self.states[seat] = state
            if owner:
                self.owners[seat] = owner
            else:
                self.owners.pop(seat, None)

    def give_back(self, hold: str) -> None:
        gone = self.holds.pop(hold)
        self.counts[gone.place] -= len(gone.seats)
        self.move(gone.seats, FREE, "")

    @precondition(lambda self: self.holds)
    @rule(data=st.data(), place=st.sampled_from(BUYERS))
    def release(self, data: st.DataObject, place: bytes) -> None:
        hold = data.draw(st.sampled_from(sorted(self.holds)))
        mine = self.holds[hold]
        may = mine.place == place and not mine.order
        assert self.sale.call("release", place, hold) == [b"ok" if may else b"gone"]
        if may:
            self.give_back(hold)

    @precondition(lambda self: self.holds)
    @rule(
        data=st.data(),
        key=st.sampled_from("ab"),
        own=st.sampled_from([True, True, False]),
        method=st.sampled_from("vw"),
    )
    def pay(self, data: st.DataObject, key: str, own: bool, method: str) -> None:
        hold = data.draw(st.sampled_from(sorted(self.holds)))
        place = self.holds[hold].place if own else data.draw(st.sampled_from(BUYERS))
        order = hashlib.sha256(place + f"{key}{self.sale.now // 10_000}".encode()).hexdigest()[:32]
        fingerprint = f"{hold}{method}"
        reply = self.sale.call("pay", *self.entry(place), order, hold, fingerprint, method, 5000, "KRW")
        if order in self.orders:
            self.paid_before(reply, self.orders[order], fingerprint)
        elif reply[0] != b"limited":
            self.paid_now(reply, order, place, hold, fingerprint)

    def paid_before(self, reply: list[Any], order: Order, fingerprint: str) -> None:
        if order.fingerprint != fingerprint:
            assert reply == [b"mismatch"]
        elif order.state == "pending":
            assert reply[0] == b"busy" or (reply[0] == b"again" and reply[2] == order.seats)
        else:
            assert reply == [b"same"]

    def paid_now(self, reply: list[Any], order: str, place: bytes, hold: str, fingerprint: str) -> None:
        mine = self.holds[hold]
        if not self.inside(place):
            assert reply[0] in (b"not_admitted", b"superseded")
        elif mine.place != place or mine.order or mine.until <= self.sale.now:
            assert reply == [b"gone"]
        else:
            assert reply == [b"new", self.sale.now, mine.seats]
            self.orders[order] = Order(place, hold, mine.seats, fingerprint)
            self.holds[hold] = replace(mine, order=order, rest=mine.until - self.sale.now)
            self.move(mine.seats, PAYING, f"o{order}")

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def the_log_has_it(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(sorted(self.orders)))
        mine = self.orders[order]
        mine.state = "accepted" if mine.state == "pending" else mine.state
        assert self.sale.call("published", order, 0, 1) == [b"ok", mine.state.encode()]

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def the_ledger_decides(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(sorted(self.orders)))
        mine = self.orders[order]
        if choices := AFTER.get(mine.told[-1] if mine.told else ""):
            mine.told.append(data.draw(st.sampled_from(choices)))
            if mine.told[-1] == "refused":
                mine.sold = data.draw(st.lists(st.sampled_from(mine.seats), min_size=1, unique=True))

    @precondition(lambda self: any(order.told for order in self.orders.values()))
    @rule(data=st.data(), times=st.integers(1, 3))
    def it_is_heard(self, data: st.DataObject, times: int) -> None:
        order = data.draw(st.sampled_from(sorted(id for id, order in self.orders.items() if order.told)))
        mine = self.orders[order]
        outcome = data.draw(st.sampled_from(mine.told))
        sold = ",".join(map(str, mine.sold)) if outcome == "refused" else ""
        seats = ",".join(map(str, mine.seats))
        for _ in range(times):
            told = (order, outcome, "", mine.place, mine.hold, seats, sold, 0, "v", "KRW", "")
            assert self.sale.call("effect", *told) == [b"ok"]
        if _rank(outcome) > _rank(mine.state):
            mine.state = outcome
            getattr(self, outcome)(order, mine)

    def unresolved(self, order: str, mine: Order) -> None:
        return

    def paid(self, order: str, mine: Order) -> None:
        self.move(mine.seats, SOLD, f"o{order}")
        del self.holds[mine.hold]

    def declined(self, order: str, mine: Order) -> None:
        hold = self.holds[mine.hold]
        hold.tries += 1
        if hold.tries >= 3:
            self.give_back(mine.hold)
        else:
            hold.order, hold.until = "", self.sale.now + max(hold.rest, LEAST_MS)
            self.move(mine.seats, HELD, f"h{mine.hold}")

    def refused(self, order: str, mine: Order) -> None:
        self.give_back(mine.hold)
        self.move(mine.sold, SOLD, "ledger")

    def refunded(self, order: str, mine: Order) -> None:
        self.holds.pop(mine.hold, None)
        self.counts[mine.place] -= len(mine.seats)
        self.move(mine.seats, FREE, "")

    @rule(place=st.sampled_from(BUYERS), now=st.integers(0, 5))
    def leave(self, place: bytes, now: int) -> None:
        if now or place not in self.turns:
            return  # now and then
        session, number = self.sale.hash("session").get(place), self.turns[place][3]
        assert self.sale.call("leave", place, number) == [b"ok"]
        if session and int(session.split(b":")[1]) == number:
            for hold in [id for id, hold in self.holds.items() if hold.place == place and not hold.order]:
                self.give_back(hold)

    @rule(ms=st.one_of(st.integers(1, 5000), st.integers(5000, 40_000)))
    def time_passes(self, ms: int) -> None:
        end = self.sale.now + ms
        while self.sale.now < end:
            self.sale.pass_time(min(1000, end - self.sale.now))
            self.what_is_due_expires()

    def what_is_due_expires(self) -> None:
        if self.sale.field("last_ms") != self.sale.now:
            return  # too soon after the last beat
        for id, hold in list(self.holds.items()):
            if not hold.order and (hold.until <= self.sale.now or not self.has_session(hold.place)):
                self.give_back(id)

    def has_session(self, place: bytes) -> bool:
        return place in self.sale.hash("session")

    @invariant()
    def every_seat_is_counted_once(self) -> None:
        counts = {name: self.sale.field(name) for name in ("free", "held", "paying", "sold")}
        assert list(counts.values()) == [self.states.count(state) for state in range(4)]
        assert sum(counts.values()) == TOTAL
        assert self.sale.states() == bytes(self.states)

    @invariant()
    def every_seat_has_the_owner_that_it_should(self) -> None:
        owners = {int(seat): owner.decode() for seat, owner in self.sale.hash("owner").items()}
        assert owners == self.owners

    @invariant()
    def no_buyer_has_more_than_is_allowed(self) -> None:
        counts = {place: int(count) for place, count in self.sale.hash("count").items()}
        assert counts == {place: count for place, count in self.counts.items() if count}
        assert max(counts.values(), default=0) <= CAP

    @invariant()
    def holds_are_what_was_promised(self) -> None:
        holds = self.sale.holds()
        assert {id: (hold["state"], hold["seats"]) for id, hold in holds.items()} == {
            id: ("paying" if hold.order else "held", hold.seats) for id, hold in self.holds.items()
        }
        assert {id: hold["until_ms"] for id, hold in holds.items() if hold["state"] == "held"} == {
            id: hold.until for id, hold in self.holds.items() if not hold.order
        }
        mine = {place: set(ids.decode().split(",")) for place, ids in self.sale.hash("mine").items()}
        assert mine == {
            place: {id for id, hold in self.holds.items() if hold.place == place}
            for place in {hold.place for hold in self.holds.values()}
        }

    @invariant()
    def who_is_inside_is_counted_once(self) -> None:
        unsettled = Counter(o.place for o in self.orders.values() if o.state in ("pending", "accepted", "unresolved"))
        assert {place: int(count) for place, count in self.sale.hash("busy").items()} == unsettled
        overstay = self.sale.overstay()
        sessions = self.sale.scores("sessions").keys()
        assert overstay == unsettled.keys() - sessions
        assert sessions == self.sale.hash("session").keys()
        assert not sessions & self.sale.scores("line").keys()

    def teardown(self) -> None:
        """When every order is settled and every turn is over, all seats are sold or free."""
        for order in self.orders.values():
            order.told += [] if order.told else ["paid"]
        for id, order in self.orders.items():
            outcome = "paid" if order.told[-1] == "unresolved" else order.told[-1]
            sold = ",".join(map(str, order.sold))
            seats = ",".join(map(str, order.seats))
            self.sale.call("effect", id, outcome, "", order.place, order.hold, seats, sold, 0, "v", "KRW", "")
        self.sale.pass_time(SESSION_MS + LEAST_MS)
        assert self.sale.field("free") + self.sale.field("sold") == TOTAL
        assert self.sale.holds() == {}
        assert not self.sale.scores("sessions")
        assert not self.sale.overstay()


def _rank(state: str) -> int:
    ranks = {"pending": 0, "accepted": 0, "unresolved": 1, "refunded": 3}
    return ranks.get(state, 2)


def test_house(workshop: Workshop) -> None:
    machine = type("House", (House,), {"workshop": workshop})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


class Insider:
    """One buyer inside, for what the model meets too seldom."""

    def __init__(self, workshop: Workshop, place: bytes = BUYERS[0], sale: Clockwork | None = None) -> None:
        turn = {"initialActive": 100, "maxActive": 100, "sessionSeconds": SESSION_MS // 1000}
        self.sale = sale or workshop.sale(admission=turn, hold={"seconds": HOLD_MS // 1000})
        self.place = place
        self.join()
        self.sale.pass_time(3000, 250)
        self.number, epoch, now = self.join()
        _, sid, until, _, _ = self.claim(self.number, epoch, now)
        self.entry = (place, sid, now, until, self.number)

    def join(self) -> tuple[int, int, int]:
        _, number, _, epoch, now, _ = self.sale.call("join", self.place, "10.0.0.1", "")
        return number, epoch, now

    def claim(self, number: int, epoch: int, issued_ms: int) -> list[Any]:
        return self.sale.call("claim", self.place, number, epoch, issued_ms)

    def take(self, seat: int) -> bytes:
        reply = self.sale.call("take", *self.entry, "named", seat)
        assert reply[0] == b"ok", reply
        hold: bytes = reply[1]
        return hold

    def pay(self, hold: bytes, order: str) -> bytes:
        code: bytes = self.sale.call("pay", *self.entry, order, hold, "f", "v", 5000, "KRW")[0]
        return code

    def hear(self, order: str, outcome: str, hold: bytes, seat: int) -> None:
        told = (order, outcome, "", self.place, hold, seat, "", 0, "v", "KRW", "")
        assert self.sale.call("effect", *told) == [b"ok"]


def test_who_left_and_joined_again_has_one_turn_when_the_order_comes_to_nothing(workshop: Workshop) -> None:
    ann = Insider(workshop)
    hold = ann.take(0)
    assert ann.pay(hold, "o1") == b"new"
    ann.sale.call("leave", ann.place, ann.number)
    newer = ann.join()
    assert newer[0] == ann.number + 1
    ann.hear("o1", "declined", hold, 0)
    assert ann.sale.scores("line") == {}
    assert ann.claim(ann.number, *newer[1:]) == [b"stale"]
    assert ann.claim(*newer)[0] == b"ok"
    assert ann.join()[0] == newer[0]


def test_three_cards_may_be_tried(workshop: Workshop) -> None:
    ann = Insider(workshop)
    hold = ann.take(0)
    for order in ("o1", "o2", "o3"):
        assert ann.sale.field("held") == 1
        assert ann.pay(hold, order) == b"new"
        ann.hear(order, "declined", hold, 0)
    assert ann.sale.field("free") == ann.sale.seating.total
    assert ann.pay(hold, "o4") == b"gone"
    ann.take(0)


def test_a_turn_ends_when_its_last_order_is_paid_and_not_before(workshop: Workshop) -> None:
    ann = Insider(workshop)
    first, second = ann.take(0), ann.take(1)
    ann.pay(first, "o1")
    ann.hear("o1", "paid", first, 0)
    assert ann.place in ann.sale.scores("sessions")
    ann.pay(second, "o2")
    ann.hear("o2", "paid", second, 1)
    assert ann.sale.scores("sessions") == {}
    assert ann.sale.field("sold") == 2


def test_a_hold_that_ran_out_cannot_be_paid_before_the_beat_has_seen_it(workshop: Workshop) -> None:
    ann = Insider(workshop)
    hold = ann.take(0)
    ann.sale.now += HOLD_MS
    assert ann.pay(hold, "o1") == b"gone"
    ann.sale.now -= 1
    assert ann.pay(hold, "o1") == b"new"


def test_a_turn_that_ran_out_is_over_before_the_beat_has_seen_it(workshop: Workshop) -> None:
    ann = Insider(workshop)
    ann.sale.now = ann.entry[3]
    assert ann.sale.call("take", *ann.entry, "named", 0) == [b"not_admitted"]
    assert ann.claim(*ann.join()) == [b"lapsed"]


@pytest.mark.parametrize("outcome", ["paid", "declined", "refused", "refunded"])
def test_an_order_that_is_unknown_here_touches_no_seat_of_anothers(workshop: Workshop, outcome: str) -> None:
    ann = Insider(workshop)
    ben = Insider(workshop, BUYERS[1], ann.sale)
    hold = ben.take(0)
    ben.pay(hold, "o1")
    ann.hear("o2", outcome, hold, 0)
    assert ann.sale.hash("owner") == {b"0": b"oo1"}
    assert ann.sale.field("paying") == 1
    assert ann.sale.hash("count") == {ben.place: b"1"}


@given(
    rows=st.integers(1, 4),
    width=st.integers(1, 9),
    general=st.integers(1, 9),
    taken=st.sets(st.integers(0, 44)),
    count=st.integers(1, 6),
    together=st.booleans(),
    both=st.booleans(),
)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_best_seats_are_chosen(
    workshop: Workshop, rows: int, width: int, general: int, taken: set[int], count: int, together: bool, both: bool
) -> None:
    sections = [
        {"name": "floor", "capacity": general, "priceMinor": 1},
        {"name": "stalls", "rows": rows, "seatsPerRow": width, "priceMinor": 1},
    ]
    sale = workshop.sale(
        seating={"sections": sections},
        hold={"maxSeatsPerBuyer": 10},
        admission={"initialActive": 100, "maxActive": 100, "sessionSeconds": 300},
    )
    place = BUYERS[0]
    _, number, _, _, issued, _ = sale.call("join", place, "10.0.0.1", "")
    sale.pass_time(2000, 250)
    _, sid, until, _, _ = sale.call("claim", place, number, 2, issued)
    total = sale.seating.total
    states = bytes(SOLD if seat in taken else FREE for seat in range(total))
    for seat in sorted(taken & set(range(total))):
        sale.redis.bitfield(sale.key("map")).set("u2", f"#{seat}", SOLD).execute()
    blocks = sale.seating.sections if both else sale.seating.sections[1:]
    reply = sale.call("take", place, sid, issued, until, number, *best_args(blocks, count, together))
    wanted = best(states, blocks, count, together)
    assert (reply[-1] if reply[0] == b"ok" else None) == wanted
