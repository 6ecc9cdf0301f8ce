"""Why an event is not where a test expects it: sentences for the asserts of an `Inbox`, without payloads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

from hookline.receiver.app import Receiver
from hookline.receiver.model import InboxEntry, RunRow, shown_id
from hookline.receiver.queries import InboxQueries
from hookline.storage import Connection
from hookline.wire.catalogue import matches
from hookline.wire.event import Event

_SHOWN: Final = 5

_REFUSED: Final = {
    "address": "the receiver's allowed_ips leave it out: deliver(…, peer=…), or none in tests",
    "no_list": "the receiver's allowed_ips_url was not read yet: none in tests",
    "expired": "the receiver's clock is not the one it was signed by: hookline_clock turns both",
    "future": "the receiver's clock is not the one it was signed by: hookline_clock turns both",
    "unavailable": "its database cannot be written to; the log says why",
}


def key_of(event: Event | str) -> str:
    """What an event is kept under."""
    if isinstance(event, str):
        return event
    return f"sha256:{hashlib.sha256(event.raw).hexdigest()}" if event.id is None else event.id


def refused(event: Event | bytes, status: int, reason: str) -> str:
    """The door did not take it."""
    what = event.type if isinstance(event, Event) else f"{len(event)} bytes"
    hint = f": {_REFUSED[reason]}" if reason in _REFUSED else ""
    return f"expected the door to take {what}, it answered {status} {reason}{hint}"


def listed(receiver: Receiver) -> str:
    """The handlers there are."""
    names = [f"{handler.name} ({handler.pattern})" for handler in receiver.handlers]
    return (
        f"its handlers are {', '.join(names)}"
        if names
        else "it has no handlers: is the module that adds them imported?"
    )


def explain(
    receiver: Receiver, expected: str, event: Event | str, by: str | None, runs: Sequence[RunRow], known_seq: int
) -> str:
    """What was expected, what is, and what to do. `known_seq` is the newest entry from before the test."""
    what = f"{event.type} {shown_id(key_of(event))}" if isinstance(event, Event) else shown_id(event)
    of = "" if by is None else f" by {by}"
    with receiver.look() as (queries, connection):
        entry = queries.entry(connection, key_of(event))
        if entry is None:
            lines = list(_absent(queries, connection))
        elif entry.state == "waiting":
            lines = ["it was received and nothing has been done with it: call drain()"]
        elif runs:
            lines = [_run(run, receiver.clock.now_ms()) for run in runs]
            theirs = {run.handler for run in runs if run.state == "pending"}
            paused = [one for one in queries.handlers(connection) if one.paused_reason and one.name in theirs]
            lines += [f"{one.name} is paused: {one.paused_reason}" for one in paused]
        else:
            lines = list(_unheard(receiver, entry, by))
        if entry is not None and entry.seq <= known_seq:
            lines.append("it had been received before this test began: clear() empties an inbox that is kept")
    return "\n".join([f"expected {what} {expected}{of}", *(f"  {line}" for line in lines)])


def _absent(queries: InboxQueries, connection: Connection) -> Iterator[str]:
    yield "it was never received"
    for row in queries.rejections(connection, since_ms=0, limit=_SHOWN):
        yield f"refused: {row.times} requests ({row.reason}), the first: {row.sample}"
    entries = queries.entries(connection, limit=_SHOWN)
    for entry in entries:
        yield f"received: {entry.type or 'what is no event'} {shown_id(entry.event_id)} ({entry.state})"
    if not entries:
        yield "the inbox is empty"


def _run(run: RunRow, now_ms: int) -> str:
    if run.state == "succeeded":
        return f"{run.handler} has run"
    error = "" if run.error is None else ":\n" + "\n".join(f"    {line}" for line in run.error.splitlines())
    if run.state == "failed":
        return f"{run.handler} has failed for good, after {run.tries} tries{error}"
    if run.state != "pending":
        return f"the run of {run.handler} is {run.state}{error}"
    if run.tries:
        wait_s = (run.due_ms - now_ms) / 1000
        return f"{run.handler} has failed {run.tries} times; the next try is in {wait_s:g} s by the clock{error}"
    return f"{run.handler} has not run: call drain(), or finish() where it waits for an earlier run or a lock"


def _unheard(receiver: Receiver, entry: InboxEntry, by: str | None) -> Iterator[str]:
    reason = f" ({entry.reason})" if entry.reason else ""
    yield f"it was received, and is {entry.state}{reason}: no handler was told of it"
    type_ = entry.type or ""
    for handler in receiver.handlers:
        is_theirs = handler.source in {None, entry.source} and by in {None, handler.name}
        if is_theirs and handler.kind == "fact" and matches(handler.pattern, type_):
            yield f"{handler.name} was added later: a new handler hears of what has not been applied yet"
    if entry.state in {"stale", "noop"}:
        yield "it changed nothing that the mirror shows, so handlers of on_change hear nothing of it"
    yield listed(receiver)
