"""Chaos finds handlers that are wrong after disorder, shows the shortest way to see it, and lets right ones be."""

from __future__ import annotations

import contextlib
import itertools
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hookline import Change, Event, Receiver
from hookline.testing import Chaos, Inbox, Story, TurnedClock
from hookline.testing.chaos import Trial
from hookline.testing.disorder import disorder

from .conftest import RunTests

pytest_plugins = ["pytester"]

TABLES = """
create table people (id text primary key, name text, has_access boolean);
create table teams (team text, person text, primary key (team, person));
create table notes (said text);
"""
ADA = "directory_user_01KERW2T5YZQQ463A0QNBXXTP1"


class App:
    """Tables of an app, and a receiver on the same SQLite file; each run has a new one."""

    def __init__(self, folder: Path, template: Path, add: Callable[[Receiver], None]) -> None:
        self._files = (folder / f"{number}.db" for number in itertools.count())
        self._template = template
        self._add = add
        self.runs = 0

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Receiver]:
        self.runs += 1
        self._file = shutil.copy(self._template, next(self._files))
        with Receiver(f"sqlite:///{self._file}", secrets=["whsec_1"]) as hooks:
            self._add(hooks)
            yield hooks

    def state(self) -> dict[str, list[tuple[Any, ...]]]:
        with contextlib.closing(sqlite3.connect(self._file)) as connection:
            return {
                table: sorted(connection.execute(f"select * from {table}")) for table in ("people", "teams", "notes")
            }


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("app") / "app.db"
    with Receiver(f"sqlite:///{path}") as hooks:
        hooks.open()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(TABLES)
    return path


@pytest.fixture
def app(tmp_path: Path, template: Path, request: pytest.FixtureRequest) -> App:
    return App(tmp_path, template, request.param)


@pytest.fixture
def story() -> Story:
    """Two people and a team: renamed, let in and out, deactivated, one of them deleted."""
    story = Story(TurnedClock())
    ada = story("dsync.user.created", first_name="Ada")
    team = story("dsync.group.created")
    story("dsync.user.updated", first_name="Augusta")
    grace = story("dsync.user.created", id="directory_user_2", first_name="Grace")
    story("dsync.group.user_added", user=ada, group=team)
    story("dsync.group.user_added", user=grace, group=team)
    story("dsync.user.updated", id="directory_user_2", state="inactive")
    story("dsync.group.user_removed", user=ada, group=team)
    story("dsync.user.deleted", id="directory_user_2")
    return story


