"""`boxoffice orders` and `boxoffice dlq`: what was settled, and what could not be."""

from __future__ import annotations

import typer

orders = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at settled orders, and refund them.")
dlq = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Records of the log that cannot be orders.")
