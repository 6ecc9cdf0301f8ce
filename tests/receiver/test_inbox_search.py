"""Finding entries: every filter on both databases, how far it was looked, and by which index."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from hookline.errors import ConfigError
from hookline.receiver import inbox_search
from hookline.receiver.inbox_search import InboxFilter, InboxPage, InboxSearch
from hookline.receiver.queries import InboxQueries, Rate
from hookline.storage import Verbs

from .company import START_MS, Company, Desk

RUNS_ON = ("sqlite", "postgres")
MINUTE_MS = 60_000


def page(desk: Desk, source: str | None = "default", before_seq: int | None = None, **wanted: Any) -> InboxPage:
    limit = wanted.pop("limit", 50)
    queries = InboxQueries(Verbs("hookline.receiver", desk.database.dialect), source)
    before = {} if before_seq is None else {"before_seq": before_seq}
    with desk.database.snapshot() as connection:
        return queries.page(connection, InboxFilter(**wanted), limit=limit, **before)


def ids(found: InboxPage) -> list[str]:
    return [entry.event_id for entry in found.entries]


@pytest.fixture
def filled(desk: Desk, company: Company) -> Desk:
    """One of each: applied, stale, no event of ours, dead, waiting; of two sources."""
    old = company.user("updated", "user_1", first_name="Old")
    desk.take(company.organization("created"), company.directory("activated"), company.user("created", "user_1"))
    desk.take(company.user("updated", "user_1", first_name="New"))
    desk.take(old)
    desk.take({"object": "event", "id": "event_kitten", "event": "kitten.created", "data": {"id": "user_1"}})
    desk.put(b"{", reason="not_json")
    desk.worker.drain()
    desk.put(company.user("created", "user_2"), source="other")
    desk.put(company.group("created"))
    return desk


def test_of_each_state(filled: Desk) -> None:
    expected: dict[str, list[str | None]] = {
        "waiting": ["dsync.group.created"],
        "dead": [None],
        "stale": ["dsync.user.updated"],
        "ignored": ["kitten.created"],
        "applied": ["dsync.user.updated", "dsync.user.created", "dsync.activated", "organization.created"],
        "noop": [],
    }
    for state, types in expected.items():
        found = page(filled, state=state)
        assert [entry.type for entry in found.entries] == types
        assert {entry.state for entry in found.entries} <= {state}
        assert found.next_seq is None


def test_of_a_type_a_prefix_or_everything(filled: Desk) -> None:
    assert [entry.type for entry in page(filled, type="dsync.group.created").entries] == ["dsync.group.created"]
    assert len(page(filled, type="dsync.user.*").entries) == 3
    assert len(page(filled, type="*").entries) == len(page(filled).entries) == 8
    with pytest.raises(ConfigError, match="expected a type"):
        page(filled, type="dsync.*.created")


def test_of_one_source_or_of_all(filled: Desk) -> None:
    assert {entry.source for entry in page(filled).entries} == {"default"}
    assert [entry.event_id for entry in page(filled, "other").entries] == [page(filled, None).entries[1].event_id]
    assert len(page(filled, None).entries) == 9


def test_of_an_object_by_whatever_speaks_of_it(filled: Desk) -> None:
    """Also what is stale, and what no mirror knows; not what only has its id somewhere in the text."""
    filled.put({"id": "event_near", "event": "kitten.created", "data": {"id": "k", "of": "user_1"}})
    found = page(filled, object_id="user_1")
    assert [entry.state for entry in found.entries] == ["ignored", "stale", "applied", "applied"]
    assert ids(page(filled, object_id="user_1", limit=1)) == ["event_kitten"]


def test_by_how_they_came_and_when(desk: Desk, company: Company) -> None:
    """A time is found by halving the inbox; entries that are dated in disorder are found all the same."""
    seqs = [desk.put(company.user("updated"))[0] for _ in range(40)]
    for number, seq in enumerate(seqs):
        at_ms = START_MS + 3_600_000 * number + (-1) ** number * 300_000
        desk.write("update hookline_inbox set received_ms = ?, via = ? where seq = ?", at_ms, "webhook", seq)
    desk.write("update hookline_inbox set via = 'tail' where seq = ?", seqs[3])
    since_ms, until_ms = START_MS + 10 * 3_600_000, START_MS + 20 * 3_600_000
    found = page(desk, since_ms=since_ms, until_ms=until_ms)
    assert [entry.seq for entry in found.entries] == [seqs[n] for n in (19, 18, 17, 16, 15, 14, 13, 12, 11, 10)]
    assert all(since_ms <= entry.received_ms < until_ms for entry in found.entries)
    assert [entry.seq for entry in page(desk, via="tail").entries] == [seqs[3]]
    assert ids(page(desk, since_ms=START_MS + 10**12)) == []


def test_pages_follow_each_other_under_a_filter(filled: Desk) -> None:
    pages, before = [], None
    while True:
        found = page(filled, type="dsync.*", limit=2, before_seq=before)
        pages += ids(found)
        before = found.next_seq
        if before is None:
            break
    assert pages == ids(page(filled, type="dsync.*"))


def test_it_looks_so_far_and_says_so(desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is rare is not sought through the whole inbox: the page ends, empty or not, where it stopped looking."""
    monkeypatch.setattr(inbox_search, "LOOKED_AT_ONCE", 3)
    rare = desk.put(company.organization("created"))[0]
    seqs = [desk.put(company.user("updated"))[0] for _ in range(10)]
    search = InboxSearch(Verbs("hookline.receiver", desk.database.dialect), None)
    wanted = InboxFilter(type="organization.*")
    with desk.database.snapshot() as connection:
        first = search.page(connection, wanted, most=6)
        assert (first.entries, first.next_seq, first.looked) == ((), seqs[4], 6)
        second = search.page(connection, wanted, before_seq=seqs[4], most=6)
        assert ([entry.seq for entry in second.entries], second.next_seq) == ([rare], None)
        whole = search.page(connection, wanted, most=None)
        assert [entry.seq for entry in whole.entries] == [rare]


