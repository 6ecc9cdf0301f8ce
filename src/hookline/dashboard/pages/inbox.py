"""The inbox: every webhook and what became of it, what the door refused and why, and once more."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Final, get_args

import msgspec

from hookline.dashboard.frame import Action, Call, FormProblems, Page, SeeOther, Shown
from hookline.dashboard.receiving import (
    STATES,
    difference_data,
    entry_data,
    moment_of,
    number_of,
    options_of,
    problem_of,
    query_of,
    run_data,
    sent_link,
    sources_of,
)
from hookline.errors import ConfigError, RequestError
from hookline.receiver.inbox_search import NEWEST, InboxFilter
from hookline.receiver.mirror_queries import differences
from hookline.receiver.model import Via
from hookline.receiver.refusals import refusal_of
from hookline.receiver.replay import LAST, Mode, Selection
from hookline.receiver.subject import subjects_of

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
_MOST_RUNS: Final = 100
_MOST_CHANGES: Final = 200
_FILTERS: Final = ("source", "state", "type", "object", "via", "since", "until", "event")
MODES: Final[dict[Mode, str]] = {
    "mirror": "nobody: the mirror alone",
    "handler": "one handler",
    "all": "every handler",
}


def inbox(call: Call) -> Shown:
    """The list, narrowed by what the query says."""
    given = query_of(call, *_FILTERS, "before")
    sources = sources_of(call)
    if given["event"]:
        return _of_id(call, given, sources)
    problems: dict[str, str] = {}
    wanted = _wanted(call, given, problems)
    entries: list[dict[str, Any]] = []
    next_seq, looked = None, 0
    if not problems:
        with call.receiver.look(given["source"] or None) as (queries, connection):
            before_seq = number_of(given["before"], "before") or NEWEST
            found = queries.page(connection, wanted, before_seq=before_seq)
            subjects = queries.subjects(connection, [one.seq for one in found.entries])
        entries = [entry_data(call, one, subjects.get(one.seq)) for one in found.entries]
        next_seq, looked = found.next_seq, found.looked
    return _listed(call, given, sources, entries, next_seq=next_seq, looked=looked, problems=problems)


def _of_id(call: Call, given: dict[str, str], sources: list[str]) -> Shown:
    with call.receiver.look(given["source"] or None) as (queries, connection):
        found = queries.entries(connection, event_id=given["event"])
        subjects = queries.subjects(connection, [one.seq for one in found])
    entries = [entry_data(call, one, subjects.get(one.seq)) for one in found]
    return _listed(call, given, sources, entries)


def _wanted(call: Call, given: dict[str, str], problems: dict[str, str]) -> InboxFilter:
    since_ms = moment_of(call, given["since"], "since", problems)
    until_ms = moment_of(call, given["until"], "until", problems)
    if given["state"] and given["state"] not in STATES:
        problems["state"] = f"expected one of {', '.join(STATES)}"
    ways: tuple[Via, ...] = get_args(Via)
    via = next((one for one in ways if one == given["via"]), None)
    if given["via"] and via is None:
        problems["via"] = f"expected one of {', '.join(get_args(Via))}"
    wanted = InboxFilter(
        state=given["state"] or None,
        object_id=given["object"] or None,
        via=via,
        since_ms=since_ms,
        until_ms=until_ms,
    )
    try:
        return replace(wanted, type=given["type"] or None)
    except ConfigError as error:
        problems["type"] = problem_of(error)
        return wanted


def _listed(
    call: Call,
    given: dict[str, str],
    sources: list[str],
    entries: list[dict[str, Any]],
    *,
    next_seq: int | None = None,
    looked: int = 0,
    problems: dict[str, str] | None = None,
) -> Shown:
    filters = {name: given[name] for name in _FILTERS if given[name]}
    data = {
        "filters": filters,
        "entries": entries,
        "next_before": next_seq,
        "looked_through": looked,
        "sources": sources,
    }
    can_replay = not {"state", "via"} & set(filters) and bool(filters)
    also = {
        "states": options_of(list(STATES), "any state"),
        "sources": options_of(sources, "all sources"),
        "ways": [("", "either way"), ("webhook", "webhook"), ("tail", "event feed")],
        "given": given,
        "problems": FormProblems(problems),
        "helps": STATES,
        "replay": call.link("inbox_replay", query=filters) if can_replay and call.viewer.may("operator") else None,
    }
    return Shown("inbox.html", "Inbox", data, also, status=422 if problems else 200)


def rejected(call: Call) -> Shown:
    """What the door refused, per minute and reason."""
    given = query_of(call, "source", "since", "after")
    problems: dict[str, str] = {}
    since_ms = moment_of(call, given["since"], "since", problems) if given["since"] else call.now_ms - DAY_MS
    after = _place(given["after"])
    rows: list[Any] = []
    counts: dict[str, int] = {}
    if since_ms is not None:
        call.receiver.flush()  # what this process has counted and not written yet
        with call.receiver.look(given["source"] or None) as (queries, connection):
            rows = queries.rejections(connection, since_ms=since_ms, after=after, limit=51)
            counts = queries.refused(connection, since_ms=since_ms)
    shown, rest = rows[:50], rows[50:]
    explained = {reason: refusal_of(reason) for reason in sorted({*counts, *(row.reason for row in shown)})}
    data = {
        "since_ms": since_ms,
        "rejections": [one._asdict() for one in shown],
        "counts": counts,
        "reasons": {reason: one._asdict() for reason, one in explained.items() if one is not None},
        "next_after": f"{shown[-1].minute_ms}/{shown[-1].source}/{shown[-1].reason}" if rest else None,
    }
    also = {"given": given, "sources": options_of(sources_of(call), "all sources"), "problems": FormProblems(problems)}
    return Shown("inbox_rejected.html", "Refused requests", data, also, status=422 if problems else 200)


def _place(text: str) -> tuple[int, str, str] | None:
    minute, _, rest = text.partition("/")
    source, _, reason = rest.partition("/")
    number = number_of(minute, "after")
    return None if number is None else (number, source, reason)


def entry(call: Call) -> Shown:
    """One entry: what came, what was done with it, and what it did."""
    source, event_id = call.params["source"], call.params["id"]
    with call.receiver.look(source) as (queries, connection):
        found = queries.entry(connection, event_id)
        if found is None:
            raise RequestError(
                404, None, f"The inbox of {source} has no event {event_id[:200]}. It may be no longer kept."
            )
        body = queries.body(connection, event_id)
    subjects = () if body is None else subjects_of(body, event_id, found.type, found.received_ms)
    changes: list[dict[str, Any]] = []
    with call.receiver.look_at_mirror(source) as mirrored:
        for one in subjects:
            if not one.is_mirrored:
                continue
            history = mirrored.queries.history(mirrored.connection, one.resource, one.id, limit=_MOST_CHANGES)
            changes += [
                {
                    "seq": change.seq,
                    "resource": one.resource,
                    "id": one.id,
                    "kind": change.kind,
                    "is_live": change.is_live,
                    "changed_ms": change.changed_ms,
                    "differences": difference_data(call, one.resource, differences(change.before, change.after)),
                }
                for change in history
                if change.cause_seq == found.seq
            ]
    with call.receiver.look(source) as (queries, connection):
        runs = queries.runs_about(connection, found.seq, [one["seq"] for one in changes], limit=_MOST_RUNS)
    data = {
        **entry_data(call, found, subjects[0] if subjects else None),
        "sha256": found.sha256.hex()[:16],
        "subjects": [one._asdict() for one in subjects],
        "redacted": found.redacted,
        "has_body": body is not None,
        "bytes": None if body is None else len(body),
        **_payload(call, body),
        "changes": changes,
        "runs": [run_data(run) for run in runs],
    }
    also = {"helps": STATES, "sent": sent_link(call, event_id)}
    return Shown("inbox_entry.html", found.type or "No event", data, also)


def _payload(call: Call, body: bytes | None) -> dict[str, Any]:
    """The body as JSON, redacted; what is none is text, which nothing can be redacted in: shown where all is."""
    if body is None:
        return {"payload": None, "text": None, "is_json": False}
    try:
        return {"payload": call.shown(msgspec.json.decode(body)), "text": None, "is_json": True}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        text = body.decode("utf-8", "replace")
        return {"payload": None, "text": text if call.reveals else None, "is_json": False}


def act_on_entry(call: Call) -> SeeOther:
    """Apply a dead entry again."""
    source, event_id = call.params["source"], call.params["id"]
    if call.text("act") != "retry":
        raise RequestError(422, "invalid", "Nothing of that name is done to an entry.")
    here = call.link("inbox_entry", source=source, id=event_id)
    if not call.receiver.worker().retry_entry(source, event_id):
        return SeeOther(here, "It is not dead, is no longer kept whole, or waits already: nothing was done.")
    call.audit("inbox.retried", event_id, source=source)
    return SeeOther(here, "It waits to be applied again.")


# -- replays ----------------------------------------------------------------------------------------------------


def confirm_replay(call: Call) -> Shown:
    """How many entries a replay would take, and what it would do."""
    given = query_of(call, *_FILTERS)
    return _confirm(call, given, {"mode": "mirror", "handler": ""}, FormProblems())


def _confirm(call: Call, given: dict[str, str], chosen: dict[str, str], problems: FormProblems) -> Shown:
    selection, newest_seq = _selection(call, given)
    sources = [given["source"]] if given["source"] else sources_of(call)
    worker = call.receiver.worker()
    counts = {source: worker.count_replay(source, selection) for source in sources}
    with call.receiver.look() as (queries, connection):
        handlers = [one.name for one in queries.handlers(connection)]
    data = {
        "filters": {name: value for name, value in given.items() if value},
        "counts": {source: count for source, count in counts.items() if count},
        "count": sum(counts.values()),
        "up_to": newest_seq,
        "modes": MODES,
        "handlers": handlers,
    }
    also = {"chosen": chosen, "problems": problems, "handlers": options_of(handlers, "none")}
    return Shown("inbox_replay.html", "Replay entries", data, also, status=422 if problems else 200)


def _selection(call: Call, given: dict[str, str]) -> tuple[Selection, int]:
    """Which entries, none newer than those that are there now: what was counted is what is done."""
    if not any(given[name] for name in ("type", "object", "since", "until", "event")):
        raise RequestError(422, "invalid", "Say which entries: by type ('*' is every one), object, time or event.")
    problems: dict[str, str] = {}
    since_ms = moment_of(call, given["since"], "since", problems)
    until_ms = moment_of(call, given["until"], "until", problems)
    up_to = number_of(given.get("up_to", ""), "up_to")
    if up_to is None:
        with call.receiver.look() as (queries, connection):
            newest = queries.entries(connection, limit=1)
        up_to = newest[0].seq if newest else 0
    if problems:
        raise RequestError(422, "invalid", "; ".join(f"{name}: {text}" for name, text in problems.items()))
    try:
        selection = Selection(
            event_ids=(given["event"],) if given["event"] else None,
            type=given["type"] or None,
            object_id=given["object"] or None,
            to_seq=min(up_to, LAST),
            since_ms=since_ms,
            until_ms=until_ms,
        )
    except ConfigError as error:
        raise RequestError(422, "invalid", str(error)) from None
    return selection, up_to


def start_replay(call: Call) -> Shown | SeeOther:
    """Begin it: workers do it in parts, and whoever closes the page stops nothing."""
    given = {name: call.text(name) for name in (*_FILTERS, "up_to")}
    mode, handler = call.text("mode"), call.text("handler") or None
    if mode not in MODES:
        raise RequestError(422, "invalid", f"mode: expected one of {', '.join(MODES)}")
    if (mode == "handler") != (handler is not None):
        problem = "choose one" if mode == "handler" else "is only for one handler"
        return _confirm(call, given, {"mode": mode, "handler": handler or ""}, FormProblems({"handler": problem}))
    selection, _ = _selection(call, given)
    worker = call.receiver.worker()
    started: list[int] = []
    for source in [given["source"]] if given["source"] else sources_of(call):
        if worker.count_replay(source, selection) == 0:
            continue
        try:
            number = worker.start_replay(source, selection, mode=mode, handler=handler)
        except LookupError:
            return _confirm(
                call, given, {"mode": mode, "handler": handler or ""}, FormProblems({"handler": "there is none such"})
            )
        call.audit("inbox.replayed", str(number), source=source, mode=mode, handler=handler, filters=json.dumps(given))
        started.append(number)
    if not started:
        return SeeOther(call.link("inbox_replays"), "No entry is there to replay: nothing was begun.")
    if len(started) == 1:
        return SeeOther(call.link("inbox_replay_one", id=started[0]), "Begun. It goes on without this page.")
    return SeeOther(call.link("inbox_replays"), f"Begun: {len(started)} replays, one for each source.")


def replays(call: Call) -> Shown:
    """The replays of entries, the newest first."""
    before = number_of(call.query.get("before", ""), "before") or LAST
    with call.receiver.look() as (queries, connection):
        found = queries.replays(connection, before_row=before, limit=51)
    data = {
        "replays": [_replay_data(one) for one in found[:50]],
        "next_before": found[49].row_id if len(found) > 50 else None,
    }
    return Shown("inbox_replays.html", "Replays of entries", data)


def replay(call: Call) -> Shown:
    """One replay, as it stands."""
    number = number_of(call.params["id"], "id")
    with call.receiver.look() as (queries, connection):
        found = None if number is None else queries.replay(connection, number)
    if found is None:
        raise RequestError(404, None, f"There is no replay {call.params['id'][:40]} of entries.")
    return Shown("inbox_replay_one.html", f"Replay {found.row_id} of entries", _replay_data(found))


def _replay_data(one: Any) -> dict[str, Any]:
    chosen = one.selection
    selection = {
        "event_ids": chosen.event_ids,
        "type": chosen.type,
        "object": chosen.object_id,
        "since_ms": chosen.since_ms,
        "until_ms": chosen.until_ms,
    }
    last_seq = min(one.last_entry_seq, chosen.to_seq)
    return {
        "id": one.row_id,
        "source": one.source,
        "mode": one.mode,
        "handler": one.handler,
        "selection": {name: value for name, value in selection.items() if value is not None},
        "state": "running" if one.finished_ms is None else "finished",
        "entries": one.entries,
        "runs": one.runs,
        "failed": one.failed,
        "gone": one.gone,
        "looked_to": one.entry_seq,
        "last_seq": last_seq,
        "share": 1.0 if one.finished_ms is not None or not last_seq else min(1.0, one.entry_seq / last_seq),
        "created_ms": one.created_ms,
        "finished_ms": one.finished_ms,
    }


PAGES: Final[tuple[Page | Action, ...]] = (
    Page("inbox", "/inbox", inbox, needs="receiver"),
    Page("inbox_rejected", "/inbox-rejected", rejected, needs="receiver"),
    Page("inbox_entry", "/inbox/{source}/{id:path}", entry, needs="receiver", reveals=True),
    Action("inbox_entry_act", "/inbox/{source}/{id:path}", act_on_entry, needs="receiver"),
    Page("inbox_replay", "/inbox-replay", confirm_replay, role="operator", needs="receiver"),
    Action("inbox_replay_start", "/inbox-replay", start_replay, needs="receiver"),
    Page("inbox_replays", "/inbox-replays", replays, needs="receiver"),
    Page("inbox_replay_one", "/inbox-replays/{id}", replay, needs="receiver"),
)
