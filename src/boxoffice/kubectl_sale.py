"""`kubectl sale`: steers the sales of a cluster through the user's own kubectl. It loads no engine's client."""

from __future__ import annotations

import contextlib
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from boxoffice.check import any_failed, lines
from boxoffice.clusterchecks import preflight as checks_of
from boxoffice.console import Who, Why, examples, print_table, run_program
from boxoffice.durations import parse_until
from boxoffice.errors import BadInput
from boxoffice.explain import SeenEvent, explain as words_of
from boxoffice.kubectl import CONCERT_SALES, Kubectl
from boxoffice.override import ANNOTATION, Override, parse
from boxoffice.saletable import Lines, Screen, table
from boxoffice.salewatch import confirmed, follow
from boxoffice.seen import sale_of, sales_of
from boxoffice.spec import Policy

MOST_PER_MINUTE = 1_000_000

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Steers the concerts that are on sale in a cluster, through your kubectl.",
    epilog=examples(
        "kubectl sale get -w                     # all sales, as they change",
        "kubectl sale explain tide-seoul         # the pace, and why",
        "kubectl sale hold tide-seoul --why 'the ledger is slow' --until 20m",
        "kubectl sale preflight tide-seoul       # is all ready for the night?",
        "kubectl sale simulate tide-seoul        # when will it be sold out?",
    ),
)

Name = Annotated[str, typer.Argument(help="The sale's name.")]
Context = Annotated[str, typer.Option("--context", help="Of your kubectl; without it, the current one.")]
Namespace = Annotated[str, typer.Option("-n", "--namespace", help="Without it, that of the context.")]
Until = Annotated[str, typer.Option("--until", help="A span such as 20m or 1h30m, or an RFC 3339 time.")]


@app.command(epilog=examples("kubectl sale get", "kubectl sale get -w", "kubectl sale get tide-seoul -n tickets -w"))
def get(
    name: Annotated[str | None, typer.Argument(help="One sale; without it, all.")] = None,
    watch: Annotated[bool, typer.Option("-w", "--watch", help="Stay, and show changes as they come.")] = False,
    context: Context = "",
    namespace: Namespace = "",
) -> None:
    """Shows the sales: who waits, who is inside, what is sold, and what limits the pace.

    With -w a table that is drawn again in place on a terminal, one line for each change on a pipe; Ctrl-C ends it.
    """
    kubectl = Kubectl(context, namespace)
    if watch:
        _follow(kubectl, name)
        return
    found = sales_of(kubectl.run("get", CONCERT_SALES, *([name] if name else []), "--output=json"))
    if found:
        print_table(*table(found, datetime.now(UTC)))
    else:
        typer.echo("no sale here", err=True)


def _follow(kubectl: Kubectl, name: str | None) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        if sys.stdout.isatty():
            with Screen() as screen:
                follow(kubectl, name, screen)
        try:
            follow(kubectl, name, Lines(typer.echo, lambda fault: typer.echo(f"kubectl sale: {fault}", err=True)))
        except BrokenPipeError:  # `| head` has seen enough; what is still in the buffer has nowhere to go
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@app.command(epilog=examples("kubectl sale explain tide-seoul", "kubectl sale explain tide-seoul -n tickets"))
def explain(name: Name, context: Context = "", namespace: Namespace = "") -> None:
    """Says what the pace of a sale is, why, and what would change it."""
    kubectl = Kubectl(context, namespace)
    sale = sale_of(kubectl.run("get", CONCERT_SALES, name, "--output=json"))
    which = f"--field-selector=involvedObject.kind=ConcertSale,involvedObject.name={name}"
    events = msgspec.convert(kubectl.items("events", which), list[SeenEvent])
    for line in words_of(sale, events, datetime.now(UTC)):
        typer.echo(line)


@app.command(
    epilog=examples(
        "kubectl sale hold tide-seoul --why 'the ledger is slow'",
        "kubectl sale hold tide-seoul --why 'the gateway is being restarted' --until 20m",
    )
)
def hold(name: Name, why: Why, who: Who, until: Until = "", context: Context = "", namespace: Namespace = "") -> None:
    """Nobody new is let in; those inside go on, the line is kept. GitOps does not revert it."""
    _override(Kubectl(context, namespace), name, "Hold", who, why, until)


