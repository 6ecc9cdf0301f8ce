"""`hookline status`: how both ends are doing, in one look, and what needs somebody."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final

from hookline.cli import Exit, fail
from hookline.cli.api_client import open_sender_database
from hookline.cli.parameters import AsJson
from hookline.cli.receiver_app import AppName, DatabaseUrl, closed_receiver
from hookline.cli.tables import print_facts, print_json, print_table, printable, time_of
from hookline.config import Settings, load
from hookline.errors import ConfigError, MigrationError
from hookline.receiver.model import PassRow, TailRow
from hookline.receiver.status import LAG_MS, Status, span
from hookline.sender.model import ENVIRONMENTS
from hookline.sender.queries import Backlog, UnwellEndpoint, backlog, unwell_endpoints
from hookline.sender.store import SenderStore
from hookline.storage import Database
from hookline.storage.migrate import load_migrations, migrations_missing

_SENDER: Final = ("sender", "hookline.sender")


@dataclass(frozen=True, slots=True)
class SenderStatus:
    """The sender's side of a look: what waits by environment, and the endpoints that fail."""

    now_ms: int
    backlog: dict[str, Backlog]
    unwell: Sequence[UnwellEndpoint]

    def needs(self) -> Iterator[str]:
        """What needs somebody."""
        for environment, waiting in self.backlog.items():
            late_ms = 0 if waiting.oldest_ms is None else self.now_ms - waiting.oldest_ms
            if late_ms > LAG_MS:
                yield (
                    f"{environment}: a delivery has been due for {span(late_ms)}; is `hookline serve sender` running, "
                    "and can it keep up?"
                )
        for one in self.unwell:
            since = "" if one.failing_since_ms is None else f" for {span(self.now_ms - one.failing_since_ms)}"
            state = "fails" if one.disabled_reason is None else f"was disabled ({one.disabled_reason}), it failed"
            yield f"{one.environment}: endpoint {one.id} {state}{since}: `hookline endpoints show {one.id}`"