@pytest.fixture
def as_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is reported as it was found: making it simpler takes many runs."""
    monkeypatch.setattr("hookline.testing.chaos.SIMPLER_TRIES", 0)


def chaos(app: App, events: list[Event], **options: Any) -> None:
    Chaos(TurnedClock(), app.fresh)(events, state=app.state, **options)


def keep(tx: Any, person: str, name: str, has_access: bool) -> None:
    tx.execute(
        "insert into people values (?, ?, ?)"
        " on conflict (id) do update set name = excluded.name, has_access = excluded.has_access",
        (person, name, has_access),
    )


# -- handlers that are right


def follows_changes(hooks: Receiver) -> None:
    @hooks.on_change("directory_user")
    def sync(change: Change, tx: Any) -> None:
        if change.after is None:
            tx.execute("delete from people where id = ?", (change.id,))
        else:
            keep(tx, change.id, change.after["first_name"], change.is_active)

    @hooks.on_change("directory_membership")
    async def join_or_leave(change: Change, tx: Any) -> None:
        tx.execute("delete from teams where team || '/' || person = ?", (change.id,))
        if change.is_live:
            tx.execute("insert into teams values (?, ?)", tuple(change.id.split("/")))


def looks_before_it_writes(hooks: Receiver) -> None:
    """Facts, each compared with what is known: as good, and more to write."""

    @hooks.on("dsync.user.*")
    def sync(event: Event, tx: Any) -> None:
        known = dict(row.split("=") for (row,) in tx.execute("select said from notes where said like 'person%'"))
        at = event.data["updated_at"] + ("~" if event.type.endswith("deleted") else "")
        person = f"person {event.data['id']}"
        if at > known.get(person, ""):
            tx.execute("delete from notes where said like ? || '=%'", (person,))
            tx.execute("insert into notes values (?)", (f"{person}={at}",))
            tx.execute("delete from people where id = ?", (event.data["id"],))
            if at[-1] != "~":
                keep(tx, event.data["id"], event.data["first_name"], event.data["state"] == "active")


@pytest.mark.parametrize("app", [follows_changes, looks_before_it_writes], indirect=True)
def test_handlers_that_are_right_pass(app: App, story: Story) -> None:
    """Under every seed, with much lost, doubled and late."""
    chaos(app, story.told, runs=5)
    chaos(app, story.told, runs=5, doubled=0.6, late=0.6, lost=0.4)


# -- handlers that are wrong


def believes_the_last_word(hooks: Receiver) -> None:
    @hooks.on("dsync.user.*")
    def copy(event: Event, tx: Any) -> None:
        keep(tx, event.data["id"], event.data["first_name"], event.data["state"] == "active")


def believes_updates(hooks: Receiver) -> None:
    @hooks.on("dsync.user.updated", name="rename")
    def rename(event: Event, tx: Any) -> None:
        keep(tx, event.data["id"], event.data["first_name"], event.data["state"] == "active")

    @hooks.on("dsync.user.created", name="create")
    def create(event: Event, tx: Any) -> None:
        keep(tx, event.data["id"], event.data["first_name"], True)


def counts_changes(hooks: Receiver) -> None:
    @hooks.on_change("directory_user")
    def count(change: Change, tx: Any) -> None:
        tx.execute("insert into notes values (?)", (f"{change.kind} {change.id}",))


def joins_by_events(hooks: Receiver) -> None:
    @hooks.on("dsync.group.user_added")
    def join(event: Event, tx: Any) -> None:
        pair = (event.data["group"]["id"], event.data["user"]["id"])
        tx.execute("insert or ignore into teams values (?, ?)", pair)

    @hooks.on("dsync.group.user_removed")
    def leave(event: Event, tx: Any) -> None:
        pair = (event.data["group"]["id"], event.data["user"]["id"])
        tx.execute("delete from teams where team = ? and person = ?", pair)


WRONG = [believes_the_last_word, believes_updates, counts_changes, joins_by_events]


@pytest.mark.parametrize("app", WRONG, indirect=True)
def test_handlers_that_are_wrong_are_caught(app: App, story: Story, as_found: None) -> None:
    """By the seeds that everybody gets, each of which makes its disorder again; and by several of any."""
    with pytest.raises(AssertionError) as found:
        chaos(app, story.told, lost=0)
    said = re.match(r"handlers end otherwise after disorder \(seed=(\d) makes this one again\)", str(found.value))
    assert said is not None
    with pytest.raises(AssertionError) as again:
        chaos(app, story.told, lost=0, seed=int(said[1]))
    assert str(again.value) == str(found.value)

    others = [disorder(random.Random(seed), len(story.told), doubled=0.2, late=0.2, lost=0.1) for seed in range(6)]
    trial = Trial(story.told, app.state, app.fresh, TurnedClock())
    assert [trial.failure(plan) for plan in others].count("state") >= 2


@pytest.mark.parametrize("app", [believes_updates], indirect=True)
def test_a_failure_says_how_to_see_it(app: App) -> None:
    """What came out, the shortest order that shows it, and what each handler was told."""
    story = Story(TurnedClock())
    created = story("dsync.user.created", first_name="Ada").id
    story("dsync.group.created")
    updated = story("dsync.user.updated", first_name="Augusta").id

    with pytest.raises(AssertionError) as found:
        chaos(app, story.told)
    assert (
        str(found.value)
        == f"""\
handlers end otherwise after disorder (seed=1 makes this one again)

