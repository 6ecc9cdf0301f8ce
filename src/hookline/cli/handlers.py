"""`hookline handlers`: which there are, and pausing, resuming and forgetting them."""

from __future__ import annotations

from dataclasses import asdict

import cyclopts

from hookline.cli import Exit, fail
from hookline.cli.parameters import AsJson
from hookline.cli.receiver_app import AppName, DatabaseUrl, receiver_in_force
from hookline.cli.tables import print_json, print_table, printable, time_of

handlers = cyclopts.App(name="handlers", help="The app's handlers: pause, resume, forget.")


@handlers.command(name="list")
def list_(*, app: AppName = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Every handler any worker registered, with its runs in numbers."""
    with receiver_in_force(app, database_url) as receiver, receiver.look() as (queries, connection):
        rows = queries.handlers(connection)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    print_table(
        ("HANDLER", "KIND", "LISTENS TO", "OF SOURCE", "WAITING", "RUNNING", "DEAD", "PAUSED", "TRIED AGAIN"),
        (
            (
                row.name,
                row.kind,
                row.pattern,
                row.source or "(all)",
                row.pending,
                row.running,
                row.dead,
                row.paused_reason,
                time_of(row.probe_ms),
            )
            for row in rows
        ),
        empty="no handler is registered; a worker does that at its start",
    )


@handlers.command
def pause(
    name: str,
    /,
    *,
    reason: str = "paused by hand",
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Take no more runs of a handler until it is resumed; they wait in their order.

    Parameters
    ----------
    name:
        As `handlers list` shows it.
    reason:
        What `handlers list` will say of it.
    """
    with receiver_in_force(app, database_url) as receiver:
        done = receiver.worker().pause(name, reason)
    return _told(done, name, "paused", "no handler of that name is there to pause, or it is paused already", as_json)


@handlers.command
def resume(name: str, /, *, app: AppName = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> int:
    """Take a handler's runs again, whoever paused it.

    Parameters
    ----------
    name:
        As `handlers list` shows it.
    """
    with receiver_in_force(app, database_url) as receiver:
        done = receiver.worker().resume(name)
    return _told(done, name, "resumed", "no handler of that name is paused", as_json)


@handlers.command
def forget(name: str, /, *, app: AppName = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> int:
    """Forget a handler that no process has any more, and give its waiting runs up.

    Parameters
    ----------
    name:
        As `handlers list` shows it.
    """
    with receiver_in_force(app, database_url) as receiver:
        given_up = receiver.worker().forget(name)
    if given_up is None:
        return fail("not_found", f"{printable(name)}: no handler of that name", Exit.NOT_FOUND, as_json=as_json)
    if as_json:
        print_json({"handler": name, "forgotten": True, "runs_given_up": given_up})
    else:
        print(f"forgotten: {printable(name)}; runs given up: {given_up}")
    return Exit.OK


def _told(done: bool, name: str, word: str, problem: str, as_json: bool) -> int:
    if not done:
        return fail("not_found", f"{printable(name)}: {problem}", Exit.NOT_FOUND, as_json=as_json)
    if as_json:
        print_json({"handler": name, word: True})
    else:
        print(f"{word}: {printable(name)}")
    return Exit.OK
