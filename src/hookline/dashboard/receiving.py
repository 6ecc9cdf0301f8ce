"""What the pages of the receiving end have in common: sources, links to entries, rows and passes, states in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hookline.errors import ConfigError, RequestError
from hookline.receiver.mirror_queries import Difference, check_resource
from hookline.sender.model import ENVIRONMENTS
from hookline.wire.timestamps import moment_ms

if TYPE_CHECKING:
    from hookline.dashboard.frame import Call
    from hookline.receiver.model import InboxEntry, RunRow
    from hookline.receiver.subject import Subject

STATES: Final[Mapping[str, str]] = {
    "waiting": "A worker has not come to it yet.",
    "applied": "It changed the mirror.",
    "stale": "Something newer was known already, so it changed nothing.",
    "noop": "It said nothing that was not known.",
    "fact": "Its type is not mirrored; handlers were told of it.",
    "ignored": "It is of no type that is mirrored, or was dropped.",
    "dead": "It could not be applied, and waits for somebody.",
}
_MOST_SHOWN: Final = 4_000
_PASS: Final = re.compile(r"pass_(\d{1,18})")
_DRIFT: Final = re.compile(r"drift_(\d{1,18})")


def sources_of(call: Call) -> list[str]:
    """The sources that this receiver has, and those of which something is kept, in order."""
    with call.receiver.look() as (queries, connection):
        kept = queries.sources(connection)
    return sorted({*kept, *(one.name for one in call.receiver.sources)})


def query_of(call: Call, *names: str) -> dict[str, str]:
    """What the query has under these names, without white space around; '' where it has not."""
    return {name: call.query.get(name, "").strip() for name in names}


def number_of(text: str, name: str) -> int | None:
    """A number of the query; None where nothing is given. RequestError: it is none."""
    if not text:
        return None
    if not re.fullmatch(r"\d{1,18}", text):
        raise RequestError(422, "invalid", f"{name}: expected a number, got {text[:80]!r}")
    return int(text)


def moment_of(call: Call, text: str, name: str, problems: dict[str, str]) -> int | None:
    """A moment that somebody typed; what is none is a problem of that field."""
    try:
        return moment_ms(text, call.now_ms) if text else None
    except ValueError:
        problems[name] = "expected a time, or an age as in 15m, 2h, 3d"
        return None


def known_resource(resource: str) -> str:
    """The resource. RequestError(404): the mirror has none of that name."""
    try:
        check_resource(resource)
    except ConfigError as error:
        raise RequestError(404, None, problem_of(error)) from None
    return resource


def problem_of(error: ConfigError) -> str:
    """What is wrong, for where it is said beside its field."""
    return str(error).removeprefix(f"{error.setting}: ")


def entry_data(call: Call, entry: InboxEntry, subject: Subject | None) -> dict[str, Any]:
    """An entry as lists and its own page say it."""
    ended_ms = entry.finished_ms
    return {
        "seq": entry.seq,
        "source": entry.source,
        "event_id": entry.event_id,
        "type": entry.type,
        "subject": None if subject is None else subject._asdict(),
        "via": entry.via,
        "received_ms": entry.received_ms,
        "signed_ms": entry.signed_ms,
        "state": entry.state,
        "reason": entry.reason,
        "is_queued": entry.due_ms is not None,
        "due_ms": entry.due_ms,
        "attempts": entry.attempt,
        "finished_ms": ended_ms,
        "lag_ms": None if ended_ms is None and entry.due_ms is None else (ended_ms or call.now_ms) - entry.received_ms,
        "duplicates": entry.duplicates,
        "conflicts": entry.conflicts,
    }


def run_data(run: RunRow) -> dict[str, Any]:
    """A run as pages say it. `error` is a traceback without anything of anybody's."""
    return {
        "id": run.row_id,
        "handler": run.handler,
        "state": run.state,
        "tries": run.tries,
        "due_ms": run.due_ms if run.state == "pending" else None,
        "finished_ms": run.finished_ms,
        "error": run.error,
        "last_line": None if not run.error else run.error.strip().rsplit("\n", 1)[-1][:300],
        "event_id": run.event_id,
        "source": run.source,
        "resource": run.resource,
        "object_id": run.object_id,
        "replay_id": run.replay_id,
    }


def difference_data(call: Call, resource: str, differences: Iterable[Difference]) -> list[dict[str, Any]]:
    """Field by field, redacted as anything of an object of this resource is."""
    return [
        {
            "field": one.field,
            "before": cut(call.shown_member(one.field, one.before, of=resource)),
            "after": cut(call.shown_member(one.field, one.after, of=resource)),
        }
        for one in differences
    ]


def cut(value: Any) -> Any:
    """A value for a cell of a table: a long text is cut, and says so; so is a long list or object, as JSON text."""
    text = value
    if isinstance(value, (dict, list)):
        text = msgspec.json.encode(value).decode()
    if isinstance(text, str) and len(text) > _MOST_SHOWN:
        return f"{text[:_MOST_SHOWN]}… ({len(text):,} characters)"
    return value


def cause_link(call: Call, source: str, cause: str | None) -> str | None:
    """The page of what caused or set something: an event's entry, or a pass; None of an answer of the source."""
    if not cause or cause == "refetch":
        return None
    if (found := _PASS.fullmatch(cause)) is not None:
        return call.link("drift", id=found[1])
    if (found := _DRIFT.fullmatch(cause)) is not None:
        return call.link("drift_item", id=found[1])
    return call.link("inbox_entry", source=source, id=cause)


def sent_link(call: Call, event_id: str) -> str | None:
    """The page of the event at the sender, where this process has the one that published it."""
    sender = call.parts.sender
    if sender is None or not call.parts.links.has("event"):
        return None
    with sender.database.read() as connection:
        for environment in ENVIRONMENTS:
            if sender.store.event(connection, environment, event_id) is not None:
                return call.link("event", environment=environment, id=event_id)
    return None


def options_of(values: Sequence[str], every: str) -> list[tuple[str, str]]:
    """Choices of a filter, first of them that it does not narrow."""
    return [("", every), *((value, value) for value in values)]
