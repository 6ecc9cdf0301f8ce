"""The programs that die: `python -m tests.crash.programs PROGRAM FOLDER POINT NTH AHEAD_MS`.

Each composes what `hookline serve` composes, from the same constructors, on the databases in FOLDER; it dies by
SIGKILL when POINT is reached for the NTH time (mortal.py), and with the point `never` does its work and ends. Its
clock is AHEAD_MS ahead of the machine's, so that what comes after a death finds the dead one's leases over.

    publisher   publishes COUNT events under a key each and prints the id it was given for every one
    sender      delivers until nothing waits or runs, one attempt at a time
    jobs        does jobs in parts of three until none is due
    pauser      pauses the one endpoint, in parts of three; deleter deletes it
    resumer     resumes the one endpoint for the newest of each object, in parts of three
    door        prints its port and answers webhooks until its input ends
    worker      applies and runs handlers until nothing is left, one run at a time
    replayer    the same, after it has begun a replay of everything to every handler, unless there is one
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from hookline import Change, Event, Receiver
from hookline.demo.serving import Served, loopback
from hookline.errors import RequestError
from hookline.loop import Clock, SystemClock
from hookline.receiver import replay
from hookline.receiver.replay import Selection
from hookline.sender import closing, holding, replays, retention
from hookline.sender.app import SenderApp
from hookline.sender.deliver import Limits
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.holding import Choice
from hookline.sender.idempotency import IdempotencyKey
from hookline.sender.model import Environment
from hookline.storage import connect
from hookline.testing.clock import TurnedClock
from tests.crash.mortal import Death, MortalExchange, watch_verbs

COUNT: Final = 6
ENVIRONMENT: Final[Environment] = "production"
SECRET: Final = "whsec_of_a_crash_test"
# How fast the worker's clock is turned, so that nobody waits for a backoff.
TURN_MS: Final = 500
PAUSE_S: Final = 0.02
REPLAYED_AT_ONCE: Final = 2


def sender_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'sender.db'}"


def receiver_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'receiver.db'}"


def compose_sender(folder: Path, death: Death, clock: Clock) -> SenderApp:
    """As `hookline serve sender` composes it, one attempt at a time."""
    return SenderApp(
        connect(sender_url(folder)),
        api_keys={"production": "sk_live_crash_test_0123", "staging": "sk_test_crash_test_0123"},
        allow_private_targets=True,
        clock=clock,
        make_exchange=lambda **_: MortalExchange(death),
        limits=Limits(in_flight=1),
    )


def compose_receiver(folder: Path, death: Death, clock: Clock) -> Receiver:
    """An app with a handler for facts and one for changes; each notes its call in a table of the app's own."""
    hooks = Receiver(receiver_url(folder), secrets=[SECRET], clock=clock)

    def note(tx: Any, handler: str, subject: str) -> None:
        tx.execute("create table if not exists effects (handler text, subject text)")
        tx.execute("insert into effects values (?, ?)", (handler, subject))
        death.at("handler: after its writes")

    @hooks.on("*", name="fact")
    def fact(event: Event, tx: Any) -> None:
        note(tx, "fact", str(event.id))

    @hooks.on_change("directory_user", name="change")
    def change(change: Change, tx: Any) -> None:
        note(tx, "change", str(change.seq))

    return hooks


def publisher(folder: Path, death: Death, ahead_ms: int) -> None:
    app = compose_sender(folder, death, _Ahead(ahead_ms))
    for number in range(COUNT):
        drafts = (draft_event({"event": "a.b", "data": {"number": number}}),)
        key = IdempotencyKey(f"publish-{number}", "test", "hash")
        [published] = app.publisher.publish_inline(Publication(ENVIRONMENT, drafts, key))
        print(published.id, flush=True)


def sender(folder: Path, death: Death, ahead_ms: int) -> None:
    app = compose_sender(folder, death, _Ahead(ahead_ms))

    async def deliver() -> None:
        stop = asyncio.Event()
        running = asyncio.create_task(app.run(stop))
        while _is_left(sender_url(folder), "hookline_sender_deliveries") and not running.done():  # noqa: ASYNC110  (rows)
            await asyncio.sleep(PAUSE_S)
        # Not the commit's number: two that end together are settled in one.
        death.at("sender: nothing is left")
        stop.set()
        await running

    asyncio.run(deliver())


