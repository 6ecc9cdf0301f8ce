"""`hookline deliveries`: one event for one endpoint, with its attempts; retry, cancel, recover."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

import cyclopts
from cyclopts import Parameter

from hookline.cli.api_client import HERE, Place, segment, sender_api
from hookline.cli.exporting import FormatFlag, Output, export_rows
from hookline.cli.parameters import AsJson
from hookline.cli.replays import NO_FLAGS, SINCE, ReplayFlags, start
from hookline.cli.sender_commands import (
    FIRST,
    PAGE,
    Columns,
    Pages,
    each,
    print_rows,
    show_list,
)
from hookline.cli.tables import print_facts, print_json

deliveries = cyclopts.App(name="deliveries", help="What is sent to whom: look, retry, cancel, recover.")

ROOT: Final = "/api/v1/deliveries"
COLUMNS: Final[Columns] = (
    ("DELIVERY", "id"),
    ("EVENT", "event"),
    ("ENDPOINT", "endpoint_url"),
    ("STATE", "state"),
    ("REASON", "reason"),
    ("TRIES", "attempt_count"),
    ("NEXT", "next_attempt_at"),
    ("CREATED", "created_at"),
)
_ATTEMPTS: Final[Columns] = (
    ("TRY", "number"),
    ("KIND", "kind"),
    ("OUTCOME", "outcome"),
    ("REASON", "reason"),
    ("STARTED", "started_at"),
    ("MS", "duration_ms"),
    ("DETAIL", lambda item: item["evidence"].get("detail")),
)
Since: TypeAlias = Annotated[str, Parameter(help=SINCE)]
State: TypeAlias = Literal["pending", "running", "succeeded", "failed", "canceled", "held"]
OfState: TypeAlias = Annotated[State | None, Parameter(help="Only these.")]
OfEndpoint: TypeAlias = Annotated[str | None, Parameter(help="Only those for the endpoint of this id.")]
OfEvent: TypeAlias = Annotated[str | None, Parameter(help="Only those of the event of this id.")]
OfType: TypeAlias = Annotated[str | None, Parameter("--type", help="Only those of events of this type.")]
_EXPORTED: Final = (
    *("id", "event_id", "event", "endpoint_id", "endpoint_url", "origin", "state", "reason", "attempt_count"),
    *("next_attempt_at", "next_attempt_kind", "first_attempt_at", "created_at", "updated_at"),
)


@deliveries.command(name="list")
def list_(
    *,
    state: OfState = None,
    endpoint: OfEndpoint = None,
    event: OfEvent = None,
    type_: OfType = None,
    pages: Pages = FIRST,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """The newest first."""
    with sender_api(place) as api:
        show_list(
            api,
            ROOT,
            COLUMNS,
            query={"state": state, "endpoint": endpoint, "event": event, "type": type_},
            pages=pages,
            as_json=as_json,
            empty="no deliveries",
        )


@deliveries.command
def export(
    *,
    state: OfState = None,
    endpoint: OfEndpoint = None,
    event: OfEvent = None,
    type_: OfType = None,
    format_: FormatFlag = "jsonl",
    output: Output = None,
    place: Place = HERE,
) -> None:
    """Write deliveries out, the newest first; without their attempts, which `deliveries show` has."""
    query = {"state": state, "endpoint": endpoint, "event": event, "type": type_, "limit": PAGE}
    with sender_api(place) as api:
        rows = (delivery for page in api.pages(ROOT, query) for delivery in page["data"])
        export_rows(_EXPORTED, rows, format_, output, what="deliveries")


@deliveries.command
def show(delivery: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """One delivery with its attempts; --json has the evidence of each.

    Parameters
    ----------
    delivery:
        Its id.
    """
    with sender_api(place) as api:
        found = api.get(_path(delivery))
    if as_json:
        print_json(found)
        return
    print_facts(
        [
            ("delivery", found["id"]),
            ("event", f"{found['event']} {found['event_id']}"),
            ("endpoint", f"{found['endpoint_url']} {found['endpoint_id']}"),
            ("origin", found["origin"]),
            ("state", found["state"]),
            ("reason", found["reason"]),
            ("next attempt", found["next_attempt_at"] and f"{found['next_attempt_at']} ({found['next_attempt_kind']})"),
            ("created", found["created_at"]),
            ("updated", found["updated_at"]),
        ]
    )
    print_rows(found["attempts"], _ATTEMPTS, empty="no attempt has ended yet")


@deliveries.command
def retry(*delivery: str, place: Place = HERE, as_json: AsJson = False) -> int:
    """One more attempt now, which uses no slot of the schedule. Exit 6 where only some could be.

    Parameters
    ----------
    delivery:
        Ids.
    """
    with sender_api(place) as api:
        return each(delivery, lambda one: api.post(_path(one, "retry")), "retried", as_json=as_json)


@deliveries.command
def cancel(*delivery: str, place: Place = HERE, as_json: AsJson = False) -> int:
    """Cancel deliveries that wait or are held. Exit 6 where only some could be.

    Parameters
    ----------
    delivery:
        Ids.
    """
    with sender_api(place) as api:
        return each(delivery, lambda one: api.post(_path(one, "cancel")), "canceled", as_json=as_json)


@deliveries.command
def explain(delivery: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """Why it is as it is: its story from stored facts, what is planned, and what to do.

    Parameters
    ----------
    delivery:
        Its id.
    """
    with sender_api(place) as api:
        answer = api.get(_path(delivery, "explain"))
    if as_json:
        print_json(answer)
        return
    print(answer["text"])
    print_rows(
        answer["story"],
        (("AT", "at"), ("WHAT", "text"), ("TO DO", "to_do")),
        empty="nothing has happened to it yet",
    )
    for attempt in answer["planned"]:
        print(f"planned: {attempt['at']} ({attempt['kind']})")


@deliveries.command
def recover(
    *,
    since: Since,
    flags: ReplayFlags = NO_FLAGS,
    place: Place = HERE,
    as_json: AsJson = False,
) -> int:
    """Send again what failed for good since a time: a replay of the failed."""
    with sender_api(place) as api:
        return start(api, flags, since=since, states=["failed"], as_json=as_json)


@deliveries.command
def send_missing(
    *,
    since: Since,
    flags: ReplayFlags = NO_FLAGS,
    place: Place = HERE,
    as_json: AsJson = False,
) -> int:
    """Send what endpoints ask for now and never got, since they did not ask for it then, or were disabled."""
    with sender_api(place) as api:
        return start(api, flags, since=since, states=["never"], as_json=as_json)


def _path(delivery: str, *rest: str) -> str:
    return "/".join((ROOT, segment(delivery), *rest))