def plan(desk: Desk, connection: Any, wanted: InboxFilter) -> str:
    """How the statements of one page are carried out."""
    told: list[str] = []

    class Told:
        def cursor(self) -> Any:
            return self

        def execute(self, sql: str, parameters: Any = ()) -> None:
            explain = "explain query plan " if desk.database.dialect == "sqlite" else "explain "
            with contextlib.closing(connection.cursor()) as cursor:
                told.extend(str(row[-1]) for row in cursor.execute(explain + sql, parameters).fetchall())
            self.rows = connection.execute(sql, parameters)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.rows, name)

    InboxSearch(Verbs("hookline.receiver", desk.database.dialect), None).page(Told(), wanted, limit=5)
    return "\n".join(told)


def test_no_page_reads_a_whole_table(desk: Desk, company: Company) -> None:
    """Each goes along an index: from the newest down, or within a stretch."""
    desk.take(*(company.user("updated") for _ in range(300)))
    with desk.database.transaction() as connection:
        connection.execute("analyze")
        if desk.database.dialect == "postgres":
            connection.execute("set local enable_seqscan = off")
        for wanted in (
            InboxFilter(),
            InboxFilter(state="dead"),
            InboxFilter(state="stale"),
            InboxFilter(state="waiting"),
            InboxFilter(state="applied"),
            InboxFilter(type="dsync.*"),
            InboxFilter(object_id="user_1"),
            InboxFilter(state="dead", type="x.y"),
            InboxFilter(since_ms=1, until_ms=2),
        ):
            shown = plan(desk, connection, wanted)
            assert "Seq Scan" not in shown
            scans = [line for line in shown.splitlines() if line.startswith("SCAN") and "USING" not in line]
            # A scan of the queue or of the inbox by its number is bounded by the page.
            assert all(line.split()[1] in {"i", "q", "CONSTANT"} for line in scans), shown
            assert "TEMP B-TREE" not in shown, shown


