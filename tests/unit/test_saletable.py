"""The table of the sales in a cluster: its columns are the definition's own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rich.console import Console

from boxoffice import crd
from boxoffice.saletable import HEADER, OVERRIDE, Lines, Screen, row, table
from boxoffice.seen import SeenSale, sales_of
from tests.unit.resources import NOW, condition, override, seen

ADMISSION = {"active": 380, "activeTarget": 400, "perMinute": 612, "limitedBy": "Target"}
SEATS = {"total": 4000, "held": 120, "sold": 1000}


def busy(**changes: object) -> SeenSale:
    return seen(admission=ADMISSION, seats=SEATS, waiting=1200, conditions=[condition("Ready")], **changes)  # type: ignore[arg-type]


def test_has_the_columns_of_the_definition() -> None:
    assert ["NAME", *(name.upper() for name, _, _ in crd.COLUMNS)] == HEADER


def test_a_row_says_what_the_status_says() -> None:
    cells = ["tide-seoul", "True", "Open", "Auto", 1200, 380, 612, "Target", 1000, 4000, "120m", ""]
    assert row(busy(), NOW) == cells


def test_a_sale_that_nobody_looked_at_says_so() -> None:
    assert row(seen(), NOW)[1:8] == ["-", "Open", "Auto", 0, 0, 0, "-"]


def test_an_override_has_a_column_where_there_is_one() -> None:
    header, [cells] = table([busy()], NOW)
    assert (OVERRIDE in header, len(cells)) == (False, len(HEADER))
    header, rows = table([busy(), seen("a-sale", override("Hold", 20))], NOW)
    assert header[-1] == OVERRIDE
    assert [cells[0] for cells in rows] == ["a-sale", "tide-seoul"]
    assert rows[0][-1] == "Hold by ann: the ledger is slow (until 2030-09-06T09:20:00Z)"


@pytest.mark.parametrize(
    "annotations", [override("Open"), override("Hold", -1), {"boxoffice.dev/override": "{}"}, {"other": "x"}]
)
def test_an_override_that_does_not_count_is_not_shown(annotations: dict[str, str]) -> None:
    assert row(seen(annotations=annotations), NOW)[-1] == ""


def test_a_pipe_gets_a_line_for_each_change_and_none_for_an_age() -> None:
    said: list[str] = []
    lines = Lines(said.append, said.append)
    lines.show([busy()], NOW)
    lines.show([busy()], NOW + timedelta(hours=1))
    lines.show([busy(spec={"policy": "Hold"})], NOW)
    lines.show([], NOW)
    lines.show([busy()], NOW)
    assert [line.split()[:3] for line in said] == [
        ["NAME", "READY", "POLICY"],
        ["tide-seoul", "True", "Open"],
        ["tide-seoul", "True", "Hold"],
        ["tide-seoul", "deleted"],
        ["tide-seoul", "True", "Open"],
    ]
    assert said[0].index("LIMITED-BY") == said[1].index("Target")


def test_a_screen_draws_all_sales_and_why_it_stands_still() -> None:
    console = Console(width=200, force_terminal=True, color_system=None)
    with console.capture() as captured, Screen(console) as screen:
        screen.show([busy(), seen("another")], NOW)
        screen.say("the connection was refused")
    drawn = captured.get()
    assert all(
        words in drawn for words in ("LIMITED-BY", "tide-seoul", "another", "1200", "the connection was refused")
    )


def test_what_a_newer_definition_has_is_let_through() -> None:
    newer = b"""{"kind": "List", "items": [{"kind": "ConcertSale", "metadata": {"name": "x", "uid": "u",
      "creationTimestamp": "2030-09-06T07:00:00Z"}, "spec": {"opensTime": "2030-09-06T08:00:00Z", "later": 1,
      "closesTime": "2030-09-06T18:00:00Z", "policy": "Pause", "admission": {"mode": "Magic"}},
      "status": {"conditions": [{"type": "Novel", "status": "True"}]}}]}"""
    [sale] = sales_of(newer)
    assert row(sale, NOW)[2:4] == ["Pause", "Magic"]
