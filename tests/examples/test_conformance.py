"""Each of the guide's frameworks, and FastAPI: what the conformance check asks, it does, and does it right inside."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hookline.loop import SystemClock
from hookline.sender.conformance import check_endpoint
from hookline.sender.conformance_model import CheckLine, Observer
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.testing.signed import signed_request

from ..apps import rows_at
from ..receiver.company import Company, wait_for
from .served import FOREIGN, OURS, SECRET, Example, each, running


class TablesObserver:
    """Looks into the tables of an app, by plain SQL: a `Receiver` of the test's would make the database its own."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    async def times_kept(self, event_id: str) -> int | None:
        return await self._count(f"hookline_inbox where event_id = '{event_id}'")

    async def is_applied(self, event_id: str) -> bool | None:
        queued = "hookline_inbox_queue join hookline_inbox using (seq)"
        for _ in range(400):
            if not await self._count(f"{queued} where event_id = '{event_id}'"):
                return True
            await asyncio.sleep(0.05)
        return False

    async def row(self, resource: str, object_id: str) -> Mapping[str, Any] | None:
        if resource == "directory_membership":
            live = "hookline_directory_memberships_live where group_id || '/' || user_id"
            return {} if await self._count(f"{live} = '{object_id}'") else None
        sql = f"select last_name from hookline_directory_users_live where id = '{object_id}'"
        rows = await asyncio.to_thread(rows_at, self._url, sql)
        return {"last_name": rows[0][0]} if rows else None

    async def _count(self, where: str) -> int:
        [(count,)] = await asyncio.to_thread(rows_at, self._url, f"select count(*) from {where}")
        return int(count)


def checked(url: str, observer: Observer | None = None) -> dict[str, CheckLine]:
    async def run() -> dict[str, CheckLine]:
        exchange = HttptoolsExchange(refuse=lambda _: None)
        try:
            done = await check_endpoint(url, SECRET, exchange, clock=SystemClock(), observer=observer)
        finally:
            await exchange.close()
        return {line.name: line for line in done.lines}

    return asyncio.run(run())


def verdicts(lines: dict[str, CheckLine]) -> dict[str, str]:
    """All but what passed."""
    return {name: line.verdict for name, line in lines.items() if line.verdict != "passed"}


@each(FOREIGN)
def test_a_foreign_example_passes_and_its_log_says_what_became_of_each_event(
    example: Example, ready: Callable[[Example], Path], tmp_path: Path
) -> None:
    """Which state was kept cannot be told from outside; the example's log tells."""
    with running(example, ready(example), tmp_path / "run.log") as served:
        lines = checked(served.url)
        assert verdicts(lines) == {"stale": "unknown"}

        def outcomes(name: str) -> list[list[str]]:
            return [served.outcomes(request.event_id or "") for request in lines[name].requests]

        wait_for(lambda: all(outcomes("stale")))
        assert outcomes("valid") == [["applied"]]
        for refused in ("wrong_secret", "missing_signature", "old_timestamp", "future_timestamp", "tampered_body"):
            assert outcomes(refused) == [[]]
        assert outcomes("duplicate") == [["applied", "duplicate, ignored"]] * 2
        assert outcomes("out_of_order") == [["applied"]] * 3
        assert outcomes("stale") == [["applied"], ["stale, ignored"]]


@each(OURS)
def test_an_example_of_ours_passes_and_keeps_the_newer_state(
    example: Example, ready: Callable[[Example], Path], tmp_path: Path
) -> None:
    """On an app's own database, into which the check looks: with nothing unknown."""
    folder = ready(example)
    with running(example, folder, tmp_path / "run.log") as served:
        user = Company().user("created")
        signed = signed_request(json.dumps(user).encode(), SECRET, timestamp_ms=time.time_ns() // 1_000_000)
        assert served.ask("POST", example.path, signed.body, dict(signed.headers)).status == 200
        url = f"sqlite:///{folder / 'shop.db'}"
        # run.sh starts a worker too; the check would not wait for its start.
        wait_for(lambda: rows_at(url, "select id from hookline_directory_users") == [("user_1",)], seconds=40)

        lines = checked(served.url, TablesObserver(url))
    assert verdicts(lines) == {}
