"""An inbox says what became of events, and why it is not what a test expects."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy.orm import sessionmaker

from hookline import Receiver, Source
from hookline.adapters.sqlalchemy import SessionTransactions
from hookline.errors import ConfigError
from hookline.testing import Inbox, Signing, Story, TurnedClock

from ..apps import rows_at

TOLD = "dsync.user.created event_01HF7YAT00KKN9Z95RHN38WHDM"


class App:
    """A receiver with handlers, its inbox, and a story to tell it."""

    def __init__(self, url: str, **options: Any) -> None:
        self.clock = TurnedClock()
        self.hooks = Receiver(url, secrets=["whsec_1"], clock=self.clock, **options)
        self.story = Story(self.clock)
        self.fails: BaseException | None = None
        self.hooks.on("dsync.user.created", name="welcome")(self.welcome)
        self.hooks.on_change("directory_user", name="sync")(lambda change, tx: None)
        self.inbox = Inbox(self.hooks)

    def welcome(self, event: Any, tx: Any) -> None:
        if self.fails is not None:
            raise self.fails


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    app = App(f"sqlite:///{tmp_path / 'app.db'}")
    yield app
    app.hooks.close()


def fails_with(expected: str) -> Any:
    """An AssertionError with exactly this text; `…` stands for anything."""
    lines = (".*".join(re.escape(part) for part in line.split("…")) for line in expected.strip().splitlines())
    return pytest.raises(AssertionError, match="(?s)^" + "\n".join(lines) + "$")


# -- what became of an event


def test_an_event_that_never_came(app: App) -> None:
    """What came instead is listed, and what was refused."""
    ada = app.story("dsync.user.created")
    with fails_with(f"expected {TOLD} to be handled\n  it was never received\n  the inbox is empty"):
        app.inbox.assert_handled(ada)

    app.inbox.deliver(app.story("dsync.group.created"), b"[]")
    request = Signing("whsec_2", app.clock)(ada)
    app.hooks.receive("POST", request.path, request.headers, request.body, "127.0.0.1")
    app.inbox.drain()

    with fails_with(f"""
expected {TOLD} to be handled by welcome
  it was never received
  refused: 1 requests (mismatch), the first: …
  received: what is no event sha256:4f53cda1… (dead)
  received: dsync.group.created event_… (applied)
"""):
        app.inbox.assert_handled(ada, by=app.welcome)


def test_an_event_that_waits(app: App) -> None:
    ada = app.story("dsync.user.created")
    app.inbox.deliver(ada)

    for ask, what in (
        (app.inbox.assert_handled, "to be handled"),
        (app.inbox.assert_dead, "to be a dead letter"),
        (app.inbox.assert_waiting, "to wait for another try"),
        (app.inbox.assert_unheard, "to be applied and told to nobody"),
    ):
        with fails_with(f"expected {TOLD} {what}\n  it was received and nothing has been done with it: call drain()"):
            ask(ada)


def test_an_event_that_nobody_hears_of(app: App) -> None:
    """Nobody listens; or it is stale, so that nothing changed; by its id as well."""
    group = app.story("dsync.group.created")
    newer, older = (
        app.story("dsync.user.updated", created_at=f"2023-11-14T00:00:0{n}Z", id="directory_user_2") for n in (2, 1)
    )
    app.inbox.deliver(group, newer, older)
    app.inbox.drain()

    for event in (group, older):
        app.inbox.assert_unheard(event)
    app.inbox.assert_unheard(newer.id or "", by="welcome")
    handlers = "  its handlers are welcome (dsync.user.created), sync (directory_user)"
    with fails_with(f"""
expected dsync.group.created … to be handled
  it was received, and is applied: no handler was told of it
{handlers}
"""):
        app.inbox.assert_handled(group)
    with fails_with(f"""
expected dsync.user.updated … to be handled by sync
  it was received, and is stale: no handler was told of it
  it changed nothing that the mirror shows, so handlers of on_change hear nothing of it
{handlers}
"""):
        app.inbox.assert_handled(older, by="sync")
    with fails_with("expected dsync.user.updated … to be applied and told to nobody\n  sync has run"):
        app.inbox.assert_unheard(newer)


def test_a_handler_that_was_added_too_late(app: App) -> None:
    """A new handler starts at what has not been applied yet."""
    ada, grace = app.story("dsync.user.created"), app.story("dsync.user.created", id="directory_user_2")
    app.inbox.deliver(ada)
    app.inbox.drain()
    app.hooks.on("dsync.user.created", name="late")(lambda event, tx: None)
    app.inbox.deliver(grace)
    app.inbox.drain()

    app.inbox.assert_handled(grace, by="late")
    with fails_with(f"""
expected {TOLD} to be handled by late
  it was received, and is applied: no handler was told of it
  late was added later: a new handler hears of what has not been applied yet
  its handlers are …
