"""What is in doubt is taken to the source, once an answer can settle it, and the answer joined."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from hookline.errors import SourceError
from hookline.receiver.counters import Counters
from hookline.receiver.leases import LEASE_MS, Leases
from hookline.receiver.mirror_store import MirrorStore
from hookline.receiver.refetch import LOOK_MS, UNAUTHORIZED_MS, Refetcher
from hookline.receiver.refetch_store import Refetch
from hookline.receiver.work import Access, Worker
from hookline.rules.merge import EPSILON_US
from hookline.storage import Verbs
from hookline.wire.timestamps import format_ms

from ..conftest import DATABASES
from .company import Desk, Event
from .source import MemorySource

RUNS_ON = DATABASES

FAR_MS = 3_600_000
# After the last of two events within ε.
SETTLES_MS = 2 * EPSILON_US // 1_000 + 1_000


class Office:
    """A source of two users, a group and a directory, a worker that may ask it, and who asks."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.source = MemorySource(desk.clock)
        self.counters = Counters()
        self.worker: Worker = desk.new_worker(asking=["default"], counters=self.counters)
        self.worker.register()
        self.refetcher = self.another("one")
        source = self.source
        self.take(
            source.put("directory", "dir_1", organization_id="org_1", state="active"),
            source.put("directory_group", "group_1", directory_id="dir_1", name="Staff"),
            self.put_user("user_1", first_name="Ada"),
            self.put_user("user_2", first_name="Ben"),
        )

    def another(self, holder: str) -> Refetcher:
        verbs = Verbs("hookline.receiver", self.desk.database.dialect)
        return Refetcher(
            Access(self.desk.database),
            MirrorStore(verbs),
            "default",
            self.source,
            self.desk.clock,
            Leases(verbs, holder),
            counters=self.counters,
        )

    def put_user(self, id_: str, **fields: Any) -> Event:
        return self.source.put("directory_user", id_, directory_id="dir_1", state="active", **fields)

    def take(self, *events: Event) -> None:
        self.desk.put(*events)
        self.worker.drain()

    def ask(self) -> int | None:
        """One step; when to come again, in ms from now."""
        due_ms = self.refetcher.step(self.desk.clock.now_ms())
        self.worker.drain()
        return None if due_ms is None else due_ms - self.desk.clock.now_ms()

    def waiting(self) -> list[tuple[str, str]]:
        return [
            (object_id, reasons)
            for object_id, reasons in self.desk.rows("select object_id, reasons from hookline_refetches order by 1")
        ]

    def flags(self, table: str = "directory_users") -> list[str]:
        return [flags for (flags,) in self.desk.rows(f"select flags from hookline_{table} where flags <> ''")]


@pytest.fixture
def office(desk: Desk) -> Office:
    office = Office(desk)
    desk.clock.advance(FAR_MS)
    office.source.requests.clear()
    return office


def test_a_death_within_skew_is_asked_about_once_an_answer_can_settle_it(office: Office) -> None:
    """A13: deleted and created within ε on hosts whose clocks differ: dead by the rule, alive at the source. It is
    asked 2 ε after the last of the two, and not before; then the doubt is gone.
    """
    late = office.source.delete("directory_user", "user_1")
    born = office.put_user("user_1", first_name="Ada")
    born["created_at"] = format_ms(office.desk.clock.now_ms() * 1_000 - 3_000_000)
    office.take(born, late)
    assert office.desk.ids("directory_users") == ["user_2"]
    assert ("user_1", "uncertain") in office.waiting()

    office.desk.clock.advance(SETTLES_MS - 10_000)
    office.ask()
    assert office.source.requests == [], "too early"
    office.desk.clock.advance(SETTLES_MS)
    office.ask()
    assert "/directory_users/user_1" in office.source.requests
    assert office.desk.ids("directory_users") == ["user_1", "user_2"]
    assert office.flags() == []
    assert office.waiting() == []


def test_nothing_is_written_where_the_source_cannot_be_asked(office: Office) -> None:
    """A worker that was given no API."""
    office.worker = office.desk.new_worker()
    office.worker.register()
    office.take(office.source.delete("directory_user", "user_1"), office.put_user("user_1"))

    assert office.flags() == ["uncertain"]
    assert office.waiting() == []


def test_a_gone_object_is_dead(office: Office) -> None:
    """A 404 settles it as well: the source says that there is none."""
    born = office.put_user("user_3")
    late = office.source.delete("directory_user", "user_3")
    born["created_at"], late["created_at"] = late["created_at"], born["created_at"]
    office.take(born, late)
    assert "user_3" in office.desk.ids("directory_users")

    office.desk.clock.advance(SETTLES_MS)
    office.ask()
    assert "user_3" not in office.desk.ids("directory_users")
    assert office.waiting() == []
    assert office.desk.one("select cause from hookline_changes order by seq desc limit 1") == "refetch"


