"""Where a visitor of the dashboard goes: every page there is, in the states it may be in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from hookline.dashboard.frame import Page
from hookline.sender.queries import PageRequest, endpoint_page

from . import receiver_tour
from .world import World

# What fills the places of a path, and further states of a page by its query. Filled in as pages come.
_QUERIES: Final[Mapping[str, Sequence[str]]] = {
    "endpoints": ("?q=billing", "?q=nothing", "?status=failing"),
    "endpoint": ("?state=failed", "?type=nobody.knows"),
    "endpoint_recover": ("?since=24h", "?what=missing&since=24h"),
    "endpoint_secret": ("?code=django", "?new=1"),
    "endpoint_resume": ("?since=1h",),
    "settings_audit": ("?trail=production", "?action=never.done"),
}
_PLACES: Final[Mapping[str, Sequence[Mapping[str, str]]]] = {
    "settings_user": [{"name": "ada"}],
    "settings_user_confirm": [{"name": "ada", "act": act} for act in ("disable", "remove", "end-sessions")],
}
_OTHER: Final[Sequence[tuple[str, str]]] = (("error:404", "/dashboard/nowhere"),)


def stops_of(world: World) -> list[tuple[str, str]]:
    """Names and paths: each page once, and again for each further state."""
    if not len(world.receiver.handlers):
        receiver_tour.trouble(world)
    stops = receiver_tour.stops(world)
    theirs = {name for name, _ in stops}
    for one in world.dashboard.served:
        # The stream of the live page is answered without end.
        if not isinstance(one, Page) or one.name == "live_stream" or one.name in theirs:
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
    if page.name == "settings_key_revoke":
        key, _ = world.sender.api_keys.create("staging", name="preview")
        return [{"environment": "staging", "key": key.id}]
    return [dict(params) for params in _PLACES.get(page.name, ())]


def _endpoints_of(world: World) -> list[str]:
    """The two of the day's life, one of which fails."""
    with world.database.read() as connection:
        page = endpoint_page(world.sender.store, connection, "production", PageRequest())
    return [one.id for one in page.items]
