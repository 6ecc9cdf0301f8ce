"""`hookline mirror`: what the mirror holds, and why it is as it is. Reads alone; a database is never made here."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import cyclopts
from cyclopts import Parameter

from hookline.cli import Exit, fail
from hookline.cli.exporting import FormatFlag, Output, export_rows
from hookline.cli.parameters import AsJson
from hookline.cli.tables import print_table, printable
from hookline.config import SETTINGS, load
from hookline.errors import ConfigError, StorageError
from hookline.receiver.mirror_queries import (
    MirroredRow,
    MirrorQueries,
    PastChange,
    check_resource,
    column_names,
    differences,
)
from hookline.receiver.queries import known_sources
from hookline.receiver.why import Why, evidence, touches_of
from hookline.receiver.why import why as explain
from hookline.rules.merge import AFTER_EVERY_ID
from hookline.storage import Connection, Verbs, connect, database_file, is_postgres
from hookline.storage.migrate import load_migrations, missing_on
from hookline.wire.timestamps import format_ms, parse_us

mirror = cyclopts.App(name="mirror", help="Show what the mirror holds, and why.")

_PACKAGE = "hookline.receiver"

DatabaseUrl = Annotated[str | None, Parameter("--database-url", help="Else HOOKLINE_DATABASE_URL.")]
Source = Annotated[str | None, Parameter(help="Of this source alone; else of all.")]
ResourceName = Annotated[str, Parameter(help="As directory_user, or directory_membership.")]
Id = Annotated[str, Parameter("id", help="Of the object.")]
OfResource = Annotated[str | None, Parameter("--resource", help="Where several resources have this id.")]


@mirror.command
def status(*, source: Source = None, database_url: DatabaseUrl = None, as_json: AsJson = False) -> None:
    """Count what is mirrored: rows, those alive, those in doubt, those of which the source is still to be asked, open
    differences of the newest dry run; and up to when complete lists of the source have settled all there was.
    """
    with _opened(database_url) as (verbs, connection):
        counts = [
            (one, count, settled[count.resource])
            for one in _sources(verbs, connection, source)
            for settled in (MirrorQueries(verbs, one).settled(connection),)
            for count in MirrorQueries(verbs, one).counts(connection)
        ]
    if as_json:
        print(json.dumps([{"source": one, **asdict(count), **asdict(settled)} for one, count, settled in counts]))
        return
    print_table(
        ("source", "resource", "rows", "live", "uncertain", "to ask", "drift", "complete as of"),
        [
            (
                one,
                count.resource,
                *(f"{number:,}" for number in (count.rows, count.live, count.uncertain, settled.to_ask, settled.drift)),
                "" if settled.oldest_us is None else format_ms(settled.oldest_us),
            )
            for one, count, settled in counts
        ],
        empty="nothing is mirrored yet",
    )


@mirror.command
def walks(
    *,
    limit: Annotated[int, Parameter(help="At most so many.")] = 50,
    source: Source = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the walks under way to what hangs on a deleted or returned object, by which handlers hear of it; those that
    fail come first.
    """
    with _opened(database_url) as (verbs, connection):
        found = [
            (of, one)
            for of in _sources(verbs, connection, source)
            for one in MirrorQueries(verbs, of).walks(connection, limit=limit)
        ]
    found.sort(key=lambda one: -one[1].tries)
    rows = [
        {
            "source": of,
            "resource": one.resource,
            "id": one.id,
            "child": None if one.child is None else "/".join(json.loads(one.child)[1:]),
            "cause": one.cause,
            "since": _at(one.created_ms),
            "failed": one.tries,
            "again": _at(one.due_ms) if one.due_ms else None,
            "error": one.error,
        }
        for of, one in found[:limit]
    ]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
    elif rows:
        print_table(list(rows[0]), [[_short(value) for value in row.values()] for row in rows], empty="")


