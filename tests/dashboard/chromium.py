"""A real Chromium, Debian's, driven by Playwright; and what no page may do in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

AXE: Final = Path(__file__).parent.parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
# WCAG 2.2 AA, with all that came before it.
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
# What may be right in one theme or width and wrong in another; all others judge the page's tree, which is the same.
LOOKS: Final = ["color-contrast", "target-size", "scrollable-region-focusable", "link-in-text-block"]
# The sandbox needs what root and containers lack; the others keep Chromium from asking the world for things.
ARGUMENTS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
# Whose text is wider than its box, and cannot be scrolled to; and whether the page itself scrolls sideways.
_OVERFLOWING: Final = """() => {
  const found = [];
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) found.push(`the page is ${wide} px too wide`);
  for (const element of document.querySelectorAll("main *, header *, nav *")) {
    const style = getComputedStyle(element);
    if (element.closest(".sr-only, svg, option, [hidden]") || style.visibility === "hidden") continue;
    const box = element.getBoundingClientRect();
    if (!box.width || !box.height) continue;
    const scrolls = element.closest(".table-container, .payload, pre, textarea, select, details.menu, .scrolls");
    if (!scrolls && (box.right > innerWidth + 1 || box.left < -1)) {
      found.push(`${element.tagName}.${element.className} reaches from ${box.left} to ${box.right}`);
    }
    const hides = style.overflowX === "hidden" && style.textOverflow !== "ellipsis";
    if (hides && element.scrollWidth > element.clientWidth + 1) {
      found.push(`${element.tagName}.${element.className} is cut`);
    }
  }
  return found.slice(0, 8);
}"""


def chromium_path() -> str:
    """Where Chromium is. Skips the test where there is none: .ci/run brings it."""
    named = os.environ.get("HOOKLINE_TEST_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("no Chromium here (Debian's package chromium); .ci/run brings it")
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """One Chromium."""
    path = chromium_path()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


class Watched:
    """A page of which everything is noted that none may do: messages on the console, requests to other hosts."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.noted: list[str] = []
        self._host = urlsplit(url).netloc
        self.url = url
        self.page.on("console", lambda message: self.noted.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.noted.append(f"error: {error}"))
        self.page.on("request", self._note_request)
        self.page.on("response", self._note_response)
        self.page.on("dialog", self._note_dialog)

    def go(self, path: str) -> None:
        """Load a page of ours."""
        self.page.goto(self.url + path, wait_until="load")

    def look(self, scheme: Literal["light", "dark"], width: int, height: int) -> None:
        """Have the page in a theme and a size, and drawn so: what it does when resized it does before a frame."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")

    def overflowing(self) -> list[str]:
        """What is cut, or reaches out of the window."""
        found: list[str] = self.page.evaluate(_OVERFLOWING)
        return found

    def violations(self, *, of_looks: bool = False) -> list[str]:
        """What axe finds, one line each: by every rule, or by those that theme and width decide.

        Its script is injected beside the page's policy, not through it.
        """
        if not self.page.evaluate("() => 'axe' in window"):
            self.page.evaluate(_axe_source())
        result: dict[str, Any] = self.page.evaluate(
            "only => axe.run(document, {runOnly: only, resultTypes: ['violations']})",
            {"type": "rule", "values": LOOKS} if of_looks else {"type": "tag", "values": RULES},
        )
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in result["violations"]
            for node in one["nodes"][:3]
        ]

    def _note_request(self, request: Any) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self._host:
            self.noted.append(f"request to {parts.netloc}")

    def _note_response(self, response: Any) -> None:
        if response.status >= 400:
            self.noted.append(f"answered {response.status}: {response.url}")

    def _note_dialog(self, dialog: Any) -> None:
        self.noted.append(f"dialog: {dialog.message}")
        dialog.dismiss()


def _axe_source() -> str:
    if not AXE.exists():
        pytest.skip("axe-core is not installed (make node-packages); .ci/run brings it")
    return AXE.read_text("utf-8")
