"""`boxoffice report` and `boxoffice purge`: what a sale came to, and what is forgotten of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from boxoffice import reportwords
from boxoffice.aftermath import aftermath_of
from boxoffice.console import Json, Who, Why, examples, print_json, run
from boxoffice.ledger import Ledger, open_ledger
from boxoffice.purge import Purged, check, purge as erase
from boxoffice.reckoning import reckon
from boxoffice.reportpage import page
from boxoffice.salerecords import now_ms
from boxoffice.salereport import SaleReport
from boxoffice.sales import check_who_and_why
from boxoffice.settings import Settings

app = typer.Typer(rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="The sale's name.")]


@app.command(
    epilog=examples(
        "boxoffice report tide-seoul",
        "boxoffice report tide-seoul --html tide-seoul.html    # plots; one file to pass on",
        "boxoffice report tide-seoul -o json | jq .waiting.sinceOpening",
    )
)
def report(
    sale: Name,
    html: Annotated[Path | None, typer.Option("--html", help="Write it as a page to this file.")] = None,
    output: Json = None,
) -> None:
    """Tells how a sale went, or goes: waits, fairness, pace, conversions, faults.

    From the ledger alone: it works while the sale runs, and when Redis has long forgotten it.
    """
    found = run(_report(sale))
    if html is not None:
        html.write_text(page(found))
    if output:
        print_json(found)
    elif html is None:
        _print(found)


async def _report(name: str) -> SaleReport:
    async with _ledger(reading=True) as ledger:
        return reckon(await aftermath_of(ledger, name), now_ms())


@asynccontextmanager
async def _ledger(reading: bool) -> AsyncIterator[Ledger]:
    """Without Redis, which may have nothing of the sale any more."""
    ledger = await open_ledger(Settings.from_env(), reading)
    try:
        yield ledger
    finally:
        await ledger.close()


def _print(found: SaleReport) -> None:
    w = reportwords
    typer.echo(f"{found.title}, {found.venue} ({found.sale}): {found.state}")
    rows = [*w.sums(found), *w.waits(found), *w.conversions(found), *w.faults(found)]
    rows += [(f"orders {o.state}", f"{o.orders:,}  {o.reason}".rstrip()) for o in found.outcomes]
    rows += [(f"section {s.name}", f"{s.sold:,} of {s.seats:,}") for s in found.sections]
    rows += [(deed.at, f"{deed.what}, {deed.who}: {deed.why}") for deed in found.deeds]
    for label, value in rows:
        typer.echo(f"  {label:<52}{value}")


@app.command(
    epilog=examples(
        "boxoffice purge tide-seoul --why 'thirty days after the concert'",
        "boxoffice purge tide-seoul --why 'thirty days after the concert' --yes",
    )
)
def purge(
    sale: Name, why: Why, who: Who, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False
) -> None:
    """Erases from the ledger who bought, and by what card; orders, seats and sums stay.

    Only for a sale that is archived and has nothing left to be done. Afterwards no buyer finds an order of it any
    more; a refund is still possible, by the order's id. Safe to break off and repeat. What the event log, its copies
    and the gateway keep is not touched: see docs/after-the-sale.md.
    """
    check_who_and_why(who, why)
    run(_check(sale))
    if not yes:
        typer.confirm(f"Erase for good whose orders {sale} had. Go on?", abort=True, err=True)
    done = run(_purge(sale, who, why))
    typer.echo(
        f"{sale}: erased in {done.orders} orders, {done.letters} dead letters, {done.reasons} reasons of refunds"
    )


async def _check(name: str) -> None:
    async with _ledger(reading=True) as ledger:
        await check(ledger, name)


async def _purge(name: str, who: str, why: str) -> Purged:
    """A bar on a terminal, nothing elsewhere."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(f"erasing {name}", total=None)
        async with _ledger(reading=False) as ledger:
            return await erase(ledger, name, who, why, lambda done, of: progress.update(bar, completed=done, total=of))
