"""`boxoffice`: runs the processes, and steers what they sell. Settings come from BOXOFFICE_* variables."""

from __future__ import annotations

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import typer

from boxoffice import (
    __version__,
    cli_after,
    cli_control,
    cli_engines,
    cli_install,
    cli_load,
    cli_orders,
    cli_preflight,
    cli_sale,
    logs,
    migrations,
)
from boxoffice.audit import AuditReport, audit as run_audit
from boxoffice.console import Json, examples, open_office, print_json, run, run_program
from boxoffice.engines import Kind
from boxoffice.eventlog import open_log, prepare_log
from boxoffice.gateway import open_gateway
from boxoffice.ledger import open_ledger
from boxoffice.probe import Readiness
from boxoffice.retention import keep_records
from boxoffice.settings import Settings
from boxoffice.standby import engines_answer, persist, read_settings
from boxoffice.store import Store

LogFormat = Annotated[
    str, typer.Option("--log-format", help="console or json. Default: BOXOFFICE_LOG_FORMAT, or what stderr is.")
]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Sells the seats of a concert to a crowd: enter, wait, admit, hold, pay, settle.",
    epilog=examples(
        "boxoffice demo                              # a whole sale on this machine, with its verdict",
        "boxoffice sale apply -f concertsale.yaml    # put a concert on sale",
        "boxoffice audit tide-seoul                  # is everything written down, once?",
    ),
)
app.add_typer(cli_control.app)
app.add_typer(cli_engines.app)
app.add_typer(cli_install.app)
app.add_typer(cli_preflight.app)
app.add_typer(cli_after.app)
app.add_typer(cli_sale.app, name="sale")
app.add_typer(cli_load.app, name="load")
app.add_typer(cli_orders.orders, name="orders")
app.add_typer(cli_orders.dlq, name="dlq")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"boxoffice {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@app.command(
    epilog=examples(
        "boxoffice demo",
        "boxoffice demo --buyers 2000 --seed 7",
        "boxoffice demo --engines production    # on Redis, Kafka and MySQL (make servers)",
        "boxoffice demo --buyers 60 --seats 30 --report report.json </dev/null",
    )
)
def demo(
    buyers: Annotated[int, typer.Option(min=2, max=5000, help="How many come.")] = 1000,
    seats: Annotated[int, typer.Option(min=10, max=5000, help="How many seats there are.")] = 500,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Who does what follows from it.")] = 1,
    engines: Annotated[
        Kind, typer.Option(help="A Valkey and SQLite, or Redis, Kafka and MySQL from `make servers`.")
    ] = Kind.embedded,
    report: Annotated[Path | None, typer.Option(help="Write the report as JSON to this file.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Keep data and logs in this (empty) directory.")] = None,
) -> None:
    """A crowd fights for the seats of a concert, on this machine, over HTTP; then the verdict.

    Starts its engines, two `serve`, `admin` and `settle`, sends the buyers with k6, and compares what they were
    told with the ledger and with the gateway's charges. Ends with 0 only if every promise was kept. On a
    terminal it stays up afterwards, with a second concert on sale, until Ctrl-C.
    """
    from boxoffice.demo import Demo

    try:
        kept = run(Demo(buyers=buyers, seats=seats, seed=seed, engines=engines, report=report, data_dir=data_dir).run())
    except asyncio.CancelledError:  # SIGTERM; all has been stopped
        raise typer.Exit(128 + signal.SIGTERM) from None
    raise typer.Exit(0 if kept else 1)


@app.command(
    epilog=examples(
        "boxoffice serve",
        "BOXOFFICE_PORT=8093 boxoffice serve    # a second one beside it",
    )
)
def serve(log_format: LogFormat = "") -> None:
    """Serves the buyers: pages and API (port 8083)."""
    from boxoffice import serving

    serving.serve(log_format)


@app.command(
    epilog=examples(
        "BOXOFFICE_ADMIN_TOKEN_SHA256=$(printf %s \"$TOKEN\" | sha256sum | cut -d' ' -f1) boxoffice admin",
        'curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8084/admin/api/sales',
    )
)
def admin(log_format: LogFormat = "") -> None:
    """Serves those who run the sales: dashboard and API (port 8084)."""
    from boxoffice.admin import build_admin
    from boxoffice.server import run_server

    logs.start(log_format)
    settings = run(read_settings("admin_port"))
    app = build_admin(settings)
    run(engines_answer(settings, "admin_port", migrations.check_tables))
    run_server(app, settings, settings.admin_port, leave=lambda: None)


@app.command(
    epilog=examples(
        "boxoffice settle",
        "BOXOFFICE_SETTLE_PORT=0 boxoffice settle    # a second one shares the partitions",
    )
)
def settle(log_format: LogFormat = "") -> None:
    """Charges the orders in the log and writes them into the ledger, each once."""
    import uvloop

    from boxoffice.settlement import run_settlement

    logs.start(log_format)
    uvloop.run(run_settlement(run(read_settings("settle_port"))))


@app.command(
    epilog=examples(
        "boxoffice migrate",
        "boxoffice migrate --online    # the tables change while a sale is open",
        "boxoffice migrate --wait 300    # until the engines answer",
        "BOXOFFICE_LEDGER_URL=sqlite+aiosqlite:////var/lib/boxoffice/ledger.db boxoffice migrate",
    )
)
def migrate(
    online: Annotated[bool, typer.Option("--online", help="Even while a sale is open.")] = False,
    wait: Annotated[int, typer.Option(min=0, help="Seconds to wait for secrets and engines.")] = 0,
    log_format: LogFormat = "",
) -> None:
    """Brings the ledger's tables up to date and makes the event log. Safe to repeat."""
    logs.start(log_format)
    run(persist(lambda: _migrate(online), Readiness(), wait))
    typer.echo("the ledger and the log are ready")


async def _migrate(online: bool) -> None:
    settings = Settings.from_env()
    await migrations.migrate(settings, online=online)
    async with AsyncExitStack() as stack:
        store = await Store.open(settings)
        stack.push_async_callback(store.close)
        await prepare_log(settings, store)
        event_log = await open_log(settings, store)
        stack.push_async_callback(event_log.close)
        ledger = await open_ledger(settings)
        stack.push_async_callback(ledger.close)
        await keep_records(event_log, ledger)


@app.command(epilog=examples("boxoffice audit tide-seoul", "boxoffice audit tide-seoul -o json | jq .differences"))
def audit(sale: Annotated[str, typer.Argument(help="The sale's name.")], output: Json = None) -> None:
    """Compares Redis, log, ledger and the gateway's charges. Ends with 1 when they differ."""
    report = run(_audit(sale))
    if output:
        print_json(report)
    else:
        for difference in report.differences:
            typer.echo(f"{difference.kind}: {difference.text}")
        counts = f"{report.orders} orders, {report.tickets} tickets, {report.charges} charges"
        typer.echo(f"{sale}: {counts}, {report.in_flight} on their way, {len(report.differences)} differences")
    raise typer.Exit(1 if report.differences else 0)


async def _audit(sale: str) -> AuditReport:
    async with open_office(reading=True) as office, AsyncExitStack() as stack:
        event_log = await open_log(office.settings, office.store)
        stack.push_async_callback(event_log.close)
        gateway = await open_gateway(office.settings)
        stack.push_async_callback(gateway.close)
        return await run_audit(sale, office.store, event_log, office.ledger, gateway)


app.command(epilog=examples("boxoffice rebuild tide-seoul", "boxoffice rebuild tide-seoul --yes"))(cli_sale.rebuild)


def main() -> None:
    run_program(app, "boxoffice")