def status(*, app: AppName = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> int:
    """What waits, what is dead, who works, what was refused; exit 1 where something needs you, 0 where all is well."""
    settings = load({"app": app, "database_url": database_url})
    receiver = closed_receiver(settings, database_url)
    sender = sender_status(settings, database_url)
    # Looking at a database never changes it: tables are brought up to date by who works on them.
    missing = receiver.missing_migrations()
    found: Status | None = None
    if missing == 0:
        with receiver:
            found = receiver.status()
    elif sender is None or missing < len(load_migrations("hookline.receiver", "sqlite")):
        problem = f"{missing} migration(s) are not applied: `hookline db upgrade`, or start what receives"
        return fail("migrations", problem, Exit.FAILED, as_json=as_json)
    needs = [need for end in (found, sender) if end is not None for need in end.needs()]
    if as_json:
        print_json(
            {
                "healthy": not needs,
                "needs": needs,
                "receiver": None if found is None else _receiver_as_json(found),
                "sender": None if sender is None else _sender_as_json(sender),
            }
        )
        return Exit.FAILED if needs else Exit.OK
    if found is not None:
        _print_receiver(found)
    if sender is not None:
        _print_sender(sender)
    print("\n".join(f"needs you: {printable(need)}" for need in needs) or "all is well")
    return Exit.FAILED if needs else Exit.OK


def sender_status(settings: Settings, database_url: str | None) -> SenderStatus | None:
    """None where this database holds no sender."""
    with ExitStack() as ends:
        database = sender_database(settings, database_url, ends)
        if database is None:
            return None
        now_ms = time.time_ns() // 1_000_000
        store = SenderStore(database.dialect)
        with database.read() as connection:
            waiting = {str(one): backlog(store, connection, one, now_ms=now_ms) for one in ENVIRONMENTS}
            return SenderStatus(now_ms, waiting, unwell_endpoints(store, connection))


def sender_database(settings: Settings, database_url: str | None, ends: ExitStack) -> Database | None:
    """The database that holds a sender; None where there is none in it, or no such file.

    Raises:
        MigrationError: its tables are of another version.
        StorageUnavailable: it cannot be reached.
    """
    try:
        database: Database = open_sender_database(settings, database_url, ends)
    except ConfigError:
        return None
    missing = migrations_missing(database, *_SENDER)
    if missing == len(load_migrations(_SENDER[1], database.dialect)):
        return None
    if missing:
        raise MigrationError(f"sender: {missing} migration(s) are not applied: `hookline db upgrade`")
    return database


def _receiver_as_json(found: Status) -> dict[str, Any]:
    lists = [
        {"url": one.url, "fetched_ms": one.fetched_ms, "failed_ms": one.failed_ms, "error": one.error}
        for one in found.lists
    ]
    return {
        "waiting": found.waiting,
        "lag_ms": found.lag_ms,
        "last_accepted_ms": found.last_accepted_ms,
        "dead_entries": found.dead_entries,
        "failing_walks": found.failing_walks,
        "refused_last_hour": dict(found.refused),
        "handlers": [asdict(one) for one in found.handlers],
        "workers": [{**asdict(one), "is_running": one in found.running_workers} for one in found.workers],
        "mirror": {source: [asdict(one) for one in counts] for source, counts in found.mirror.items()},
        "address_lists": lists,
        "passes": [asdict(one) for one in found.passes],
        "tails": [{**one._asdict(), "is_on": one.source in found.tailed} for one in found.tails],
        "questions": {source: one._asdict() for source, one in found.questions.items()},
    }


def _compared(newest: PassRow, found: Status) -> str:
    state = f"{newest.kind} {newest.row_id}, {newest.mode.replace('_', ' ')}, {newest.state}"
    ended = "never" if newest.completed_ms is None else f"{span(found.now_ms - newest.completed_ms)} ago"
    return (
        f"{state} {span(found.now_ms - newest.updated_ms)} ago; last put right {ended}; {newest.drift} open differences"
    )


def _read_so_far(tail: TailRow, found: Status) -> str:
    off = "" if tail.source in found.tailed else "tail is off here; "
    when = "never read" if tail.read_ms is None else f"read {span(found.now_ms - tail.read_ms)} ago"
    failing = "" if tail.error is None else f"; {tail.error}"
    return f"{off}{when}, {tail.read} events, {tail.kept + tail.late} of them new{failing}"


def _sender_as_json(sender: SenderStatus) -> dict[str, Any]:
    return {
        "backlog": {environment: asdict(waiting) for environment, waiting in sender.backlog.items()},
        "unwell_endpoints": [asdict(one) for one in sender.unwell],
    }


def _print_receiver(found: Status) -> None:
    now_ms = found.now_ms

    def ago(ms: int | None) -> str:
        return "never" if ms is None else f"{time_of(ms)}, {span(now_ms - ms)} ago"

    running = found.running_workers
    last = f"none; the last was seen {ago(found.workers[0].seen_ms)}" if found.workers else "none was ever seen"
    refused = ", ".join(f"{reason} {times}" for reason, times in sorted(found.refused.items()))
    read = {one.source for one in found.tails}
    questions = found.questions.items()
    shown = [(source, one) for source, counts in found.mirror.items() for one in counts if one.rows]
    print_facts(
        [
            ("waiting", f"{found.waiting}" + (f", the first for {span(found.lag_ms)}" if found.waiting else "")),
            ("last accepted", ago(found.last_accepted_ms)),
            ("dead entries", found.dead_entries),
            ("failing walks", found.failing_walks),
            ("refused, 1 h", refused or "none"),
            ("workers", ", ".join(f"{one.name} (seen {ago(one.seen_ms)})" for one in running) or last),
            *(
                (f"to ask {source}", f"{one.waiting}, {one.gaps} of them for missing events")
                for source, one in questions
            ),
            *((f"list {one.url}", f"read {ago(one.fetched_ms)}") for one in found.lists),
            *((f"feed {one.source}", _read_so_far(one, found)) for one in found.tails),
            *((f"passes {one.source}", _compared(one, found)) for one in found.passes),
            *((f"feed {source}", "never read") for source in found.tailed if source not in read),
            *((f"mirror {source}", f"{one.resource}: {one.live} live of {one.rows}") for source, one in shown),
        ]
    )
    if found.handlers:
        print()
        print_table(
            ("HANDLER", "WAITING", "RUNNING", "DEAD", "PAUSED"),
            ((one.name, one.pending, one.running, one.dead, one.paused_reason) for one in found.handlers),
            empty="",
        )
    print()


def _print_sender(sender: SenderStatus) -> None:
    print_table(
        ("SENDER", "DUE", "WITHIN 1 H", "LATER", "HELD"),
        ((name, one.due, one.soon, one.later, one.held) for name, one in sender.backlog.items()),
        empty="",
    )
    print()
