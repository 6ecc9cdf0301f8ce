"""No list of the dashboard reads a large table from end to end, whatever is asked for, on both databases.

The lists, and the history they are shown over, are those of `make bench ARGS=lists`, small.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from bench.lists import Lists
from bench.plans import Asked, Planner

from hookline.storage import Dialect
from tests.postgres import Cluster

EVENTS = 1_000
# What grows with traffic, with the mirror, or with time.
LARGE = frozenset(
    {
        "hookline_changes",
        "hookline_dashboard_audit",
        "hookline_directory_groups",
        "hookline_directory_memberships",
        "hookline_directory_users",
        "hookline_drift",
        "hookline_inbox",
        "hookline_inbox_minutes",
        "hookline_inbox_outcomes",
        "hookline_organizations",
        "hookline_rejections",
        "hookline_runs",
        "hookline_sender_attempts",
        "hookline_sender_audit",
        "hookline_sender_deliveries",
        "hookline_sender_endpoint_hours",
        "hookline_sender_events",
        "hookline_sender_feed",
        "hookline_sender_minutes",
        "hookline_sender_replays",
        "hookline_sender_type_hours",
        "hookline_users",
    }
)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def lists(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lists]:
    """The dashboard over a small history."""
    kind: Dialect = request.param
    name = None
    if kind == "sqlite":
        url = f"sqlite:///{Path(tmp_path_factory.mktemp('lists')) / 'lists.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("postgres")
        name = cluster.migrated()
        # What is cheap for small tables alone is put aside.
        with cluster.connect() as connection:
            for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin", "material"):
                connection.execute(f"alter database {name} set enable_{way} = off")
            # What is put aside counts as dear, and compiling it would take longer than all else.
            connection.execute(f"alter database {name} set jit = off")
        url = cluster.url(name)
    made = Lists(url, EVENTS)
    yield made
    made.close()
    if name is not None:
        cluster.drop(name)


def test_no_list_reads_a_large_table_from_end_to_end(lists: Lists) -> None:
    asked = {one.sql: (name, one) for name in reversed(lists.lists) for one in lists.statements(name)}
    with lists.database.read() as connection:
        planner = Planner(connection, lists.database.dialect)
        plans = [(name, one.sql, planner.explain(one)) for name, one in asked.values()]
    whole = [(name, sorted(plan.whole & LARGE), sql, plan.steps) for name, sql, plan in plans if plan.whole & LARGE]
    assert not whole, "\n\n".join(map(str, whole))
    assert len(plans) > 80


@pytest.mark.parametrize(
    ("sql", "table"),
    [
        ("select id from hookline_sender_events e where e.type = 'x'", "hookline_sender_events"),
        ("select count(*) from hookline_inbox", "hookline_inbox"),
        ("select r.id from hookline_directory_users r order by r.email limit 1", "hookline_directory_users"),
        ("select count(*) from hookline_directory_users_live v", "hookline_directory_users"),
    ],
)
def test_reading_from_end_to_end_is_seen(lists: Lists, sql: str, table: str) -> None:
    """Without a key, along an index with nothing to end it, for a sort that wants all, through a view."""
    with lists.database.read() as connection:
        assert table in Planner(connection, lists.database.dialect).explain(Asked(sql, ())).whole


@pytest.mark.parametrize(
    "sql",
    [
        "select id from hookline_sender_events where row_id = 1",
        "select seq from hookline_inbox i order by i.seq desc limit 10",
        "select count(*) from hookline_runs r where r.state = 'failed'",
    ],
)
def test_reading_a_few_rows_is_not(lists: Lists, sql: str) -> None:
    """By a key, the first of an index, the rare ones that have an index of their own."""
    with lists.database.read() as connection:
        assert not Planner(connection, lists.database.dialect).explain(Asked(sql, ())).whole
