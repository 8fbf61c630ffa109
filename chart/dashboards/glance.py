"""The sale at a glance: what whoever runs the sale wants to know, from the door to the last seat."""

from __future__ import annotations

from grafana_foundation_sdk.models.dashboard import Dashboard

from panels import Query, Rows, board, curves, number, sale, word

OF = '{namespace=~"$namespace", sale="$sale"}'
WAITING = f"max(boxoffice_line_waiting{OF})"
PACE = f"max(boxoffice_admission_calls_per_minute{OF})"
ETA = f"60 * {WAITING} / ({PACE} > 0)"
INSIDE = f"max(boxoffice_admission_inside{OF})"
SOLD = f"max(boxoffice_seats_sold{OF}) / max(boxoffice_seats_total{OF})"

STATE = f"max by (state) (boxoffice_sale_state{OF} == 1)"
OPEN = f"time() - max(boxoffice_sale_opened_timestamp_seconds{OF} > 0)"
LIMITED_BY = f"max by (limit) (boxoffice_operator_limited_by{OF})"

STATE_SAYS = (
    "`prequeue`: the line forms. `open`: buyers are called. `hold`, `drain`: somebody holds it back. `allTaken`: no "
    "seat is free, but some may come back. `recovering`: it is being rebuilt from the ledger."
)
ETA_SAYS = (
    "In seconds, at the present pace. Normal: it falls by a second each second, or faster. Empty: nobody is called."
)
LIMITED_BY_SAYS = (
    "What keeps the pace from being higher: a signal, or one of `Demand`, `Filling`, `Maximum`, `Seats` and others "
    "that docs/control.md lists. `kubectl sale explain` says it in words. Empty: there is no operator."
)


def glance() -> Dashboard:
    rows: Rows = {
        "Now": [
            word("State", STATE_SAYS, Query(STATE, "{{state}}")),
            number("Open for", "Since the first was called. Empty: it has not opened.", Query(OPEN, ""), "s"),
            number("In line", "Buyers who wait for their turn.", Query(WAITING, "")),
            number("Inside", "Buyers inside. Normal: at the target, while somebody waits.", Query(INSIDE, "")),
            number("Called", "Buyers called in a minute.", Query(PACE, ""), "short"),
            number("Last in line is called in", ETA_SAYS, Query(ETA, ""), "s"),
            number("Sold", "Seats sold and settled, of all.", Query(SOLD, ""), "percentunit"),
            word("Limited by", LIMITED_BY_SAYS, Query(LIMITED_BY, "{{limit}}")),
        ],
        "The line": [
            curves(
                "Line",
                "Who waits, and who was called and has not come yet. Normal: a spike at the opening that melts "
                "steadily; called buyers are a small part of it.",
                Query(WAITING, "waiting"),
                Query(f"max(boxoffice_line_called_unclaimed{OF})", "called, not in yet"),
                runbook="BoxofficeLineLong",
            ),
            curves(
                "Last in line is called in",
                ETA_SAYS,
                Query(ETA, "at the present pace"),
                unit="s",
            ),
            curves(
                "Pace",
                "Numbers given out and called in a minute. Normal: many come at once, and the calls are even. "
                "Lapsed: called buyers who did not come in time; up to one in ten is usual.",
                Query(f"60 * max(rate(boxoffice_line_issued_total{OF}[$__rate_interval]))", "joined"),
                Query(PACE, "called"),
                Query(f"60 * max(rate(boxoffice_line_lapsed_total{OF}[$__rate_interval]))", "lapsed"),
            ),
            curves(
                "Inside",
                "Buyers inside and how many should be. Normal: they lie on each other while somebody waits; "
                "inside under target with a long line means that called buyers do not come.",
                Query(INSIDE, "inside"),
                Query(f"max(boxoffice_admission_target{OF})", "target"),
            ),
        ],
        "The house": [
            curves(
                "Seats",
                "Where every seat is. Normal: sold grows, held and paying stay a thin band. Held seats that do not "
                "become paying: buyers hesitate, or payment does not work for them.",
                *(Query(f"avg(boxoffice_seats_{state}{OF})", state) for state in ("sold", "paying", "held", "free")),
                stacked=True,
            ),
            curves(
                "Visits and holds that end",
                "In a minute. Normal: visits end as orders settle. Many holds that run out: buyers leave before "
                "they pay, and the last seats come back late.",
                Query(f"60 * max(rate(boxoffice_admission_sessions_ended_total{OF}[$__rate_interval]))", "visits over"),
                Query(f"60 * max(rate(boxoffice_holds_expired_total{OF}[$__rate_interval]))", "holds run out"),
            ),
        ],
    }
    says = "One sale, from the line to the last seat."
    return board("boxoffice-glance", "Boxoffice / The sale at a glance", says, rows, sale())