def test_a_404_of_another_environment_is_nobodys_death(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """The key is good, the answers are honest: the source knows nothing of what is here."""
    born = office.put_user("user_3")
    late = office.source.delete("directory_user", "user_3")
    born["created_at"], late["created_at"] = late["created_at"], born["created_at"]
    office.take(born, late)
    for objects in office.source.objects.values():
        objects.clear()

    office.desk.clock.advance(SETTLES_MS)
    assert office.ask() == UNAUTHORIZED_MS
    assert office.desk.ids("directory_users") == ["user_1", "user_2", "user_3"]
    assert "another environment" in caplog.text
    assert [object_id for object_id, _ in office.waiting()] == ["user_3"]


def test_an_answer_from_too_early_is_joined_and_asked_for_again(office: Office) -> None:
    """The source's time runs behind ours: the answer counts as of before the event."""
    office.take(office.source.delete("directory_user", "user_1"), office.put_user("user_1"))
    office.desk.clock.advance(SETTLES_MS)
    office.source.faults[len(office.source.requests) + 1] = lambda found: found._replace(
        requested_us=found.requested_us - 60_000_000
    )
    office.ask()

    assert office.waiting() == [("user_1", "uncertain")]
    assert office.desk.one("select tries from hookline_refetches") == 1
    office.desk.clock.advance(61_000)
    office.ask()
    assert office.waiting() == []


def test_who_comes_back_gets_the_memberships_that_the_source_lists(office: Office) -> None:
    """C6: those from before the death stay hidden until the list of the user's groups says otherwise."""
    office.take(office.source.join("group_1", "user_1"), office.source.join("group_1", "user_2"))
    office.desk.clock.advance(FAR_MS)
    gone = office.source.delete("directory_user", "user_1")
    office.desk.clock.advance(FAR_MS)
    office.take(gone, office.put_user("user_1"))
    office.source.members["group_1"].add("user_1")  # the source told nobody
    assert office.desk.members() == [("group_1", "user_2")]
    assert office.waiting() == [("/user_1", "recreated")]

    office.desk.clock.advance(SETTLES_MS)
    office.ask()
    assert office.source.requests == ["/directory_groups?user=user_1"]
    assert office.desk.members() == [("group_1", "user_1"), ("group_1", "user_2")]
    assert office.waiting() == []


def test_a_group_that_comes_back_is_asked_for_its_users(office: Office) -> None:
    """The other end; page by page."""
    office.take(*[office.put_user(f"user_{n}") for n in (3, 4)])
    office.take(*[office.source.join("group_1", f"user_{n}") for n in (1, 2, 3, 4)])
    office.desk.clock.advance(FAR_MS)
    gone = office.source.delete("directory_group", "group_1")
    office.desk.clock.advance(FAR_MS)
    office.take(gone, office.source.put("directory_group", "group_1", directory_id="dir_1", name="Staff"))
    office.source.members["group_1"] = {"user_1", "user_2", "user_3"}
    office.desk.clock.advance(SETTLES_MS)
    office.ask()

    assert office.source.requests == ["/directory_users?group=group_1", "/directory_users?group=group_1&after=user_2"]
    assert [user for _, user in office.desk.members()] == ["user_1", "user_2", "user_3"]


def test_a_membership_in_doubt_is_asked_for_with_all_of_its_user(office: Office) -> None:
    """C4, C7: added and removed within ε, and one that the source no longer lists: the list decides both."""
    for number in (2, 3):
        office.take(office.source.put("directory_group", f"group_{number}", directory_id="dir_1"))
    office.take(office.source.join("group_2", "user_1"))
    office.source.members["group_2"].clear()  # the source told nobody
    office.desk.clock.advance(FAR_MS)
    left = office.source.join("group_3", "user_1"), office.source.leave("group_3", "user_1")
    office.source.members["group_3"].add("user_1")
    office.take(*left)
    assert office.desk.members() == [("group_2", "user_1")]
    assert office.waiting() == [("group_3/user_1", "uncertain")]

    office.desk.clock.advance(SETTLES_MS)
    office.ask()
    assert office.desk.members() == [("group_3", "user_1")]
    assert office.waiting() == []
    assert office.flags("directory_memberships") == []


def test_an_empty_list_of_nobody_removes_nobody_but_them(office: Office) -> None:
    """D3: an empty list counts only of somebody who is there; who is not is dead, memberships and all."""
    office.take(office.source.join("group_1", "user_1"))
    office.desk.clock.advance(FAR_MS)
    office.take(office.source.leave("group_1", "user_1"))
    office.take(office.source.join("group_1", "user_1"))
    office.source.delete("directory_user", "user_1")
    office.desk.clock.advance(SETTLES_MS)
    office.ask()

    asked = ["/directory_groups?user=user_1", "/directory_users/user_1"]
    assert office.source.requests == [*asked, "/directories/dir_1"], "and is it the right source?"
    assert office.desk.ids("directory_users") == ["user_2"]
    assert office.waiting() == []


def test_a_stub_is_fetched_after_minutes_and_forgotten_where_it_was_created_meanwhile(office: Office) -> None:
    """Two users known from memberships alone: the event of one comes, the other's never."""
    lost, late = office.put_user("user_8", first_name="Lost"), office.put_user("user_9")
    office.take(office.source.join("group_1", "user_8"), office.source.join("group_1", "user_9"))
    assert office.waiting() == [("user_8", "stub"), ("user_9", "stub")]
    office.take(late)
    office.desk.clock.advance(301_000)
    office.ask()

    assert lost["event"] == "dsync.user.created"
    assert office.source.requests == ["/directory_users/user_8"]
    assert office.desk.changes("directory_user")[-2:] == [("created", "user_9"), ("created", "user_8")]
    assert office.waiting() == []


def test_a_source_whose_clock_went_back_is_believed_when_it_says_so_twice(office: Office) -> None:
    """A4: restored from a backup it shows an older `updated_at`. One such read may come from a replica; a second, ε
    later, is believed, looked at once more, and then nothing is asked any more.
    """
    restored = {**office.source.objects["directory_user"]["user_1"], "first_name": "Restored"}
    restored["updated_at"] = format_ms((office.desk.clock.now_ms() - 2 * FAR_MS) * 1_000)
    newest = office.put_user("user_1", first_name="Newest")
    office.take(newest)
    office.desk.clock.advance(FAR_MS)
    office.source.objects["directory_user"]["user_1"] = restored
    event = {
        **newest,
        "id": "event_999999",
        "created_at": format_ms(office.desk.clock.now_ms() * 1_000),
        "data": restored,
    }
    office.take(event)
    assert office.flags() == ["clock_regression"]

    shown = []
    for _ in range(4):
        office.desk.clock.advance(SETTLES_MS)
        office.ask()
        shown.append(office.desk.one("select first_name from hookline_directory_users where id = 'user_1'"))
    assert shown == ["Newest", "Restored", "Restored", "Restored"]
    assert len(office.source.requests) == 3
    assert office.flags() == []
    assert office.waiting() == []
    assert office.desk.changes("directory_user")[-1] == ("updated", "user_1")


def test_two_reads_that_differ_are_not_believed(office: Office) -> None:
    """Each below what is known, with another time each: neither counts yet."""
    office.take(office.put_user("user_1", first_name="Newest"))
    office.desk.clock.advance(FAR_MS)
    item = office.source.objects["directory_user"]["user_1"]
    office.take({"object": "event", "id": "event_999999", "event": "dsync.user.updated",
                 "created_at": format_ms(office.desk.clock.now_ms() * 1_000),
                 "data": {**item, "updated_at": format_ms(1_000_000)}})  # fmt: skip
    for number in (1, 2):
        item = {**item, "first_name": f"Old {number}", "updated_at": format_ms(number * 1_000_000)}
        office.source.objects["directory_user"]["user_1"] = item
        office.desk.clock.advance(SETTLES_MS)
        office.ask()

    assert office.desk.one("select first_name from hookline_directory_users where id = 'user_1'") == "Newest"
    assert office.waiting() == [("user_1", "clock_regression")]


def test_a_source_that_is_away_is_left_alone_for_a_while(office: Office) -> None:
    """Longer each time, and as long as it asks for; then what is due is asked."""
    office.take(office.source.delete("directory_user", "user_1"), office.put_user("user_1"))
    office.desk.clock.advance(SETTLES_MS)
    waits = []
    for error in (
        SourceError("unavailable", "no connection"),
        SourceError("unavailable", "503"),
        SourceError("rate_limited", "429", retry_after_s=90),
    ):
        number = len(office.source.requests) + 1

        def fail(_: Any, error: SourceError = error) -> Any:
            raise error

        office.source.faults[number] = fail
        waits.append(office.ask())
        again_ms = office.refetcher.step(office.desk.clock.now_ms() + 1_000)
        assert again_ms == office.desk.clock.now_ms() + (waits[-1] or 0)
        assert len(office.source.requests) == number, "it was asked while it was to be left alone"
        office.desk.clock.advance(waits[-1] or 0)
    assert waits == [5_000, 20_000, 90_000]
    assert office.waiting() == [("user_1", "uncertain")]

    office.ask()
    assert office.waiting() == []


def test_it_waits_as_long_as_the_source_says_unless_the_clock_was_set_back(office: Office) -> None:
    office.take(office.source.delete("directory_user", "user_1"), office.put_user("user_1"))
    office.desk.clock.advance(SETTLES_MS)

    def fail(_: Any) -> Any:
        raise SourceError("rate_limited", "429", retry_after_s=86_400)

    office.source.faults = {1: fail, 2: fail}
    assert office.ask() == 86_400_000
    began_ms = office.desk.clock.now_ms()
    for after_ms in (15_000, 3_600_000, 86_399_000):
        office.refetcher.step(began_ms + after_ms)
        assert len(office.source.requests) == 1, f"it was asked after {after_ms} ms"

    office.desk.clock.set(began_ms - 1)
    assert office.ask() == 86_400_000
    assert len(office.source.requests) == 2
    office.desk.clock.advance(86_400_000)
    office.ask()
    assert office.waiting() == []


def test_without_leave_nothing_is_asked_and_it_is_said_once(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """A key that is no longer good needs somebody; the source is not pestered meanwhile."""
    office.take(office.source.delete("directory_user", "user_1"), office.put_user("user_1"))
    office.desk.clock.advance(SETTLES_MS)

    def fail(_: Any) -> Any:
        raise SourceError("unauthorized", "GET /directory_users: 401")

    office.source.faults = {1: fail, 2: fail}
    with caplog.at_level(logging.ERROR, "hookline.refetch"):
        assert office.ask() == 600_000
        office.desk.clock.advance(600_000)
        assert office.ask() == 600_000

    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "check the API key" in caplog.text
    assert len(office.waiting()) == 1


def test_one_question_that_is_refused_holds_up_no_other(office: Office) -> None:
    """Nonsense about one object: that one waits, with the reason, and the next is asked."""
    office.take(
        office.source.delete("directory_user", "user_1"),
        office.put_user("user_1"),
        office.source.delete("directory_user", "user_2"),
        office.put_user("user_2"),
    )
    office.desk.clock.advance(SETTLES_MS)

    def fail(_: Any) -> Any:
        raise SourceError("nonsense", "answered HTML")

    office.source.faults[1] = fail
    office.ask()

    assert office.desk.rows("select object_id, tries, error from hookline_refetches") == [
        ("user_1", 1, "answered HTML")
    ]


def test_one_worker_asks_at_a_time(office: Office) -> None:
    """The other finds the lease taken; when it was taken over, the first joins nothing more."""
    office.take(office.source.delete("directory_user", "user_1"), office.put_user("user_1"))
    office.desk.clock.advance(SETTLES_MS)
    other = office.another("other")

    def meanwhile(found: Any) -> Any:
        assert other.step(office.desk.clock.now_ms()) == office.desk.clock.now_ms() + LOOK_MS
        office.desk.clock.advance(LEASE_MS)
        other.step(office.desk.clock.now_ms())
        assert office.waiting() == [], "the other has done it"
        office.take(office.source.delete("directory_user", "user_1"))
        return found

    office.source.faults[1] = meanwhile
    office.ask()
    assert len(office.source.requests) == 2
    assert office.desk.ids("directory_users") == ["user_2"], "what came late was joined without the lease"


def test_what_settles_it_never_falls(office: Office) -> None:
    """Two transactions look at one question; the later to write has not seen what the other has raised."""
    store, database = (
        MirrorStore(Verbs("hookline.receiver", office.desk.database.dialect)).refetches,
        office.desk.database,
    )
    one = Refetch("default", "directory_user", "user_1", frozenset(["uncertain"]), None, 1_000, 5, 5)
    for refetch in (one, one._replace(after_us=3_000), one._replace(tries=1)):
        with database.transaction() as connection:
            store.put(connection, [refetch])

    with database.read() as connection:
        [kept] = store.of(connection, [one.asked]).values()
    assert (kept.after_us, kept.tries) == (3_000, 1)


def test_a_membership_whose_ends_cannot_be_told_apart_is_not_asked_about(office: Office) -> None:
    """a/b and c have the same id as a and b/c: who was asked for would be somebody else."""
    source = office.source
    source.put("directory_group", "a/b", directory_id="dir_1", name="Odd")
    source.put("directory_user", "c", directory_id="dir_1", state="active")
    office.take(source.join("a/b", "c"), source.leave("a/b", "c"))

    assert [id_ for id_, _ in office.waiting() if "a/b/" in id_] == []


def test_at_rest_nothing_is_asked(office: Office) -> None:
    """It looks for what is due, and comes again."""
    assert office.ask() == LOOK_MS
    assert office.source.requests == []