@mirror.command(name="list")
def list_(
    resource: ResourceName,
    /,
    *,
    dead: Annotated[bool, Parameter("--all", negative=(), help="Also what is dead or hidden.")] = False,
    after: Annotated[str, Parameter(help="Begin after this id.")] = "",
    limit: Annotated[int, Parameter(help="At most so many rows.")] = 50,
    source: Source = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> None:
    """List the objects of a resource in order of their ids, as `directory_user` or `directory_membership`."""
    if limit < 1:
        raise ConfigError("--limit", f"expected 1 or more, got {limit}")
    with _opened(database_url) as (verbs, connection):
        sources = _sources(verbs, connection, source)
        if after and len(sources) > 1:
            raise ConfigError("--after", f"expected with --source: there are {', '.join(sources)}")
        rows = [
            {"source": one, **row}
            for one in sources
            for row in MirrorQueries(verbs, one).rows(connection, resource, after=after, limit=limit, is_live=not dead)
        ][:limit]
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    if rows:
        names = [name for name in rows[0] if any(row[name] is not None for row in rows)]
        print_table(names, [[_short(row[name]) for name in names] for row in rows], empty="")


@mirror.command
def export(
    resource: ResourceName,
    /,
    *,
    format_: FormatFlag = "csv",
    output: Output = None,
    dead: Annotated[bool, Parameter("--all", negative=(), help="Also what is dead or hidden.")] = False,
    source: Source = None,
    database_url: DatabaseUrl = None,
) -> None:
    """Write out the rows of a resource, in order of their ids, as they are at one moment: personal data."""
    names = ("source", *column_names(resource))
    with _opened(database_url) as (verbs, connection):
        rows = (
            {"source": one, **row}
            for one in _sources(verbs, connection, source)
            for row in MirrorQueries(verbs, one).all_rows(connection, resource, is_live=not dead)
        )
        export_rows(names, rows, format_, output, what=resource)


@mirror.command
def show(
    resource: ResourceName,
    id_: Id,
    /,
    *,
    source: Source = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Show one object: its columns, its payload, its clocks. Exit 3 where nothing was ever heard of it."""
    with _opened(database_url) as (verbs, connection):
        row = None
        if (of := _source_of(verbs, connection, id_, resource, source)) is not None:
            row = MirrorQueries(verbs, of[0]).row(connection, resource, id_)
    if row is None:
        return _not_found(f"no {resource} {id_} in the mirror", as_json=as_json)
    if as_json:
        print(json.dumps(_row_json(row), ensure_ascii=False))
        return Exit.OK
    _say_row(row)
    if row.payload is not None:
        print("payload")
        print(json.dumps(row.payload, indent=2, ensure_ascii=False))
    return Exit.OK


@mirror.command
def why(
    id_: Id,
    /,
    *,
    resource: OfResource = None,
    source: Source = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """Say why an object is shown or not: its clocks, its parents, and every event about it.

    Reads the bodies of the whole inbox. Exit 3 where no event about it is known.
    """
    with _opened(database_url) as (verbs, connection):
        of = _source_of(verbs, connection, id_, resource, source)
        found = None if of is None else explain(verbs, connection, of[1], id_, source=of[0])
    if found is None or (found.row is None and not found.touches):
        return _not_found(f"nothing is known of {id_}", as_json=as_json)
    if as_json:
        print(json.dumps(_why_json(found), ensure_ascii=False))
    else:
        _say_why(found)
    return Exit.OK


@mirror.command
def history(
    id_: Id,
    /,
    *,
    resource: OfResource = None,
    as_of: Annotated[str | None, Parameter(help="What was shown at this moment, as 2026-01-31T12:00:00Z.")] = None,
    limit: Annotated[int, Parameter(help="At most so many changes.")] = 50,
    source: Source = None,
    database_url: DatabaseUrl = None,
    as_json: AsJson = False,
) -> int:
    """List what handlers were told of an object, newest first; with --as-of, what was shown at that moment.

    Exit 3 where nothing had been told of it.
    """
    until_ms = None if as_of is None else _moment_ms(as_of)
    with _opened(database_url) as (verbs, connection):
        of = _source_of(verbs, connection, id_, resource, source)
        if of is None:
            changes = []
        elif until_ms is None:
            changes = MirrorQueries(verbs, of[0]).history(connection, of[1], id_, limit=max(1, limit))
        else:
            last = MirrorQueries(verbs, of[0]).as_of(connection, of[1], id_, as_of_ms=until_ms)
            changes = [] if last is None else [last]
    if not changes:
        return _not_found(f"nothing was told of {id_}" + (f" up to {as_of}" if as_of else ""), as_json=as_json)
    if as_json:
        print(json.dumps([_change_json(change) for change in changes], ensure_ascii=False))
    elif until_ms is None:
        print_table(
            ("at", "seq", "change", "by", "changed"),
            [(_at(c.changed_ms), str(c.seq), c.kind, c.cause or "", ", ".join(_differing(c))) for c in changes],
            empty="",
        )
    else:
        (last,) = changes
        print(f"{'shown' if last.is_live else 'not shown'} since {_at(last.changed_ms)}: {last.kind} by {last.cause}")
        if last.after is not None:
            print(json.dumps(last.after, indent=2, ensure_ascii=False))
    return Exit.OK


# -- the database -----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(database_url: str | None) -> Iterator[tuple[Verbs, Connection]]:
    """The receiver's database as it is at one moment."""
    url = database_url or load().receiver().database_url
    setting = SETTINGS["database_url"].variable
    database = connect(url, setting=setting)
    try:
        if not is_postgres(url) and not (file := database_file(url, setting=setting)).is_file():
            raise StorageError(f"there is no database {file.name}: name the receiver's with --database-url")
        with database.snapshot() as connection:
            if missing := missing_on(connection, database.dialect, "receiver", _PACKAGE):
                known = len(load_migrations(_PACKAGE, database.dialect))
                raise StorageError(
                    f"the receiver's tables are at migration {known - missing}, this version knows {known}: "
                    "start `hookline serve receiver` on it once"
                )
            yield Verbs(_PACKAGE, database.dialect), connection
    finally:
        database.close()


def _sources(verbs: Verbs, connection: Connection, source: str | None) -> list[str]:
    """The source asked for, or all there are."""
    return known_sources(connection, verbs) if source is None else [source]


def _source_of(
    verbs: Verbs, connection: Connection, id_: str, resource: str | None, source: str | None
) -> tuple[str, str] | None:
    """Source and resource of the only object of this id, in the mirror or else in the inbox; None where there is none.

    Raises: ConfigError where several have it and neither flag says which.
    """
    if resource is not None:
        check_resource(resource)
        if source is not None:
            return source, resource
    sources = _sources(verbs, connection, source)

    def of_it(found: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(one, name) for one, name in dict.fromkeys(found) if resource in (None, name)]

    found = of_it((one, name) for one in sources for name in MirrorQueries(verbs, one).find(connection, id_))
    if not found:
        found = of_it((one, name) for one in sources for name, _ in touches_of(verbs, connection, id_, source=one))
    for flag, names in (
        ("--source", list(dict.fromkeys(one for one, _ in found))),
        ("--resource", list(dict.fromkeys(name for _, name in found))),
    ):
        if len(names) > 1:
            raise ConfigError(flag, f"{id_} is the id of several: name one of {', '.join(names)}")
    return found[0] if found else None


def _not_found(message: str, *, as_json: bool) -> int:
    return fail("not_found", message, Exit.NOT_FOUND, as_json=as_json)


def _moment_ms(text: str) -> int:
    try:
        return parse_us(text) // 1000
    except ValueError as error:
        raise ConfigError("--as-of", str(error)) from None


# -- for people -------------------------------------------------------------------------------------------------


def _say_row(row: MirroredRow) -> None:
    print(f"{row.resource} {row.id}: {'shown' if row.is_live else 'not shown'}")
    width = max(map(len, row.columns))
    for name, value in row.columns.items():
        print(f"  {name:<{width}}  {_short(value)}")
    print("clocks")
    for name, (us, event_id) in row.clocks.items():
        print(f"  {name:<8}  {format_ms(us)}  {evidence(event_id)}")
    if row.flags:
        print(f"flags: {', '.join(row.flags)}")


def _say_why(found: Why) -> None:
    if found.row is None:
        print(f"{found.resource} {found.id}: not in the mirror")
    else:
        print(f"{found.resource} {found.id}: {'shown' if found.row.is_live else 'not shown'}")
    for reason in found.reasons:
        print(f"  {reason}")
    if found.columns:
        print("columns")
        rows = [
            (one.name, _short(one.value), one.event_id or "", "" if one.set_ms is None else _at(one.set_ms))
            for one in found.columns
            if one.value is not None
        ]
        _table(("name", "value", "set by", "applied"), rows, indent="  ")
    if found.row is not None:
        print("clocks")
        for name, (us, event_id) in found.row.clocks.items():
            print(f"  {name:<8}  {format_ms(us)}  {evidence(event_id)}")
    if found.parents:
        print("hangs on")
        for parent in found.parents:
            state = "never heard of" if not parent.is_known else "shown" if parent.is_live else "not shown"
            print(f"  {parent.resource} {parent.id}: {state}")
    if found.touches:
        print("events, as they came")
        _table(
            ("received", "event", "type", "happened", "says", "outcome"),
            [
                (
                    _at(one.received_ms),
                    one.event_id,
                    one.type,
                    format_ms(one.created_us),
                    one.says,
                    one.outcome + (f", again {one.duplicates}×" if one.duplicates else ""),
                )
                for one in found.touches
            ],
            indent="  ",
        )
    if found.listed is not None:
        within = f" of {found.listed.scope_id}" if found.listed.scope_id else ""
        print(f"listed whole{within} as of {format_ms(found.listed.floor_us)}: what was last seen before is dead")
    for event_id, wish in found.wishes:
        print(f"open: {wish} (since {event_id})")
    if found.numbers is not None and found.numbers.missing:
        missing = ", ".join(map(str, found.numbers.missing))
        print(f"missing: of its events up to number {found.numbers.highest} these: {missing}")
    for one in found.refetches:
        by = f" (told by {one.told_by})" if one.told_by else ""
        tried = f", asked {one.tries}× in vain" + (f": {one.error}" if one.error else "") if one.tries else ""
        about = "" if one.resource == found.resource and one.object_id == found.id else " for all its memberships"
        print(f"to ask the source{about}: {', '.join(sorted(one.reasons))}{by}, from {_at(one.due_ms)} on{tried}")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, indent: str) -> None:
    """A table within what is told of one object."""
    widths = [max(len(cell) for cell in column) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        print((indent + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))).rstrip())


