"""Where a number stands is arithmetic on what the pod knows; polls are spread and bounded."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, strategies as st
from msgspec.structs import replace

from boxoffice import line
from boxoffice.errors import TooMany, Unauthorized
from boxoffice.line import EARLY_BURST, Polls, Whereabouts, check_ticket, needs_exchange, next_poll, whereabouts
from boxoffice.sale import parse_sale
from boxoffice.snapshot import POLL_MAX_SECONDS, POLL_MIN_SECONDS, View
from boxoffice.tokens import Ticket
from tests.integration.house import resource


def view(**fields: Any) -> View:
    view = View("night")
    view.spec = parse_sale(msgspec.json.encode(resource())).spec
    standing = {"state": "open", "epoch": 2, "issued": 100, "called": 40, "lapsed": 10, "waiting": 60, "per_minute": 60}
    for name, value in (standing | fields).items():
        setattr(view, name, value)
    return view


@pytest.mark.parametrize(
    ("number", "fields", "state", "ahead"),
    [
        (10, {}, "lapsed", 0),
        (11, {}, "called", 0),
        (40, {}, "called", 0),
        (41, {}, "waiting", 0),
        (42, {}, "waiting", 1),
        (100, {}, "waiting", 59),
        (100, {"waiting": 30}, "waiting", 29),
        (100, {"waiting": 1}, "waiting", 0),
        (41, {"state": "hold", "per_minute": 0}, "waiting", 0),
        (41, {"state": "drain"}, "waiting", 0),
        (41, {"state": "allTaken"}, "waiting", 0),
        (41, {"state": "closed"}, "over", 0),
        (41, {"state": "soldOut"}, "soldOut", 0),
        (7, {"state": "prequeue", "epoch": 1}, "prequeue", 6),
        (1, {"state": "prequeue", "epoch": 1}, "prequeue", 0),
    ],
)
def test_where_a_number_stands(number: int, fields: dict[str, Any], state: str, ahead: int) -> None:
    where = whereabouts(view(**fields), number)
    assert (where.state, where.ahead) == (state, ahead)


def test_the_wait_is_a_range_from_the_measured_pace() -> None:
    where = whereabouts(view(per_minute=60, swing_per_mille=500), 100)
    assert (where.eta_p50, where.eta_p90) == (60, 98)
    assert msgspec.json.decode(where.json(100))["etaSeconds"] == {"p50": 60, "p90": 98}


def test_without_a_pace_no_wait_is_promised() -> None:
    where = whereabouts(view(per_minute=0), 100)
    assert msgspec.json.decode(where.json(100))["etaSeconds"] is None


@pytest.mark.parametrize(
    ("mode", "number", "polls"),
    [
        ("Auto", 1, 2),
        ("Auto", 1600, 2),
        ("Auto", 8001, 10),
        ("Auto", 100_000, 30),
        ("Manual", 1, 2),
        ("Manual", 101, 10),
    ],
)
def test_before_the_opening_who_cannot_be_called_soon_asks_seldom(mode: str, number: int, polls: int) -> None:
    """400 inside are filled by 80 a second at most; by hand it is one."""
    offset = (time.time() - time.monotonic()) * 1000
    here = view(state="prequeue", epoch=1, target=400, _offset_ms=offset)
    here.spec = replace(here.spec, admission=replace(here.spec.admission, mode=mode, per_minute=60))
    assert whereabouts(here, number).poll in (polls, polls - 1, polls + 1)


NUMBERS = st.integers(0, 2_000_000)


@given(NUMBERS, NUMBERS, NUMBERS, st.integers(1, 2_000_000), st.integers(0, 10**6), st.integers(100, 1000))
def test_whatever_the_line_the_answer_makes_sense(
    issued: int, called: int, waiting: int, number: int, pace: int, swing: int
) -> None:
    assume(called <= issued)
    assume(number <= issued)
    waiting = min(waiting, issued - called)
    where = whereabouts(
        view(issued=issued, called=called, waiting=waiting, per_minute=pace, swing_per_mille=swing, lapsed=0), number
    )
    assert 0 <= where.ahead <= max(0, waiting - 1) or waiting == 0
    assert where.eta_p50 <= where.eta_p90
    assert POLL_MIN_SECONDS <= where.poll <= POLL_MAX_SECONDS + 1
    assert msgspec.json.decode(where.json(number))["number"] == number


@given(st.integers(1, 1000), st.integers(0, 500))
def test_who_is_behind_is_never_told_that_they_are_before(number: int, waiting: int) -> None:
    here = view(issued=1002, called=0, lapsed=0, waiting=waiting)
    assert whereabouts(here, number).ahead <= whereabouts(here, number + 1).ahead


def test_an_answer_carries_a_new_ticket_only_when_there_is_one() -> None:
    where = Whereabouts("waiting", 3, 4, 5, 6)
    assert msgspec.json.decode(where.json(9)) == {
        "state": "waiting",
        "number": 9,
        "ahead": 3,
        "etaSeconds": {"p50": 4, "p90": 5},
        "pollAfterSeconds": 6,
    }
    assert msgspec.json.decode(where.json(9, "abc"))["ticket"] == "abc"


@pytest.mark.parametrize(
    ("eta", "most", "least", "longest"),
    [
        (0, 30, 2, 3),
        (-50, 30, 2, 3),
        (19, 30, 2, 3),
        (100, 30, 10, 11),
        (299, 30, 29, 31),
        (10**9, 30, 30, 31),
        (100, 5, 5, 6),
    ],
)
def test_the_next_poll_is_a_tenth_of_the_wait_within_bounds_and_spread(
    eta: float, most: int, least: int, longest: int
) -> None:
    polls = {next_poll(eta, most) for _ in range(500)}
    assert least <= min(polls) <= max(polls) <= longest


def test_a_crowd_does_not_poll_in_step() -> None:
    polls = [next_poll(105, 30) for _ in range(1000)]
    assert set(polls) == {10, 11}
    assert 300 < polls.count(11) < 700


class Clock:
    """Stands until it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_who_polls_as_told_is_never_refused(clock: Clock) -> None:
    polls = Polls()
    for _ in range(1000):
        polls.check(b"ann", 10)
        clock.now += 10


