"""The feed of several publishing processes, followed meanwhile: nothing is skipped, nothing undone is listed."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from .feed_publisher import TYPES
from .processes import API_KEY, Served, call, clean_environment, serving, wait_for

ROOT = Path(__file__).resolve().parents[2]
COUNT = 40
QUERY = "&".join(f"events[]={name}" for name in TYPES)


def page(served: Served, after: str | None, limit: int) -> list[str]:
    answer = call(served, "GET", f"/events?{QUERY}&limit={limit}" + ("" if after is None else f"&after={after}"))
    assert answer.status == 200, answer.body
    return [event["id"] for event in answer.json["data"]]


def test_no_reader_passes_by_an_event(tmp_path: Path, postgres_url: str) -> None:
    """Two apps publish in slow transactions, taking some back, two servers by HTTP; two readers follow `after`.

    Ten seconds: four processes, and transactions long enough to overlap.
    """
    settings: dict[str, Any] = {
        "database_url": postgres_url,
        "encryption_key": Fernet.generate_key().decode(),
        "api_key": API_KEY,
    }
    posted: list[str] = []
    lists: list[list[str]] = [[], []]
    is_over = threading.Event()
    failures: list[BaseException] = []

    def publish(served: Served, number: int) -> None:
        for at in range(COUNT):
            data = {"id": f"{number}.{at}"}
            posted.append(call(served, "POST", "/api/v1/events", {"event": TYPES[at % 3], "data": data}).json["id"])

    def follow(served: Served, listed: list[str], limit: int) -> None:
        try:
            while True:
                is_last = is_over.is_set()
                found = page(served, listed[-1] if listed else None, limit)
                listed += found
                if is_last and not found:
                    return
        except BaseException as error:
            failures.append(error)

    with serving("sender", tmp_path, **settings) as one, serving("sender", tmp_path, **settings) as other:
        apps = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.e2e.feed_publisher", postgres_url, str(seed), str(COUNT)],
                cwd=ROOT,
                env=clean_environment(),
                stdout=subprocess.PIPE,
                text=True,
            )
            for seed in (1, 2)
        ]
        readers = [
            threading.Thread(target=follow, args=(served, listed, limit))
            for served, listed, limit in ((one, lists[0], 3), (other, lists[1], 7))
        ]
        writers = [threading.Thread(target=publish, args=(served, n)) for n, served in enumerate((one, other))]
        for thread in (*readers, *writers):
            thread.start()
        told = [json.loads(app.communicate(timeout=60)[0]) for app in apps]
        for thread in writers:
            thread.join()
        committed = {*posted, *(id_ for one_told in told for id_ in one_told["committed"])}
        # What is published on an app's connection enters the feed with the next look of a delivery loop.
        wait_for(lambda: len(everything(one)) == len(committed), "every event is listed")
        is_over.set()
        for thread in readers:
            thread.join()
        whole = everything(one)

    assert failures == []
    assert all(one_told["undone"] for one_told in told)
    assert set(whole) == committed
    assert len(whole) == len(committed)
    # Who followed has read what a reader finds afterwards, in that order: nothing came in behind a cursor.
    assert lists == [whole, whole]


def everything(served: Served) -> list[str]:
    ids: list[str] = []
    while found := page(served, ids[-1] if ids else None, 100):
        ids += found
    return ids
