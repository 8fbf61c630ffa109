"""`boxoffice sale`: the sales of an instance, from the same YAML that a cluster takes."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from boxoffice import sales
from boxoffice.arrears import Arrears
from boxoffice.console import Json, Who, Why, examples, open_office, print_json, print_table, run
from boxoffice.effects import sink_of
from boxoffice.erasing import erase as erase_rehearsal
from boxoffice.errors import BadInput, NotFound
from boxoffice.eventlog import open_log
from boxoffice.gateway import open_gateway
from boxoffice.ledger import open_ledger
from boxoffice.recovery import Recovery
from boxoffice.sale import MAX_RESOURCE_BYTES, ConcertSale, dump_sale, parse_sales, to_builtins
from boxoffice.sales import SaleState
from boxoffice.settings import Settings
from boxoffice.spec import Policy
from boxoffice.store import Store

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Put concerts on sale, and steer the sales.",
    epilog=examples(
        "boxoffice sale apply -f concertsale.yaml",
        "boxoffice sale list",
        "boxoffice sale hold tide-seoul --why 'the ledger is slow'",
    ),
)

Name = Annotated[str, typer.Argument(help="The sale's name.")]


class Shape(StrEnum):
    yaml = "yaml"
    json = "json"


@app.command(
    epilog=examples(
        "boxoffice sale apply -f concertsale.yaml",
        "boxoffice sale get tide-seoul | sed 's/policy: Open/policy: Hold/' | boxoffice sale apply -f -",
    )
)
def apply(
    file: Annotated[Path, typer.Option("-f", "--file", help="ConcertSale YAML or JSON; - reads stdin.")],
    who: Who,
) -> None:
    """Makes the sales of a file, or changes them."""
    run(_apply(parse_sales(_read(file)), who))


def _read(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read(MAX_RESOURCE_BYTES + 1)
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_RESOURCE_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}") from None


async def _apply(resources: list[ConcertSale], who: str) -> None:
    async with open_office() as office:
        for sale in resources:
            new = await sales.apply(office.store, office.ledger, sale, who)
            typer.echo(f"concertsale/{sale.metadata.name} {'created' if new else 'configured'}")


@app.command(
    "list",
    epilog=examples("boxoffice sale list", "boxoffice sale list -o json | jq '.sales[] | {name, sold, total}'"),
)
def list_(output: Json = None) -> None:
    """Shows every sale: who waits, who is inside, what is sold."""
    found = run(_states())
    if output:
        print_json({"sales": found})
        return
    header = ["NAME", "STATE", "POLICY", "MODE", "WAITING", "ACTIVE", "RATE", "HELD", "SOLD", "TOTAL"]
    print_table(header, [_row(state) for state in found])


def _row(s: SaleState) -> list[str | int]:
    policy = f"{s.policy} ({s.override.policy})" if s.override else s.policy
    return [s.name, s.state, policy, s.mode, s.waiting, s.active, s.rate_per_minute, s.held, s.sold, s.total]


async def _states() -> list[SaleState]:
    async with open_office() as office:
        if unready := sorted(name for name, view in office.board.views.items() if not view.ready):
            typer.echo(f"being restored, not shown: {', '.join(unready)}", err=True)
        return await sales.states(office.store, office.ledger, office.board)


@app.command(
    epilog=examples("boxoffice sale get tide-seoul > tide-seoul.yaml", "boxoffice sale get tide-seoul -o json")
)
def get(
    name: Name, output: Annotated[Shape, typer.Option("-o", "--output", help="How to print it.")] = Shape.yaml
) -> None:
    """Prints a sale as `apply` takes it."""
    sale = run(_get(name))
    if output is Shape.json:
        print_json(to_builtins(sale))
    else:
        typer.echo(dump_sale(sale), nl=False)


async def _get(name: str) -> ConcertSale:
    async with open_office() as office:
        try:
            return await sales.get(office.store, name)
        except NotFound:
            record = await office.ledger.sale(name)
            if record is None or record.archived_ms is None:
                raise
            return sales.resource(name, record.spec)


@app.command(
    epilog=examples(
        "boxoffice sale hold tide-seoul --why 'the ledger is slow'",
        "boxoffice sale resume tide-seoul --why 'the ledger is well again'",
    )
)
def hold(name: Name, why: Why, who: Who) -> None:
    """Nobody new is let in; those inside go on, the line is kept."""
    run(_override(name, "Hold", who, why))


@app.command(
    epilog=examples(
        "boxoffice sale drain tide-seoul --why 'enough for the night'",
        "boxoffice sale resume tide-seoul --why 'a second night was added'",
    )
)
def drain(name: Name, why: Why, who: Who) -> None:
    """Nobody new may join the line either; nobody is let in."""
    run(_override(name, "Drain", who, why))


@app.command(
    epilog=examples(
        "boxoffice sale close tide-seoul --why 'the concert is cancelled'",
        "boxoffice orders refund --sale tide-seoul --why 'the concert is cancelled'",
    )
)
def close(name: Name, why: Why, who: Who) -> None:
    """The sale is over; orders that were placed are settled."""
    run(_override(name, "Closed", who, why))


@app.command(
    epilog=examples(
        "boxoffice sale resume tide-seoul --why 'the ledger is well again'",
        "boxoffice sale resume tide-seoul --why 'false alarm' --who 'the night shift'",
    )
)
def resume(name: Name, why: Why, who: Who) -> None:
    """Takes hold, drain or close back: what the resource says counts again."""
    run(_override(name, None, who, why))


async def _override(name: str, policy: Policy | None, who: str, why: str) -> None:
    async with open_office() as office:
        in_force = await sales.override(office.store, office.ledger, name, policy, who, why)
    typer.echo(f"concertsale/{name} policy in force: {in_force}")


@app.command(
    epilog=examples(
        "boxoffice sale close tide-seoul --why 'it was a rehearsal'",
        "boxoffice sale delete tide-seoul --why 'it was a rehearsal'",
    )
)
def delete(name: Name, why: Why, who: Who) -> None:
    """Removes a sale that is not running. The ledger keeps its orders."""
    run(_delete(name, who, why))


async def _delete(name: str, who: str, why: str) -> None:
    async with open_office() as office:
        await sales.delete(office.store, office.ledger, office.board.view(name), who, why)
    typer.echo(f"concertsale/{name} deleted")


@app.command(
    epilog=examples(
        "boxoffice sale erase rehearsal-3f9a1c --why 'it was a rehearsal'",
        "kubectl delete concertsale rehearsal-3f9a1c    # first, where an operator looks after it",
    )
)
def erase(name: Name, why: Why, who: Who) -> None:
    """Leaves nothing of a rehearsal (listing: Rehearsal): money back, its orders and itself out of Redis and ledger.

    `kubectl sale rehearse` does it by itself. What the event log and the gateway saw, they keep. Safe to repeat.
    """
    run(_erase(name, who, why))


async def _erase(name: str, who: str, why: str) -> None:
    async with open_office() as office, AsyncExitStack() as stack:
        event_log = await open_log(office.settings, office.store)
        stack.push_async_callback(event_log.close)
        gateway = await open_gateway(office.settings)
        stack.push_async_callback(gateway.close)
        arrears = Arrears(office.ledger, gateway, sink_of(office.store, event_log))
        await erase_rehearsal(office, arrears, name, who, why)
    typer.echo(f"concertsale/{name} erased")


def rebuild(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Writes a sale in Redis anew from the ledger and the log, as `settle` does by itself after a loss.

    Buyers are answered 503 with Retry-After meanwhile, some 15 s. Places, holds and visits that are still in Redis
    and do not contradict the ledger stay. `settle` must be running: what is in the log is settled first.
    """
    if not yes:
        typer.confirm(f"{name} stands still for some 15 s. Go on?", abort=True, err=True)
    run(_rebuild(name))
    typer.echo(f"concertsale/{name} rebuilt")


async def _rebuild(name: str) -> None:
    settings = Settings.from_env()
    async with AsyncExitStack() as stack:
        store = await Store.open(settings)
        stack.push_async_callback(store.close)
        ledger = await open_ledger(settings)
        stack.push_async_callback(ledger.close)
        event_log = await open_log(settings, store)
        stack.push_async_callback(event_log.close)
        sale = await ledger.sale(name)
        if sale is None or sale.dropped_ms is not None:
            raise NotFound(f"there is no sale named {name!r} to rebuild; `boxoffice sale apply` makes one")
        typer.echo(
            f"rebuilding {name}: {settings.recovery_wait_seconds:.0f} s until nothing is under way, then the log"
        )
        await Recovery(settings, store, ledger, event_log).rebuild_by_hand(sale)
