"""Every page in a real Chromium: light and dark, narrow and wide; judged by axe, silent, alone with its host.

`make test` visits each page once and looks at it light and wide, by all rules, and dark and narrow. `make tour`
(WHOLE_TOUR=1), which CI runs after it, visits each in every state, in all four looks. With HOOKLINE_SCREENSHOTS=folder
the same run leaves a picture of each.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import pytest
from playwright.sync_api import BrowserContext

from hookline.dashboard.frame import Page

from .chromium import Watched, browser
from .people import PASSWORD
from .tour import NO_PAGES, stops_of
from .world import World

SIZES: Final = ((1440, 900), (390, 844))
SCHEMES: Final[tuple[Literal["light", "dark"], ...]] = ("light", "dark")
IS_WHOLE: Final = os.environ.get("WHOLE_TOUR") == "1"
ALL_LOOKS: Final = tuple(itertools.product(SCHEMES, SIZES))
# The first is judged by every rule. Of the others the last is in both respects the other extreme.
LOOKS_TAKEN: Final = ALL_LOOKS if IS_WHOLE else (ALL_LOOKS[0], ALL_LOOKS[-1])
# So that no part comes near the time a test may take.
PARTS: Final = 30 if IS_WHOLE else 4
OF_AN_ERROR: Final = re.compile(r"answered 4|console: Failed to load resource: the server responded with a status of 4")


@pytest.fixture(scope="module")
def context(world: World) -> Iterator[BrowserContext]:
    signed_in = world.accounts.sign_in("ada", PASSWORD, address="127.0.0.1", agent="Chromium")
    with browser() as started:
        made = started.new_context(color_scheme="light", reduced_motion="reduce")
        made.add_cookies([{"name": "hookline_session", "value": signed_in.token, "url": world.url}])
        yield made


@pytest.mark.parametrize("part", range(PARTS))
def test_pages(world: World, context: BrowserContext, part: int) -> None:
    """Takes long: a browser judges some twenty pages, the tree of each by all of axe's rules."""
    watched = Watched(context, world.url)
    found: dict[str, list[str]] = {}
    for name, path in _stops(world)[part::PARTS]:
        watched.page.emulate_media(color_scheme="light")
        watched.page.set_viewport_size({"width": SIZES[0][0], "height": SIZES[0][1]})
        watched.go(path)
        for scheme, (width, height) in LOOKS_TAKEN:
            watched.look(scheme, width, height)
            is_first = (scheme, (width, height)) == ALL_LOOKS[0]
            # Of a page whose answer is to be an error Chromium itself writes a line.
            noted = [one for one in watched.noted if not (name.startswith("error:") and OF_AN_ERROR.match(one))]
            problems = [*watched.violations(of_looks=not is_first), *watched.overflowing(), *noted]
            watched.noted.clear()
            _picture(watched, f"{name}-{scheme}-{width}")
            if problems:
                found[f"{name} {path} {scheme} {width}"] = problems
    watched.page.close()
    assert not found, "\n".join(f"{stop}: {problem}" for stop, problems in found.items() for problem in problems)
    assert world.dashboard.csp_reports == 0


def test_the_tour_stops_at_every_page(world: World) -> None:
    visited = {name.partition(":")[0] for name, _ in stops_of(world)}
    there = {one.name for one in world.dashboard.served if isinstance(one, Page)} - NO_PAGES
    assert there - visited == set()


def _stops(world: World) -> list[tuple[str, str]]:
    """All there are; or each page once, and what is to be an error."""
    stops = stops_of(world)
    if IS_WHOLE:
        return stops
    first: dict[str, tuple[str, str]] = {}
    for name, path in stops:
        first.setdefault(name if name.startswith("error:") else name.partition(":")[0], (name, path))
    return list(first.values())


def _picture(watched: Watched, name: str) -> None:
    folder = os.environ.get("HOOKLINE_SCREENSHOTS")
    if folder:
        watched.page.screenshot(path=Path(folder) / f"{name.replace(':', '-')}.png")
