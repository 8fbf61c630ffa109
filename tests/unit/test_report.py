"""The verdict sees what it is there to see: each promise is broken once, on purpose, and it says which."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from boxoffice.report import Report, table, write
from boxoffice.verdict import judge, percentile
from boxoffice.witnesses import Charge, Evidence, Step, Story, Ticket, Told

OPENED = 1_000_000


def sold_story(buyer: int, seat: str) -> Story:
    order = f"order{buyer}"
    return Story(
        buyer=buyer,
        number=buyer,
        called_at_ms=OPENED + 100 * (buyer // 2),
        steps=[Step("join", 4.0, 201, ""), Step("hold", 6.0, 201, ""), Step("order", 8.0, 202, "")],
        first=[seat],
        orders=[Told(id=order, state="paid", seats=[seat], amount_minor=500, settled_ms=900)],
        end="paid",
    )


def fought_story(buyer: int, seat: str) -> Story:
    """Came for a seat that was gone."""
    return Story(
        buyer=buyer,
        number=buyer,
        called_at_ms=OPENED + 100 * buyer,
        steps=[Step("join", 5.0, 201, ""), Step("hold", 7.0, 409, "seats_taken"), Step("line", 1.0, 200, "")],
        first=[seat],
        end="soldOut",
        ended_at_ms=OPENED + 21_500,
    )


@pytest.fixture
def honest() -> Evidence:
    """Ten seats, of which one is everybody's favourite; twenty buyers."""
    seats = ["front/1/1", *(f"stalls/1/{n}" for n in range(1, 10))]
    stories = [sold_story(n, seat) for n, seat in enumerate(seats, 1)]
    stories += [fought_story(n, "front/1/1") for n in range(11, 21)]
    stories[1:6] = [msgspec.structs.replace(story, first=["front/1/1"]) for story in stories[1:6]]
    return Evidence(
        buyers=20,
        seats=10,
        opened_ms=OPENED,
        sold_out_ms=OPENED + 21_000,
        stories=stories,
        tickets=[Ticket(f"order{n}", seat) for n, seat in enumerate(seats, 1)],
        amounts={f"order{n}": 500 for n in range(1, 11)},
        charges=[Charge(f"order{n}", 500) for n in range(1, 11)],
        differences=[],
    )


def broken(report: Report) -> set[str]:
    return {promise.name for promise in report.promises if not promise.held}


def change(evidence: Evidence, index: int, **changes: object) -> Evidence:
    stories = list(evidence.stories)
    stories[index] = msgspec.structs.replace(stories[index], **changes)
    return replace(evidence, stories=stories)


def test_an_honest_sale_keeps_every_promise(honest: Evidence) -> None:
    report = judge(honest)
    assert broken(report) == set()
    assert report.kept
    assert report.to_json() == {
        "sold": 10,
        "refused": 0,
        "declined": 0,
        "declinedThenPaid": 0,
        "oversold": 0,
        "chargedWithoutTicket": 0,
        "inversions": 0,
        "contested": 10,
        "http": {"200": 10, "201": 30, "202": 10, "409": 10},
        "steps": {
            "join": {"p50": 4.0, "p95": 5.0, "p99": 5.0},
            "hold": {"p50": 6.0, "p95": 7.0, "p99": 7.0},
            "order": {"p50": 8.0, "p95": 8.0, "p99": 8.0},
            "settled": {"p50": 900.0, "p95": 900.0, "p99": 900.0},
            "line": {"p50": 1.0, "p95": 1.0, "p99": 1.0},
        },
        "soldOutSeconds": 21.0,
        "etaCovered": None,
        "audit": {"differences": []},
        "ends": {"paid": 10, "soldOut": 10},
        "broken": [],
    }


def test_sees_a_seat_with_two_tickets(honest: Evidence) -> None:
    tickets = [*honest.tickets, Ticket("order2", "front/1/1")]
    report = judge(replace(honest, tickets=tickets))
    assert report.oversold == 1
    assert not report.kept
    assert "no seat is sold twice" in broken(report)


def test_sees_a_seat_promised_to_two_buyers_though_the_ledger_has_one(honest: Evidence) -> None:
    liar = Told(id="order99", state="paid", seats=["front/1/1"], amount_minor=500)
    report = judge(change(honest, 10, orders=[liar]))
    assert report.oversold == 1
    assert {"no seat is sold twice", "buyers, ledger and gateway say the same"} <= broken(report)


def test_sees_more_tickets_than_seats(honest: Evidence) -> None:
    report = judge(replace(honest, seats=8))
    assert report.oversold == 2


def test_sees_a_charge_without_a_ticket(honest: Evidence) -> None:
    report = judge(replace(honest, charges=[*honest.charges, Charge("order77", 500)]))
    assert report.charged_without_ticket == 1
    assert "nobody is charged without a ticket" in broken(report)


def test_sees_a_ticket_that_nobody_paid_for(honest: Evidence) -> None:
    report = judge(replace(honest, charges=honest.charges[1:]))
    assert broken(report) == {"buyers, ledger and gateway say the same"}