state() in order (-), and now (+):
  - {{'notes': [], 'people': [('{ADA}', 'Augusta', 1)], 'teams': []}}
  + {{'notes': [], 'people': [('{ADA}', 'Ada', 1)], 'teams': []}}

in the shortest order found, of 2 events:
  2. dsync.user.updated {updated}
  1. dsync.user.created {created}
  and at the end of all, the last of each object again: 2

what handlers were told in it:
  rename was told of dsync.user.updated {updated}
  create was told of dsync.user.created {created}"""
    )


def needs_the_creation(hooks: Receiver) -> None:
    @hooks.on("dsync.user.created", name="create")
    def create(event: Event, tx: Any) -> None:
        keep(tx, event.data["id"], "", True)

    @hooks.on("dsync.user.deleted", name="leave")
    def leave(event: Event, tx: Any) -> None:
        if not tx.execute("delete from people where id = ?", (event.data["id"],)).rowcount:
            raise LookupError(event.data["id"])


@pytest.mark.parametrize("app", [needs_the_creation], indirect=True)
def test_a_handler_that_gives_up_is_caught(app: App) -> None:
    """Though what was written is the same: a dead letter is somebody's work. The clock goes through all its tries."""
    story = Story(TurnedClock())
    for word in ("created", "updated", "deleted"):
        story(f"dsync.user.{word}")
    created, _, deleted = story.told

    chaos(app, story.told, lost=0, runs=3)
    with pytest.raises(AssertionError) as found:
        chaos(app, story.told, lost=1, seed=0)

    text = re.sub(r"Traceback.*?\nLookupError\n\n", "TRACEBACK\n\n", str(found.value), flags=re.DOTALL)
    told = f"  leave was told of dsync.user.deleted {deleted.id}, and raised LookupError\n"
    assert (
        text
        == f"""\
handlers end otherwise after disorder (seed=0 makes this one again)

leave gave up on {deleted.id}, after 12 tries:
TRACEBACK

in the shortest order found, of 2 events:
  2. dsync.user.deleted {deleted.id}
  1. dsync.user.created {created.id}, lost
  and at the end of all, the last of each object again: 2

what handlers were told in it:
{told * 12}
facts of events that never come are never told; lost=0 where every event comes in the end"""
    )


def welcomes(hooks: Receiver) -> None:
    @hooks.on("dsync.user.created")
    def welcome(event: Event, tx: Any) -> None:
        tx.execute("insert into notes values (?)", (event.data["first_name"],))


@pytest.mark.parametrize("app", [welcomes], indirect=True)
def test_facts_need_that_every_event_comes(app: App, story: Story, as_found: None) -> None:
    """A fact that is lost is never told; where nothing is lost for ever, each is told once in any order."""
    chaos(app, story.told, runs=5, lost=0, doubled=0.6)
    with pytest.raises(AssertionError, match="lost=0 where every event comes in the end"):
        chaos(app, story.told, lost=0.4)


# -- what makes a trial none


def fails_in_order(hooks: Receiver) -> None:
    @hooks.on("dsync.group.user_removed")
    def leave(event: Event, tx: Any) -> None:
        raise NotImplementedError("nobody leaves")


def hears_of_nothing(hooks: Receiver) -> None:
    @hooks.on("organization.created")
    def found(event: Event, tx: Any) -> None: ...


NUMBERS = itertools.count()


def makes_keys_anew(hooks: Receiver) -> None:
    @hooks.on("dsync.user.created")
    def note(event: Event, tx: Any) -> None:
        tx.execute("insert into notes values (?)", (str(next(NUMBERS)),))


@pytest.mark.parametrize(
    ("app", "error", "said"),
    [
        (fails_in_order, NotImplementedError, "nobody leaves"),
        (hears_of_nothing, AssertionError, "no handler is told of any of these 9 events: nothing is tried"),
        (makes_keys_anew, AssertionError, "in order twice, and state.. is not the same: leave out keys and times"),
    ],
    indirect=["app"],
)
def test_a_trial_that_would_prove_nothing(app: App, story: Story, error: type[Exception], said: str) -> None:
    """What fails in order, is told nothing, or never ends alike."""
    with pytest.raises(error, match=said):
        chaos(app, story.told)
    assert app.runs <= 2


