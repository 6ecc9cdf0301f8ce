"""The demo's dashboard while the demo runs: the way in, what may be turned, and that what is laid out costs nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, Request, build_opener

import pytest

from hookline.demo import run as demo_run
from hookline.demo.run import Demo, Options
from hookline.demo.view import Report
from hookline.demo.wire import CALM
from tests.dashboard.browser import Page

PATIENCE_S = 20.0


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.ERROR, "hookline"):
        yield


class Visitor:
    """Somebody with the link, or without."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.at = base
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> str:
        with self._opener.open(self.base + path, timeout=10) as answer:
            return str(answer.read().decode())

    def data(self, path: str) -> Any:
        return json.loads(self.get(f"{path}{'&' if '?' in path else '?'}format=json"))

    def post(self, path: str, **fields: object) -> str:
        headers = {"Sec-Fetch-Site": "same-origin"}
        with self._opener.open(Request(self.base + path, urlencode(fields).encode(), headers), timeout=10) as answer:
            self.at = answer.geturl()
            return str(answer.read().decode())


def until(is_so: Callable[[], Any]) -> Any:
    deadline_s = time.monotonic() + PATIENCE_S
    while not (found := is_so()):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    return found


def during(options: Options, visit: Callable[[str], None]) -> Report:
    """Run a demo for as long as somebody visits it."""

    async def whole() -> Report:
        led = asyncio.get_running_loop().create_future()
        demo = Demo(options, show=lambda _: None, every_s=0.5, lead=led.set_result)
        running = asyncio.create_task(demo.run())
        await asyncio.wait({running, led}, return_when=asyncio.FIRST_COMPLETED)
        try:
            await asyncio.to_thread(visit, led.result())
        finally:
            demo.stop()
            report = await running
        return report

    return asyncio.run(whole())


def test_a_visitor_tries_it_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In by the link; what it names is there to be tried; what was planted is found; in the end both are equal."""
    monkeypatch.setattr(demo_run, "PLANTED_AFTER_S", 0.3)

    def visit(url: str) -> None:
        base, _, way_in = url.partition("/dashboard")
        visitor, stranger = Visitor(base), Visitor(base)
        with pytest.raises(HTTPError, match="404"):
            stranger.get("/dashboard/demo/enter?token=guessed")
        assert "Sign in" in stranger.get("/dashboard/demo")
        page = visitor.get(f"/dashboard{way_in}")
        assert "Find the drift, and heal it" in page
        until(lambda: visitor.data("/dashboard/demo")["drift"]["is_planted"])
        page = visitor.get("/dashboard/demo")
        read = Page()
        read.feed(page)
        told = visitor.data("/dashboard/demo")
        for href in [told[one]["href"] for one in ("inactive", "failing", "app", "drift") if told[one] is not None]:
            assert any(found == href for _, found in read.links) or href == (told["inactive"] or {}).get("href")
            visitor.get(href)
        assert "This is a demo" in visitor.get("/dashboard/live")

        zero = {one["name"]: 0 for one in visitor.data("/dashboard/demo")["faults"]}
        visitor.post("/dashboard/demo/turn", rate=30, **{**zero, "doubled": 50})
        told = visitor.data("/dashboard/demo")
        assert told["rate"] == 30
        assert {one["name"]: one["percent"] for one in told["faults"]} == {**zero, "doubled": 50}
        with pytest.raises(HTTPError, match="422"):
            visitor.post("/dashboard/demo/turn", rate="many", **zero)
        assert "it answers 200" in visitor.post("/dashboard/demo/act", act="fix")
        assert "by 1 secret" in visitor.post("/dashboard/demo/act", act="secrets")
        rotate = Page()
        at = visitor.data("/dashboard/demo")["app"]["href"]
        rotate.feed(visitor.get(at))
        visitor.post(at, **dict(rotate.form("otate").fields))
        assert "by 2 secrets" in visitor.post("/dashboard/demo/act", act="secrets")
        assert "The wire is down" in visitor.post("/dashboard/demo/act", act="outage")
        assert "The company rests" in visitor.post("/dashboard/demo/act", act="pause")
        forms = [one for one in read.forms if one.action.endswith("/explain")]
        assert "read and written again" in visitor.post("/dashboard/explain", **dict(forms[0].fields))

        visitor.post("/dashboard/reconcile/start", source="default", mode="dry_run", directory="")
        # A dry run looks twice, seconds apart: that it has begun is enough here.
        assert visitor.data(visitor.at.removeprefix(base))["pass"]["mode"] == "dry_run"

    report = during(Options(duration_s=None, rate=40, seed=7, folder=tmp_path, habits=CALM, has_dashboard=True), visit)
    assert report.is_good
    assert report.differences == []
    assert report.sender.published == report.sender.delivered > 0
    assert "failed" not in report.sender.deliveries
