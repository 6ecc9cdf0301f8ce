"""How SQLite runs the verbs: by an index, without sorting, whatever the tables hold. One is asked of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bench.backlog import add_deliveries, add_endpoints

from hookline.storage import Database, connect
from hookline.storage.verbs import Verbs, compile_verb
from tests.postgres import Cluster

# Verbs that are meant to read a whole, small table.
WHOLE_TABLE = {
    "endpoint_secrets",
    "endpoints_unwell",
    "event_type_rules",
    "keys_sealed",
    "keys_valid",
    "key_put_first",
    "feed_missing",
    "feed_missing_clear",
    "listeners_sealed",
}
# Verbs that scan a list of their own making (a recursive walk of an index, the rows they were given).
OWN_LIST = {
    "discover": ("SCAN e",),
    "settle": ("SCAN s",),
    # Their lists have an end: a hundred thousand rows, or the few replays that are open.
    "backlog": ("SCAN a", "SCAN b", "SCAN c", "SCAN e"),
    "open_work": ("SCAN a", "SCAN b", "SCAN r USING INDEX hookline_sender_replays_open"),
    "endpoints_failing": ("SCAN s",),
    "endpoints_probed": ("SCAN s",),
    "listeners_note": ("SCAN s",),
    "listener_since": ("SCAN before",),
    "replay_due_count": ("SCAN w",),
    "held_count": ("SCAN b",),
    "events_newer_count": ("SCAN n",),
    "live_between": ("SCAN passed",),
}
# Verbs that bring few rows together and may sort them or make them distinct.
MAY_SORT = {
    "event_log_counts",
    "event_log_sent",
    "deliveries_failed_of",
    "minutes_series",
    "type_hours_of",
    "endpoints_matching",
    "endpoints_unwell",
    "feed_missing",
}

VERBS = Verbs("hookline.sender", "sqlite")


def plan(database: Database, name: str) -> list[str]:
    verb = VERBS[name]
    with database.transaction() as connection:
        sql, values = _statement(verb)
        return [row[3] for row in connection.execute(f"explain query plan {sql}", values)]


def _statement(verb: Any) -> tuple[str, list[Any]]:
    parts = [verb._head, *([verb._row] if verb._row else []), verb._tail]
    return "".join(part.text for part in parts), [None for part in parts for _ in part.names]


@pytest.mark.parametrize("name", sorted(VERBS))
def test_no_verb_scans_a_table_that_grows(database: Database, name: str) -> None:
    """Every table of ours is searched by a key or an index; lists of parameters are scanned."""
    steps = plan(database, name)

    scans = [step for step in steps if step.startswith("SCAN") and "VIRTUAL TABLE" not in step]
    scans = [step for step in scans if step not in ("SCAN CONSTANT ROW", *OWN_LIST.get(name, ()))]
    assert not scans or name in WHOLE_TABLE, steps


@pytest.mark.parametrize("name", sorted(VERBS))
def test_no_verb_sorts_what_an_index_has_in_order(database: Database, name: str) -> None:
    """A page of a long list is read in order, not sorted first."""
    steps = plan(database, name)

    assert not any("TEMP B-TREE" in step for step in steps) or name in MAY_SORT, steps


def test_matching_goes_from_names_to_endpoints(database: Database) -> None:
    """The cost of a publish grows with who asks for its type, not with all endpoints."""
    steps = plan(database, "endpoints_matching")

    assert [step.split()[1] for step in steps[:3]] == ["n", "s", "p"]
    assert "event_type=?" in steps[1]
    assert "rowid=?" in steps[2]


def test_the_check_can_fail(database: Database) -> None:
    """A statement without an index is seen as a scan."""
    verb = compile_verb("bad", "-- Bad.\nselect id from hookline_sender_events where type = :type", "sqlite")
    sql, values = _statement(verb)

    with database.read() as connection:
        steps = [row[3] for row in connection.execute(f"explain query plan {sql}", values)]

    assert steps[0].startswith("SCAN")


def test_what_endpoints_have_finished_costs_a_discovery_nothing(postgres: Cluster, postgres_url: str) -> None:
    """PostgreSQL steps through what is pending, though most of it was when the statistics were made."""
    database = connect(postgres_url)
    add_endpoints(database, 100, lambda number: f"https://example.com/{number}")
    add_deliveries(database, 20_000)
    sql = Verbs("hookline.sender", "postgres")["discover"]._head.text
    with postgres.connect(postgres_url.partition("?")[0].rpartition("/")[2]) as connection:
        connection.execute("analyze hookline_sender_deliveries")
        connection.execute(
            "update hookline_sender_deliveries set state = 'succeeded', due_ms = null where endpoint_row <= ("
            "select min(row_id) + 89 from hookline_sender_endpoints)"
        )
        found = connection.execute(sql).fetchall()
        explained: Any = connection.execute(f"explain (analyze, format json) {sql}").fetchone()
    database.close()

    assert sum(row[0] == "endpoint" for row in found) == 10
    passed_over = [node.get("Rows Removed by Filter", 0) for node in _nodes(explained[0][0]["Plan"])]
    assert max(passed_over) < 200, passed_over  # of 18,000


def test_lists_of_the_source_are_in_the_order_of_an_index_on_postgresql(postgres: Cluster, postgres_url: str) -> None:
    """Of each page no more is read than it shows, however many there are: no plan has to sort."""
    verbs = Verbs("hookline.sender", "postgres")
    lists = [name for name in sorted(verbs) if name.startswith("list_")]
    with postgres.connect(postgres_url.partition("?")[0].rpartition("/")[2]) as connection:
        # The tables are empty: what is cheap for them is put aside.
        for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin"):
            connection.execute(f"set enable_{way} = off")
        for name in lists:
            sql, names = verbs[name]._head.text, verbs[name]._head.names
            values = [{"created_ms": 1, "limit": 10, "id": "x"}.get(one, "[]") for one in names]
            explained: Any = connection.execute(f"explain (format json) {sql}", values).fetchone()
            nodes = [node["Node Type"] for node in _nodes(explained[0][0]["Plan"])]
            assert "Sort" not in nodes, (name, nodes)
            assert {"Index Scan", "Index Scan Backward", "Index Only Scan"} & set(nodes), (name, nodes)

    assert len(lists) == 16


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from _nodes(below)
