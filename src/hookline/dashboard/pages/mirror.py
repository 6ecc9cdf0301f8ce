"""The mirror: what it holds, and of each row why it is so."""

from __future__ import annotations

from typing import Any, Final, get_args

from hookline.dashboard.frame import Call, FormProblems, Page, Shown
from hookline.dashboard.receiving import (
    cause_link,
    cut,
    difference_data,
    known_resource,
    number_of,
    problem_of,
    query_of,
    sources_of,
)
from hookline.errors import ConfigError, RequestError
from hookline.receiver.inbox_search import LOOKED_MOST
from hookline.receiver.mirror_queries import (
    MirroredRow,
    PastChange,
    ResourceCounts,
    Settled,
    column_names,
    differences,
    parents_of,
)
from hookline.receiver.mirror_search import MirrorFilter, MirrorPage
from hookline.receiver.mirror_search import Shown as Seen
from hookline.receiver.why import Told, Why, evidence
from hookline.rules.merge import AFTER_EVERY_ID

# What is counted, unless all is asked for.
COUNTED: Final = 5_000
_MOST_POINTS: Final = 200
_QUIET: Final = frozenset({"created_at", "external_key", "idp_id", "verification_strategy"})
_MOST_COLUMNS: Final = 6


def mirror(call: Call) -> Shown:
    """Every resource of every source, in numbers."""
    is_exact = call.query.get("exact") == "1"
    found = []
    for source in sources_of(call):
        with call.receiver.look_at_mirror(source) as mirrored:
            counts = (
                mirrored.queries.counts(mirrored.connection)
                if is_exact
                else mirrored.queries.counts(mirrored.connection, most=COUNTED)
            )
            settled = mirrored.queries.settled(mirrored.connection)
        found.append({"source": source, "resources": [_counts(one, settled.get(one.resource)) for one in counts]})
    data = {"sources": found, "counted_to": None if is_exact else COUNTED}
    return Shown("mirror.html", "Mirror", data)


def _counts(one: ResourceCounts, settled: Settled | None) -> dict[str, Any]:
    return {
        "resource": one.resource,
        "table": one.table,
        "rows": one.rows,
        "live": one.live,
        "uncertain": one.uncertain,
        "to_ask": 0 if settled is None else settled.to_ask,
        "drift": 0 if settled is None else settled.drift,
        "complete_as_of_ms": None if settled is None or settled.oldest_us is None else settled.oldest_us // 1000,
    }


def rows(call: Call) -> Shown:
    """The rows of one resource, narrowed by what the query says."""
    source, resource = call.params["source"], known_resource(call.params["resource"])
    given = query_of(call, "q", "shown", "parent", "after")
    ways: tuple[Seen, ...] = get_args(Seen)
    shown = next((one for one in ways if one == given["shown"]), None)
    problems: dict[str, str] = {}
    if given["shown"] and shown is None:
        problems["shown"] = f"expected one of {', '.join(get_args(Seen))}"
    wanted = MirrorFilter(text=given["q"] or None, shown=shown, parent_id=given["parent"] or None)
    found = MirrorPage((), None)
    if not problems:
        try:
            with call.receiver.look_at_mirror(source) as mirrored:
                found = mirrored.search.page(mirrored.connection, resource, wanted, after=given["after"])
        except ConfigError as error:
            problems["parent"] = problem_of(error)
    names = _column_names(resource)
    data = {
        "source": source,
        "resource": resource,
        "filters": {name: given[name] for name in ("q", "shown", "parent") if given[name]},
        "columns": names,
        "rows": [
            {
                "id": one.id,
                "is_live": one.is_live,
                "deleted_at": one.deleted_at,
                "flags": one.flags,
                "columns": {name: cut(call.shown_member(name, one.columns[name], of=resource)) for name in names},
            }
            for one in found.rows
        ],
        "next_after": found.next_id,
        "looked_through": found.looked,
    }
    also = {
        "given": given,
        "problems": FormProblems(problems),
        "shown": [("", "all"), ("live", "live"), ("dead", "dead or hidden"), ("uncertain", "uncertain")],
        "parent_links": {column: parent for parent, column in parents_of(resource)},
    }
    status = 422 if problems else 200
    return Shown("mirror_rows.html", f"{resource} of {source}", data, also, status=status)


def _column_names(resource: str) -> list[str]:
    """The columns that a list has room for."""
    names = [name for name in column_names(resource) if name != "id" and name not in _QUIET]
    return names[:_MOST_COLUMNS]


