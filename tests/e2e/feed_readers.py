"""Four processes publish at once, and readers follow `after`: what they read must be what the feed then holds."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet

from hookline.storage import connect, is_postgres

from .feed_publisher import TYPES
from .processes import API_KEY, Served, call, clean_environment, serving, wait_for

ROOT = Path(__file__).resolve().parents[2]
QUERY = "&".join(f"events[]={name}" for name in TYPES)
# How much two readers ask for at once: they stand at different places.
LIMITS = (100, 61)


@dataclass
class FeedRun:
    """How it went: how much was published and taken back, how much each reader read, and what was wrong."""

    committed: int = 0
    undone: int = 0
    read: list[int] = field(default_factory=list)
    waits: int = 0
    """How often a reader found nothing new: it was at the tip while others published."""
    wrong: list[str] = field(default_factory=list)


# Between taking places in the feed and the commit lies half a millisecond: too little for two to overlap often. Here it
# is up to 5 ms, so that without the feed's lock readers do pass by events.
_SLOW_COMMITS = """\
create function slow_commit() returns trigger language plpgsql as
    $$ begin perform pg_sleep(random() * 0.005); return null; end $$;
create trigger slow_commits after insert on hookline_sender_feed for each statement execute function slow_commit()"""


def page(served: Served, after: str | None, limit: int) -> list[str]:
    """Ids behind a cursor."""
    answer = call(served, "GET", f"/events?{QUERY}&limit={limit}" + ("" if after is None else f"&after={after}"))
    assert answer.status == 200, answer.body
    return [event["id"] for event in answer.json["data"]]


def run_feed(
    url: str, folder: Path, count: int, *, seed: int, patience_s: float, say: Callable[[str], None] = lambda _: None
) -> FeedRun:
    """Publish so many events, a quarter in each process, and follow them.

    Args:
        url: a database, whose tables a sender brings up to date.
        patience_s: how long the publishing, and then the last events of apps, may take.
        say: told how far the first reader is.
    """
    run = FeedRun()
    lists: list[list[str]] = [[] for _ in LIMITS]
    is_over = threading.Event()
    settings: dict[str, Any] = {
        "database_url": url,
        "encryption_key": Fernet.generate_key().decode(),
        "api_key": API_KEY,
        "log_level": "error",
    }

    def follow(served: Served, listed: list[str], limit: int) -> None:
        try:
            while True:
                is_last = is_over.is_set()
                found = page(served, listed[-1] if listed else None, limit)
                if listed is lists[0] and len(listed) // 100_000 != (len(listed) + len(found)) // 100_000:
                    say(f"{len(listed) + len(found):,} read")
                listed += found
                if is_last and not found:
                    return
                if not found:
                    run.waits += 1
                    is_over.wait(0.005)  # leaves the cores to those who publish
        except BaseException as error:
            run.wrong.append(f"a reader failed: {error!r}")

    with serving("sender", folder, **settings) as served, ExitStack() as stack:
        if is_postgres(url):
            _have_slow_commits(url)
        kinds = ("app", "server", "app", "server")
        publishers = [
            stack.enter_context(_publisher(kind, url, seed * 4 + at, count // 4)) for at, kind in enumerate(kinds)
        ]
        readers = [
            threading.Thread(target=follow, args=(served, listed, limit))
            for listed, limit in zip(lists, LIMITS, strict=True)
        ]
        for thread in readers:
            thread.start()
        for publisher in publishers:
            assert publisher.stdin is not None
            publisher.stdin.write("go\n")
            publisher.stdin.flush()
        told = [json.loads(publisher.communicate(timeout=patience_s)[0]) for publisher in publishers]
        committed = [id_ for one in told for id_ in one["committed"]]
        undone = {id_ for one in told for id_ in one["undone"]}
        run.committed, run.undone = len(committed), len(undone)
        # What is published on an app's connection enters the feed with the next look of a delivery loop.
        wait_for(lambda: _fed(url) >= len(committed), "every event is in the feed", timeout_s=patience_s)
        is_over.set()
        for thread in readers:
            thread.join()
        whole = _everything(served)

    run.read = [len(listed) for listed in lists]
    missing, extra = set(committed) - set(whole), set(whole) - set(committed)
    if missing or extra or len(whole) != len(committed):
        run.wrong.append(
            f"the feed has {len(whole)} events of {len(committed)}: {len(missing)} are missing, "
            f"{len(extra)} are none of those committed, {len(extra & undone)} of them undone"
        )
    for limit, listed in zip(LIMITS, lists, strict=True):
        if listed != whole:
            skipped = set(whole) - set(listed)
            run.wrong.append(f"the reader of {limit} read {len(listed)} of {len(whole)}, {len(skipped)} were skipped")
    return run


def _have_slow_commits(url: str) -> None:
    database = connect(url)
    try:
        with database.transaction() as connection:
            for statement in _SLOW_COMMITS.split(";\n"):
                connection.execute(statement)
    finally:
        database.close()


def _fed(url: str) -> int:
    database = connect(url)
    try:
        with database.read() as connection:
            count: int = connection.execute("select count(*) from hookline_sender_feed").fetchone()[0]
            return count
    finally:
        database.close()


def _everything(served: Served) -> list[str]:
    ids: list[str] = []
    while found := page(served, ids[-1] if ids else None, 100):
        ids += found
    return ids


@contextmanager
def _publisher(kind: str, url: str, seed: int, count: int) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.feed_publisher", kind, url, str(seed), str(count)],
        cwd=ROOT,
        env=clean_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()
