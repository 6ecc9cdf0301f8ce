"""Four sender processes on one PostgreSQL, deliveries flowing, one after the other killed with -9 and replaced.

`run_senders` publishes while it kills, waits until nothing is left, and counts. What it finds is a `Tally`;
`Tally.wrong` is what it means. 2,000 deliveries are a test (test_senders.py), 100,000 `python -m soak senders`.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Collection
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography.fernet import Fernet

from hookline.rules.lifecycle import MAX_UNKNOWN
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.storage import connect
from hookline.testing.sink import Sink
from tests.crash.one_sender import LEASE_MS, compose

PROCESSES: Final = 4
ENDPOINTS: Final = 8
AT_ONCE: Final = 50
# So much waits or is under way; more is published as it goes.
AHEAD: Final = 400
# Long enough that some requests are always between send and record.
ANSWER_S: Final = 0.02
PATIENCE_S: Final = 60.0
_ROOT: Final = Path(__file__).parents[2]


@dataclass(slots=True)
class Tally:
    """What was left.

    Attributes:
        killed: how many requests had arrived at each kill.
        published: events.
        arrived: how often each event's request arrived.
        states: of the deliveries.
        unknown: how many attempts of an event are recorded as unknown: whoever claimed them died.
        given_up: events of which three attempts died, which is as many as are made.
        unanswered: how many attempts of an event got no answer in time, or put their request on a second connection.
        early: claims made while the lease of the one before was alive, or before its end was recorded.
        gaps: deliveries whose attempts are not numbered from 1 without a gap, or are not done with their last.
    """

    killed: list[int] = field(default_factory=list)
    published: set[str] = field(default_factory=set)
    arrived: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    given_up: set[str] = field(default_factory=set)
    unanswered: Counter[str] = field(default_factory=Counter)
    early: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    took_s: float = 0.0

    @property
    def repeated(self) -> Counter[str]:
        """How often each event arrived beyond the first time."""
        return self.arrived - Counter(dict.fromkeys(self.arrived, 1))

    @property
    def unexplained(self) -> Counter[str]:
        """What of that no attempt explains that died, or that had no answer."""
        return self.repeated - self.unknown - self.unanswered

    def wrong(self) -> list[str]:
        """Whatever should never have happened, a sentence each."""
        found: list[tuple[Collection[str], str]] = [
            (self.published - self.arrived.keys(), "events lost"),
            (self.arrived.keys() - self.published, "events sent that nobody published"),
            (set(self.early), "claims made while another one lived"),
            (set(self.unexplained), "events repeated more often than attempts died"),
            (set(self.gaps), "deliveries with attempts amiss"),
            (self.states.keys() - {"succeeded", "failed"}, "states that are no end"),
        ]
        sentences = [f"{len(those)} {what}, as {sorted(those)[:3]}" for those, what in found if those]
        if self.states["failed"] != len(self.given_up):
            sentences.append(f"{self.states['failed']} failed, of {len(self.given_up)} three attempts died")
        return sentences

    def __str__(self) -> str:
        return (
            f"{len(self.published):,} deliveries, {len(self.killed)} processes killed, "
            f"{self.unknown.total():,} attempts died, {self.repeated.total():,} of their requests had been sent and "
            f"came again, in {self.took_s:.0f} s"
        )


def run_senders(
    url: str, *, seed: int, deliveries: int, kills: int, pause_s: float = 0, say: Callable[[str], None] = lambda _: None
) -> Tally:
    """`deliveries` events, one delivery each, over eight endpoints of one sink; `kills` kills at moments drawn, at
    least `pause_s` apart.
    """
    started_s, chance, tally = time.monotonic(), random.Random(seed), Tally()
    moments = sorted(chance.sample(range(deliveries // 20, deliveries * 9 // 10), kills))
    key = Fernet.generate_key().decode()
    app = compose(url, key)

    def start(stack: ExitStack) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.one_sender", url],
            cwd=_ROOT,
            env={**os.environ, "CRASH_KEY": key},
            stdout=subprocess.PIPE,
            text=True,
        )
        stack.callback(_end, process)
        return process

    with ExitStack() as stack:
        sink = stack.enter_context(Sink())
        for number in range(ENDPOINTS):
            app.registry.create(
                "production",
                url=sink.url(f"/slow/{ANSWER_S}{number}"),
                events=[f"load.n{number}"],
                schedule=(1, 2, 4, 8, 16),
            )
        senders = [start(stack) for _ in range(PROCESSES)]
        for process in senders:
            _wait_for_start(process)
        late: list[subprocess.Popen[str]] = []
        quiet_since_s, killed_s, arrived = time.monotonic(), float("-inf"), 0
        while len(tally.published) < deliveries or moments or _open(url):
            if len(sink.seen) > arrived:
                quiet_since_s, arrived = time.monotonic(), len(sink.seen)
            if time.monotonic() > quiet_since_s + PATIENCE_S:
                break  # what is missing is told below
            if moments and arrived >= moments[0] and time.monotonic() > killed_s + pause_s:
                killed_s = time.monotonic()
                place = chance.randrange(PROCESSES)
                os.kill(senders[place].pid, signal.SIGKILL)
                tally.killed.append(arrived)
                senders[place] = replacement = start(stack)
                late.append(replacement)
                moments.pop(0)
                say(f"{arrived:,} arrived, {len(tally.killed)} of {kills} killed")
            elif len(tally.published) < min(deliveries, arrived + AHEAD):
                size = min(AT_ONCE, deliveries - len(tally.published))
                drafts = tuple(
                    draft_event({"event": f"load.n{chance.randrange(ENDPOINTS)}", "data": {"number": number}})
                    for number in range(size)
                )
                published = app.publisher.publish_inline(Publication("production", drafts))
                tally.published |= {one.id for one in published}
            else:
                time.sleep(0.01)
        for process in late:
            if process in senders:
                _wait_for_start(process)
        for process in senders:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(20) for process in senders] == [0] * PROCESSES
        tally.arrived = Counter(json.loads(request.body)["id"] for request in sink.seen)
    _look(url, tally)
    tally.took_s = time.monotonic() - started_s
    return tally


def _wait_for_start(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "delivering\n"


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def _rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    with connect(url).read() as connection:
        found: list[tuple[Any, ...]] = connection.execute(sql).fetchall()
        return found


def _open(url: str) -> bool:
    sql = "select exists (select 1 from hookline_sender_deliveries where state in ('pending', 'running'))"
    return bool(_rows(url, sql)[0][0])


def _look(url: str, tally: Tally) -> None:
    tally.states = Counter(state for (state,) in _rows(url, "select state from hookline_sender_deliveries"))
    attempts: dict[str, list[tuple[int, str, int | None, int, int | None, str]]] = defaultdict(list)
    for event_id, *attempt in _rows(
        url,
        "select e.id, a.number, a.outcome, a.status, a.started_ms, a.duration_ms, a.evidence"
        " from hookline_sender_attempts a join hookline_sender_deliveries d on d.row_id = a.delivery_row"
        " join hookline_sender_events e on e.row_id = d.event_row order by a.delivery_row, a.number",
    ):
        attempts[event_id].append(tuple(attempt))
    for event_id, made in attempts.items():
        free_ms = 0
        for _, outcome, status, started_ms, duration_ms, evidence in made:
            if started_ms < free_ms:
                tally.early.append(f"{event_id}, {free_ms - started_ms} ms early")
            free_ms = started_ms + (LEASE_MS if outcome == "unknown" else duration_ms or 0)
            tally.unknown[event_id] += outcome == "unknown"
            has_no_answer = outcome == "failed" and status is None
            tally.unanswered[event_id] += has_no_answer or bool(json.loads(evidence).get("redone"))
        numbers, outcomes = [number for number, *_ in made], [outcome for _, outcome, *_ in made]
        if outcomes.count("unknown") == MAX_UNKNOWN and outcomes[-1] == "unknown":
            tally.given_up.add(event_id)
        elif numbers != list(range(1, len(made) + 1)) or outcomes[-1] != "succeeded" or "succeeded" in outcomes[:-1]:
            tally.gaps.append(f"{event_id}: {list(zip(numbers, outcomes, strict=True))}")
