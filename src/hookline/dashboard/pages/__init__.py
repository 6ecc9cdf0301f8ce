"""The pages: a module per area, each with what it serves in `PAGES`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from hookline.dashboard.frame import Action, Page
from hookline.dashboard.pages import (
    dead_letters,
    deliveries,
    endpoint_acts,
    endpoint_forms,
    endpoints,
    events,
    explainer,
    find,
    handlers,
    inbox,
    jobs,
    keyboard,
    live,
    mirror,
    overview,
    reconcile,
    replays,
    settings,
    sign_in,
    trials,
    users,
)


class Area(Protocol):
    """A module of pages."""

    @property
    def PAGES(self) -> Sequence[Page | Action]: ...  # noqa: N802 - as the modules write it


MODULES: Final[tuple[Area, ...]] = (
    overview,
    find,
    events,
    deliveries,
    endpoints,
    endpoint_forms,
    endpoint_acts,
    trials,
    explainer,
    live,
    replays,
    jobs,
    sign_in,
    inbox,
    dead_letters,
    mirror,
    reconcile,
    handlers,
    settings,
    users,
    keyboard,
)
