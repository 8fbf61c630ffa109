"""The limit: rows like those of settlement by multi-row inserts, 500 orders a transaction, with nothing else.

    python load/bench/inserts.py HOST PORT USER PASSWORD DATABASE ORDERS CONNECTIONS

The tables must be there, and a sale with the uid SALE_UID. Prints the orders a second.
"""

from __future__ import annotations

import asyncio
import gc
import secrets
import sys
import time
from collections.abc import Iterator
from typing import Any

import aiomysql  # type: ignore[import-untyped]
import uvloop

from boxoffice.ledger import _order_row, _ticket_rows
from boxoffice.orderrecords import SettledOrder
from boxoffice.tables import orders, tickets

SALE_UID = "a" * 32
BATCH = 500
SEATS = 2

Rows = list[tuple[Any, ...]]


def _order(nth: int) -> SettledOrder:
    seats = [nth * SEATS + i for i in range(SEATS)]
    return SettledOrder(
        id=secrets.token_hex(16),
        sale_uid=SALE_UID,
        sale="bench-hall",
        buyer=secrets.token_hex(16),
        hold=nth,
        fence=nth,
        seats=seats,
        names=[f"block-01/{seat // 50:02}/{seat % 50:02}" for seat in seats],
        amount_minor=24200,
        currency="KRW",
        method="pm_card_visa",
        state="paid",
        placed_ms=1_800_000_000_000,
        settled_ms=1_800_000_001_000,
        log_id="k" * 22,
        log_partition=0,
        log_offset=nth,
        charge_id=f"ch_{secrets.token_hex(16)}",
        charge_minor=24200,
    )


def batches(count: int) -> Iterator[tuple[Rows, Rows]]:
    for first in range(0, count, BATCH):
        settled = [_order(nth) for nth in range(first, first + BATCH)]
        seats = (row for order in settled for row in _ticket_rows(order))
        yield (
            [tuple(_order_row(order)[column.name] for column in orders.c) for order in settled],
            [tuple(row[column.name] for column in tickets.c) for row in seats],
        )


def _insert(table: Any) -> str:
    names = [column.name for column in table.c]
    return f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"


async def _write(account: dict[str, Any], every: Iterator[tuple[Rows, Rows]]) -> None:
    async with aiomysql.connect(**account) as connection, connection.cursor() as cursor:
        for order_rows, ticket_rows in every:
            await cursor.executemany(_insert(orders), order_rows)
            await cursor.executemany(_insert(tickets), ticket_rows)
            await connection.commit()


async def run(account: dict[str, Any], count: int, connections: int) -> float:
    ready = list(batches(count))
    gc.freeze()
    every, began = iter(ready), time.monotonic()
    await asyncio.gather(*(_write(account, every) for _ in range(connections)))
    return len(ready) * BATCH / (time.monotonic() - began)


def main(host: str, port: str, user: str, password: str, database: str, count: str, connections: str) -> None:
    account = {"host": host, "port": int(port), "user": user, "password": password, "db": database}
    print(uvloop.run(run(account, int(count), int(connections))))


if __name__ == "__main__":
    main(*sys.argv[1:])
