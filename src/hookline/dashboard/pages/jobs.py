"""What works in the background at both ends: replays, closings, retention, passes, walks."""

from __future__ import annotations

from typing import Any, Final

from hookline.dashboard.frame import Call, Page, Shown
from hookline.sender import closing, directories, holding, replays, retention
from hookline.sender.model import ENVIRONMENTS

_MOST: Final = 50
# By the kind of a job: what it does, in words.
_SAID: Final = {
    replays.KIND: "sends events of the past again",
    retention.KIND: "removes what is past its time",
    holding.KIND: "lets go of what was held for an endpoint",
    closing.KIND: "holds or cancels what waits for an endpoint that was closed",
    directories.KIND: "removes what a deleted directory leaves",
}
# Whose subject says something to people; of others it is a row.
_NAMED: Final = (replays.KIND, retention.KIND)


def jobs(call: Call) -> Shown:
    """All of it, what runs first."""
    data: dict[str, Any] = {"sender": None, "receiver": None}
    if call.parts.sender is not None:
        data["sender"] = _at_sender(call)
    if call.parts.receiver is not None:
        data["receiver"] = _at_receiver(call)
    return Shown("jobs.html", "Jobs", data)


def _at_sender(call: Call) -> list[dict[str, Any]]:
    only = call.viewer.environment
    with call.sender.look() as connection:
        planned = call.sender.replays.jobs.planned(connection, limit=_MOST)
        by_id = {
            one.subject: found
            for one in planned
            if one.kind == replays.KIND
            for environment in ENVIRONMENTS
            if only in (None, environment)
            and (found := call.sender.replays.jobs.replay(connection, environment, one.subject)) is not None
        }
    shown = []
    for one in planned:
        found = by_id.get(one.subject)
        if one.kind == replays.KIND and found is None:
            continue
        shown.append(
            {
                "kind": one.kind,
                "does": _SAID.get(one.kind, one.kind),
                "subject": one.subject if one.kind in _NAMED else None,
                "environment": None if found is None else found.environment,
                "state": _state(one.due_ms, one.failures, call.now_ms),
                "due_ms": one.due_ms,
                "failures": one.failures,
                "done": None if found is None else f"{found.made} of {found.total}",
            }
        )
    return shown


def _at_receiver(call: Call) -> dict[str, Any]:
    with call.receiver.look() as (queries, connection):
        open_replays = [one for one in queries.replays(connection, limit=_MOST) if one.finished_ms is None]
        workers = queries.workers(connection)
    passes = call.receiver.passes(limit=_MOST)
    return {
        "replays": [
            {"id": one.row_id, "source": one.source, "mode": one.mode, "entries": one.entries, "failed": one.failed}
            for one in open_replays
        ],
        "passes": [
            {
                "id": one.row_id,
                "source": one.source,
                "kind": one.kind,
                "mode": one.mode.replace("_", " "),
                "state": one.state,
                "reason": one.reason,
                "asked_by": one.asked_by,
                "updated_ms": one.updated_ms,
            }
            for one in passes
            if one.finished_ms is None
        ],
        "workers": [
            {"name": one.name, "handlers": list(one.handlers), "seen_ms": one.seen_ms}
            for one in workers
            if one.stopped_ms is None
        ],
    }


def _state(due_ms: int, failures: int, now_ms: int) -> str:
    if failures:
        return "failing"
    return "running" if due_ms <= now_ms else "planned"


PAGES: tuple[Page, ...] = (Page("jobs", "/jobs", jobs),)
