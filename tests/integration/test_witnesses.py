"""The verdict's own readers see what stands there: live tickets, paid orders, money that is held."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from boxoffice.errors import Unprocessable
from boxoffice.gateway import open_gateway
from boxoffice.ledger import Ledger
from boxoffice.settings import Settings
from boxoffice.witnesses import Charge, Step, Ticket, read_books, read_charges, read_stories

ORDER = {
    "sale": "night", "buyer": "b" * 32, "hold": 1, "fence": 1, "seats_count": 1, "seats": "[0]", "names": "[]",
    "amount_minor": 500, "currency": "KRW", "method": "pm_card_visa", "reason": "", "charge_id": "",
    "charge_minor": 500, "log_id": "log", "log_partition": 0, "log_offset": 0, "attempts": 1, "placed_ms": 1,
    "who": "", "why": "",
}  # fmt: skip
CHARGE = {
    "buyer": "b" * 32, "amount_minor": 500, "currency": "KRW", "method": "pm_card_visa", "reason": "",
    "created_ms": 1, "changed_ms": 1,
}  # fmt: skip


def insert(file: str, table: str, *rows: dict[str, object]) -> None:
    with sqlite3.connect(file) as db:
        for row in rows:
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values()))
    db.close()


async def test_reads_the_ledger_by_itself(settings: Settings, ledger: Ledger) -> None:
    sale = await ledger.ensure_sale("night", "0" * 64, "{}", 10)
    file = settings.ledger_url.partition(":///")[2]
    ids = {state: state[0] * 32 for state in ("paid", "declined", "refunded")}
    for settled_ms, (state, id_) in enumerate(ids.items(), 100):
        insert(file, "orders", {**ORDER, "id": id_, "sale_uid": sale.uid, "state": state, "settled_ms": settled_ms})
    for seat, state in ((3, "paid"), (None, "refunded")):
        row = {"order_id": ids[state], "item": 0, "sale_uid": sale.uid, "seat": seat, "seat_name": "stalls/1/4"}
        insert(file, "tickets", row)
    books = await read_books(settings.ledger_url, "night")
    assert books.uid == sale.uid
    assert books.tickets == [Ticket(ids["paid"], "stalls/1/4")]
    assert books.amounts == {ids["paid"]: 500}
    assert books.last_paid_ms == 100


async def test_reads_the_gateways_list_by_itself(settings: Settings) -> None:
    await (await open_gateway(settings)).close()
    file = settings.gateway_url.partition(":///")[2]
    states = ("paid", "declined", "faulted", "refunded", "cancelled")
    rows = [{**CHARGE, "order_id": s[0] * 31 + str(i), "sale_uid": "u" * 32, "state": s} for i, s in enumerate(states)]
    other = {**CHARGE, "order_id": "o" * 32, "sale_uid": "v" * 32, "state": "paid"}
    insert(file, "charges", *rows, other)
    assert await read_charges(settings.gateway_url, "u" * 32) == [Charge("p" * 31 + "0", 500)]


def test_reads_stories_and_refuses_anything_else(tmp_path: Path) -> None:
    file = tmp_path / "stories.ndjson"
    story = {
        "buyer": 7,
        "plan": ["late"],
        "number": 3,
        "calledAtMs": 9,
        "steps": [["hold", 1.5, 409, "seats_taken", 40]],
    }
    file.write_text(json.dumps(story) + "\n")
    assert [(s.buyer, s.number, s.called_at_ms, s.steps) for s in read_stories(file)] == [
        (7, 3, 9, [Step("hold", 1.5, 409, "seats_taken", 40)])
    ]
    file.write_text("level=error msg=boom\n")
    with pytest.raises(Unprocessable, match=r"stories\.ndjson"):
        read_stories(file)
