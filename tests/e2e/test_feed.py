"""The feed of several publishing processes, followed meanwhile: nothing is skipped, nothing undone is listed."""

from __future__ import annotations

from pathlib import Path

from .feed_readers import LIMITS, run_feed

COUNT = 20_000


def test_no_reader_passes_by_an_event(tmp_path: Path, postgres_url: str) -> None:
    """Two apps publish in slow transactions, taking some back, and two servers; two readers follow `after` over HTTP.

    Several seconds: five processes, and transactions long enough to overlap. Without the feed's lock (feed_put.sql,
    feed_lock_missing.sql) readers skip hundreds. SQLite, where one transaction keeps all others waiting, is in
    tests/test_soak.py.
    """
    run = run_feed(postgres_url, tmp_path, COUNT, seed=1, patience_s=45)

    assert run.wrong == []
    assert run.committed == COUNT
    assert run.undone > 0
    assert run.read == [COUNT] * len(LIMITS)
    # They were at the tip again and again while others published, where an event can be passed by.
    assert run.waits > 0