"""):
        app.inbox.assert_handled(ada, by="late")


def test_a_handler_that_fails_and_then_does_not(app: App) -> None:
    """What it raised comes out of `drain`; the rest has been done all the same. The clock brings the next try."""
    app.fails = ValueError("nobody to welcome")
    ada = app.story("dsync.user.created")
    app.inbox.deliver(ada)

    with pytest.raises(ValueError, match="nobody to welcome") as caught:
        app.inbox.drain()
    assert caught.value.__notes__ == [f"welcome was told of {TOLD}, and raised ValueError"]
    app.inbox.assert_waiting(ada)
    app.inbox.assert_handled(ada, by="sync")
    with fails_with(f"""
expected {TOLD} to be handled
  welcome has failed 1 times; the next try is in … s by the clock:
    Traceback (most recent call last):
…
    ValueError
  sync has run
""") as failed:
        app.inbox.assert_handled(ada)
    assert failed.value.__cause__ is app.fails

    app.fails = None
    app.clock.advance(3_600_000)
    app.inbox.drain()
    app.inbox.assert_handled(ada)
    assert [str(call) for call in app.inbox.calls] == [
        f"welcome was told of {TOLD}, and raised ValueError",
        f"sync was told of created directory_user {ada.data['id']}",
        f"welcome was told of {TOLD}",
    ]


def test_a_handler_that_never_succeeds(app: App) -> None:
    """Every try is made, by the clock, until it is a dead letter."""
    app.fails = ValueError()
    ada = app.story("dsync.user.created")
    app.inbox.deliver(ada)
    app.inbox.finish()

    app.inbox.assert_dead(ada)
    app.inbox.assert_dead(ada, by="welcome")
    assert len([call for call in app.inbox.calls if call.error is not None]) == 12
    with fails_with(f"""
expected {TOLD} to be handled by welcome
  welcome has failed for good, after 12 tries:
    Traceback (most recent call last):
…
    ValueError
"""):
        app.inbox.assert_handled(ada, by="welcome")
    with fails_with(f"expected {TOLD} to wait for another try by sync\n  sync has run"):
        app.inbox.assert_waiting(ada, by="sync")


def test_a_handler_that_is_paused(app: App) -> None:
    """For failing on too much, until it is tried again; or by somebody, for good."""
    app.fails = ValueError()
    users = [app.story("dsync.user.created", id=f"directory_user_{n}") for n in range(21)]
    app.inbox.deliver(*users)
    app.inbox.drain(raises=False)
    with fails_with("""
expected dsync.user.created … to be handled by welcome
  welcome has not run: call drain(), or finish() where it waits for an earlier run or a lock
  welcome is paused: failed on 20 different objects in a row, last with ValueError
"""):
        app.inbox.assert_handled(users[20], by="welcome")

    app.fails = None
    app.inbox.finish()
    for user in users:
        app.inbox.assert_handled(user)
    app.hooks.worker().pause("welcome", "of our own accord")
    ada = app.story("dsync.user.created")
    app.inbox.deliver(ada)
    app.inbox.finish()
    with fails_with("…\n  welcome is paused: of our own accord\n"):
        app.inbox.assert_handled(ada)


def test_several_failures_and_those_outside_of_handlers(app: App) -> None:
    """The first is raised, the others counted; what a handler did to its transaction is one, too."""

    @app.hooks.on("dsync.group.created")
    def commits(event: Any, tx: Any) -> None:
        tx.execute("create table if not exists mine (id)")
        tx.execute("commit")

    app.fails = ValueError()
    app.inbox.deliver(*(app.story("dsync.user.created", id=f"directory_user_{n}") for n in range(2)))
    with pytest.raises(ValueError) as caught:
        app.inbox.drain()
    assert caught.value.__notes__[0].endswith("and raised ValueError; 1 other calls failed, too")
    app.inbox.drain()  # nothing is due: what failed before is not raised again

    group = app.story("dsync.group.created")
    app.inbox.deliver(group)
    with pytest.raises(Exception, match="commit"):
        app.inbox.drain()
    app.inbox.assert_waiting(group)


def test_an_entry_that_cannot_be_applied(app: App) -> None:
    """It is dead itself, and no handler of it."""
    body = b'{"id": "event_1", "event": "dsync.user.created", "data": {"n": ' + b"9" * 5_000 + b"}}"
    app.inbox.deliver(body)
    app.inbox.finish()

    app.inbox.assert_dead("event_1")
    with fails_with(
        "expected event_1 to be a dead letter by welcome\n  it was received, and is dead …\n  its handlers …"
    ):
        app.inbox.assert_dead("event_1", by="welcome")


# -- misuse, and what is said of it


def test_a_door_that_refuses(tmp_path: Path) -> None:
    app = App(f"sqlite:///{tmp_path / 'app.db'}", allowed_ips=["10.0.0.1"])
    ada = app.story("dsync.user.created")
    with fails_with(
        "expected the door to take dsync.user.created, it answered 403 address: the receiver's allowed_ips …"
    ):
        app.inbox.deliver(ada)
    app.inbox.deliver(ada, peer="10.0.0.1")
    with fails_with("expected the door to take 2 bytes, it answered 403 address: …"):
        app.inbox.deliver(b"[]")
    app.hooks.close()


def test_an_unknown_handler_and_a_clock_that_cannot_be_turned(tmp_path: Path) -> None:
    hooks = Receiver(f"sqlite:///{tmp_path / 'app.db'}", secrets=["whsec_1"])
    inbox = Inbox(hooks)
    with pytest.raises(LookupError, match="it has no handlers: is the module that adds them imported"):
        inbox.assert_handled("event_1", by=print)
    with pytest.raises(TypeError, match="expected the receiver to be on a TurnedClock, got SystemClock"):
        inbox.finish()
    hooks.close()
    with pytest.raises(ConfigError, match="it has none"):
        Signing.of(Receiver("sqlite:///unused.db"))


def test_a_path_with_a_token(tmp_path: Path) -> None:
    """What is delivered knows the way."""
    app = App(f"sqlite:///{tmp_path / 'app.db'}", path="/in", path_token="t0ken")
    ada = app.story("dsync.user.created")
    app.inbox.deliver(ada)
    app.inbox.drain()

    app.inbox.assert_handled(ada)
    assert Signing.of(app.hooks).path == "/in/t0ken"
    app.hooks.close()


def test_several_sources(tmp_path: Path) -> None:
    """Each has its own door; handlers of one hear of that one."""
    sources = [Source("production", secrets=["whsec_p"]), Source("staging", secrets=["whsec_s"])]
    hooks = Receiver(f"sqlite:///{tmp_path / 'app.db'}", sources=sources, clock=TurnedClock())
    hooks.on("dsync.user.created", source="staging", name="welcome")(lambda event, tx: None)
    inbox, story = Inbox(hooks), Story(hooks.clock)
    ada, grace = story("dsync.user.created"), story("dsync.user.created", id="directory_user_2")
    inbox.deliver(ada)
    inbox.deliver(grace, source="staging")
    inbox.drain()

    inbox.assert_unheard(ada)
    inbox.assert_handled(grace, by="welcome")
    with fails_with(f"""
