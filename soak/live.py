"""The live page in a real Chromium, while both ends of one `hookline serve all` pass 200 events a second.

Wrong would be an event that passed and was neither shown nor said to have been passed over, and a page that stopped: a
frame that took longer than a second.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.dashboard.chromium import browser
from tests.e2e.processes import Served, ask, clean_environment

from soak.report import Report

RATE_PER_S = 200
BATCH = 20
SECONDS = 60
KEY = "sk_live_of_the_live_soak"
PASSWORD = "correct horse battery"
_LONGEST_FRAME_MS = 1_000

_INTRODUCTION = """\
# The live page at 200 events a second

One `hookline serve all` on SQLite publishes, delivers to its own door, applies, and shows both lanes in a Chromium on
the same machine, which notes every row as it is drawn and how long each frame took."""

# Notes each event's row as it first appears, and the time between frames.
_WATCH = """() => {
  const seen = (window.seen = new Map());
  const gaps = (window.gaps = []);
  const note = () => {
    for (const row of document.querySelectorAll("#live tbody tr")) {
      if (!seen.has(row.dataset.id)) seen.set(row.dataset.id, Date.now());
    }
  };
  new MutationObserver(note).observe(document.querySelector("#live tbody"), { childList: true });
  note();
  let last = performance.now();
  const frame = (now) => {
    gaps.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""


def soak(*, seed: int, scale: float, say: Callable[[str], None]) -> Report:
    """Run it.

    Args:
        seed: named by the report; what passes is the same anyway.
        scale: multiplies how long.
        say: told how far it is.
    """
    del seed
    seconds = max(2.0, SECONDS * scale)
    report = Report(lines=[_INTRODUCTION, ""])
    with tempfile.TemporaryDirectory(prefix="hookline-soak-") as name:
        folder = Path(name)
        port, secret = _endpoint(folder)
        say(f"the page is watched for {seconds:.0f} s")
        served = _served(folder, port, secret)
        try:
            published, shown, gaps, passed = _watched(served, seconds)
        finally:
            served.close()
    missing = published.keys() - shown.keys()
    if len(missing) > passed:
        report.wrong.append(f"{len(missing)} events were not shown, of which {passed} were said to be passed over")
    if max(gaps) > _LONGEST_FRAME_MS:
        report.wrong.append(f"a frame took {max(gaps):.0f} ms")
    waits = sorted(shown[one] - at_ms for one, at_ms in published.items() if one in shown)
    frames = sorted(gaps)
    figures = (
        f"| {len(published):,} | {len(published) / seconds:.0f} | {len(published) - len(missing):,} | {passed:,} "
        f"| {_at(waits, 0.5):.0f} ms, {_at(waits, 0.95):.0f} ms "
        f"| {_at(frames, 0.5):.0f} ms, {_at(frames, 0.99):.0f} ms, {frames[-1]:.0f} ms |"
    )
    report.lines += [
        "| published | a second | shown | said to be passed over | shown after, p50, p95 | frames, p50, p99, longest |",
        "|---|---|---|---|---|---|",
        figures,
    ]
    return report


def _watched(served: Served, seconds: float) -> tuple[dict[str, int], dict[str, int], list[float], int]:
    """What was published when, what was shown when, the time between frames, and how many were passed over."""
    published: dict[str, int] = {}
    with browser() as chromium:
        page = chromium.new_context().new_page()
        page.goto(served.url + served.facts["dashboard"]["first_sign_in"])
        page.fill("[name=name]", "ada")
        for field in page.query_selector_all("input[type=password]"):
            field.fill(PASSWORD)
        page.click("main button[type=submit]")
        page.goto(served.url + "/dashboard/live")
        page.evaluate(_WATCH)
        began_s = time.monotonic()
        number = 0
        while (now_s := time.monotonic()) < began_s + seconds:
            due = int((now_s - began_s) * RATE_PER_S)
            if number + BATCH > due:
                # The browser's events are handled while this waits.
                page.wait_for_timeout(20)
                continue
            at_ms = time.time_ns() // 1_000_000
            for event_id in _publish(served, number):
                published[event_id] = at_ms
            number += BATCH
        page.wait_for_timeout(3_000)
        shown: dict[str, int] = page.evaluate("() => Object.fromEntries(window.seen)")
        gaps: list[float] = page.evaluate("() => window.gaps")
        said = page.inner_text("#live-said")
    words = said.replace(",", "").split()
    passed = next((int(one) for one, after in itertools.pairwise(words) if after == "more"), 0)
    return published, shown, gaps, passed


def _publish(served: Served, first: int) -> list[str]:
    events = [
        {
            "event": "dsync.user.created",
            "data": {"object": "directory_user", "id": f"user_{number}", "directory_id": "d"},
        }
        for number in range(first, first + BATCH)
    ]
    answer = _call(served, "POST", "/api/v1/events", {"events": events})
    return [one["id"] for one in answer["data"]]


def _endpoint(folder: Path) -> tuple[int, str]:
    """The port that both ends will be at, and the secret of the endpoint that leads to its door."""
    served = _served(folder, 0, None)
    try:
        port = int(served.url.rpartition(":")[2])
        wanted = {"endpoint_url": f"{served.url}/webhooks", "events": ["dsync.user.created"]}
        secret: str = _call(served, "POST", "/webhook_endpoints", wanted)["secret"]
    finally:
        served.close()
    return port, secret


def _served(folder: Path, port: int, secret: str | None) -> Served:
    environment = clean_environment() | {
        "HOOKLINE_PORT": str(port),
        "HOOKLINE_API_KEY": KEY,
        "HOOKLINE_ALLOW_PRIVATE_TARGETS": "true",
        "HOOKLINE_DATABASE_URL": f"sqlite:///{folder / 'live.db'}",
    }
    if secret is not None:
        environment["HOOKLINE_WEBHOOK_SECRETS"] = secret
    return Served(["all"], folder, environment)


def _call(served: Served, method: str, path: str, body: Any) -> Any:
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    answer = ask(method, served.url + path, json.dumps(body).encode(), headers)
    assert answer.status in (200, 201), answer.body
    return answer.json


def _at(values: list[Any], share: float) -> float:
    return float(values[min(len(values) - 1, int(len(values) * share))]) if values else 0.0
