"""Task queues of the app's that do a worker's work: they are only poked, and the inbox is the truth."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from celery.contrib.testing.worker import start_worker
from flask import Flask, current_app

from hookline.adapters.flask import Hooks
from hookline.errors import ConfigError
from hookline.receiver.app import Receiver
from hookline.testing.clock import TurnedClock
from hookline.testing.signed import signed_request

from ..apps import rows_at
from ..receiver.company import START_MS, wait_for

SECRET = "whsec_of_the_queues"


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'app.db'}"


def receiver_at(url: str) -> Receiver:
    """With a handler whose effects can be counted."""
    hooks = Receiver(url, secrets=[SECRET], clock=TurnedClock(START_MS))

    @hooks.on("dsync.user.created", name="letters")
    def write(event: Any, tx: Any) -> None:
        tx.execute("create table if not exists letters (id text)")
        tx.execute(f"insert into letters values ('{event.id}')")

    return hooks


@pytest.fixture
def hooks(url: str) -> Iterator[Receiver]:
    with receiver_at(url) as made:
        made.drain()  # handlers start at now
        yield made


def keep(hooks: Receiver, *numbers: int) -> None:
    for number in numbers:
        body = b'{"id":"event_%d","event":"dsync.user.created","data":{"id":"user_%d"}}' % (number, number)
        signed = signed_request(body, SECRET, timestamp_ms=START_MS)
        assert hooks.receive("POST", "/webhooks", signed.headers, signed.body, None)[0] == 200


def letters(url: str) -> list[str]:
    if not rows_at(url, "select 1 from sqlite_master where name = 'letters'"):
        return []
    return [id_ for (id_,) in rows_at(url, "select id from letters order by id")]


def test_a_task_of_celerys_does_the_work(hooks: Receiver, url: str) -> None:
    """As docs/queues.md has it: what is kept wakes a task, which drains the inbox."""
    queue = Celery("shop", broker="memory://", set_as_current=False)
    queue.conf.broker_transport_options = {"polling_interval": 0.05}

    @queue.task(ignore_result=True)
    def drain_webhooks() -> None:
        with receiver_at(url) as mine:
            mine.drain()

    @hooks.on_kept
    def poke() -> None:
        drain_webhooks.delay()

    with start_worker(queue, pool="threads", concurrency=2, perform_ping_check=False, shutdown_timeout=20):
        keep(hooks, 1, 2, 3)
        wait_for(lambda: len(letters(url)) == 3)

    assert letters(url) == ["event_1", "event_2", "event_3"]
    assert rows_at(url, "select distinct state, attempt from hookline_runs") == [("succeeded", 1)]


def test_a_lost_poke_loses_nothing(hooks: Receiver, url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The sender is answered 200 whatever becomes of it, and the next one finds both."""
    is_away = threading.Event()
    is_away.set()
    tried = threading.Semaphore(0)

    @hooks.on_kept
    def poke() -> None:
        tried.release()
        if is_away.is_set():
            raise ConnectionError("amqp://user:pa55word@broker")
        hooks.drain()

    keep(hooks, 1)
    assert tried.acquire(timeout=20)
    wait_for(lambda: "failed (ConnectionError)" in caplog.text)
    assert letters(url) == []
    is_away.clear()
    keep(hooks, 2)
    wait_for(lambda: len(letters(url)) == 2)

    assert "pa55word" not in caplog.text


def test_who_keeps_does_not_wait_for_the_poke(hooks: Receiver, url: str) -> None:
    """A broker that hangs holds one thread, and is asked once for all that came meanwhile."""
    may_go = threading.Event()
    calls: list[int] = []
    began = threading.Semaphore(0)

    @hooks.on_kept
    def poke() -> None:
        calls.append(len(rows_at(url, "select 1 from hookline_inbox")))
        began.release()
        may_go.wait()

    keep(hooks, 1)
    assert began.acquire(timeout=20)
    keep(hooks, *range(2, 9))
    may_go.set()
    assert began.acquire(timeout=20)
    wait_for(lambda: not [one for one in threading.enumerate() if one.name == "hookline-poke"])

    assert calls == [1, 8]


def test_two_that_drain_at_once_are_harmless(hooks: Receiver, url: str) -> None:
    """Each effect is there once."""
    keep(hooks, *range(10, 50))
    others = [receiver_at(url) for _ in range(3)]

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda one: one.drain(), [hooks, *others]))
    hooks.drain()  # what was another's when the last of them looked
    for other in others:
        other.close()

    assert letters(url) == [f"event_{number}" for number in range(10, 50)]
    assert rows_at(url, "select distinct state from hookline_runs") == [("succeeded",)]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # pytest has threads; the child is short
def test_a_forked_process_pokes_by_itself(hooks: Receiver, tmp_path: Path) -> None:
    """Its parent's thread is not there, though the parent was poking when it forked."""
    may_go, began = threading.Event(), threading.Event()
    told = tmp_path / "told"

    @hooks.on_kept
    def poke() -> None:
        if os.getpid() == parent:
            began.set()
            may_go.wait()
        else:
            told.write_text("poked", "utf-8")

    parent = os.getpid()
    keep(hooks, 1)
    assert began.wait(20)
    if (child := os.fork()) == 0:
        try:
            hooks._tell_kept()
            wait_for(lambda: told.exists() and bool(told.read_text("utf-8")))
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    may_go.set()

    assert status == 0
    assert told.read_text("utf-8") == "poked"


def test_in_flask_it_is_called_within_the_apps_context(url: str) -> None:
    """As handlers are."""
    own = Hooks()
    told: list[str] = []
    own.on_kept(lambda: told.append(current_app.name))
    app = Flask("poking")
    app.config["HOOKLINE"] = {"WEBHOOK_SECRETS": SECRET, "DATABASE_URL": url, "WEBHOOK_TOLERANCE": "36500d"}
    own.init_app(app)

    with app.extensions["hookline"] as receiver:
        keep(receiver, 1)
        wait_for(lambda: told == ["poking"])
        with pytest.raises(ConfigError, match="expected one function"):
            receiver.on_kept(print)