@app.command(
    epilog=examples(
        "kubectl sale drain tide-seoul --why 'enough for the night'",
        "kubectl sale drain tide-seoul --why 'until the doors open' --until 2030-09-06T10:00:00+02:00",
    )
)
def drain(name: Name, why: Why, who: Who, until: Until = "", context: Context = "", namespace: Namespace = "") -> None:
    """Nobody new may join the line either; nobody is let in. GitOps does not revert it."""
    _override(Kubectl(context, namespace), name, "Drain", who, why, until)


@app.command(
    epilog=examples(
        "kubectl sale close tide-seoul --why 'the concert is cancelled'",
        "kubectl sale close tide-seoul --why 'it was a rehearsal' --yes",
    )
)
def close(
    name: Name,
    why: Why,
    who: Who,
    until: Until = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    context: Context = "",
    namespace: Namespace = "",
) -> None:
    """The sale is over for everybody who waits or is inside; orders that were placed are settled."""
    if not yes:
        typer.confirm(f"{name} is over then for all who wait and all who are inside. Go on?", abort=True, err=True)
    _override(Kubectl(context, namespace), name, "Closed", who, why, until)


@app.command(
    epilog=examples(
        "kubectl sale resume tide-seoul --why 'the ledger is well again'",
        "kubectl sale resume tide-seoul --why 'false alarm' --who 'the night shift'",
    )
)
def resume(name: Name, why: Why, who: Who, context: Context = "", namespace: Namespace = "") -> None:
    """Takes hold, drain or close back: what the resource says counts again."""
    _override(Kubectl(context, namespace), name, "Open", who, why, "")