def row(call: Call) -> Shown:
    """One object: what is held of it, what set each column, and everything that touched it."""
    source, resource, id_ = call.params["source"], known_resource(call.params["resource"]), call.params["id"]
    is_whole = call.query.get("all") == "1"
    found = call.receiver.why(resource, id_, source=source, newest=None if is_whole else LOOKED_MOST)
    if found.row is None and not found.touches:
        raise RequestError(
            404,
            None,
            f"Nothing is known of {resource} {id_[:200]} of {source}: the mirror has no such row"
            + ("." if is_whole else ", and none of the newest entries of the inbox is about it."),
        )
    data = {
        "source": source,
        "resource": resource,
        "id": id_,
        "is_known": found.row is not None,
        "is_live": found.row is not None and found.row.is_live,
        "deleted_at": None if found.row is None else found.row.deleted_at,
        "flags": [] if found.row is None else list(found.row.flags),
        "reasons": list(found.reasons),
        "columns": [
            {
                "name": one.name,
                "value": cut(call.shown_member(one.name, one.value, of=resource)),
                "set_by": one.event_id,
                "set_ms": one.set_ms,
            }
            for one in found.columns
        ],
        "clocks": [] if found.row is None else _clocks(found.row),
        "parents": [
            {"resource": one.resource, "id": one.id, "is_known": one.is_known, "is_live": one.is_live}
            for one in found.parents
        ],
        "touches": [_touch(call, resource, one) for one in found.told()],
        "looked_from": found.looked_from,
        "waits_for": _waits(found),
        "payload": None if found.row is None else call.shown(found.row.payload),
        **_as_of(call, found),
    }
    causes = {*(one["set_by"] for one in data["columns"]), *(one["event"] for one in data["clocks"])}
    if data["as_of"] is not None:
        causes.add(data["as_of"]["cause"])
    links = {cause: cause_link(call, source, cause) for cause in causes if cause}
    return Shown("mirror_row.html", f"{resource} {id_}", data, {"links": links})


def _clocks(row: MirroredRow) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "at_ms": us // 1000,
            "event": None if event_id in ("", AFTER_EVERY_ID) else event_id,
            "rests_on": evidence(event_id),
        }
        for name, (us, event_id) in row.clocks.items()
    ]


def _touch(call: Call, resource: str, told: Told) -> dict[str, Any]:
    one = told.touch
    lost = told.lost_to
    return {
        "seq": one.seq,
        "event_id": one.event_id,
        "type": one.type,
        "says": one.says,
        "created_ms": one.created_us // 1000,
        "updated_ms": None if one.updated_us is None else one.updated_us // 1000,
        "received_ms": one.received_ms,
        "outcome": one.outcome,
        "reason": one.reason,
        "duplicates": one.duplicates,
        "change": None if told.change is None else told.change.kind,
        "differences": difference_data(call, resource, told.differences),
        "lost_to": None
        if lost is None
        else {"clock": lost[0], "at_ms": lost[1] // 1000, "event": lost[2] or None, "rests_on": evidence(lost[2])},
    }


def _waits(found: Why) -> list[str]:
    """What the source is still to be asked, and which of its events are missing, in words."""
    told = [
        f"The source is to be asked about it: {', '.join(sorted(one.reasons))}"
        + (f"; asked {one.tries} times in vain" if one.tries else "")
        + (f": {one.error}" if one.error else "")
        for one in found.refetches
    ]
    if found.numbers is not None and found.numbers.missing:
        missing = ", ".join(map(str, found.numbers.missing))
        told.append(f"Of its events up to number {found.numbers.highest} these are missing: {missing}")
    asked = {wish for _, wish in found.wishes}
    return told + [f"Its events leave open: {wish}" for wish in sorted(asked)]


def _as_of(call: Call, found: Why) -> dict[str, Any]:
    """The row as it was after any of its changes: by its place among them, or by the change's own number."""
    points = found.changes[-_MOST_POINTS:]
    chosen: PastChange | None = None
    index = number_of(call.query.get("point", ""), "point")
    seq = number_of(call.query.get("at", ""), "at")
    if seq is not None:
        chosen = next((one for one in points if one.seq == seq), None)
        if chosen is None:
            raise RequestError(404, None, f"There is no change {seq} of it, or it is no longer kept.")
    elif index is not None and points:
        chosen = points[min(index, len(points) - 1)]
    return {
        "points": [
            {"seq": one.seq, "kind": one.kind, "changed_ms": one.changed_ms, "cause": one.cause} for one in points
        ],
        "as_of": None
        if chosen is None
        else {
            "seq": chosen.seq,
            "point": points.index(chosen),
            "kind": chosen.kind,
            "changed_ms": chosen.changed_ms,
            "cause": chosen.cause,
            "is_live": chosen.is_live,
            "payload": call.shown(chosen.after),
            "differences": difference_data(call, found.resource, differences(chosen.before, chosen.after)),
        },
    }


PAGES: Final[tuple[Page, ...]] = (
    Page("mirror", "/mirror", mirror, needs="receiver"),
    Page("mirror_rows", "/mirror/{source}/{resource}", rows, needs="receiver", reveals=True),
    Page("mirror_row", "/mirror/{source}/{resource}/{id:path}", row, needs="receiver", reveals=True),
)