@pytest.mark.parametrize("app", [follows_changes], indirect=True)
@pytest.mark.parametrize(
    ("forgets", "said"),
    [
        (False, "^9 of these events had been received before the run began: fresh must give a database"),
        (True, "^state.. is not the same at the beginning of every run: fresh leaves what an earlier run has written"),
    ],
)
def test_a_database_that_is_not_fresh(app: App, story: Story, forgets: bool, said: str) -> None:
    """Over what an earlier run has left, every order ends alike."""
    with app.fresh() as hooks:

        @contextlib.contextmanager
        def stale() -> Iterator[Receiver]:
            if forgets:
                Inbox(hooks).clear()
            yield hooks

        with pytest.raises(AssertionError, match=said):
            Chaos(TurnedClock(), stale)(story.told, state=app.state)


@pytest.mark.parametrize("app", [believes_the_last_word], indirect=True)
@pytest.mark.parametrize("shape", [list, iter], ids=["the same list", "an iterator"])
def test_a_state_that_goes_on_changing(
    app: App, story: Story, as_found: None, shape: Callable[[list[Any]], Any]
) -> None:
    """It is kept as it was at the end of each run: the same list, filled anew, is not equal to itself."""
    rows: list[Any] = []

    def state() -> Any:
        rows[:] = app.state()["people"]
        return shape(rows)

    with pytest.raises(AssertionError, match="handlers end otherwise"):
        Chaos(TurnedClock(), app.fresh)(story.told, state=state)


@pytest.mark.parametrize("app", [follows_changes], indirect=True)
def test_the_history_is_that_of_the_clocks(app: App, story: Story) -> None:
    """However it is handed over; and the clock is turned back to where it was."""
    clock = TurnedClock()
    start_ms = clock.now_ms()
    Chaos(clock, app.fresh)(reversed(story.told), state=app.state, runs=1)
    assert clock.now_ms() == start_ms
    in_order = app.state()
    chaos(app, story.told, runs=1)

    assert app.state() == in_order
    assert in_order["people"] == [(ADA, "Augusta", 1)]


# -- as a user would


def test_as_a_user_would(run_tests: RunTests, as_found: None) -> None:
    """The fixture, a receiver made anew for each run, and handlers that write where the test looks."""
    run = run_tests(
        """
        import contextlib
        import itertools
        import pytest
        from hookline import Receiver

        names = {}
        numbers = itertools.count()

        def by_changes(hooks):
            hooks.on_change("directory_user")(lambda change, tx: names.update({change.id: change.after["first_name"]}))

        def by_events(hooks):
            hooks.on("dsync.user.*")(lambda event, tx: names.update({event.data["id"]: event.data["first_name"]}))

        @pytest.mark.parametrize("add", [by_changes, by_events])
        def test_names_converge(hookline_chaos, hookline_event, tmp_path, add):
            @contextlib.contextmanager
            def fresh():
                names.clear()
                with Receiver(f"sqlite:///{tmp_path}/{next(numbers)}.db", secrets=["whsec_1"]) as hooks:
                    add(hooks)
                    yield hooks

            hookline_event("dsync.user.created", first_name="Ada")
            hookline_event("dsync.user.updated", first_name="Augusta")
            hookline_chaos(hookline_event.told, state=lambda: names, fresh=fresh, runs=3)

        def test_without_a_way_to_begin_anew(hookline_chaos, hookline_event):
            hookline_chaos([hookline_event("dsync.user.created")], state=dict)
        """
    )

    run.assert_outcomes(passed=1, failed=2)
    run.stdout.fnmatch_lines(
        [
            "*AssertionError: handlers end otherwise after disorder (seed=* makes this one again)",
            "E *in the shortest order found, of 2 events:",
            "E *what handlers were told in it:",
            "expected to know how to begin anew: hookline_chaos(…, fresh=…)*",
        ]
    )
