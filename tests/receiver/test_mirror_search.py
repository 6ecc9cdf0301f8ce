"""Finding rows of the mirror: every filter on both databases, how far it was looked, and by which index."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.errors import ConfigError
from hookline.receiver import mirror_search
from hookline.receiver.mirror_queries import MirrorQueries
from hookline.receiver.mirror_search import MirrorFilter, MirrorPage, MirrorSearch
from hookline.receiver.resources import EDGES, RESOURCES
from hookline.storage import Verbs

from .company import Company, Desk

RUNS_ON = ("sqlite", "postgres")


def page(desk: Desk, resource: str = "directory_user", after: str = "", limit: int = 50, **wanted: Any) -> MirrorPage:
    search = MirrorSearch(Verbs("hookline.receiver", desk.database.dialect), "default")
    with desk.database.snapshot() as connection:
        return search.page(connection, resource, MirrorFilter(**wanted), after=after, limit=limit)


def ids(found: MirrorPage) -> list[str]:
    return [row.id for row in found.rows]


@pytest.fixture
def filled(desk: Desk, company: Company) -> Desk:
    desk.take(
        company.organization("created"),
        company.directory("activated"),
        company.directory("activated", "dir_2", organization_id=None),
        *(company.user("created", f"user_{n}", email=f"Person{n}@Example.com", first_name="Zoë") for n in range(1, 5)),
        company.user("created", "user_5", directory_id="dir_2", email="x_%@example.com"),
        company.group("created"),
        company.member("added", user_id="user_1"),
        company.member("added", user_id="user_2"),
        company.user("deleted", "user_3", first_name="Zoë"),
    )
    desk.write("update hookline_directory_users set flags = 'weak uncertain' where id = 'user_2'")
    return desk


def test_rows_are_found_by_what_people_know_them_by(filled: Desk) -> None:
    """The beginning of an id, any part of a name or an address in any case; the other filters with it."""
    assert ids(page(filled)) == [f"user_{n}" for n in range(1, 6)]
    assert ids(page(filled, text="user_4")) == ["user_4"]
    assert ids(page(filled, text="PERSON1@")) == ["user_1"]
    assert ids(page(filled, text="zoë", shown="dead")) == ["user_3"]
    assert ids(page(filled, text="_%@")) == ["user_5"]
    assert ids(page(filled, text="nobody")) == []
    assert ids(page(filled, shown="live")) == ["user_1", "user_2", "user_4", "user_5"]
    assert ids(page(filled, shown="uncertain")) == ["user_2", "user_3"]  # which died seconds after it was made
    assert ids(page(filled, parent_id="dir_2")) == ["user_5"]
    assert ids(page(filled, parent_id="org_1", shown="live")) == ["user_1", "user_2", "user_4", "user_5"]
    [dead] = page(filled, shown="dead").rows
    assert (dead.id, dead.is_live, dead.deleted_at is not None) == ("user_3", False, True)


def test_relations_are_found_by_either_end(filled: Desk) -> None:
    edge = "directory_membership"
    assert ids(page(filled, edge)) == ["group_1/user_1", "group_1/user_2"]
    assert ids(page(filled, edge, parent_id="user_2")) == ["group_1/user_2"]
    assert ids(page(filled, edge, parent_id="group_1", limit=1)) == ["group_1/user_1"]
    assert ids(page(filled, edge, after="group_1/user_1")) == ["group_1/user_2"]
    assert ids(page(filled, edge, text="group")) == ["group_1/user_1", "group_1/user_2"]
    assert ids(page(filled, edge, text="person")) == []


def test_what_hangs_on_nothing_has_no_parent(desk: Desk) -> None:
    with pytest.raises(ConfigError, match="hangs on nothing"):
        page(desk, "organization", parent_id="x")
    with pytest.raises(ConfigError, match="did you mean 'directory_user'"):
        page(desk, "directory_users")


def test_pages_follow_each_other_and_say_how_far_they_looked(
    desk: Desk, company: Company, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.take(*(company.user("created", f"user_{n:02}", email=f"{n % 5}@example.com") for n in range(20)))
    seen, after = [], ""
    while True:
        found = page(desk, text="3@example", after=after, limit=2)
        seen += ids(found)
        if found.next_id is None:
            break
        after = found.next_id
    assert seen == ["user_03", "user_08", "user_13", "user_18"]
    monkeypatch.setattr(mirror_search, "LOOKED_AT_ONCE", 4)
    search = MirrorSearch(Verbs("hookline.receiver", desk.database.dialect), "default")
    with desk.database.snapshot() as connection:
        first = search.page(connection, "directory_user", MirrorFilter(text="nobody"), most=8)
    assert (first.rows, first.next_id, first.looked) == ((), "user_07", 8)


def test_every_resource_can_be_looked_through(desk: Desk) -> None:
    """Its columns, its view and its key are what the statements take them for."""
    for resource in (*RESOURCES, *EDGES):
        for wanted in ({}, {"text": "x"}, {"shown": "live"}, {"shown": "dead"}, {"shown": "uncertain"}):
            assert page(desk, resource, **dict[str, Any](wanted)).rows == ()


def test_counts_stop_where_they_are_told_to(filled: Desk) -> None:
    queries = MirrorQueries(Verbs("hookline.receiver", filled.database.dialect))
    with filled.database.snapshot() as connection:
        whole = {one.resource: (one.rows, one.live, one.uncertain) for one in queries.counts(connection)}
        some = {one.resource: (one.rows, one.live, one.uncertain) for one in queries.counts(connection, most=2)}
    assert whole["directory_user"] == (5, 4, 2)
    assert some["directory_user"] == (2, 2, 2)


def test_indexes_lead_to_rows(desk: Desk, company: Company) -> None:
    """Neither what hangs on one parent, nor what is in doubt, nor the beginning of an id is sought row by row."""
    desk.take(*(company.user("created", f"user_{n}", directory_id=f"dir_{n}") for n in range(100)))
    verbs = Verbs("hookline.receiver", desk.database.dialect)
    search = MirrorSearch(verbs, "default")
    explain = "explain query plan " if desk.database.dialect == "sqlite" else "explain "
    with desk.database.transaction() as connection:
        connection.execute("analyze")
        if desk.database.dialect == "postgres":
            connection.execute("set local enable_seqscan = off")
        for wanted, indexes in (
            (MirrorFilter(parent_id="dir_1"), ("directory_users_directory",)),
            (MirrorFilter(shown="uncertain"), ("directory_users_flagged",)),
            (MirrorFilter(text="user_1"), ("directory_users_pkey", "sqlite_autoindex_hookline_directory_users_1")),
        ):
            by_index, looking, named = search._filters(connection, "directory_user", wanted)
            assert looking == []
            words = search._words("directory_user", ["(r.id) > (:one)", *by_index])
            verb = verbs.filled("each", "mirror_find", {**words, "columns": "r.id", "same": "l.id = r.id"})
            values = verb._head.values({**named, "one": "", "limit": 50})
            rows = connection.execute(explain + verb._head.text, values).fetchall()
            shown = "\n".join(str(row[-1]) for row in rows)
            assert any(name in shown for name in indexes), shown
            assert "Seq Scan on hookline_directory_users r" not in shown
