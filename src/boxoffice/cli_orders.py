"""`boxoffice orders` and `boxoffice dlq`: what was settled, and what could not be."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Annotated, Any, cast

import msgspec
import typer

from boxoffice import deadletters, refunds
from boxoffice.arrears import Arrears
from boxoffice.console import Json, Who, Why, examples, open_office, print_json, print_table, run
from boxoffice.deadletters import DeadLetter
from boxoffice.effects import sink_of
from boxoffice.errors import BadInput, NotFound
from boxoffice.eventlog import Position, open_log
from boxoffice.gateway import open_gateway
from boxoffice.orderrecords import SettledOrder, State
from boxoffice.sales import check_who_and_why

orders = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Look at settled orders, and refund them.",
    epilog=examples(
        "boxoffice orders list tide-seoul --state paid",
        "boxoffice orders refund 6a1f... --why 'the buyer fell ill'",
    ),
)
dlq = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Records of the log that cannot be orders.",
    epilog=examples("boxoffice dlq list", "boxoffice dlq replay 3 --why 'the reader is mended'"),
)

OrderId = Annotated[str, typer.Argument(help="32 hex digits.")]
LetterId = Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="As `dlq list` shows it.")]
STATES = ("paid", "declined", "refused", "refunded", "unresolved")
MOST_SHOWN = 1000


@orders.command(
    "list",
    epilog=examples(
        "boxoffice orders list tide-seoul",
        "boxoffice orders list tide-seoul --state declined -o json | jq -r '.orders[].id'",
    ),
)
def list_orders(
    sale: Annotated[str, typer.Argument(help="The sale's name.")],
    state: Annotated[str, typer.Option(help=f"Only these: {', '.join(STATES)}.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many at most.")] = MOST_SHOWN,
    output: Json = None,
) -> None:
    """Shows the orders of a sale that the ledger has settled."""
    if state and state not in STATES:
        raise BadInput(f"--state must be one of {', '.join(STATES)}, not {state!r}")
    found = run(_list_orders(sale, [cast(State, state)] if state else [], limit))
    if output:
        print_json({"orders": [_order(order) for order in found]})
        return
    header = ["ORDER", "STATE", "AMOUNT", "CURRENCY", "SETTLED", "SEATS"]
    print_table(header, [_order_row(order) for order in found])


async def _list_orders(sale: str, states: list[State], limit: int) -> list[SettledOrder]:
    async with open_office(reading=True) as office:
        record = await office.ledger.sale(sale)
        if record is None:
            raise NotFound(f"the ledger knows no sale named {sale!r}")
        found: list[SettledOrder] = []
        async for chunk in office.ledger.orders_of(record.uid, states):
            found.extend(chunk)
            if len(found) >= limit:
                break
        return found[:limit]


def _order(order: SettledOrder) -> dict[str, Any]:
    return {
        "id": order.id,
        "sale": order.sale,
        "state": order.state,
        "reason": order.reason,
        "seats": order.names,
        "amountMinor": order.amount_minor,
        "chargedMinor": order.charge_minor,
        "currency": order.currency,
        "buyer": order.buyer,
        "attempts": order.attempts,
        "placedAt": _time(order.placed_ms),
        "settledAt": _time(order.settled_ms),
        "refundedAt": _time(order.refunded_ms),
        "refund": {"who": order.who, "why": order.why} if order.who else None,
    }


def _order_row(order: SettledOrder) -> list[str | int]:
    seats, settled = " ".join(order.names), _time(order.settled_ms) or ""
    return [order.id, order.state, order.amount_minor, order.currency, settled, seats]


def _time(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


@orders.command(
    epilog=examples(
        "boxoffice orders show 6a1f0c7d9e2b4a5586c3d1f0e9b8a7c6",
        "boxoffice orders show 6a1f0c7d9e2b4a5586c3d1f0e9b8a7c6 -o json | jq .state",
    )
)
def show(order: OrderId, output: Json = None) -> None:
    """Shows one settled order."""
    found = _order(run(_show_order(order)))
    if output:
        print_json(found)
    else:
        print_pairs(found)


async def _show_order(order_id: str) -> SettledOrder:
    async with open_office(reading=True) as office:
        order = await office.ledger.order(order_id)
    if order is None:
        raise NotFound(f"the ledger knows no order {order_id}")
    return order


def print_pairs(document: dict[str, Any]) -> None:
    for name, value in document.items():
        shown = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        typer.echo(f"{name + ':':<14}{shown}")


@orders.command(
    epilog=examples(
        "boxoffice orders refund 6a1f0c7d9e2b4a5586c3d1f0e9b8a7c6 --why 'the buyer fell ill'",
        "boxoffice orders refund --sale tide-seoul --why 'the concert is cancelled'",
    )
)
def refund(
    why: Why,
    who: Who,
    order: Annotated[str, typer.Argument(help="One order, 32 hex digits.")] = "",
    sale: Annotated[str, typer.Option(help="All paid orders of this sale, which should be closed.")] = "",
) -> None:
    """Gives the money back; the seats can be sold again."""
    if bool(order) == bool(sale):
        raise typer.BadParameter("give one order, or --sale SALE")
    check_who_and_why(who, why)
    typer.echo(run(_refund(order, sale, who, why)))


async def _refund(order: str, sale: str, who: str, why: str) -> str:
    async with open_office() as office, AsyncExitStack() as stack:
        gateway = await open_gateway(office.settings)
        stack.push_async_callback(gateway.close)
        log = await open_log(office.settings, office.store)
        stack.push_async_callback(log.close)
        arrears = Arrears(office.ledger, gateway, sink_of(office.store, log))
        if sale:
            count = await refunds.refund_sale(office.ledger, arrears, sale, who, why)
            return f"{count} orders of {sale} refunded"
        found = await refunds.refund_order(office.ledger, arrears, order, who, why)
        return f"order {found.id} {found.state}"


@dlq.command("list", epilog=examples("boxoffice dlq list", "boxoffice dlq list --state discarded -o json | jq length"))
def list_letters(
    state: Annotated[str, typer.Option(help="open, replayed or discarded.")] = "open",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 100,
    output: Json = None,
) -> None:
    """Shows the records that could not be settled."""
    if state not in ("open", "replayed", "discarded"):
        raise BadInput(f"--state must be open, replayed or discarded, not {state!r}")
    found = run(_list_letters(state, limit))
    if output:
        print_json({"deadLetters": [deadletters.document(letter) for letter in found]})
        return
    print_table(["ID", "PARTITION", "OFFSET", "ATTEMPTS", "FIRST SEEN", "ERROR"], [_row(x) for x in found])


async def _list_letters(state: str, limit: int) -> list[DeadLetter]:
    async with open_office(reading=True) as office:
        return await deadletters.list_letters(office.ledger, state, limit)


def _row(x: DeadLetter) -> list[str | int]:
    return [x.id, x.log_partition, x.log_offset, x.attempts, _time(x.first_seen_ms) or "", x.error]


@dlq.command("show", epilog=examples("boxoffice dlq show 3", "boxoffice dlq show 3 -o json | jq -r .payload"))
def show_letter(letter: LetterId, output: Json = None) -> None:
    """Shows one dead letter with its payload."""
    document = deadletters.document(run(_show_letter(letter)))
    if output:
        print_json(document)
    else:
        print_pairs(document)


async def _show_letter(letter: int) -> DeadLetter:
    async with open_office(reading=True) as office:
        return await deadletters.show_letter(office.ledger, letter)


@dlq.command(
    epilog=examples("boxoffice dlq replay 3 --why 'the reader is mended'", "boxoffice dlq list --state replayed")
)
def replay(letter: LetterId, why: Why, who: Who) -> None:
    """Publishes a record again, to be settled once more."""
    check_who_and_why(who, why)
    position = run(_replay(letter, who, why))
    typer.echo(f"dead letter {letter} replayed: partition {position.partition}, offset {position.offset}")


async def _replay(letter: int, who: str, why: str) -> Position:
    async with open_office() as office:
        event_log = await open_log(office.settings, office.store)
        try:
            return await deadletters.replay_letter(office.ledger, event_log, letter, who, why)
        finally:
            await event_log.close()


@dlq.command(epilog=examples("boxoffice dlq discard 3 --why 'a test record'", "boxoffice dlq list --state discarded"))
def discard(letter: LetterId, why: Why, who: Who) -> None:
    """Sets a record aside for good."""
    check_who_and_why(who, why)
    run(_discard(letter, who, why))
    typer.echo(f"dead letter {letter} discarded")


async def _discard(letter: int, who: str, why: str) -> None:
    async with open_office() as office:
        await deadletters.discard_letter(office.ledger, letter, who, why)
