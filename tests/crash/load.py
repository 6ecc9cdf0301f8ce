"""Kills at seeded moments under load: `hookline serve sender`, `receiver --no-worker` and `worker` as processes.

`run_round` publishes events over HTTP while each of the three is killed at moments drawn from the seed and started
again, waits until everything is through, and counts. What it finds is a `Count`; `Count.wrong` is what it means.
One round in its small size is a test (test_load.py), ten of the whole size are `python -m soak crash`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from hookline.rules.lifecycle import MAX_UNKNOWN
from hookline.storage import connect
from hookline.testing import sample_event
from tests.e2e.processes import API_KEY, Served, call, rows, serving, value, wait_for

TYPE: Final = "dsync.user.created"
PUBLISHERS: Final = 3
# Long enough in all for a receiver that is started three times, short enough not to be waited for.
SCHEDULE: Final = "300ms, 1s, 2s, 4s, 8s, 16s"
PATIENCE_S: Final = 120.0

APP: Final = """
import os
from hookline import Receiver

hooks = Receiver(os.environ["APP_DATABASE"], secrets=[os.environ["APP_SECRET"]])

@hooks.on("dsync.user.created", name="welcome")
def welcome(event, tx):
    tx.execute("create table if not exists welcomes (event_id text)")
    tx.execute("insert into welcomes values (?)", (event.id,))
