"""`boxoffice serve`, without the rest of the command line: a pod is up in half the time, and half as large."""

from __future__ import annotations

import asyncio

from boxoffice import logs
from boxoffice.app import build_app, start_draining
from boxoffice.errors import BoxofficeError
from boxoffice.server import run_server
from boxoffice.standby import engines_answer, read_settings


def main() -> None:
    """Errors are one line on stderr, as in cli.py."""
    try:
        serve()
    except (BoxofficeError, OSError) as error:
        logs.give_up("boxoffice", str(error))


def serve(log_format: str = "") -> None:
    """Until SIGTERM or SIGINT. Raises BadInput."""
    logs.start(log_format)
    settings = asyncio.run(read_settings("port"))
    app = build_app(settings)
    asyncio.run(engines_answer(settings, "port", None))
    run_server(app, settings, settings.port, leave=lambda: start_draining(app))
