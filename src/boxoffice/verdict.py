"""The verdict on an on-sale: what the witnesses say, joined, and which promises held.

Everything here is a function of what they say.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean

from boxoffice.report import Promise, Report
from boxoffice.witnesses import Evidence, Story


def judge(evidence: Evidence) -> Report:
    """Counts, and then holds every promise against the counts."""
    stories = evidence.stories
    states = Counter(order.state for story in stories for order in story.orders)
    report = Report(
        sold=len(evidence.tickets),
        refused=states["refused"],
        declined=states["declined"],
        declined_then_paid=sum(map(declined_then_paid, stories)),
        oversold=oversold(evidence),
        charged_without_ticket=len(charged_without_ticket(evidence)),
        inversions=inversions(stories),
        contested=contested(stories),
        favourites_per_mille=favourites_per_mille(stories, favourite_count(evidence.seats)),
        http=statuses(stories),
        steps=durations(stories),
        sold_out_seconds=sold_out_seconds(evidence),
        eta_covered=eta_covered(stories),
        differences=list(evidence.differences),
        ends=dict(Counter(story.end for story in stories).most_common()),
    )
    report.promises.extend(promises(evidence, report))
    return report


def promises(evidence: Evidence, report: Report) -> list[Promise]:
    server_errors = sum(count for status, count in report.http.items() if status.startswith("5"))
    silent = report.http.get("0", 0)
    unlike = disagreements(evidence)
    broken = [f"buyer {story.buyer}: {story.problem}" for story in honest(evidence.stories) if story.problem]
    twins = twice_numbered(evidence.stories)
    early, missed = sent_away_early(evidence), missed_turns(evidence.stories)
    held = [
        Promise("no seat is sold twice", report.oversold == 0, f"{report.oversold} seats"),
        Promise(
            "nobody is charged without a ticket",
            report.charged_without_ticket == 0,
            f"{report.charged_without_ticket} charges",
        ),
        Promise("buyers, ledger and gateway say the same", not unlike, _some(unlike)),
        Promise("nobody is called before a lower number", report.inversions == 0, f"{report.inversions} calls"),
        Promise("no number is given twice", not twins, _some(twins)),
        Promise("nobody who comes when called loses the turn", not missed, _some(missed)),
        Promise("nobody is sent away while a seat is left", not early, _some(early)),
        Promise("no answer of 5xx", server_errors == 0, f"{server_errors} answers"),
        Promise("every request is answered", silent == 0, f"{silent} requests"),
        Promise("every buyer reaches an end", not broken, _some(broken)),
        Promise("every buyer tells a story", *all_told(evidence)),
        Promise("the audit finds no difference", not report.differences, _some(report.differences)),
    ]
    return [*held, *refusals(evidence.stories), *of_a_full_house(evidence, report)]


def all_told(evidence: Evidence) -> tuple[bool, str]:
    told = len({story.buyer for story in evidence.stories})
    return told == len(evidence.stories) == evidence.buyers, f"{told} of {evidence.buyers}"


def honest(stories: Iterable[Story]) -> list[Story]:
    return [story for story in stories if "hostile" not in story.plan]


def refusals(stories: Iterable[Story]) -> list[Promise]:
    """Of those who mean ill, where there are any: everything that they tried for, and each of them something."""
    hostile = [story for story in stories if "hostile" in story.plan]
    given = [f"buyer {story.buyer}: {story.problem}" for story in hostile if story.problem]
    return [Promise("what must be refused is refused", not given, _some(given))] if hostile else []


def of_a_full_house(evidence: Evidence, report: Report) -> list[Promise]:
    """What can only be asked of a crowd larger than the house, that is there until the end."""
    crowded = 4 * len(honest(evidence.stories)) >= 5 * evidence.seats
    if not crowded or evidence.crowd not in ("onsale", "hostile"):
        return []
    sold = Promise("every seat is sold", report.sold == evidence.seats, f"{report.sold} of {evidence.seats}")
    return [sold, *fights(evidence, report)] if evidence.fights else [sold]


def fights(evidence: Evidence, report: Report) -> list[Promise]:
    """Of those who come all at once: 500 seats, 1,000 buyers, 200 fights."""
    least = min(evidence.buyers, 2 * evidence.seats) // 5
    return [
        Promise("buyers fight for seats", report.contested >= least, f"{report.contested}, at least {least}"),
        Promise(
            "60 % of first tries go to the favourite seats",
            report.favourites_per_mille >= 600,
            f"{report.favourites_per_mille / 10:.1f} %",
        ),
    ]


def favourite_count(seats: int) -> int:
    """How many seats everybody wants: a tenth of the house, 50 of 500."""
    return max(1, seats // 10)


def oversold(evidence: Evidence) -> int:
    """Seats with more than one buyer, by the ledger or by what buyers were told."""
    ledger = Counter(ticket.seat for ticket in evidence.tickets)
    told = Counter(
        seat for story in evidence.stories for order in story.orders if order.state == "paid" for seat in order.seats
    )
    twice = {seat for seats in (ledger, told) for seat, count in seats.items() if count > 1}
    return max(len(twice), len(evidence.tickets) - evidence.seats)


def charged_without_ticket(evidence: Evidence) -> list[str]:
    """Orders with money at the gateway and no live ticket in the ledger."""
    ticketed = {ticket.order for ticket in evidence.tickets}
    return [charge.order for charge in evidence.charges if charge.order not in ticketed]


def disagreements(evidence: Evidence) -> list[str]:
    """Every order of which the three witnesses do not say the same: paid or not, which seats, how much."""
    told = {o.id: o for story in evidence.stories for o in story.orders if o.state == "paid"}
    seats: dict[str, set[str]] = defaultdict(set)
    for ticket in evidence.tickets:
        seats[ticket.order].add(ticket.seat)
    charged = Counter(charge.order for charge in evidence.charges)
    money = {charge.order: charge.amount_minor for charge in evidence.charges}
    found = [f"order {order} charged {count} times" for order, count in charged.items() if count > 1]
    for order in sorted(told.keys() | seats.keys() | money.keys()):
        heard = (told[order].seats, told[order].amount_minor) if order in told else None
        written = (sorted(seats[order]), evidence.amounts.get(order)) if order in seats else None
        if heard is None or written is None or (sorted(heard[0]), heard[1]) != written:
            found.append(f"order {order}: the buyer was told {heard}, the ledger has {written}")
        elif money.get(order) != heard[1]:
            found.append(f"order {order}: costs {heard[1]}, the gateway charged {money.get(order)}")
    return found


def inversions(stories: Iterable[Story]) -> int:
    """Buyers who were called after somebody with a higher number."""
    called = sorted(((s.number, s.called_at_ms) for s in stories if s.called_at_ms), reverse=True)
    count, earliest_behind = 0, math.inf
    for _, at in called:
        count += at > earliest_behind
        earliest_behind = min(earliest_behind, at)
    return count


def twice_numbered(stories: Iterable[Story]) -> list[str]:
    holders = Counter(story.number for story in stories if story.number)
    return [f"number {number}, {count} buyers" for number, count in holders.items() if count > 1]


def sent_away_early(evidence: Evidence) -> list[str]:
    """Buyers who were told that all is sold before it was."""
    told = [story for story in evidence.stories if story.end == "soldOut"]
    sold_out_ms = math.inf if evidence.sold_out_ms is None else evidence.sold_out_ms
    return [f"buyer {story.buyer}" for story in told if story.ended_at_ms < sold_out_ms]


def missed_turns(stories: Iterable[Story]) -> list[str]:
    """Buyers who did what they were told, and yet came too late."""
    return [f"buyer {story.buyer}" for story in stories if story.end == "lapsed" and "absent" not in story.plan]


def contested(stories: Iterable[Story]) -> int:
    """Tries for named seats that somebody else had taken."""
    return sum(
        (step.name, step.status, step.code) == ("hold", 409, "seats_taken") for story in stories for step in story.steps
    )


def favourites_per_mille(stories: Iterable[Story], count: int) -> int:
    """The share of first tries that went to the `count` seats tried first by most."""
    firsts = [story.first for story in stories if story.first]
    wanted = {seat for seat, _ in Counter(seat for first in firsts for seat in first).most_common(count)}
    return 1000 * sum(set(first) <= wanted for first in firsts) // max(1, len(firsts))


def declined_then_paid(story: Story) -> bool:
    states = [order.state for order in story.orders]
    return "declined" in states and states[-1] == "paid"


def statuses(stories: Iterable[Story]) -> dict[str, int]:
    counts = Counter(step.status for story in stories for step in story.steps)
    return {str(status): counts[status] for status in sorted(counts)}


def durations(stories: Iterable[Story]) -> dict[str, dict[str, float]]:
    """p50, p95 and p99 in ms of each step; `settled` is from sending an order to its final state."""
    times: dict[str, list[float]] = defaultdict(list)
    for story in stories:
        for step in story.steps:
            times[step.name].append(step.ms)
        times["settled"].extend(order.settled_ms for order in story.orders if order.settled_ms)
    return {name: {f"p{p}": percentile(values, p) for p in (50, 95, 99)} for name, values in times.items()}


def percentile(values: Sequence[float], percent: int) -> float:
    """The smallest value that at least so many percent do not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)] if ordered else 0.0


def sold_out_seconds(evidence: Evidence) -> float | None:
    if evidence.sold_out_ms is None:
        return None
    return round((evidence.sold_out_ms - evidence.opened_ms) / 1000, 1)


def eta_covered(stories: Iterable[Story]) -> float | None:
    """Of all who were told how long they would wait, and were called and came; each time that they asked counts. In
    whole seconds, as they are told."""
    waits = [(story.called_at_ms - at, p90) for story in stories if story.called_at_ms for at, p90 in story.etas]
    return round(fmean(round(ms / 1000) <= p90 for ms, p90 in waits), 3) if waits else None


def _some(findings: Sequence[str], count: int = 3) -> str:
    more = f" and {len(findings) - count} more" if len(findings) > count else ""
    return "; ".join(findings[:count]) + more
