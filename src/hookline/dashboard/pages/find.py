"""The search box: any id leads straight to what it names, at whichever end; anything else searches the event log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from hookline.dashboard.frame import Call, FormProblems, Page, SeeOther, Shown
from hookline.errors import ConfigError, RequestError
from hookline.rules.event_search import EventSearch, NotASearch, parse_search
from hookline.sender.event_log import EventLog
from hookline.sender.model import ENVIRONMENTS

if TYPE_CHECKING:
    from hookline.sender.model import Environment
    from hookline.storage import Connection

MOST: Final = 300


def find(call: Call) -> Shown | SeeOther:
    """Go to what an id names; show what there is, where it names several things or none."""
    text = call.query.get("q", "").strip()
    try:
        search = parse_search(text, call.now_ms)
    except NotASearch as error:
        return Shown("find.html", "Find", {"q": text, "found": []}, {"problems": FormProblems({"q": str(error)})}, 422)
    wanted = call.query.get("environment", "production")
    if search.any_id is None:
        if call.parts.sender is not None and call.parts.links.has("events"):
            environment = wanted if wanted in ENVIRONMENTS else "production"
            return SeeOther(call.link("events", environment=environment, query={"q": text}))
        return Shown("find.html", "Find", {"q": text, "found": []}, {"problems": FormProblems()})
    if len(search.any_id) > MOST:
        problems = FormProblems({"q": f"expected at most {MOST} characters of an id"})
        return Shown("find.html", "Find", {"q": text, "found": []}, {"problems": problems}, 422)
    found = [*_at_sender(call, search.any_id), *_at_receiver(call, search.any_id)]
    if len(found) == 1 and call.query.get("format") != "json":
        return SeeOther(found[0][1])
    named = [{"what": what, "href": href} for what, href in found]
    return Shown("find.html", "Find", {"q": text, "found": named}, {"problems": FormProblems()})


def _at_sender(call: Call, id_: str) -> Iterator[tuple[str, str]]:
    if call.parts.sender is None:
        return
    sender = call.sender
    with sender.database.read() as connection:
        for environment in ENVIRONMENTS:
            yield from _named(call, connection, environment, id_)


def _named(call: Call, connection: Connection, environment: Environment, id_: str) -> Iterator[tuple[str, str]]:
    sender, has = call.sender, call.parts.links.has
    if sender.store.past_event(connection, environment, id_) is not None:
        yield f"event {id_}, {environment}", call.link("event", environment=environment, id=id_)
    # An attempt is named by its delivery and its number.
    delivery_id, _, number = id_.partition("/")
    if sender.store.delivery(connection, environment, delivery_id) is not None:
        href = call.link("delivery", environment=environment, id=delivery_id)
        yield f"delivery {delivery_id}, {environment}", href + (f"#attempt-{number}" if number.isdecimal() else "")
    if has("endpoint") and sender.store.endpoint(connection, environment, id_, with_deleted=True) is not None:
        yield f"endpoint {id_}, {environment}", call.link("endpoint", environment=environment, id=id_)
    if has("replay") and id_.startswith("replay_"):
        try:
            sender.replays.read(environment, id_)
        except RequestError:
            pass
        else:
            yield f"replay {id_}, {environment}", call.link("replay", environment=environment, id=id_)
    page = EventLog(sender.database.dialect).page(connection, environment, EventSearch(object_id=id_), limit=1)
    if page.events:
        href = call.link("events", environment=environment, query={"q": f"object:{id_}"})
        yield f"events about {id_}, {environment}", href


def _at_receiver(call: Call, id_: str) -> Iterator[tuple[str, str]]:
    if call.parts.receiver is None:
        return
    has = call.parts.links.has
    with call.receiver.look() as (queries, connection):
        sources = queries.sources(connection)
        entries = queries.entries(connection, event_id=id_) if has("inbox_entry") else []
    for entry in entries:
        href = call.link("inbox_entry", source=entry.source, id=entry.event_id)
        yield f"inbox entry {entry.event_id}, source {entry.source}", href
    if not has("mirror_row"):
        return
    for source in sources:
        with call.receiver.look_at_mirror(source) as mirror:
            try:
                resources = mirror.queries.find(mirror.connection, id_)
            except ConfigError:
                resources = []
        for resource in resources:
            href = call.link("mirror_row", source=source, resource=resource, id=id_)
            yield f"{resource} {id_} in the mirror of {source}", href


PAGES: Sequence[Page] = (Page("find", "/find", find),)
