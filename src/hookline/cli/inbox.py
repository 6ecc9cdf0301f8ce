"""`hookline inbox`: what arrived, what became of it, and once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Final

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit, fail
from hookline.cli.exporting import ROWS_AT_ONCE, FormatFlag, Output, export_rows
from hookline.cli.parameters import AsJson, moment_of
from hookline.cli.receiver_app import AppName, DatabaseUrl, SourceName, receiver_in_force
from hookline.cli.tables import print_json, print_table, printable, time_of
from hookline.errors import ConfigError
from hookline.receiver.app import Receiver
from hookline.receiver.inbox_search import NEWEST, PAGE
from hookline.receiver.model import InboxEntry, RunRow
from hookline.receiver.replay import LAST, Mode, Selection

inbox = cyclopts.App(name="inbox", help="What arrived, what became of it, and once more.")

MOST_NOTE: Final = 500
DAY_MS: Final = 86_400_000
_EXPORTED: Final = (
    *("seq", "source", "event_id", "type", "state", "reason", "received_at", "finished_at", "due_at", "duplicates"),
    *("conflicts", "via", "kept"),
)


@inbox.command(name="list")
def list_(
    *,
    state: str | None = None,
    before: int = NEWEST,
    limit: int = PAGE,
    source: SourceName = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """The newest entries first.

    Parameters
    ----------
    state:
        Only these: waiting, applied, stale, noop, fact, ignored or dead.
    before:
        Go on below this number.
    limit:
        How many at most.
    """
    with receiver_in_force(app, database_url) as receiver, receiver.look(source) as (queries, connection):
        entries = queries.entries(connection, state=state, before_seq=before, limit=limit)
    if as_json:
        print_json([_entry(entry) for entry in entries])
    else:
        _print_entries(entries, empty="no entries")


@inbox.command
def export(
    *,
    state: Annotated[str | None, Parameter(help="Only these, as for `inbox list`.")] = None,
    bodies: Annotated[bool, Parameter(negative=(), help="With the bodies as text: personal data.")] = False,
    format_: FormatFlag = "jsonl",
    output: Output = None,
    source: SourceName = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write entries out, the newest first."""
    with receiver_in_force(app, database_url) as receiver:
        rows = _exported(receiver, source, state, bodies=bodies)
        export_rows((*_EXPORTED, "body") if bodies else _EXPORTED, rows, format_, output, what="entries")


def _exported(receiver: Receiver, source: str | None, state: str | None, *, bodies: bool) -> Iterator[dict[str, Any]]:
    """A page and its bodies in each look, so that no snapshot of the database is held for as long as it takes."""
    if bodies and source is None:  # an event's id names a body within its source alone
        for one in _sources(receiver, None):
            yield from _exported(receiver, one, state, bodies=bodies)
        return
    before = NEWEST
    while True:
        with receiver.look(source) as (queries, connection):
            entries = queries.entries(connection, state=state, before_seq=before, limit=ROWS_AT_ONCE)
            rows = [_entry(entry) for entry in entries]
            if bodies:
                for entry, row in zip(entries, rows, strict=True):
                    raw = queries.body(connection, entry.event_id) if entry.has_body else None
                    row["body"] = None if raw is None else raw.decode("utf-8", "replace")
        yield from rows
        if len(entries) < ROWS_AT_ONCE:
            return
        before = entries[-1].seq


