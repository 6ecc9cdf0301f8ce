"""What a new user does, from the printed link to the reason of a row: by keyboard alone, and without JavaScript.

Each takes about ten seconds: a Chromium of its own, both ends started, and some 400 presses of keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Page

from .chromium import Watched, browser
from .people import PASSWORD
from .world import World, files

# Nobody presses Tab more often than this to get somewhere.
MOST_TABS: Final = 150
# What a screen reader calls what has the focus, and whether one sees that it has it.
_FOCUSED: Final = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const labels = one.labels && one.labels.length ? [...one.labels].map((label) => label.textContent) : [];
  const name = one.getAttribute("aria-label") || labels.join(" ") || one.textContent;
  const style = getComputedStyle(one);
  const box = one.getBoundingClientRect();
  return {
    tag: one.tagName.toLowerCase(),
    name: name.replace(/\\s+/g, " ").trim(),
    isRinged: one.matches(":focus-visible") && style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
    isInSight: box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth,
  };
}"""


class Keyboard:
    """Somebody who has nothing but keys, and looks where they lead."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def to(self, tag: str, name: str, *, key: str = "Tab") -> None:
        """Press Tab until that has the focus whose name begins so. The focus must be seen at every step."""
        passed: list[str] = []
        for _ in range(MOST_TABS):
            self.page.keyboard.press(key)
            focused: dict[str, Any] | None = self.page.evaluate(_FOCUSED)
            if focused is None:
                continue
            assert focused["isRinged"], f"nobody sees that {focused} has the focus"
            assert focused["isInSight"], f"the focus is out of sight on {focused}"
            if focused["tag"] == tag and focused["name"].startswith(name):
                return
            passed.append(f"{focused['tag']} {focused['name'][:40]}")
        raise AssertionError(f"no {tag} {name!r} on {self.page.url} by {key}: {passed}")

    def fill(self, name: str, text: str, *, tag: str = "input") -> None:
        """Type into a field."""
        self.to(tag, name)
        self.page.keyboard.type(text)

    def follow(self, name: str, *, key: str = "Tab") -> None:
        """Follow a link."""
        self.to("a", name, key=key)
        self._load("Enter")

    def press(self, name: str) -> None:
        """Press a button that loads a page."""
        self.to("button", name)
        self._load("Enter")

    def _load(self, key: str) -> None:
        with self.page.expect_navigation(wait_until="load"):
            self.page.keyboard.press(key)


@pytest.fixture
def new_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """Both ends where nobody was before, whose receiver has the secret of something else; on databases of each kind."""
    urls = files(tmp_path) if request.param == "sqlite" else (request.getfixturevalue("postgres_url"),) * 2
    with World(*urls) as made:
        made.door.use("whsec_of_another_endpoint")
        yield made


def printed_link(world: World) -> str:
    """The path of the link that a first start prints."""
    token = world.accounts.first_link()
    assert token is not None
    return world.dashboard.parts.links.to("first", {}, {"token": token})


@pytest.mark.parametrize("new_world", ["sqlite"], indirect=True)
def test_by_keyboard_alone(new_world: World) -> None:
    _go_all_the_way(new_world, has_scripts=True)


@pytest.mark.parametrize("new_world", ["postgresql"], indirect=True)
def test_without_javascript(new_world: World) -> None:
    """By keyboard as well."""
    _go_all_the_way(new_world, has_scripts=False)


def _go_all_the_way(world: World, *, has_scripts: bool) -> None:
    with browser() as started:
        context = started.new_context(java_script_enabled=has_scripts, reduced_motion="reduce")
        watched = Watched(context, world.url)
        page, keys = watched.page, Keyboard(watched.page)
        watched.go(printed_link(world))

        keys.fill("Name", "ada")
        keys.fill("Password", PASSWORD)
        keys.to("input", "Password once more")
        keys.to("input", "Password", key="Shift+Tab")
        keys.fill("Password once more", PASSWORD)
        keys.press("Make the account")
        assert "Overview" in page.title()

        keys.follow("Endpoints")
        keys.follow("New endpoint")
        keys.fill("URL", world.door_url)
        keys.fill("Name", "Our app")
        keys.to("summary", "dsync")
        page.keyboard.press("Enter")
        keys.to("input", "All of these and future ones dsync.*")
        page.keyboard.press("Space")
        keys.press("Create the endpoint")
        assert page.title().startswith("Our app")

        keys.press("Show the secret")
        secret = page.locator("dt:text-is('Secret') + dd code").text_content()
        assert secret

        keys.follow("Test")
        keys.press("Send the test event")
        answer = page.locator("#answer")
        assert "failed" in answer.inner_text()
        assert "Answer: 401" in answer.inner_text()

        keys.follow("delivery_")
        why = page.locator("#attempt-1").inner_text()
        assert "What to do: " in why
        assert "secret" in why

        world.door.use(secret)
        keys.press("Retry now")
        world.drain()
        page.reload(wait_until="load")
        assert "delivered" in page.locator("#now").inner_text()

        keys.follow("dsync.user.created")
        event_id = page.url.rpartition("/")[2]
        keys.follow("directory_user_")
        keys.follow("directory_user")
        assert "Why is this row so?" in page.locator("#why").inner_text()
        assert event_id in page.locator("main").inner_text()
        assert watched.noted == []
        assert world.dashboard.csp_reports == 0
        context.close()
