"""`boxoffice load report`: the verdict on a sale that a crowd of load/ went through."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from boxoffice import report as words
from boxoffice.console import Json, examples, open_office, run
from boxoffice.errors import BadInput
from boxoffice.loadevidence import judge_crowd
from boxoffice.loadpage import page
from boxoffice.loadreport import LoadReport, to_json
from boxoffice.witnesses import Story, stories_in_log

STDIN = Path("-")

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="What the crowds of load/ are judged by.")


@app.callback()
def _group() -> None:
    pass


@app.command(
    epilog=examples(
        "boxoffice load report tide-seoul --stories stories.ndjson --html crowd.html",
        "kubectl logs job/crowd | kubectl exec -i deploy/boxoffice-admin -- boxoffice load report harbour-2030",
        "boxoffice load report tide-seoul --stories stories.ndjson --prometheus http://127.0.0.1:9090 -o json",
    )
)
def report(
    sale: Annotated[str, typer.Argument(help="The sale's name.")],
    stories: Annotated[
        list[Path], typer.Option(help="What k6 wrote, one file a runner; logs of pods will do. - reads stdin.")
    ] = [STDIN],  # noqa: B006
    prometheus: Annotated[
        str, typer.Option(help="Its address, or a file with an answer of query_range: adds how the back end was used.")
    ] = "",
    html: Annotated[Path | None, typer.Option(help="Write it as a page to this file; - writes stdout.")] = None,
    output: Json = None,
) -> None:
    """Judges a sale by its buyers' stories, the ledger, the gateway's charges and the audit together.

    It works on the engines of the settings. Ends with 1 when a promise was broken: a seat sold twice, a charge without
    a ticket, somebody called out of order, a 5xx, a story that is missing, or something refused that must be, which
    was not.
    """
    found = run(_report(sale, read(stories), prometheus))
    if html == STDIN:
        typer.echo(page(found), nl=False)
    elif html is not None:
        html.write_text(page(found))
    if output:
        typer.echo(to_json(found).decode(), nl=False)
    elif html != STDIN:
        show(found)
    raise typer.Exit(0 if found.kept else 1)


def show(found: LoadReport) -> None:
    words.write(found.verdict, typer.echo)
    if found.hostile:
        counts = ", ".join(f"{kind} {count}" for kind, count in found.hostile.items())
        typer.echo(f"\n  refused to those who mean ill: {counts}")
    for usage in found.usage:
        typer.echo(f"  {usage.name:<36}{usage.most:g} at most, {usage.mean:g} on average, of {usage.setpoint:g}")


def read(files: list[Path]) -> list[Story]:
    told: list[Story] = []
    for file in files:
        try:
            text = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
        except OSError as error:
            raise BadInput(f"{file}: {error.strerror}") from None
        told += stories_in_log(str(file), text)
    if not told:
        raise BadInput("there is no story in what k6 wrote: did it run, and with --log-format=raw?")
    return told


async def _report(name: str, told: list[Story], prometheus: str) -> LoadReport:
    async with open_office(reading=True) as office:
        return await judge_crowd(office, name, told, prometheus)
