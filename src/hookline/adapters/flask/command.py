"""`flask hookline …`: the `hookline` command, on this app's receiver and its database."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click
from flask import current_app
from flask.cli import with_appcontext

from hookline.adapters.command import run_command

if TYPE_CHECKING:
    from hookline.adapters.flask import AppReceiver


@click.command(
    "hookline",
    help="Make the tables, run the worker, look at inbox, mirror and handlers.",
    context_settings={"ignore_unknown_options": True},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@with_appcontext
def command(arguments: Sequence[str]) -> None:
    """Hands everything on, but for `migrate`, which makes the tables wherever they are."""
    receiver: AppReceiver = current_app.extensions["hookline"]
    first = arguments[0] if arguments else None
    if first == "migrate":
        count = receiver.migrate()
        click.echo(f"{count} migration(s) applied" if count else "up to date")
        return
    url = receiver.database_url()
    if first == "db" and url is None:
        raise click.UsageError("the tables are in a database that the app alone knows: flask hookline migrate")
    sys.exit(run_command(arguments, app="hookline.adapters.flask:receiver", database_url=url))
