"""When a sale asks for more pods, and what number of them should be there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given, strategies as st

from boxoffice.errors import BadInput
from boxoffice.sale import convert_sale
from boxoffice.spec import PrescaleSpec, Replicas, Spec
from facts import Sight
from prescale import AFTER, is_due, number_of, targets
from tests.integration.house import resource

OPENS = datetime(2030, 9, 6, 8, 0, tzinfo=UTC)
SPEC = msgspec.structs.replace(
    convert_sale(resource()).spec,
    opens_time=OPENS,
    closes_time=OPENS + timedelta(hours=8),
    prescale=PrescaleSpec(minutes_before=15, replicas=Replicas(app=6, settle=3)),
)


def sight(state: str = "open", waiting: int = 100) -> Sight:
    numbers = dict.fromkeys(("active", "target", "per_minute", "taken", "sold", "total", "free", "opened_ms"), 0)
    return Sight(uid="", state=state, policy="Open", waiting=waiting, **numbers)


@pytest.mark.parametrize(
    ("minutes", "seen", "was_due", "due"),
    [
        (-16, sight("scheduled", 0), False, False),
        (-15, sight("scheduled", 0), False, True),
        (0, sight(), True, True),
        (0, None, False, True),
        (5, sight(waiting=0), True, True),
        (11, sight(waiting=1), True, True),
        (11, sight(waiting=1), False, False),
        (11, sight(waiting=0), True, False),
        (11, None, True, True),
        (5, sight("soldOut"), True, False),
        (5, sight("closed"), True, False),
        (480, sight(), True, False),
    ],
)
def test_a_floor_is_due_from_before_the_opening_until_the_crowd_is_through(
    minutes: int, seen: Sight | None, was_due: bool, due: bool
) -> None:
    assert is_due(SPEC, seen, was_due, OPENS + timedelta(minutes=minutes)) is due


def test_the_rule_after_the_opening_begins_where_it_says() -> None:
    assert is_due(SPEC, sight(waiting=0), True, OPENS + AFTER - timedelta(seconds=1))
    assert not is_due(SPEC, sight(waiting=0), True, OPENS + AFTER)


@pytest.mark.parametrize("change", [{"policy": "Closed"}, {"prescale": PrescaleSpec()}])
def test_none_is_due_for_a_sale_that_is_over_or_asks_for_nothing(change: dict[str, object]) -> None:
    changed: Spec = msgspec.structs.replace(SPEC, **change)
    assert not is_due(changed, sight(), True, OPENS)


@pytest.mark.parametrize(
    ("number", "usual", "floor", "asked", "most", "wanted"),
    [
        (2, 2, 6, [6], None, 6),  # raised
        (6, 2, 6, [6], None, 6),
        (6, 2, 0, [6], None, 2),  # lowered
        (8, 2, 6, [8, 6], None, 6),  # one of two sales is through
        (10, 2, 6, [6], None, 10),  # somebody's own number
        (10, 2, 0, [6], None, 10),
        (3, 2, 0, [6], None, 3),
        (0, 2, 0, [6], None, 0),  # put to sleep by hand: not ours to wake
        (2, 2, 6, [6], 4, 4),  # no autoscaler takes a floor above its own most
        (4, 2, 0, [6, 4], 4, 2),
    ],
)
def test_the_number_of_pods(
    number: int, usual: int, floor: int, asked: list[int], most: int | None, wanted: int
) -> None:
    assert number_of(number, usual, floor, asked, most) == wanted


@given(st.integers(0, 20), st.integers(1, 5), st.integers(1, 20))
def test_what_was_raised_comes_back_and_nothing_is_moved_twice(number: int, usual: int, floor: int) -> None:
    raised = number_of(number, usual, floor, [floor], None)
    assert raised >= floor
    assert number_of(raised, usual, floor, [floor], None) == raised
    after = number_of(raised, usual, 0, [floor], None)
    assert after == (usual if raised == floor > usual else raised)


def test_the_setting_is_read_and_what_is_none_is_named() -> None:
    first, second = targets("app=Deployment/shop-app:2,settle=HorizontalPodAutoscaler/shop-settle:3")
    assert (first.component, first.kind.field, first.name, first.floor) == ("app", "replicas", "shop-app", 2)
    assert (second.component, second.kind.field, second.floor) == ("settle", "minReplicas", 3)
    assert targets("") == []
    for wrong in ("app", "admin=Deployment/x:1", "app=Pod/x:1", "app=Deployment/x:many"):
        with pytest.raises(BadInput, match="it wants words like"):
            targets(wrong)
