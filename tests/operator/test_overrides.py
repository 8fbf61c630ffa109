"""Which end of an override is carried to the other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from boxoffice.errors import Unprocessable
from boxoffice.override import Override, parse
from boxoffice.spec import Policy
from overrides import Register, ToResource, ToStore, carry

NOW = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)


def order(policy: Policy = "Hold", who: str = "Mina", minutes: int = 0, until: datetime | None = None) -> Override:
    return Override(policy=policy, who=who, why="the ledger is slow", at=NOW + timedelta(minutes=minutes), until=until)


def test_ends_in_line_are_left_alone() -> None:
    text = order().text()
    assert carry(None, Register(None, "")) is None
    assert carry(text, Register(order(minutes=5), text)) is None  # Redis writes `at` by its own clock


def test_a_new_annotation_goes_to_redis() -> None:
    text = order().text()
    assert carry(text, Register(None, "")) == ToStore(order(), text)
    before = order("Drain").text()
    assert carry(text, Register(order("Drain"), before)) == ToStore(order(), text)


def test_a_change_in_redis_goes_to_the_annotation() -> None:
    text, resumed = order().text(), order("Open", "the night shift")
    assert carry(text, Register(resumed, text)) == ToResource(resumed.text())
    longer = order(until=NOW + timedelta(hours=1))
    assert carry(text, Register(longer, text)) == ToResource(longer.text())


def test_an_annotation_that_is_gone_lifts_nothing() -> None:
    held = order()
    assert carry(None, Register(held, held.text())) == ToResource(held.text())
    assert carry(None, Register(order("Open"), held.text())) is None


def test_a_redis_that_lost_its_memory_hears_of_it_again() -> None:
    text = order().text()
    assert carry(text, Register(None, "")) == ToStore(order(), text)


@given(st.sampled_from(["Open", "Hold", "Drain", "Closed"]), st.sampled_from(["Open", "Hold", "Drain", "Closed"]))
def test_when_both_changed_the_stricter_stays(there: Policy, here: Policy) -> None:
    strictness = ["Open", "Hold", "Drain", "Closed"]
    seen = order("Hold", "an older one").text()
    found = carry(order(there).text(), Register(order(here, "the night shift"), seen))
    if strictness.index(here) > strictness.index(there):
        assert found == ToResource(order(here, "the night shift").text())
    else:
        assert found == ToStore(order(there), order(there).text())


@given(
    st.sampled_from(["Open", "Hold", "Drain", "Closed"]),
    st.one_of(st.none(), st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))),
)
def test_carried_once_both_ends_are_in_line(policy: Policy, until: datetime | None) -> None:
    """Redis keeps whole milliseconds."""
    text = order(policy, until=until).text()
    step = carry(text, Register(None, ""))
    assert isinstance(step, ToStore)
    kept = until and datetime.fromtimestamp(int(until.timestamp() * 1000) / 1000, UTC)
    assert carry(text, Register(order(policy, minutes=1, until=kept), text)) is None


@pytest.mark.parametrize(
    "text",
    ["Hold", "{}", '{"policy": "Stop", "who": "a", "why": "b", "at": "2026-11-23T20:00:00Z"}', '{"policy": "Hold"}'],
)
def test_an_annotation_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(Unprocessable, match=r"annotation boxoffice\.dev/override: "):
        carry(text, Register(None, ""))


def test_what_is_written_is_read_back() -> None:
    assert parse(order(until=NOW).text()) == order(until=NOW)