expected {TOLD} to be handled
  it was received, and is applied: no handler was told of it
  its handlers are welcome (dsync.user.created)
"""):
        inbox.assert_handled(ada)
    assert Signing.of(hooks, "staging").path == "/webhooks/staging"
    with pytest.raises(LookupError, match="expected one of production, staging, got 'test'"):
        inbox.deliver(ada, source="test")
    hooks.close()


# -- an inbox that is kept between tests


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_kept_inbox_can_be_emptied(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """The same event in a second test is a duplicate, which is said; `clear` forgets everything but the tables."""
    url = f"sqlite:///{tmp_path / 'app.db'}"
    if kind == "postgres":
        url = request.getfixturevalue("postgres_url")
    first = App(url)
    ada = first.story("dsync.user.created")
    first.inbox.deliver(ada)
    first.inbox.drain()

    second = App(url)
    second.inbox.deliver(ada)
    second.inbox.drain()
    assert second.inbox.calls == []
    second.inbox.assert_handled(ada)
    with fails_with(f"""
expected {TOLD} to be a dead letter by welcome
  welcome has run
  it had been received before this test began: clear() empties an inbox that is kept
"""):
        second.inbox.assert_dead(ada, by="welcome")

    second.inbox.clear()
    assert not second.hooks.is_active("directory_user", ada.data["id"])
    second.inbox.deliver(ada)
    second.inbox.drain()
    second.inbox.assert_handled(ada)
    assert len(second.inbox.calls) == 2
    assert second.hooks.is_active("directory_user", ada.data["id"])
    first.hooks.close()
    second.hooks.close()


def test_clearing_leaves_what_is_the_senders(postgres_url: str) -> None:
    """Both ends may share a database, and migrations stay known."""
    kept = [("first", "kept")]
    rows_at(postgres_url, "insert into hookline_sender_settings values ('first', 'kept')")
    app = App(postgres_url)
    app.inbox.clear()

    assert rows_at(postgres_url, "select * from hookline_sender_settings where name = 'first'") == kept
    assert app.hooks.migrate() == 0
    app.hooks.close()


def test_everything_is_rolled_back_with_an_outer_transaction(database_url: str) -> None:
    """SQLAlchemy's recipe for tests: sessions that join a connection's transaction by savepoints."""
    engine = sqlalchemy.create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    Receiver(transactions=SessionTransactions(sessionmaker(engine))).migrate()
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create table letters (name text)"))
    clock = TurnedClock()
    with engine.connect() as connection:
        outer = connection.begin()
        sessions = sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
        hooks = Receiver(transactions=SessionTransactions(sessions), secrets=["whsec_1"], clock=clock)

        @hooks.on("dsync.user.created")
        def write(event: Any, tx: Any) -> None:
            tx.execute(sqlalchemy.text("insert into letters values (:name)"), {"name": event.data["first_name"]})

        inbox, ada = Inbox(hooks), Story(clock)("dsync.user.created")
        inbox.deliver(ada)
        inbox.drain()
        inbox.assert_handled(ada)
        assert connection.execute(sqlalchemy.text("select name from letters")).all() == [("Ada",)]
        outer.rollback()
    engine.dispose()

    for table in ("letters", "hookline_inbox", "hookline_directory_users", "hookline_handlers"):
        assert rows_at(database_url, f"select count(*) from {table}") == [(0,)]
