"""Where a visitor of the dashboard goes: every page there is, in the states it may be in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hookline.dashboard.frame import Page
from hookline.sender.queries import PageRequest, endpoint_page, replay_page
from hookline.sender.replays import Selection

from . import receiver_tour
from .world import World

# What fills the places of a path, and further states of a page by its query. Filled in as pages come.
_QUERIES: Final[Mapping[str, Sequence[str]]] = {
    "endpoints": ("?q=billing", "?q=nothing", "?status=failing"),
    "endpoint": ("?state=failed", "?type=nobody.knows"),
    "endpoint_recover": ("?since=24h", "?what=missing&since=24h"),
    "endpoint_secret": ("?code=django", "?new=1"),
    "endpoint_resume": ("?since=1h",),
    "events": ("?q=status:retrying", "?q=type:never.published"),
    "find": ("?q=no_such_thing",),
    "overview": ("?environment=staging",),
    "traffic": ("?span=7d",),
    "settings_audit": ("?trail=production", "?action=never.done"),
}
_PLACES: Final[Mapping[str, Sequence[Mapping[str, str]]]] = {
    "settings_user": [{"name": "ada"}],
    "settings_user_confirm": [{"name": "ada", "act": act} for act in ("disable", "remove", "end-sessions")],
}
# What pages ask for themselves: a stream without end, and a part of a page.
NO_PAGES: Final = frozenset({"live_stream", "events_newer"})
_OTHER: Final[Sequence[tuple[str, str]]] = (
    ("error:404", "/dashboard/nowhere"),
    ("error:event", "/dashboard/production/events/event_none"),
    ("error:search", "/dashboard/production/events?q=status:lost"),
    ("error:find", "/dashboard/find?q=status:lost"),
)


def stops_of(world: World) -> list[tuple[str, str]]:
    """Names and paths: each page once, and again for each further state."""
    if not len(world.receiver.handlers):
        receiver_tour.trouble(world)
    stops = receiver_tour.stops(world)
    theirs = {name for name, _ in stops}
    for one in world.dashboard.served:
        if not isinstance(one, Page) or one.name in NO_PAGES | theirs:
            continue
        for params in _params_of(world, one):
            link = world.dashboard.parts.links.to(one.name, params)
            stops.append((one.name, link))
            stops += [
                (f"{one.name}:{number}", link + query) for number, query in enumerate(_QUERIES.get(one.name, ()), 1)
            ]
    return [*stops, *_OTHER]


def _params_of(world: World, page: Page) -> list[dict[str, str]]:
    if "{" not in page.path:
        return [{}]
    if page.path.count("{") == 1 and "{environment}" in page.path:
        return [{"environment": "production"}, {"environment": "staging"}]
    if page.path.startswith("/{environment}/endpoints/{id}"):
        return [{"environment": "production", "id": one} for one in _endpoints_of(world)]
    if page.name in ("event", "delivery", "delivery_cancel"):
        return [{"environment": "production", "id": one} for one in _deliveries_of(world, page.name)]
    if page.name.startswith("replay"):
        return [{"environment": "production", "id": _replay_of(world)}]
    if page.name == "settings_key_revoke":
        key, _ = world.sender.api_keys.create("staging", name="preview")
        return [{"environment": "staging", "key": key.id}]
    return [dict(params) for params in _PLACES.get(page.name, ())]


def _endpoints_of(world: World) -> list[str]:
    """The two of the day's life, one of which fails."""
    with world.database.read() as connection:
        page = endpoint_page(world.sender.store, connection, "production", PageRequest())
    return [one.id for one in page.items]


def _deliveries_of(world: World, name: str) -> list[str]:
    """One that was delivered and one that is retried; or their events."""
    column = "e.id" if name == "event" else "d.id"
    found = []
    with world.database.read() as connection:
        for state in ("d.state = 'succeeded'", "d.state = 'pending' and d.attempt > 2"):
            row = connection.execute(
                f"select {column} from hookline_sender_deliveries d"
                " join hookline_sender_events e on e.row_id = d.event_row"
                f" where {state} and e.type = 'dsync.user.updated' order by d.row_id desc"
            ).fetchone()
            found.append(row[0])
    return found


def _replay_of(world: World) -> str:
    """The one there is, or one of everything, made now."""
    with world.database.read() as connection:
        page = replay_page(world.sender.replays.jobs, connection, "production", PageRequest())
    if page.items:
        return page.items[0].id
    replay = world.sender.replays.start("production", Selection(since_ms=0, states=("failed",)), actor="command")
    return replay.id
