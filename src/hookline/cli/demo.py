"""`hookline demo`: both ends in one process with a simulated company and an unreliable wire between them."""

from __future__ import annotations

import secrets
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from hookline.cli import Exit, talk
from hookline.cli.parameters import AsJson
from hookline.config import load
from hookline.errors import ConfigError
from hookline.storage import is_postgres

DURATION_S = 20.0
MAX_RATE = 500


def demo(
    *,
    duration: Annotated[float | None, Parameter(validator=Number(gt=0))] = None,
    rate: Annotated[float, Parameter(validator=Number(gt=0, lte=MAX_RATE))] = 20,
    seed: Annotated[int | None, Parameter(validator=Number(gte=0))] = None,
    keep: Path | None = None,
    port: Annotated[int, Parameter(validator=Number(gte=0, lte=65535))] = 0,
    database_url: str | None = None,
    receiver_database_url: str | None = None,
    dashboard: Annotated[bool, Parameter(negative="--no-dashboard")] = True,
    as_json: AsJson = False,
) -> int:
    """Watch a company's changes leave a sender, cross a bad wire, and become rows at a receiver.

    Exit 0 only where the mirror equals the source in the end, and the handlers ran once each.

    Parameters
    ----------
    duration:
        Seconds to publish for; by default until Ctrl-C on a terminal, 20 elsewhere. Then everything drains.
    rate:
        Events per second.
    seed:
        Decides what the company does and what the wire does; by default another each time.
    keep:
        A new or empty folder for both databases and the log, kept afterwards; by default a temporary one. With
        --database-url the schema stays as well.
    port:
        Port of the sender's API on 127.0.0.1, to look into it meanwhile; its key is HOOKLINE_API_KEY, and is made and
        printed where that is not set. Without it a free port is taken.
    database_url:
        Run both ends on this PostgreSQL, in a new schema hookline_demo_… that is dropped at the end; nothing else in
        the database is read or written. By default both run on SQLite; HOOKLINE_DATABASE_URL is not read.
    receiver_database_url:
        Another PostgreSQL for the receiver alone, likewise.
    dashboard:
        Serve the dashboard on the sender's port, and print the link that leads into it. With it come an endpoint that
        fails on purpose and a row of the mirror that is changed to be found, neither part of what is compared.
    """
    from hookline.demo.run import Options
    from hookline.demo.show import play

    if duration is None and (as_json or not sys.stdout.isatty()):
        duration = DURATION_S
    with ExitStack() as folders:
        if keep is None:
            folder = Path(folders.enter_context(tempfile.TemporaryDirectory(prefix="hookline-demo-")))
        else:
            folder = _empty_folder(keep)
        sender_url, receiver_url, schemas = _schemas(
            database_url, receiver_database_url, folders, kept=keep is not None
        )
        options = Options(
            duration_s=duration,
            rate=rate,
            seed=secrets.randbelow(1_000_000) if seed is None else seed,
            folder=folder,
            sender_url=sender_url,
            receiver_url=receiver_url,
            kept=None if keep is None else ", ".join([str(folder), *(f"schema {name}" for name in schemas)]),
            port=port,
            api_key=_api_key(port) if port else None,
            has_dashboard=dashboard,
        )
        report = play(options, as_json=as_json)
    if report is None:
        talk("given up: not everything had arrived")
        return Exit.INTERRUPTED
    return Exit.OK if report.is_good else Exit.FAILED


def _schemas(
    both: str | None, receiver: str | None, ends: ExitStack, *, kept: bool
) -> tuple[str | None, str | None, list[str]]:
    """The sender's URL and the receiver's, each seeing a new schema alone, and those schemas; all unset on SQLite."""
    for option, url in (("--database-url", both), ("--receiver-database-url", receiver)):
        if url is not None and not is_postgres(url):
            raise ConfigError(
                option, "expected postgresql://user:password@host/database; on SQLite the files are in --keep FOLDER"
            )
    if both is None:
        if receiver is not None:
            raise ConfigError("--database-url", "is missing: --receiver-database-url is for the receiver alone")
        return None, None, []
    from hookline.demo.schema import made, new_name

    name = new_name()
    sender_url = ends.enter_context(made(both, name, setting="--database-url", kept=kept))
    if receiver is None:
        return sender_url, sender_url, [name]
    # A name of its own: it may be the same database after all.
    its = f"{name}_receiver"
    receiver_url = ends.enter_context(made(receiver, its, setting="--receiver-database-url", kept=kept))
    return sender_url, receiver_url, [name, its]


def _api_key(port: int) -> str:
    configured: str | None = load()["api_key"]
    from hookline.sender.keys import make_api_key

    key = configured or make_api_key("production")
    told = "key HOOKLINE_API_KEY" if configured else f"key {key}, for this run only"
    talk(f"the sender's API is at http://127.0.0.1:{port}, {told}")
    return key


def _empty_folder(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise ConfigError("--keep", f"expected a folder to write to, got {folder}: {error.strerror}") from None
    if not is_empty:
        raise ConfigError("--keep", f"expected a new or an empty folder, got {folder}, which has files in it")
    return folder