def test_runs_of_an_entry_and_its_changes_are_found_by_index(desk: Desk, company: Company) -> None:
    desk.hooks.on("dsync.user.*", name="fact")(lambda event, tx: None)
    desk.hooks.on_change("directory_user", name="change")(lambda change, tx: None)
    first, second = desk.take(company.user("created"), company.user("updated", first_name="Ida"))
    queries = InboxQueries(Verbs("hookline.receiver", desk.database.dialect), None)
    changes = dict(desk.rows("select seq, cause_seq from hookline_changes"))
    with desk.database.snapshot() as connection:
        of_first = queries.runs_about(connection, first, [seq for seq, cause in changes.items() if cause == first])
        assert sorted(run.handler for run in of_first) == ["change", "fact"]
        assert of_first == queries.runs(connection, entry_seq=first)
        assert queries.runs_about(connection, second, []) != []


def test_what_entries_are_about(desk: Desk, company: Company) -> None:
    """The object, the pair, what no mirror knows; nothing of what is no event."""
    seqs = desk.put(
        company.user("created"),
        company.member("added"),
        {"id": "event_k", "event": "kitten.created", "data": {"object": "kitten", "id": "kitten_1"}},
        {"id": "event_l", "event": "kitten.created", "data": {"id": 5}},
        b"{",
    )
    queries = InboxQueries(Verbs("hookline.receiver", desk.database.dialect), None)
    with desk.database.snapshot() as connection:
        found = queries.subjects(connection, seqs)
    assert [tuple(found[seq]) if seq in found else None for seq in seqs] == [
        ("directory_user", "user_1", True),
        ("directory_membership", "group_1/user_1", True),
        ("kitten", "kitten_1", False),
        None,
        None,
    ]


def test_refusals_page_by_page(desk: Desk) -> None:
    for number in range(7):
        for reason in ("mismatch", "expired"):
            desk.write(
                "insert into hookline_rejections values (?, ?, ?, ?, ?)",
                "default",
                reason,
                START_MS - START_MS % MINUTE_MS + number * MINUTE_MS,
                1 + number,
                "the first",
            )
    queries = InboxQueries(Verbs("hookline.receiver", desk.database.dialect), None)
    seen, after = [], None
    with desk.database.snapshot() as connection:
        while rows := queries.rejections(connection, since_ms=0, after=after, limit=3):
            seen += [(row.minute_ms, row.reason) for row in rows]
            after = (rows[-1].minute_ms, rows[-1].source, rows[-1].reason)
    assert len(seen) == len(set(seen)) == 14
    assert seen == sorted(seen, reverse=True)


def test_rates_by_step_with_the_empty_ones(desk: Desk) -> None:
    base_ms = START_MS - START_MS % (5 * MINUTE_MS)
    for minute, kind, times in [(0, "accepted", 3), (1, "accepted", 2), (4, "duplicate", 1), (11, "conflict", 4)]:
        desk.write(
            "insert into hookline_inbox_minutes (minute_ms, source, kind, times) values (?, ?, ?, ?)",
            base_ms + minute * MINUTE_MS,
            "default",
            kind,
            times,
        )
    desk.write("insert into hookline_rejections values ('', 'path', ?, 6, '')", base_ms + 5 * MINUTE_MS)
    for source, refused in ((None, 6), ("default", 0)):
        queries = InboxQueries(Verbs("hookline.receiver", desk.database.dialect), source)
        with desk.database.snapshot() as connection:
            found = queries.rates(
                connection, since_ms=base_ms + 1, until_ms=base_ms + 15 * MINUTE_MS, step_ms=5 * MINUTE_MS
            )
        assert found == [
            Rate(base_ms, 5, 1, 0),
            Rate(base_ms + 5 * MINUTE_MS, 0, 0, refused),
            Rate(base_ms + 10 * MINUTE_MS, 0, 4, 0),
        ]