def _short(value: Any) -> str:
    return "" if value is None else printable(value)


def _at(ms: int) -> str:
    return format_ms(ms * 1000)


def _differing(change: PastChange) -> list[str]:
    if change.before is None or change.after is None:
        return []
    return [one.field for one in differences(change.before, change.after)]


# -- for machines -----------------------------------------------------------------------------------------------


def _row_json(row: MirroredRow) -> dict[str, Any]:
    return {**asdict(row), "clocks": _clocks_json(row.clocks)}


def _clocks_json(clocks: Mapping[str, tuple[int, str]]) -> dict[str, Any]:
    return {
        name: {"at": format_ms(us), "event": None if event_id in ("", AFTER_EVERY_ID) else event_id}
        for name, (us, event_id) in clocks.items()
    }


def _change_json(change: PastChange) -> dict[str, Any]:
    return {
        "seq": change.seq,
        "kind": change.kind,
        "is_live": change.is_live,
        "cause": change.cause,
        "at": _at(change.changed_ms),
        "before": change.before,
        "after": change.after,
    }


def _why_json(found: Why) -> dict[str, Any]:
    return {
        "resource": found.resource,
        "id": found.id,
        "row": None if found.row is None else _row_json(found.row),
        "reasons": found.reasons,
        "columns": [
            {
                "name": one.name,
                "value": one.value,
                "event": one.event_id,
                "applied_at": None if one.set_ms is None else _at(one.set_ms),
            }
            for one in found.columns
        ],
        "parents": [asdict(parent) for parent in found.parents],
        "events": [
            {
                "event": one.event_id,
                "type": one.type,
                "says": one.says,
                "created_at": format_ms(one.created_us),
                "received_at": _at(one.received_ms),
                "outcome": one.outcome,
                "reason": one.reason,
                "duplicates": one.duplicates,
            }
            for one in found.touches
        ],
        "changes": [_change_json(change) for change in found.changes],
        "wishes": [{"event": event_id, "wish": wish} for event_id, wish in found.wishes],
        "listed": None
        if found.listed is None
        else {
            "resource": found.listed.resource,
            "scope_id": found.listed.scope_id,
            "as_of": format_ms(found.listed.floor_us),
        },
        "missing_events": [] if found.numbers is None else list(found.numbers.missing),
        "refetches": [
            {
                "resource": one.resource,
                "id": one.object_id,
                "reasons": sorted(one.reasons),
                "told_by": one.told_by,
                "noticed_at": _at(one.noticed_ms),
                "due_at": _at(one.due_ms),
                "tries": one.tries,
                "error": one.error,
            }
            for one in found.refetches
        ],
    }
