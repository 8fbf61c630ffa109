"""The line and the door: whatever buyers do in whatever order, numbers are dense, order is kept, the hall is not
overfull, and in the end everybody who waits is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from boxoffice.embedded import EmbeddedStore
from tests.model.clockwork import Clockwork, Workshop, open_workshop

EVERYBODY = [f"place-{n:010d}".encode() for n in range(8)]
PLACES = st.sampled_from(EVERYBODY)
CLAIM_MS, SESSION_MS = 10_000, 30_000
TARGET = 3


@pytest.fixture(scope="module")
def workshop(valkey: EmbeddedStore) -> Iterator[Workshop]:
    with open_workshop(valkey) as workshop:
        yield workshop


class Line(RuleBasedStateMachine):
    """Knows who must have which number; what the beat decides is observed, and must be allowed."""

    workshop: Workshop

    def __init__(self) -> None:
        super().__init__()
        self.sale: Clockwork = self.workshop.sale(
            line={"claimSeconds": CLAIM_MS // 1000},
            admission={"initialActive": TARGET, "maxActive": 100, "sessionSeconds": SESSION_MS // 1000},
        )
        self.issued = 0
        self.numbers: dict[bytes, int] = {}
        """Of everybody who ever joined, the newest number."""
        self.tickets: dict[bytes, tuple[int, int, int]] = {}
        self.waiting: set[bytes] = set()
        self.inside: dict[bytes, tuple[int, int]] = {}
        """Place to (sid, until)."""
        self.sids: set[int] = set()
        self.called = 0
        self.called_at: dict[int, int] = {}
        self.knocked: dict[bytes, int] = {}
        self.open = False
        self.policy = "Open"
        self.target = TARGET

    @initialize(early=st.integers(0, len(EVERYBODY)), seconds=st.sampled_from([0, 2, 10]))
    def before_the_opening(self, early: int, seconds: int) -> None:
        assert self.sale.pass_time(0)["state"] == "prequeue"
        for place in EVERYBODY[:early]:
            self.join(place)
        self.time_passes(1000 * seconds, 1000)
        for place in EVERYBODY[:early]:
            self.swap_the_ticket(place)

    @rule(place=PLACES)
    def join(self, place: bytes) -> None:
        reply = self.sale.call("join", place, "10.0.0.1", "")
        known = place in self.waiting or place in self.inside
        if reply[0] == b"limited":
            return
        if not known and self.policy == "Drain":
            assert reply == [b"joining_closed"]
            return
        _, number, new, epoch, now, _ = reply
        assert bool(new) is not known
        if new:
            self.issued += 1
            assert number == self.issued
            self.waiting.add(place)
            self.numbers[place] = number
        assert number == self.numbers[place]
        self.tickets[place] = (number, epoch, now)

    @rule(place=PLACES)
    def claim(self, place: bytes) -> None:
        if place not in self.tickets:
            return
        number, epoch, issued_ms = self.tickets[place]
        reply = self.sale.call("claim", place, number, epoch, issued_ms)
        if reply[0] == b"ok":
            self._let_in(place, reply)
        elif reply[0] == b"crowded":
            assert self._full()
            self.knocked[place] = self.sale.now
        else:
            assert reply == [self._why_not(place, number, epoch)]

    @rule()
    def everybody_tries(self) -> None:
        for place in EVERYBODY:
            self.claim(place)

    @rule()
    def everybody_joins(self) -> None:
        for place in EVERYBODY:
            self.join(place)

    def _why_not(self, place: bytes, number: int, epoch: int) -> bytes:
        if epoch != (2 if self.open else 1):
            return b"stale"
        if place in self.waiting:
            return b"waiting" if number > self.called else b"?"
        if place in self.inside:
            return b"lapsed" if self.inside[place][1] <= self.sale.now else b"?"
        return b"lapsed"

    def _let_in(self, place: bytes, reply: list[Any]) -> None:
        _, sid, until, called_ms, now = reply
        number = self.tickets[place][0]
        assert self.open
        assert number == self.numbers[place]
        assert number <= self.called
        assert sid not in self.sids
        assert sid > max(self.sids, default=0)
        if place in self.waiting:
            assert not self._full()
            assert until == now + SESSION_MS
            assert called_ms == self.called_at[number]
        else:
            assert self.inside[place][1] == until > now
            assert called_ms == 0
        self.sids.add(sid)
        self.waiting.discard(place)
        self.inside[place] = (sid, until)

    def _full(self) -> bool:
        return len(self.inside) + 1 > max(1, 1.1 * self.target)

    @rule(place=PLACES)
    def swap_the_ticket(self, place: bytes) -> None:
        if place not in self.tickets:
            return
        number, epoch, issued_ms = self.tickets[place]
        reply = self.sale.call("restore", place, number, epoch, issued_ms)
        if reply[0] == b"ok":
            assert place in self.waiting or place in self.inside
            self.tickets[place] = (number, reply[1], reply[2])
        else:
            assert place not in self.inside
            assert reply == [b"stale" if place in self.waiting else b"lapsed"]

    @rule(place=PLACES, old=st.booleans())
    def leave(self, place: bytes, old: bool) -> None:
        if place not in self.numbers:
            return
        number = self.numbers[place] - (1 if old else 0)
        assert self.sale.call("leave", place, number) == [b"ok"]
        if not old:
            self.waiting.discard(place)
            self.inside.pop(place, None)
            self.knocked.pop(place, None)

    @rule(ms=st.one_of(st.integers(1, 3000), st.integers(3000, 20_000)), step=st.sampled_from([250, 1000, 1000]))
    def time_passes(self, ms: int, step: int) -> None:
        end = self.sale.now + ms
        while self.sale.now < end:
            self._beat(self.sale.pass_time(min(step, end - self.sale.now)))

    @precondition(lambda self: self.open)
    @rule(policy=st.sampled_from(["", "Hold", "Drain"]))
    def order_from_above(self, policy: str) -> None:
        assert self.sale.call("override", policy, "test", "test", 0)[0] == b"ok"
        self.policy = policy or "Open"

    @rule(buyers=st.integers(1, 6))
    def the_target_moves(self, buyers: int) -> None:
        """Downward nobody is sent away, but nobody comes in either until there is room."""
        self.sale.set_target(buyers)
        self.target = buyers

    def _beat(self, view: dict[str, Any]) -> None:
        now, called = self.sale.now, view["called"]
        self.open = self.open or (now >= self.sale.opens_ms and view["epoch"] == 2)
        self.inside = {place: turn for place, turn in self.inside.items() if place in self.sale.scores("sessions")}
        self._see_who_is_called(called, now)
        self._see_who_lapsed(now)
        assert view["state"] == {"Open": "open", "Hold": "hold", "Drain": "drain"}[self.policy] if self.open else True

    def _see_who_is_called(self, called: int, now: int) -> None:
        assert called >= self.called
        if called > self.called:
            assert self.open
            assert self.policy == "Open"
            assert called in {self.numbers[place] for place in self.waiting}
        for number in range(self.called + 1, called + 1):
            self.called_at[number] = now
        self.called = called

    def _see_who_lapsed(self, now: int) -> None:
        gone = self.waiting - self.sale.scores("line").keys()
        for place in gone:
            number = self.numbers[place]
            assert number <= self.called
            assert now - self.called_at[number] >= CLAIM_MS
            assert now - self.knocked.get(place, -CLAIM_MS) >= CLAIM_MS
        self.waiting -= gone

    @invariant()
    def numbers_are_dense_and_nobody_has_two(self) -> None:
        line = self.sale.scores("line")
        assert self.sale.field("issued") == self.issued
        assert line == {place: self.numbers[place] for place in self.waiting}
        assert len(set(line.values())) == len(line)

    @invariant()
    def one_live_session_a_place(self) -> None:
        sessions = self.sale.hash("session")
        assert sessions == {place: f"{sid}:{self.numbers[place]}".encode() for place, (sid, _) in self.inside.items()}
        assert self.sale.scores("sessions") == {place: until for place, (_, until) in self.inside.items()}
        assert not sessions.keys() & self.waiting

    @invariant()
    def what_is_over_is_over(self) -> None:
        lapsed = self.sale.field("lapsed")
        assert lapsed <= self.called
        assert all(self.numbers[place] > lapsed for place in self.waiting)

    def teardown(self) -> None:
        """Everybody who still waits is called in the end."""
        self.sale.call("override", "", "test", "test", 0)
        view = self.sale.pass_time(150_000)
        assert view["waiting"] == 0
        assert view["active"] == 0


def test_line(workshop: Workshop) -> None:
    machine = type("Line", (Line,), {"workshop": workshop})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=50, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def test_a_large_cohort_lapses_whole_though_one_of_it_knocks(workshop: Workshop) -> None:
    sale = workshop.sale(
        seating={"sections": [{"name": "floor", "capacity": 5000, "priceMinor": 1}]},
        line={"claimSeconds": CLAIM_MS // 1000},
        admission={"initialActive": 5000, "maxActive": 5000, "sessionSeconds": 300},
        abuse={"joinsPerMinutePerAddress": 100_000},
    )
    sale.pass_time(1000)
    places = [f"place-{n:010d}".encode() for n in range(300)]
    joined = [sale.call("join", place, "10.0.0.1", "") for place in places]
    view = sale.pass_time(1000)
    assert (view["called"], view["waiting"]) == (300, 0)
    _, number, _, epoch, now, _ = joined[0]
    assert sale.call("claim", places[0], number, epoch, now)[0] == b"ok"
    sale.pass_time(CLAIM_MS - 3000)
    sale.set_target(1)
    _, number, _, epoch, now, _ = joined[1]
    assert sale.call("claim", places[1], number, epoch, now) == [b"crowded"]
    sale.set_target(5000)
    sale.pass_time(6000)
    assert sale.scores("line") == {places[1]: 2}
    sale.pass_time(CLAIM_MS)
    assert sale.scores("line") == {}


def test_who_waits_at_the_door_was_called_when_it_was(workshop: Workshop) -> None:
    """Also when that cohort is past its time, and others were called since."""
    sale = workshop.sale(
        line={"claimSeconds": CLAIM_MS // 1000},
        admission={"initialActive": 3, "maxActive": 100, "sessionSeconds": 300},
        abuse={"joinsPerMinutePerAddress": 1000},
    )
    sale.pass_time(1000)
    places = [f"place-{n:010d}".encode() for n in range(40)]
    joined = [sale.call("join", place, "10.0.0.1", "") for place in places]
    while sale.field("called") < 2:
        sale.pass_time(250)
    called_by = sale.now
    sale.set_target(1)

    def claim(nth: int) -> list[Any]:
        _, number, _, epoch, issued, _ = joined[nth]
        return sale.call("claim", places[nth], number, epoch, issued)

    assert claim(0)[0] == b"ok"
    delay = sale.field("tau")
    assert claim(1) == [b"crowded"]
    for _ in range(3):
        sale.set_target(30)
        sale.pass_time(CLAIM_MS // 2)  # with room, the time to claim runs
        sale.set_target(1)
        assert claim(1) == [b"crowded"]
    assert sale.field("tau") == delay, "it had come long before"
    sale.set_target(30)
    assert sale.redis.zcount(sale.key("calls"), 3, "+inf"), "others were called since"
    status, _, _, called_ms, _ = claim(1)
    assert status == b"ok"
    assert called_ms <= called_by