def _override(kubectl: Kubectl, name: str, policy: Policy, who: str, why: str, until: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    ends = parse_until(until, now) if until else None
    text = Override(policy=policy, who=who.strip(), why=why.strip(), at=now, until=ends).text()
    override = parse(text)  # who and why have bounds
    kubectl.run("annotate", CONCERT_SALES, name, "--overwrite", f"{ANNOTATION}={text}")
    typer.echo(f"concertsale/{name} override {policy} is written{f', until {ends.isoformat()}' if ends else ''}")
    if seen := confirmed(kubectl, name, override):
        typer.echo(f"concertsale/{name} the operator confirms: {seen}")
        return
    typer.echo(
        f"concertsale/{name} the operator has not confirmed it: look again with `kubectl sale explain {name}`. Without "
        f"an operator, `boxoffice sale {_COMMANDS[policy]} {name} --why '…'` in the admin pod does it",
        err=True,
    )


_COMMANDS: dict[Policy, str] = {"Hold": "hold", "Drain": "drain", "Closed": "close", "Open": "resume"}


@app.command(
    epilog=examples(
        "kubectl sale rate tide-seoul 600     # by hand: 600 a minute are called",
        "kubectl sale rate tide-seoul auto    # the number inside counts again",
    )
)
def rate(
    name: Name,
    pace: Annotated[str, typer.Argument(metavar="PER-MINUTE|auto", help="Buyers called a minute, or auto.")],
    context: Context = "",
    namespace: Namespace = "",
) -> None:
    """Calls buyers at a fixed pace (mode Manual), or goes back to mode Auto. It edits spec.admission."""
    admission = {"mode": "Auto"} if pace == "auto" else {"mode": "Manual", "perMinute": _per_minute(pace)}
    patch = msgspec.json.encode({"spec": {"admission": admission}}).decode()
    said = Kubectl(context, namespace).run("patch", CONCERT_SALES, name, "--type=merge", f"--patch={patch}")
    typer.echo(said, nl=False)
    typer.echo("This is an edit of spec: GitOps reverts it unless it is committed there too.", err=True)


def _per_minute(text: str) -> int:
    if not text.isdecimal() or int(text) > MOST_PER_MINUTE:
        raise BadInput(f"the pace must be a number from 0 to {MOST_PER_MINUTE} a minute, or auto, not {text!r}")
    return int(text)


@app.command(
    epilog=examples(
        "kubectl sale simulate tide-seoul --crowd 20000 --capacity 3000 --stay 120",
        "kubectl sale simulate tide-seoul --crowd 20000 --from range.json    # the capacity of a recorded night",
    )
)
def simulate(
    name: Name,
    crowd: Annotated[int, typer.Option(min=1, help="How many wait at the opening.")] = 200_000,
    capacity: Annotated[float, typer.Option(min=1, help="Buyers inside that use up the back end.")] = 9000,
    stay: Annotated[float, typer.Option(min=1, help="Seconds that a buyer stays inside, on the mean.")] = 90,
    export: Annotated[
        Path | None, typer.Option("--from", help="Take the capacity from a Prometheus range export (JSON).")
    ] = None,
    context: Context = "",
    namespace: Namespace = "",
) -> None:
    """Tries the night out with the sale as the cluster has it: when it is sold out, and how slow it gets.

    The real control code runs on this machine, against a simulated back end and crowd; nothing in the cluster changes.
    It needs pip install 'boxoffice[simulate]', whose `boxoffice simulate` can do more.
    """
    from boxoffice.forecast import as_recorded, forecast, print_forecast, seller_of
    from boxoffice.plant import World
    from boxoffice.sale import convert_sale

    found = Kubectl(context, namespace).run("get", CONCERT_SALES, name, "--output=json")
    seller = seller_of(convert_sale(msgspec.json.decode(found)), crowd)
    world = as_recorded(World(capacity=capacity, stay_seconds=stay), export, seller)
    print_forecast(*forecast(seller, world, [1]), seller, world)


@app.command(
    epilog=examples(
        "kubectl sale preflight tide-seoul",
        "kubectl sale preflight tide-seoul -n tickets && echo ready",
    )
)
def preflight(name: Name, context: Context = "", namespace: Namespace = "") -> None:
    """Checks what the night needs, a line each, with the mend where something is missing. Ends with 1 if not ready.

    Engines, keys and the sale itself are looked at from inside, by `boxoffice preflight` in the pods; the rest
    through kubectl.
    """
    checks = checks_of(Kubectl(context, namespace), name)
    for line in lines(checks):
        typer.echo(line)
    raise typer.Exit(1 if any_failed(checks) else 0)


@app.command(
    epilog=examples(
        "kubectl sale rehearse tide-seoul",
        "kubectl sale rehearse tide-seoul --buyers 1000 --html rehearsal.html",
        "kubectl sale rehearse tide-seoul --image registry.example/boxoffice-k6:1.4.0",
    )
)
def rehearse(
    name: Name,
    who: Who,
    buyers: Annotated[int, typer.Option(min=2, max=3000, help="How many come, within half a minute.")] = 200,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Who does what follows from it.")] = 1,
    image: Annotated[str, typer.Option(help="Of the crowd (load/Dockerfile); without it, the app's with -k6.")] = "",
    prometheus: Annotated[str, typer.Option(help="As the admin pod reaches it: adds how the back end was used.")] = "",
    html: Annotated[Path | None, typer.Option(help="Write the report as a page to this file.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Though buyers are let in to another sale.")] = False,
    context: Context = "",
    namespace: Namespace = "",
) -> None:
    """Plays a sale with a crowd before its night, on an unlisted copy with the simulated gateway, and judges it.

    The copy opens at once; all else is as in the sale, but that a crowd from one address may join without a sign-in
    or proof of work. It takes as long as the last unpaid hold. Afterwards nothing is left: the copy, the crowd, its
    orders in Redis and ledger; the trail keeps who rehearsed. Ends with 1 when a promise was broken.
    """
    from boxoffice.kubectl_rehearse import rehearse as play
    from boxoffice.loadpage import page
    from boxoffice.report import write

    found = play(Kubectl(context, namespace), name, buyers, seed, image, prometheus, who, yes, typer.echo)
    if html is not None:
        html.write_text(page(found))
    write(found.verdict, typer.echo)
    raise typer.Exit(0 if found.kept else 1)


def main() -> None:
    run_program(app, "kubectl sale")