@inbox.command
def show(
    event_id: str,
    /,
    *,
    body: Annotated[bool, Parameter(negative=(), help="Print the body: it holds personal data.")] = False,
    source: SourceName = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """One entry, its runs, and their errors; exit 3 where there is none of that id.

    Parameters
    ----------
    event_id:
        As `inbox list` shows it.
    """
    with receiver_in_force(app, database_url) as receiver, receiver.look(source) as (queries, connection):
        found = queries.entries(connection, event_id=event_id)
        if len(found) > 1:
            raise ConfigError("--source", f"several have an event of this id: {', '.join(one.source for one in found)}")
        entry = found[0] if found else None
        runs = [] if entry is None else queries.runs(connection, entry_seq=entry.seq, limit=1_000)
        raw = queries.body(connection, event_id) if body else None
    if entry is None:
        return fail("not_found", f"{printable(event_id)}: no entry of that id", Exit.NOT_FOUND, as_json=as_json)
    text = None if raw is None else raw.decode("utf-8", "replace")
    if as_json:
        print_json({**_entry(entry), "runs": [asdict(run) for run in runs], **({"body": text} if body else {})})
        return Exit.OK
    for name, value in _entry(entry).items():
        print(f"{name:<12} {printable(value)}")
    _print_runs(runs, empty="no handler was called for it")
    for run in runs:
        if run.error:
            print(f"\nrun {run.row_id}, {printable(run.handler)}:\n{printable(run.error)}")
    if body:
        print(printable(text if text is not None else "the body is no longer kept"))
    return Exit.OK


@inbox.command
def dead(
    *,
    limit: int = PAGE,
    source: SourceName = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """Entries that cannot be applied, and runs that failed for good.

    Parameters
    ----------
    limit:
        How many of each at most.
    """
    with receiver_in_force(app, database_url) as receiver, receiver.look(source) as (queries, connection):
        entries = queries.entries(connection, state="dead", limit=limit)
        runs = queries.runs(connection, state="failed", limit=limit)
    if as_json:
        print_json({"entries": [_entry(entry) for entry in entries], "runs": [asdict(run) for run in runs]})
        return
    _print_entries(entries, empty="no dead entries")
    _print_runs(runs, empty="no dead runs")


@inbox.command
def rejected(
    *,
    since: str = "1d",
    limit: int = PAGE,
    source: SourceName = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """What the door refused, per minute and reason, with the story of the first.

    Parameters
    ----------
    since:
        A time, or how long ago: 90s, 15m, 2h, 3d.
    limit:
        How many rows at most.
    """
    with receiver_in_force(app, database_url) as receiver, receiver.look(source) as (queries, connection):
        rows = queries.rejections(connection, since_ms=moment_of("--since", since) or 0, limit=limit)
    if as_json:
        print_json([row._asdict() for row in rows])
        return
    print_table(
        ("MINUTE", "SOURCE", "REASON", "TIMES", "THE FIRST"),
        ((time_of(row.minute_ms), row.source or "(none)", row.reason, row.times, row.sample) for row in rows),
        empty="nothing was refused",
    )


@inbox.command
def stats(
    *, source: SourceName = None, app: AppName = None, database_url: DatabaseUrl = None, as_json: AsJson = False
) -> None:
    """The inbox in numbers; refusals of the last day."""
    with receiver_in_force(app, database_url) as receiver, receiver.look(source) as (queries, connection):
        found = asdict(queries.stats(connection, since_ms=_now_ms() - DAY_MS))
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if isinstance(value, dict):
            print("\n".join([f"{name}:", *(f"  {printable(word)}: {count}" for word, count in value.items())]))
        else:
            print(f"{name}: {printable(time_of(value) if name.endswith('_ms') else value)}")


@inbox.command
def retry(
    *targets: str,
    walks: Annotated[bool, Parameter(negative=())] = False,
    source: SourceName = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Try dead, skipped or waiting runs again now, or apply dead entries again.

    Parameters
    ----------
    targets:
        Numbers of runs, or ids of events.
    walks:
        Instead: the walks that failed, as `mirror walks` lists them.
    """
    if walks and targets:
        raise ConfigError("retry", "expected runs and events, or --walks for all walks that failed")
    with receiver_in_force(app, database_url) as receiver:
        worker = receiver.worker()
        if walks:
            count = worker.retry_walks()
            if as_json:
                print_json({"walks": count})
            else:
                print(f"retried: {count} walks")
            return Exit.OK

        sources = _sources(receiver, source)

        def once_more(target: str) -> bool:
            if _is_run(target):
                return worker.retry_run(int(target))
            # Every dead one of that id, of whatever source.
            return sum(worker.retry_entry(one, target) for one in sources) > 0

        return _each(targets, once_more, "retried", "nothing of that name is there to retry", as_json)


@inbox.command
def skip(*runs: str, app: AppName = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> int:
    """Give waiting or dead runs up, so that they hold nothing behind them.

    Parameters
    ----------
    runs:
        Numbers of runs.
    """
    for run in runs:
        if not _is_run(run):
            raise ConfigError("skip", f"expected numbers of runs, got {printable(run)!r}")
    with receiver_in_force(app, database_url) as receiver:
        worker = receiver.worker()
        return _each(
            runs, lambda run: worker.skip_run(int(run)), "skipped", "no run of that number is there to skip", as_json
        )


@inbox.command
def replay(
    *event_ids: str,
    type_: Annotated[str | None, Parameter("--type")] = None,
    object_: Annotated[str | None, Parameter("--object")] = None,
    from_seq: int = 0,
    to_seq: int = LAST,
    since: str | None = None,
    until: str | None = None,
    mirror_only: Annotated[bool, Parameter(negative=())] = False,
    handler: str | None = None,
    all_handlers: Annotated[bool, Parameter(negative=())] = False,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    source: SourceName = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Apply entries again: the mirror never moves back. Exit 6 where some could not be applied.

    Parameters
    ----------
    event_ids:
        These events; all filters given must hold.
    type_:
        A type, a prefix as in 'dsync.*', or '*' for everything.
    object_:
        Whatever speaks of the object of this id.
    from_seq:
        From this number of the inbox on.
    to_seq:
        Up to this number.
    since:
        Arrived since: a time, or how long ago: 90s, 15m, 2h, 3d.
    until:
        Arrived before.
    mirror_only:
        Call no handler. So it is without --handler and --all-handlers, too.
    handler:
        Call this one again; of changes it hears each object's newest.
    all_handlers:
        Call every handler again.
    dry_run:
        Only say how many entries it would be.
    """
    if mirror_only + all_handlers + (handler is not None) > 1:
        raise ConfigError("replay", "expected one of --mirror-only, --handler and --all-handlers")
    selection = Selection(
        event_ids=event_ids or None,
        type=type_,
        object_id=object_,
        from_seq=from_seq,
        to_seq=to_seq,
        since_ms=moment_of("--since", since),
        until_ms=moment_of("--until", until),
    )
    if selection == Selection():
        raise ConfigError("replay", "expected event ids or a filter; --type '*' is everything")
    mode: Mode = "handler" if handler is not None else "all" if all_handlers else "mirror"
    with receiver_in_force(app, database_url) as receiver:
        worker = receiver.worker()
        counts = {one: worker.count_replay(one, selection) for one in _sources(receiver, source)}
        count = sum(counts.values())
        if count == 0 or dry_run:
            if event_ids and count == 0:
                return fail("not_found", "none of these events is there to replay", Exit.NOT_FOUND, as_json=as_json)
            if as_json:
                print_json({"would_replay": count} if dry_run else {"entries": 0, "runs": 0, "failed": 0, "gone": 0})
            else:
                print(f"{'would replay' if dry_run else 'replayed'} {count} entries")
            return Exit.OK
        try:
            numbers = [
                worker.start_replay(one, selection, mode=mode, handler=handler) for one, some in counts.items() if some
            ]
        except LookupError:
            return fail("not_found", f"{printable(handler)}: no handler of that name", Exit.NOT_FOUND, as_json=as_json)
        told = dict.fromkeys(("entries", "runs", "failed", "gone"), 0)
        for number in numbers:
            done = worker.step_replay(number)
            while done.finished_ms is None:
                done = worker.step_replay(number)
            for name in told:
                told[name] += getattr(done, name)
    if as_json:
        print_json({"replays": numbers, **told})
    else:
        gone = f", {told['gone']} of them no longer kept whole" if told["gone"] else ""
        entries, runs, failed = told["entries"], told["runs"], told["failed"]
        print(f"replayed {entries} of {count} entries; runs made due: {runs}; failed: {failed}{gone}")
    missing = len(event_ids) - count if event_ids and selection == Selection(event_ids=event_ids) else 0
    return Exit.PARTLY_DONE if told["failed"] or missing > 0 else Exit.OK


@inbox.command
def drop(
    *event_ids: str,
    note: str,
    source: SourceName = None,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Have dead entries ignored from now on, with a note that is kept beside them. Exit 6 where only some are dead.

    Parameters
    ----------
    event_ids:
        Ids of events.
    note:
        Why, in at most 500 characters.
    """
    if not 0 < len(note.strip()) <= MOST_NOTE:
        raise ConfigError("--note", f"expected why, in 1 to {MOST_NOTE} characters")
    with receiver_in_force(app, database_url) as receiver:
        worker = receiver.worker()
        sources = _sources(receiver, source)

        def dropped(event_id: str) -> bool:
            return sum(worker.drop_entry(one, event_id, note.strip()) for one in sources) > 0

        return _each(event_ids, dropped, "dropped", "no dead entry of that id is there to drop", as_json)


@inbox.command
def replays(
    *,
    before: int = LAST,
    limit: int = PAGE,
    app: AppName = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """The replays of entries and what they came to, the newest first.

    Parameters
    ----------
    before:
        Go on below this number.
    limit:
        How many at most.
    """
    with receiver_in_force(app, database_url) as receiver, receiver.look() as (queries, connection):
        found = queries.replays(connection, before_row=before, limit=limit)
    if as_json:
        print_json([{**asdict(one), "created_at": time_of(one.created_ms)} for one in found])
        return
    print_table(
        ("REPLAY", "SOURCE", "MODE", "HANDLER", "STATE", "ENTRIES", "RUNS", "FAILED", "GONE", "BEGAN"),
        (
            (
                one.row_id,
                one.source,
                one.mode,
                one.handler,
                "running" if one.finished_ms is None else "finished",
                one.entries,
                one.runs,
                one.failed,
                one.gone,
                time_of(one.created_ms),
            )
            for one in found
        ),
        empty="no replays",
    )


@inbox.command
def prune(*, app: AppName = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Let go now of what is past its time; workers do so by themselves, every hour."""
    with receiver_in_force(app, database_url) as receiver:
        pruned = receiver.worker().prune()
    if as_json:
        print_json(asdict(pruned))
    else:
        print(f"let go of: {pruned}")


def _sources(receiver: Receiver, source: str | None) -> Sequence[str]:
    """That one, or all there are."""
    with receiver.look(source) as (queries, connection):
        return queries.sources(connection)


def _each(names: Sequence[str], do: Callable[[str], bool], word: str, problem: str, as_json: bool) -> int:
    """Do something to each; 0 where all went, 6 where some did, 3 where none did."""
    if not names:
        raise ConfigError("inbox", "expected at least one argument")
    done = [name for name in names if do(name)]
    missing = [name for name in names if name not in done]
    if as_json:
        print_json({word: done, "not_found": missing})
    else:
        for name in done:
            print(f"{word}: {printable(name)}")
    if not missing:
        return Exit.OK
    exit_code = Exit.PARTLY_DONE if done else Exit.NOT_FOUND
    return fail(
        exit_code.name.lower(),
        f"{', '.join(printable(name) for name in missing)}: {problem}",
        exit_code,
        as_json=as_json,
    )


def _print_entries(entries: Sequence[InboxEntry], *, empty: str) -> None:
    print_table(
        ("NUMBER", "SOURCE", "EVENT", "TYPE", "ARRIVED", "STATE", "REASON", "REPEATS"),
        (
            (
                entry.seq,
                entry.source,
                entry.event_id,
                entry.type,
                time_of(entry.received_ms),
                entry.state,
                entry.reason,
                entry.duplicates + entry.conflicts,
            )
            for entry in entries
        ),
        empty=empty,
    )


def _print_runs(runs: Sequence[RunRow], *, empty: str) -> None:
    print_table(
        ("RUN", "SOURCE", "HANDLER", "STATE", "TRIES", "EVENT", "OBJECT", "DUE OR DONE", "ERROR"),
        (
            (
                run.row_id,
                run.source,
                run.handler,
                run.state,
                run.tries,
                run.event_id,
                run.object_id,
                time_of(run.finished_ms or run.due_ms),
                run.error.strip().rsplit("\n", 1)[-1] if run.error else None,
            )
            for run in runs
        ),
        empty=empty,
    )


def _entry(entry: InboxEntry) -> dict[str, Any]:
    return {
        "seq": entry.seq,
        "source": entry.source,
        "event_id": entry.event_id,
        "type": entry.type,
        "state": entry.state,
        "reason": entry.reason,
        "received_at": time_of(entry.received_ms),
        "finished_at": time_of(entry.finished_ms),
        "due_at": time_of(entry.due_ms),
        "duplicates": entry.duplicates,
        "conflicts": entry.conflicts,
        "via": entry.via,
        "kept": "id alone" if not entry.has_body else f"without {entry.redacted}" if entry.redacted else "whole",
    }


def _is_run(target: str) -> bool:
    return target.isascii() and target.isdigit() and len(target) <= 18


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