def test_who_polls_twice_as_often_as_told_is_let_be(clock: Clock) -> None:
    polls = Polls()
    for _ in range(1000):
        polls.check(b"ann", 10)
        clock.now += 5


def test_who_polls_faster_is_slowed_to_twice_what_they_were_told(clock: Clock) -> None:
    polls, good = Polls(), 0
    for _ in range(1000):
        with contextlib.suppress(TooMany):
            polls.check(b"ann", 10)
            good += 1
        clock.now += 1
    assert 195 <= good <= 205
    polls.check(b"ben", 10)


def test_a_burst_has_an_end(clock: Clock) -> None:
    polls = Polls()
    for _ in range(EARLY_BURST):
        polls.check(b"ann", 10)
    with pytest.raises(TooMany) as error:
        polls.check(b"ann", 10)
    assert error.value.retry_after == 10


def test_what_polls_remember_is_bounded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "POLLERS", 1000)
    polls = Polls()
    for n in range(10_000):
        polls.check(b"%d" % n, 10)
    assert len(polls._due) <= 1000
    for _ in range(EARLY_BURST - 1):
        polls.check(b"9999", 10)
    with pytest.raises(TooMany):
        polls.check(b"9999", 10)


TICKET = Ticket(b"u" * 16, b"p" * 16, 7, 2, 5000, b"b" * 16)


def test_a_ticket_is_for_one_sale_and_one_browser() -> None:
    check_ticket(view(uid=b"u" * 16), TICKET, b"b" * 16)
    for uid, binding in ((b"v" * 16, b"b" * 16), (b"u" * 16, b"c" * 16)):
        with pytest.raises(Unauthorized) as error:
            check_ticket(view(uid=uid), TICKET, binding)
        assert error.value.code == "bad_token"


@pytest.mark.parametrize(
    ("epoch", "recovered", "old"), [(2, 0, False), (3, 0, True), (2, 5000, False), (2, 5001, True)]
)
def test_a_ticket_from_before_the_opening_or_a_recovery_is_swapped(epoch: int, recovered: int, old: bool) -> None:
    assert needs_exchange(view(epoch=epoch, recovered_ms=recovered), TICKET) is old
