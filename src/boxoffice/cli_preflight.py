"""`boxoffice preflight`: is all ready for the night, as far as a pod can see?"""

from __future__ import annotations

from typing import Annotated

import typer

from boxoffice.check import Check, Part, any_failed, failed, lines
from boxoffice.console import Json, examples, print_json, run
from boxoffice.errors import BadInput
from boxoffice.settings import Settings

app = typer.Typer(rich_markup_mode=None)


@app.command(
    epilog=examples(
        "boxoffice preflight tide-seoul",
        "boxoffice preflight --only redis --only log    # engines alone",
        "boxoffice preflight tide-seoul -o json | jq '.checks[] | select(.result == \"failed\")'",
    )
)
def preflight(
    sale: Annotated[str | None, typer.Argument(help="A sale; without it, engines and keys alone.")] = None,
    only: Annotated[list[Part] | None, typer.Option(help="So many times as wanted; without it, all.")] = None,
    output: Json = None,
) -> None:
    """Checks with this process's own settings what a night needs, a line each. Ends with 1 if not ready.

    `kubectl sale preflight` runs it in the pods of a cluster, and looks at what is around them.
    """
    checks = _checks(sale, only or list(Part))
    if output:
        print_json({"checks": checks})
    else:
        for line in lines(checks):
            typer.echo(line)
    raise typer.Exit(1 if any_failed(checks) else 0)


def _checks(sale: str | None, parts: list[Part]) -> list[Check]:
    from boxoffice.preflight import preflight

    try:
        settings = Settings.from_env()
    except BadInput as fault:
        return [failed("settings", fault.detail, "mend the variable, or make the Secret that it names")]
    return run(preflight(settings, sale, parts))