@pytest.mark.parametrize("charge", [Charge("order1", 500), Charge("order1", 499)], ids=["twice", "another amount"])
def test_sees_a_wrong_charge(honest: Evidence, charge: Charge) -> None:
    charges = [charge, *honest.charges[charge.amount_minor != 500 :]]
    assert broken(judge(replace(honest, charges=charges))) == {"buyers, ledger and gateway say the same"}


def test_sees_a_ticket_that_its_buyer_never_heard_of(honest: Evidence) -> None:
    report = judge(change(honest, 0, orders=[], end="gaveUp"))
    assert broken(report) == {"buyers, ledger and gateway say the same"}


def test_sees_a_buyer_called_after_somebody_behind(honest: Evidence) -> None:
    report = judge(change(honest, 4, called_at_ms=OPENED + 5_000))
    assert report.inversions == 1
    assert broken(report) == {"nobody is called before a lower number"}


def test_a_buyer_who_was_never_called_is_no_inversion(honest: Evidence) -> None:
    assert judge(change(honest, 12, called_at_ms=0)).inversions == 0


def test_sees_a_number_given_twice(honest: Evidence) -> None:
    report = judge(change(honest, 12, number=12))
    assert broken(report) == {"no number is given twice"}


@pytest.mark.parametrize(
    ("status", "promise"),
    [(503, "no answer of 5xx"), (500, "no answer of 5xx"), (0, "every request is answered")],
)
def test_sees_an_answer_that_must_not_be(honest: Evidence, status: int, promise: str) -> None:
    assert broken(
        judge(change(honest, 12, steps=[Step("hold", 1.0, 409, "seats_taken"), Step("line", 9.0, status, "")]))
    ) == {promise}


def test_sees_buyers_who_came_to_no_end(honest: Evidence) -> None:
    assert broken(judge(change(honest, 12, problem="GET /line: 418"))) == {"every buyer reaches an end"}
    assert broken(judge(replace(honest, stories=honest.stories[:-1]))) == {"every buyer tells a story"}


def test_sees_a_difference_of_the_audit(honest: Evidence) -> None:
    report = judge(replace(honest, differences=["seat 7: sold in Redis, free in the ledger"]))
    assert broken(report) == {"the audit finds no difference"}


def test_sees_a_buyer_sent_away_while_a_seat_was_left(honest: Evidence) -> None:
    early = change(honest, 12, ended_at_ms=OPENED + 20_900)
    assert broken(judge(early)) == {"nobody is sent away while a seat is left"}
    assert "nobody is sent away while a seat is left" in broken(judge(replace(honest, sold_out_ms=None)))


def test_sees_a_buyer_who_came_when_called_and_was_too_late(honest: Evidence) -> None:
    assert broken(judge(change(honest, 12, end="lapsed"))) == {"nobody who comes when called loses the turn"}
    assert judge(change(honest, 12, end="lapsed", plan=["absent"])).kept


def test_sees_that_nobody_fought(honest: Evidence) -> None:
    evidence = honest
    for index in range(10, 20):
        evidence = change(evidence, index, steps=[Step("join", 5.0, 201, "")])
    report = judge(evidence)
    assert report.contested == 0
    assert broken(report) == {"buyers fight for seats"}


def test_sees_that_buyers_went_out_of_each_others_way(honest: Evidence) -> None:
    evidence = honest
    for index in range(20):
        evidence = change(evidence, index, first=[f"stalls/2/{index}"])
    assert broken(judge(evidence)) == {"60 % of first tries go to the favourite seats"}


def test_a_small_crowd_is_not_asked_to_fill_the_house(honest: Evidence) -> None:
    stories = honest.stories[:10]
    evidence = replace(honest, buyers=10, stories=stories, seats=100, sold_out_ms=None)
    report = judge(evidence)
    assert report.kept
    assert report.sold_out_seconds is None


def test_counts_cards_declined_and_replaced(honest: Evidence) -> None:
    before = Told(id="order1x", state="declined", seats=["front/1/1"], amount_minor=500)
    report = judge(change(honest, 0, orders=[before, *honest.stories[0].orders]))
    assert (report.declined, report.declined_then_paid, report.kept) == (1, 1, True)


def test_percentile_is_the_nearest_rank() -> None:
    assert [percentile(list(range(1, 101)), p) for p in (50, 95, 99)] == [50, 95, 99]
    assert percentile([7.0], 99) == 7.0
    assert percentile([], 50) == 0.0


def test_prints_every_figure_and_which_promise_broke(honest: Evidence) -> None:
    lines: list[str] = []
    report = judge(replace(honest, differences=["a difference"]))
    write(report, lines.append)
    text = "\n".join(lines)
    assert "BROKEN  the audit finds no difference: a difference" in text
    assert all(label in text and value in text for label, value in table(report))


def test_waits_are_held_against_what_was_told(honest: Evidence) -> None:
    """Called 500 ms after the opening: told late enough, in time to the second, and too short; who never came counts
    for nothing."""
    called = OPENED + 500
    told = [(called - 3000, 4), (called - 3400, 3), (called - 3600, 3), (called - 9000, 2)]
    report = judge(change(change(honest, 10, called_at_ms=called, etas=told), 11, called_at_ms=0, etas=[(OPENED, 1)]))
    assert report.eta_covered == 0.5
    assert ("waits within the p90 told", "50 %") in table(report)
