"""The keyboard: the page that lists the keys, what every page brings for them, and what the scripts may not do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from hookline.dashboard.assets import load_assets
from hookline.dashboard.pages.keyboard import KEYS

from .site import Site

OURS = ("keys.js", "live.js", "dashboard.js", "theme.js")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    found = Site(tmp_path_factory.mktemp("keys"))
    yield found
    found.close()


def script(name: str) -> str:
    return load_assets()[name].content.decode()


def test_the_page_lists_the_keys_that_the_scripts_know(site: Site) -> None:
    with site.visit("viewer") as browser:
        page = browser.get("/dashboard/keyboard").page
    acted_on = re.findall(r'^    "?([^\s"])"?: \(\)', script("keys.js"), re.MULTILINE)
    assert sorted(acted_on) == ["/", "?", "j", "k", "o"]
    for key in acted_on:
        assert any(key in shown.split() for shown, _, can_be_off in KEYS if can_be_off)
    for key, does, _ in KEYS:
        assert key in page.text
        assert does in page.text


def test_every_page_brings_the_palette_and_says_where_the_keys_are_listed(site: Site) -> None:
    with site.visit("viewer") as browser:
        for path in ("/dashboard/", "/dashboard/live", "/dashboard/jobs", "/dashboard/nowhere"):
            text = browser.get(path).text
            assert 'id="palette"' in text
            assert 'id="keyboard-link"' in text
            assert "/keys.js" in text
        browser.cookies.clear()
        assert 'id="palette"' not in browser.get("/dashboard/sign-in").text


@pytest.mark.parametrize("name", OURS)
def test_no_script_of_ours_reads_data_as_markup_or_code(name: str) -> None:
    text = script(name)
    for forbidden in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        ".style.",
    ):
        assert forbidden not in text


def test_the_scripts_of_keys_and_live_are_small() -> None:
    assert len(script("keys.js")) + len(script("live.js")) <= 10_000
