"""The keys there are, as a page."""

from __future__ import annotations

from typing import Final

from hookline.dashboard.frame import Call, Page, Shown

# The key, what it does, whether it can be turned off.
KEYS: Final[tuple[tuple[str, str, bool], ...]] = (
    ("Ctrl K or ⌘ K", "Go to a page, or find an id", False),
    ("/", "Put the focus into the search box", True),
    ("j", "To the next row of a table", True),
    ("k", "To the row before", True),
    ("o or Enter", "Open the row", True),
    ("Space", "On the live page: pause, and go on", True),
    ("?", "This page", True),
    ("Esc", "Close the palette or the menu", False),
)


def keyboard(_call: Call) -> Shown:
    """What each key does."""
    return Shown(
        "keyboard.html", "Keyboard", [{"key": key, "does": does, "can_be_off": off} for key, does, off in KEYS]
    )


PAGES: tuple[Page, ...] = (Page("keyboard", "/keyboard", keyboard),)
