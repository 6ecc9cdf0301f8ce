"""`hookline events`: what was published, publishing, and who got it."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import cyclopts
from cyclopts import Parameter

from hookline.cli.api_client import HERE, ApiClient, Place, segment, sender_api
from hookline.cli.deliveries import COLUMNS as DELIVERY_COLUMNS
from hookline.cli.event_types import types
from hookline.cli.exporting import FormatFlag, Output, export_rows
from hookline.cli.parameters import AsJson
from hookline.cli.sender_commands import FIRST, PAGE, Columns, Pages, moment, payload, print_rows, show_list, words
from hookline.cli.tables import print_json

events = cyclopts.App(name="events", help="What was published: look, publish, send again, explain.")
events.command(types)

ROOT: Final = "/api/v1/events"
_COLUMNS: Final[Columns] = (("EVENT", "id"), ("TYPE", "event"), ("CREATED", "created_at"))
_VERDICTS: Final[Columns] = (
    ("ENDPOINT", "endpoint_url"),
    ("VERDICT", "verdict"),
    ("WHY", "text"),
    ("NEXT", "next_at"),
    ("DELIVERIES", lambda item: ", ".join(item["delivery_ids"])),
)


_EXPORTED: Final = ("id", "event", "created_at", "data", "context")

Types: TypeAlias = Annotated[str | None, Parameter("--type", help="Type names, comma separated; else every known one.")]
Since: TypeAlias = Annotated[str | None, Parameter(help="Created since: a time, or how long ago: 15m, 2h, 3d.")]
Until: TypeAlias = Annotated[str | None, Parameter(help="Created before.")]
Organization: TypeAlias = Annotated[str | None, Parameter(help="Only those of this organization.")]


def _query(
    api: ApiClient, types: str | None, since: str | None, until: str | None, organization: str | None
) -> dict[str, Any]:
    """What the feed is asked for."""
    named = words(types) or [item["name"] for item in api.get("/api/v1/event_types")["data"]]
    return {
        "events": ",".join(named),
        "range_start": moment("--since", since),
        "range_end": moment("--until", until),
        "organization_id": organization,
    }


@events.command(name="list")
def list_(
    *,
    types: Types = None,
    since: Since = None,
    until: Until = None,
    organization: Organization = None,
    pages: Pages = FIRST,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Oldest first, in the order of the feed."""
    with sender_api(place) as api:
        show_list(
            api,
            "/events",
            _COLUMNS,
            query=_query(api, types, since if pages.after is None else None, until, organization),
            pages=pages,
            as_json=as_json,
            empty="no events",
        )


@events.command
def export(
    *,
    types: Types = None,
    since: Since = None,
    until: Until = None,
    organization: Organization = None,
    format_: FormatFlag = "jsonl",
    output: Output = None,
    place: Place = HERE,
) -> None:
    """Write events out as they are sent, oldest first, in the order of the feed: personal data."""
    with sender_api(place) as api:
        query = {**_query(api, types, since, until, organization), "limit": PAGE}
        rows = (event for page in api.pages("/events", query) for event in page["data"])
        export_rows(_EXPORTED, rows, format_, output, what="events")


@events.command
def show(event: str, /, *, place: Place = HERE, as_json: AsJson = False) -> None:
    """One event as it is sent, and its newest deliveries.

    Parameters
    ----------
    event:
        Its id.
    """
    with sender_api(place) as api:
        found = api.get(f"{ROOT}/{segment(event)}")
        print_json(found)
        if as_json:
            return
        made = api.get("/api/v1/deliveries", {"event": event, "limit": 20})
    print_rows(made["data"], DELIVERY_COLUMNS, empty="no endpoint asked for it")


@events.command
def publish(
    event: str,
    data: Annotated[str, Parameter(allow_leading_hyphen=True)] = "-",
    /,
    *,
    organization: Annotated[str | None, Parameter(help="The organization it is about.")] = None,
    created_at: Annotated[str | None, Parameter(help="When it happened; else now.")] = None,
    idempotency_key: Annotated[
        str | None, Parameter(help="A name for this call: repeating it with the same content publishes nothing more.")
    ] = None,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Publish one event and print its id.

    Parameters
    ----------
    event:
        Its type, as dsync.user.created or invoice.paid.
    data:
        File with the payload, a JSON object; - reads standard input.
    """
    body: dict[str, Any] = {"event": event, "data": payload(data)}
    if organization is not None:
        body["organization_id"] = organization
    if created_at is not None:
        body["created_at"] = moment("--created-at", created_at)
    with sender_api(place) as api:
        published = api.post(ROOT, body, idempotency_key=idempotency_key)
    if as_json:
        print_json(published)
    else:
        print(published["id"])


@events.command
def resend(
    event: str,
    /,
    *,
    endpoint: Annotated[str | None, Parameter(help="To this endpoint alone; else to all that ask for it now.")] = None,
    listener: Annotated[str | None, Parameter(help="To this listener alone, connected or not.")] = None,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Send one event again: new deliveries with the same event id. It also goes to whoever listens for it now.

    Parameters
    ----------
    event:
        Its id.
    """
    with sender_api(place) as api:
        given = {"endpoint_id": endpoint, "listener": listener}
        wanted = {name: value for name, value in given.items() if value is not None}
        made = api.post(f"{ROOT}/{segment(event)}/resend", wanted or None)
    if as_json:
        print_json(made)
        return
    if made["data"] or not made["listeners"]:
        print_rows(made["data"], DELIVERY_COLUMNS, empty="no endpoint asks for it")
    for name in made["listeners"]:
        print(f"goes to the listener {name}")


@events.command
def explain(
    event: str,
    /,
    *,
    endpoint: Annotated[str | None, Parameter(help="Only why this one got it, or did not.")] = None,
    pages: Pages = FIRST,
    place: Place = HERE,
    as_json: AsJson = False,
) -> None:
    """Who got it, who did not, and why: of every endpoint there was, from what was stored then.

    Parameters
    ----------
    event:
        Its id.
    """
    with sender_api(place) as api:
        show_list(
            api,
            f"{ROOT}/{segment(event)}/explain",
            _VERDICTS,
            query={"endpoint": endpoint},
            pages=pages,
            as_json=as_json,
            empty="there was no endpoint",
        )
