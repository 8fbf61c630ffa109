"""Every kind of difference is found, and what is on its way is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from boxoffice.audit import compare
from boxoffice.gateway import ChargeRecord
from boxoffice.orderrecords import SettledOrder, State, TicketRow
from boxoffice.sightings import InLog, InRedis, Sightings

UID = "5" * 32


def order(name: str, seats: list[int], state: State = "paid", **changes: Any) -> SettledOrder:
    values: dict[str, Any] = {
        "id": name,
        "sale_uid": UID,
        "sale": "tide-seoul",
        "buyer": "b" * 32,
        "hold": 1,
        "fence": 1,
        "seats": seats,
        "names": [str(seat) for seat in seats],
        "amount_minor": 100 * len(seats),
        "currency": "KRW",
        "method": "pm_card_visa",
        "state": state,
        "placed_ms": 1,
        "settled_ms": 2,
        "log_id": "log",
        "log_partition": 0,
        "log_offset": 0,
    }
    return SettledOrder(**{**values, **changes})


def whole() -> Sightings:
    """One paid (seats 1, 2), one declined (3), one refunded (4), one on its way (5), one seat held (6)."""
    paid, declined, refunded = order("paid", [1, 2]), order("declined", [3], "declined"), order("back", [4], "refunded")
    return Sightings(
        log_id="log",
        applied={0: 10},
        redis=InRedis(
            paying={5},
            sold={1, 2},
            owners={1: "opaid", 2: "opaid", 5: "ocoming", 6: "h9"},
            orders={"paid": "paid", "declined": "declined", "back": "refunded", "coming": "accepted"},
        ),
        charges=[
            ChargeRecord("paid", UID, 200, "KRW", "paid"),
            ChargeRecord("declined", UID, 100, "KRW", "declined"),
            ChargeRecord("back", UID, 100, "KRW", "refunded"),
            ChargeRecord("coming", UID, 100, "KRW", "paid"),
        ],
        log=InLog(unsettled={"coming"}, settled={"paid", "declined", "back"}),
        orders={o.id: o for o in (paid, declined, refunded)},
        tickets=[
            TicketRow("paid", 0, UID, 1, "1"),
            TicketRow("paid", 1, UID, 2, "2"),
            TicketRow("back", 0, UID, None, "4"),
        ],
    )


def kinds(seen: Sightings) -> set[str]:
    found = list(compare(seen))
    assert all(difference.text for difference in found)
    return {difference.kind for difference in found}


def test_a_sale_in_full_swing_has_no_differences() -> None:
    assert list(compare(whole())) == []


def _redis(seen: Sightings) -> InRedis:
    assert seen.redis is not None
    return seen.redis


def _sell_twice(seen: Sightings) -> None:
    seen.orders["twin"] = order("twin", [2])


def _lose_ticket(seen: Sightings) -> None:
    del seen.tickets[0]


def _keep_refunded_seat(seen: Sightings) -> None:
    seen.tickets[2] = TicketRow("back", 0, UID, 4, "4")


def _charge_again(seen: Sightings) -> None:
    seen.charges.append(seen.charges[0])


def _charge_declined(seen: Sightings) -> None:
    seen.charges[1] = ChargeRecord("declined", UID, 100, "KRW", "paid")


def _charge_unheard_of(seen: Sightings) -> None:
    seen.charges.append(ChargeRecord("nobody", UID, 100, "KRW", "paid"))


def _charge_nothing(seen: Sightings) -> None:
    del seen.charges[0]


def _charge_too_much(seen: Sightings) -> None:
    seen.charges[0] = ChargeRecord("paid", UID, 201, "KRW", "paid")


def _charge_other_currency(seen: Sightings) -> None:
    seen.charges[0] = ChargeRecord("paid", UID, 200, "JPY", "paid")


def _skip_record(seen: Sightings) -> None:
    seen.log.settled.add("skipped")


def _forget_accepted(seen: Sightings) -> None:
    seen.log.unsettled.clear()


def _sell_in_redis_only(seen: Sightings) -> None:
    _redis(seen).sold.add(9)


def _free_in_redis(seen: Sightings) -> None:
    _redis(seen).sold.discard(1)


def _give_away_in_redis(seen: Sightings) -> None:
    _redis(seen).owners[1] = "oother"


def _stick(seen: Sightings) -> None:
    _redis(seen).paying.add(3)
    _redis(seen).owners[3] = "odeclined"


def _stick_for_nobody(seen: Sightings) -> None:
    _redis(seen).paying.add(8)


def _tell_wrong_state(seen: Sightings) -> None:
    _redis(seen).orders["declined"] = "accepted"


def _tell_of_unwritten(seen: Sightings) -> None:
    _redis(seen).orders["ghost"] = "paid"


def _forget_in_redis(seen: Sightings) -> None:
    del _redis(seen).orders["back"]


@pytest.mark.parametrize(
    ("break_it", "kind"),
    [
        (_sell_twice, "oversold"),
        (_lose_ticket, "ticket_missing"),
        (_keep_refunded_seat, "ticket_unpaid"),
        (_charge_again, "double_charge"),
        (_charge_declined, "charged_without_ticket"),
        (_charge_unheard_of, "charged_without_ticket"),
        (_charge_nothing, "ticket_without_charge"),
        (_charge_too_much, "amount_mismatch"),
        (_charge_other_currency, "amount_mismatch"),
        (_skip_record, "order_lost"),
        (_forget_accepted, "order_lost"),
        (_sell_in_redis_only, "sold_in_redis_only"),
        (_free_in_redis, "sold_in_ledger_only"),
        (_give_away_in_redis, "owner_differs"),
        (_stick, "seat_stuck"),
        (_stick_for_nobody, "seat_stuck"),
        (_tell_wrong_state, "state_differs"),
        (_tell_of_unwritten, "unknown_to_ledger"),
        (_forget_in_redis, "unknown_to_redis"),
    ],
)
def test_each_kind_is_found(break_it: Callable[[Sightings], None], kind: str) -> None:
    seen = whole()
    break_it(seen)
    assert kind in kinds(seen)


def test_a_seat_that_the_ledger_claimed_for_another_order_is_none() -> None:
    seen = whole()
    _redis(seen).owners[1] = "ledger"
    assert kinds(seen) == set()


def test_what_redis_was_not_told_yet_is_none() -> None:
    seen = whole()
    seen.orders["new"] = order("new", [7], log_offset=10)
    seen.tickets.append(TicketRow("new", 0, UID, 7, "7"))
    seen.charges.append(ChargeRecord("new", UID, 100, "KRW", "paid"))
    _redis(seen).orders["new"] = "accepted"
    _redis(seen).paying.add(7)
    _redis(seen).owners[7] = "onew"
    assert kinds(seen) == set()
    seen.applied[0] = 11
    assert kinds(seen) == {"sold_in_ledger_only", "seat_stuck", "state_differs"}


def test_an_unresolved_order_may_or_may_not_be_charged() -> None:
    seen = whole()
    seen.orders["slow"] = order("slow", [7], "unresolved", due_ms=5)
    _redis(seen).orders["slow"] = "unresolved"
    _redis(seen).paying.add(7)
    _redis(seen).owners[7] = "oslow"
    assert kinds(seen) == set()
    seen.charges.append(ChargeRecord("slow", UID, 100, "KRW", "paid"))
    assert kinds(seen) == set()


def test_a_refund_under_way_is_none() -> None:
    seen = whole()
    seen.orders["paid"] = msgspec.structs.replace(seen.orders["paid"], who="ana", due_ms=5)
    seen.charges[0] = ChargeRecord("paid", UID, 200, "KRW", "refunded")
    assert kinds(seen) == set()


def test_an_order_that_is_yet_to_be_published_may_have_been_charged_before_the_log_was_lost() -> None:
    seen = whole()
    seen.log.unsettled.clear()
    _redis(seen).orders["coming"] = "pending"
    assert kinds(seen) == set()


def test_a_sale_taken_out_of_redis_is_compared_without_it() -> None:
    without = dataclasses.replace(whole(), redis=None)
    assert kinds(without) == set()
    _charge_nothing(without)
    assert kinds(without) == {"ticket_without_charge"}