def jobs(folder: Path, death: Death, ahead_ms: int) -> None:
    _in_small_parts()
    clock = _Ahead(ahead_ms)
    runner = compose_sender(folder, death, clock).job_runner()
    runner.note_due(0)
    while (due_ms := runner.step()) is not None and due_ms <= clock.now_ms():
        pass


def pauser(folder: Path, death: Death, ahead_ms: int) -> None:
    _in_small_parts()
    app = compose_sender(folder, death, _Ahead(ahead_ms))
    app.registry.pause(ENVIRONMENT, _the_endpoint(app))


def deleter(folder: Path, death: Death, ahead_ms: int) -> None:
    _in_small_parts()
    app = compose_sender(folder, death, _Ahead(ahead_ms))
    with suppress(RequestError):  # it is deleted already
        app.registry.delete(ENVIRONMENT, _the_endpoint(app))


def resumer(folder: Path, death: Death, ahead_ms: int) -> None:
    _in_small_parts()
    app = compose_sender(folder, death, _Ahead(ahead_ms))
    app.registry.resume(ENVIRONMENT, _the_endpoint(app), Choice("latest"))


def _the_endpoint(app: SenderApp) -> str:
    [[endpoint_id]] = app._database.run(lambda tx: tx.execute("select id from hookline_sender_endpoints").fetchall())
    return str(endpoint_id)


def _in_small_parts() -> None:
    closing.PART = holding.PART = replays.PART = retention.EVENTS_AT_ONCE = 3  # type: ignore[misc]  # so that there are many


def door(folder: Path, death: Death, ahead_ms: int) -> None:
    hooks = compose_receiver(folder, death, _Ahead(ahead_ms))
    with loopback() as listening, Served(hooks.asgi(), listening, name="door") as served:
        print(served.port, flush=True)
        sys.stdin.read()


def worker(folder: Path, death: Death, ahead_ms: int) -> None:
    clock = TurnedClock(SystemClock().now_ms() + ahead_ms)
    hooks = compose_receiver(folder, death, clock)
    hooks.open()
    stop = threading.Event()
    working = threading.Thread(target=hooks.run_worker, args=(stop,), kwargs={"concurrency": 1})
    working.start()
    queued = (
        "select exists (select 1 from hookline_inbox_queue) or exists (select 1 from hookline_cascades)"
        " or exists (select 1 from hookline_replays where finished_ms is null)"
    )
    while _ask(receiver_url(folder), queued) or _is_left(receiver_url(folder), "hookline_runs"):
        time.sleep(PAUSE_S)
        clock.advance(TURN_MS)
    stop.set()
    working.join()


def replayer(folder: Path, death: Death, ahead_ms: int) -> None:
    with compose_receiver(folder, death, _Ahead(ahead_ms)) as hooks:
        hooks.open()
        if not _ask(receiver_url(folder), "select exists (select 1 from hookline_replays)"):
            hooks.worker().start_replay("default", Selection(), mode="all")
    with patch.object(replay, "PART", REPLAYED_AT_ONCE):  # so that a small inbox takes several
        worker(folder, death, ahead_ms)


class _Ahead(SystemClock):
    """The machine's clock, set forward."""

    def __init__(self, ms: int) -> None:
        self._ms = ms

    def now_ms(self) -> int:
        return super().now_ms() + self._ms


def _is_left(url: str, table: str) -> bool:
    return bool(_ask(url, f"select exists (select 1 from {table} where state in ('pending', 'running'))"))


def _ask(url: str, statement: str) -> Any:
    with connect(url).read() as connection:
        [[answer]] = connection.execute(statement)
    return answer


if __name__ == "__main__":
    dying = Death(sys.argv[3], int(sys.argv[4]))
    watch_verbs(dying)
    programs = (publisher, sender, jobs, pauser, deleter, resumer, door, worker, replayer)
    {one.__name__: one for one in programs}[sys.argv[1]](Path(sys.argv[2]), dying, int(sys.argv[5]))