"""


@dataclass(slots=True)
class Count:
    """What was left after a round.

    Attributes:
        killed: who was killed when: at that many deliveries, arrivals or handled events.
        accepted: event ids that were answered 201, by user id.
        published, kept, mirrored: event ids of the sender, event ids of the inbox, user ids of the mirror.
        effects: how often the handler's row is there, by event id.
        cut_deliveries: (delivery, attempt) that were running when a sender died.
        unknown: (delivery, attempt) recorded as unknown.
        cut_runs: (run, attempt) that were running when a worker died.
        tried_runs: how many tries of runs there were beyond the first; what a locked database gave back is none.
        repeats: how often an event came again, by event id.
        explained: how many requests of an event may have arrived beyond the one answered 200, by event id: attempts
            that ended unknown or in silence, and requests redone on a fresh connection within an attempt.
        states: deliveries by state, runs by state.
        given_up: deliveries that failed because three of their attempts were cut.
    """

    seed: int
    killed: list[str] = field(default_factory=list)
    accepted: dict[str, str] = field(default_factory=dict)
    called_again: int = 0
    published: set[str] = field(default_factory=set)
    kept: set[str] = field(default_factory=set)
    mirrored: set[str] = field(default_factory=set)
    effects: Counter[str] = field(default_factory=Counter)
    cut_deliveries: set[tuple[int, int]] = field(default_factory=set)
    unknown: set[tuple[int, int]] = field(default_factory=set)
    cut_runs: set[tuple[int, int]] = field(default_factory=set)
    tried_runs: int = 0
    repeats: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    given_up: set[int] = field(default_factory=set)
    damaged: list[str] = field(default_factory=list)
    took_s: float = 0.0

    def wrong(self) -> list[str]:
        """Whatever should never have happened, a sentence each."""
        accepted = set(self.accepted.values())
        unexplained = self.repeats - self.explained
        found: list[tuple[Collection[Any], str]] = [
            (accepted - self.published, "events answered 201 and not stored"),
            (self.published - accepted, "events stored for a call that was answered with another one"),
            (self.published - self.kept, "events never received"),
            (self.kept - self.published, "events received that nobody published"),
            (set(self.accepted) ^ self.mirrored, "users missing in the mirror, or there without an event"),
            (accepted - self.effects.keys(), "events without an effect"),
            ({one for one, times in self.effects.items() if times > 1}, "events with more than one effect"),
            (self.cut_deliveries - self.unknown, "attempts that died and are not recorded as unknown"),
            (self.unknown - self.cut_deliveries, "attempts recorded as unknown that did not die"),
            (set(unexplained), "events that came again more often than unknown attempts and resets explain"),
            (self.states.keys() - {"delivery succeeded", "run succeeded"}, "states that are no success"),
            (
                {row for row in self.given_up if sum(one == row for one, _ in self.cut_deliveries) < MAX_UNKNOWN},
                "deliveries given up that were not cut so often",
            ),
            (set(self.damaged), "databases that are damaged"),
        ]
        sentences = [f"{len(those)} {what}, as {sorted(map(str, those))[:3]}" for those, what in found if those]
        if self.tried_runs != len(self.cut_runs):
            sentences.append(f"{len(self.cut_runs)} runs were cut and {self.tried_runs} were tried again")
        return sentences


class Part:
    """A process that can be killed and come back: on the same port, with the same settings."""

    def __init__(self, start: Callable[[int], AbstractContextManager[Served]]) -> None:
        self._start = start
        self._exit = contextlib.ExitStack()
        self.served = self._exit.enter_context(start(0))

    def kill(self) -> None:
        self.served.kill()

    def restart(self) -> None:
        url = self.served.facts["url"]
        self._exit.close()
        self.served = self._exit.enter_context(self._start(int(url.rpartition(":")[2]) if url else 0))

    def close(self) -> None:
        self._exit.close()


class Publisher(threading.Thread):
    """Publishes its users one after the other, each under a key of its own, and repeats what was not answered 201."""

    def __init__(self, numbers: Iterator[int], sender: Part, count: Count, stop: threading.Event) -> None:
        super().__init__(name="publisher")
        self._numbers = numbers
        self._sender = sender
        self._count = count
        self._told_to_stop = stop
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for number in self._numbers:
                self._publish(f"directory_user_{number}")
        except BaseException as error:
            self.error = error

    def _publish(self, user: str) -> None:
        body = {"event": TYPE, "data": sample_event(TYPE, id=user, email=f"{user}@example.com").data}
        while not self._told_to_stop.is_set():
            # An answer cut off in its middle is none, and no OSError.
            with contextlib.suppress(OSError, HTTPException):
                answer = call(self._sender.served, "POST", "/api/v1/events", body, Idempotency_Key=user)
                if answer.status == 201:
                    self._count.accepted[user] = answer.json["id"]
                    return
            self._count.called_again += 1
            self._told_to_stop.wait(0.05)


class Killer(threading.Thread):
    """Kills one part whenever so much of its work is done, and starts it again.

    Args:
        progress: a statement that counts the part's work.
        cut: a statement that gives (row, attempt) of what is under way; its table's leases are let pass, as if the
            minute had gone by in which a dead process's work still counts as under way.
    """

    def __init__(
        self,
        name: str,
        part: Part,
        moments: list[tuple[int, float]],
        database: Path,
        progress: str,
        *,
        cut: str | None,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"killer of the {name}")
        self._part = part
        self._what = name
        self._moments = moments
        self._database = database
        self._progress = progress
        self._cut = cut
        self._told_to_stop = stop
        self.killed: list[str] = []
        self.cut: set[tuple[int, int]] = set()
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            for after, pause_s in self._moments:
                while value(self._database, self._progress) < after:
                    if self._told_to_stop.wait(0.01):
                        return
                time.sleep(pause_s)
                self._kill()
        except BaseException as error:
            self.error = error

    def _kill(self) -> None:
        self._part.kill()
        self.killed.append(f"{self._what} at {value(self._database, self._progress)}")
        if self._cut is not None:
            running = f"select row_id, attempt from {self._cut} where state = 'running'"
            self.cut |= {(row, attempt) for row, attempt in rows(self._database, running)}
            opened = connect(f"sqlite:///{self._database}")
            with opened.transaction() as connection:
                connection.execute(f"update {self._cut} set leased_until_ms = 1 where state = 'running'")
            opened.close()
        self._part.restart()


def run_round(folder: Path, *, seed: int, events: int, kills: int) -> Count:
    """One round: `events` deliveries and arrivals, each of the three parts killed `kills` times meanwhile."""
    started_s = time.monotonic()
    count = Count(seed)
    chance = random.Random(seed)
    sent, received = folder / "sender.db", folder / "receiver.db"
    (folder / "shop.py").write_text(APP)

    def moments() -> list[tuple[int, float]]:
        # Counted in work done, then up to a tenth of a second: anywhere within a commit, an exchange, a handler.
        return [
            (at, chance.uniform(0, 0.1)) for at in sorted(chance.sample(range(events // 20, events * 8 // 10), kills))
        ]

    with contextlib.ExitStack() as ends:

        def part(name: str, *arguments: str, **options: Any) -> Part:
            made = Part(lambda port: serving(name, folder, *arguments, port=port, **options))
            ends.callback(made.close)
            return made

        sender = part(
            "sender",
            "--allow-private-targets",
            f"--retry-schedule={SCHEDULE}",
            api_key=API_KEY,
            database_url=f"sqlite:///{sent}",
        )
        endpoint = call(
            sender.served, "POST", "/webhook_endpoints", {"endpoint_url": "http://127.0.0.1:9/", "events": [TYPE]}
        ).json
        app = {
            "environment": {"APP_DATABASE": f"sqlite:///{received}", "APP_SECRET": endpoint["secret"]},
            "app": "shop:hooks",
        }
        door = part("receiver", "--no-worker", **app)
        worker = part("worker", **app)
        url = door.served.url + "/webhooks"
        assert call(sender.served, "PATCH", f"/webhook_endpoints/{endpoint['id']}", {"endpoint_url": url}).status == 200

        stop = threading.Event()
        ends.callback(stop.set)
        numbers = iter(_Shared(range(events)))
        publishers = [Publisher(numbers, sender, count, stop) for _ in range(PUBLISHERS)]
        delivered = "select count(*) from hookline_sender_attempts where outcome = 'succeeded'"
        ran = "select count(*) from hookline_runs where state = 'succeeded'"
        killers = [
            Killer("sender", sender, moments(), sent, delivered, cut="hookline_sender_deliveries", stop=stop),
            Killer("receiver", door, moments(), received, "select count(*) from hookline_inbox", cut=None, stop=stop),
            Killer("worker", worker, moments(), received, ran, cut="hookline_runs", stop=stop),
        ]
        for thread in (*publishers, *killers):
            thread.start()
        for thread in (*publishers, *killers):
            thread.join(PATIENCE_S)
        for error in [publisher.error for publisher in publishers] + [killer.error for killer in killers]:
            if error is not None:
                raise error
        for killer in killers:
            assert len(killer.killed) == kills, f"the {killer.name} waited for its moment in vain"
            count.killed += killer.killed
        count.cut_deliveries, count.cut_runs = killers[0].cut, killers[2].cut
        open_ = "select count(*) from {} where state in ('pending', 'running')"
        wait_for(
            lambda: not value(sent, open_.format("hookline_sender_deliveries")),
            "every delivery",
            timeout_s=PATIENCE_S,
        )
        wait_for(
            lambda: (
                value(received, "select count(*) from hookline_inbox_queue") == 0
                and not value(received, open_.format("hookline_runs"))
            ),
            "every handler",
            timeout_s=PATIENCE_S,
        )
        assert [one.served.stop() for one in (sender, door, worker)] == [0, 0, 0]
    _look(count, sent, received)
    count.took_s = time.monotonic() - started_s
    return count


class _Shared:
    """One iterator for several threads."""

    def __init__(self, numbers: range) -> None:
        self._numbers = iter(numbers)
        self._guard = threading.Lock()

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        with self._guard:
            return next(self._numbers)


def _look(count: Count, sent: Path, received: Path) -> None:
    def column(database: Path, statement: str) -> list[Any]:
        return [first for first, *_ in rows(database, statement)]

    count.published = set(column(sent, "select id from hookline_sender_events"))
    count.kept = set(column(received, "select event_id from hookline_inbox"))
    count.mirrored = set(column(received, "select id from hookline_directory_users_live"))
    count.effects = Counter(column(received, "select event_id from welcomes"))
    count.tried_runs = value(received, "select sum(attempt - 1 - uncounted) from hookline_runs")
    count.repeats = Counter(dict(rows(received, "select event_id, sum(times) from hookline_inbox_repeats group by 1")))
    count.unknown = {
        (row, number)
        for row, number in rows(
            sent, "select delivery_row, number from hookline_sender_attempts where outcome = 'unknown'"
        )
    }
    attempts = rows(
        sent,
        "select e.id, a.outcome, a.status, a.evidence from hookline_sender_attempts a"
        " join hookline_sender_deliveries d on d.row_id = a.delivery_row"
        " join hookline_sender_events e on e.row_id = d.event_row",
    )
    for event_id, outcome, status, evidence in attempts:
        is_silent = outcome == "unknown" or (outcome == "failed" and status is None)
        count.explained[event_id] += is_silent + bool(json.loads(evidence).get("redone"))
    count.given_up = set(
        column(
            sent, "select row_id from hookline_sender_deliveries where state = 'failed' and reason = 'unknown_limit'"
        )
    )
    count.states = Counter(
        itertools.chain(
            (
                f"delivery {state}"
                for row, state in rows(sent, "select row_id, state from hookline_sender_deliveries")
                if row not in count.given_up
            ),
            (f"run {state}" for state in column(received, "select state from hookline_runs")),
        )
    )
    count.damaged = [
        database.name for database in (sent, received) if rows(database, "pragma integrity_check") != [("ok",)]
    ]
