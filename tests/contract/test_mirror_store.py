"""What any database must do with the mirror's rows: the end state is the set's, and the views are the rules'.

Run for every database.
"""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hookline.receiver.mirror_store import EdgeRow, MirrorStore, ObjectRow
from hookline.receiver.resources import DIRECTORY_MEMBERSHIP, EDGES, LISTED_IN, RESOURCES, observe
from hookline.rules.merge import (
    NEVER,
    Clock,
    EdgeState,
    ObjectState,
    Parent,
    as_parent,
    is_alive,
    is_edge_alive,
    join,
    join_edge,
)
from hookline.storage import Verbs
from hookline.wire.event import Event

from ..conftest import DATABASES
from ..postgres import Cluster
from ..receiver.company import START_MS, Company, Desk

OBJECT_TABLES = ("organizations", "directories", "directory_users", "directory_groups")


@pytest.fixture(params=DATABASES)
def new_desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Desk]]:
    """Makes desks, each with a database of its own."""
    made: list[Desk] = []
    names: list[str] = []
    cluster: Cluster | None = request.getfixturevalue("postgres") if request.param == "postgres" else None

    def make() -> Desk:
        if cluster is None:
            made.append(Desk(tmp_path / f"{len(made)}.db"))
        else:
            names.append(cluster.migrated())
            made.append(Desk(cluster.url(names[-1])))
        return made[-1]

    yield make
    for desk in made:
        desk.close()
    for name in names:
        assert cluster is not None
        cluster.drop(name)


# -- the views are the rules ------------------------------------------------------------------------------------


def random_clock(draw: random.Random) -> Clock:
    return NEVER if draw.random() < 0.3 else (draw.randrange(4), draw.choice(["", "a", "b", "é"]))


def random_state(draw: random.Random, resource: str, id_: str) -> ObjectState:
    clocks = [random_clock(draw) for _ in range(3)]
    return ObjectState(resource, id_, payload={"id": id_}, life=clocks[0], death=clocks[1], provisional=clocks[2])


def random_world(draw: random.Random) -> tuple[list[ObjectRow], list[EdgeRow]]:
    """Some of each, hanging on each other, some parents unknown, some in their parent's list of children."""
    rows: list[ObjectRow] = []
    for name, resource in RESOURCES.items():
        for number in range(2 + (name in LISTED_IN)):
            id_ = f"{name}_{number}"
            state = random_state(draw, name, id_)
            payload: dict[str, Any] = {"id": id_}
            for parent, column in resource.parents:
                payload[column] = draw.choice([None, *(f"{parent}_{other}" for other in range(3))])
            if resource.lists is not None:
                field, child = resource.lists
                items = [*({"id": f"{child}_{other}"} for other in range(4)), {"id": 5}, "x", None]
                payload[field] = draw.choice([None, "x", draw.sample(items, draw.randrange(4))])
            row = ObjectRow(resource, "default", id_)
            row.put_state(
                ObjectState(
                    name,
                    id_,
                    (1, *random_clock(draw)),
                    payload=payload,
                    life=state.life,
                    death=state.death,
                    provisional=state.provisional,
                )
            )
            rows.append(row)
    edges = [
        EdgeRow(
            edge,
            "default",
            (f"{edge.ends[0][0]}_{one}", f"{edge.ends[1][0]}_{other}"),
            EdgeState(random_clock(draw), random_clock(draw)),
            None if edge.scope is None else draw.choice([None, *(f"{edge.scope[0]}_{n}" for n in range(3))]),
        )
        for edge in EDGES.values()
        for one in range(3)
        for other in range(3)
    ]
    return rows, edges


def by_the_rules(rows: list[ObjectRow], edges: list[EdgeRow]) -> tuple[set[str], set[tuple[str, tuple[str, str]]]]:
    """Which are alive, by rules/merge.py alone."""
    parents: dict[tuple[str, str], Parent] = {}
    known = {row.key: row for row in rows}
    alive: set[str] = set()
    for row in rows:
        assert row.state is not None
        keys = [
            (name, id_) for (name, _), id_ in zip(row.resource.parents, row.parent_ids, strict=True) if id_ is not None
        ]
        above = [parents[key] for key in keys if key in parents]
        floor = NEVER
        for holder in (known[key] for key in keys if key in known and LISTED_IN.get(row.resource.name) == key[0]):
            assert holder.state is not None
            listed = holder.resource.listed(holder.state.payload)
            if listed is not None and row.id not in listed:
                floor = holder.state.content[1:]
        parents[row.key] = as_parent(row.state, above)
        if is_alive(row.state, above, floor=floor):
            alive.add(row.id)
    for row in rows:  # of two memberships of one pair the later ends the earlier
        if row.resource.name == "organization_membership" and None not in row.parent_ids:
            rivals = [
                other
                for other in rows
                if other.resource is row.resource and other.parent_ids == row.parent_ids and other is not row
            ]
            if any(proof(rival) > proof(row) for rival in rivals):
                alive.discard(row.id)
    live_edges: set[tuple[str, tuple[str, str]]] = set()
    for edge in edges:
        assert edge.state is not None
        keys = [(name, id_) for (name, _), id_ in zip(edge.edge.ends, edge.ids, strict=True)]
        if edge.edge.scope is not None and edge.scope_id is not None:
            keys.append((edge.edge.scope[0], edge.scope_id))
        if is_edge_alive(edge.state, [parents[key] for key in keys if key in parents]):
            live_edges.add(edge.key)
    return alive, live_edges


def proof(row: ObjectRow) -> Clock:
    """What an object lives by."""
    assert row.state is not None
    return max(row.state.life, row.state.provisional) if row.state.death == NEVER else row.state.life


def test_the_live_views_are_the_rules(new_desk: Callable[[], Desk]) -> None:
    """Over random states of parents and children the views show exactly what is_alive and is_edge_alive say."""
    desk = new_desk()
    store = MirrorStore(Verbs("hookline.receiver", desk.database.dialect))
    draw = random.Random(10)
    seen: set[str] = set()
    for _ in range(250):
        rows, edges = random_world(draw)
        with desk.database.transaction() as connection:
            for table in (*(one.table for one in RESOURCES.values()), *(one.table for one in EDGES.values())):
                connection.execute(f"delete from {table}")
            for resource in RESOURCES.values():
                store.write_objects(connection, resource, [row for row in rows if row.resource is resource])
            for edge in EDGES.values():
                store.write_edges(connection, edge, [row for row in edges if row.edge is edge])

        alive, live_edges = by_the_rules(rows, edges)
        objects = [desk.ids(resource.table.removeprefix("hookline_")) for resource in RESOURCES.values()]
        assert {id_ for ids in objects for id_ in ids} == alive
        assert {
            (edge.name, (one, other))
            for edge in EDGES.values()
            for one, other in desk.rows(f"select {edge.ends[0][1]}, {edge.ends[1][1]} from {edge.table}_live")
        } == live_edges
        seen |= {id_.rpartition("_")[0] for id_ in alive} | {name for name, _ in live_edges}
    assert seen == {*RESOURCES, *EDGES}


def test_rows_come_back_as_they_were_written(new_desk: Callable[[], Desk]) -> None:
    """Clocks, layered payloads, parents, flags and announcements survive writing, updating and reading."""
    desk = new_desk()
    store = MirrorStore(Verbs("hookline.receiver", desk.database.dialect))
    directory = RESOURCES["directory"]
    state = ObjectState(
        "directory",
        "dir_1",
        (7, 8, "e"),
        {"id": "dir_1", "organization_id": "org_1", "name": "Staff"},
        (5, "é"),
        (6, ""),
        (1, "a"),
        (9, 9, "f"),
        {"id": "dir_1", "name": "Gone"},
    )
    row = ObjectRow(directory, "default", "dir_1", flags="weak", announced=True)
    row.put_state(state)
    for is_new in (True, False):
        row.is_new = is_new
        with desk.database.transaction() as connection:
            store.write_objects(connection, directory, [row])

        with desk.database.read() as connection:
            (found,) = store.read_objects(connection, directory, "default", ["dir_1", "dir_2"], to_write=False)
        assert found.known_state() == state
        assert (found.parent_ids, found.flags, found.announced, found.is_new) == (("org_1",), "weak", True, False)
        assert found.shown == row.shown
    assert desk.one("select deleted_at from hookline_directories") == "1970-01-01T00:00:00.000Z"


# -- the end state is the set's ---------------------------------------------------------------------------------


def small_history(company: Company) -> list[dict[str, Any]]:
    """A little of everything that may overtake each other."""
    return [
        company.directory("activated"),
        company.user("created"),
        company.member("added"),
        company.user("updated", first_name="Ida"),
        company.member("removed"),
        company.member("added"),
        company.user("deleted"),
    ]


def end_state(desk: Desk) -> list[tuple[Any, ...]]:
    """All rows, announcements included; the change feed's order depends on arrival, the rows must not."""
    state: list[tuple[Any, ...]] = []
    for table in (*OBJECT_TABLES, "directory_memberships"):
        found = desk.rows(f"select * from hookline_{table} order by 1, 2, 3")
        state += [(table, *row) for row in found]
    return state


def modelled(events: list[dict[str, Any]]) -> tuple[dict[tuple[str, str], ObjectState], dict[Any, EdgeState]]:
    """The same history joined by the rules alone, in the order it was made."""
    objects: dict[tuple[str, str], ObjectState] = {}
    edges: dict[Any, EdgeState] = {}
    for event in events:
        seen = observe(Event.from_bytes(json.dumps(event).encode()), event["id"], START_MS)
        for one in seen.objects:
            objects[one.resource, one.key] = join(objects.get((one.resource, one.key)), one).state
        if seen.edge is not None:
            edges[seen.edge.keys] = join_edge(edges.get(seen.edge.keys), seen.edge.kind, seen.edge.clock).state
    return objects, edges


def check_announcements(desk: Desk) -> None:
    """Per object the feed tells a story without repeats: live and lost in turns, ending in what is shown."""
    told: dict[tuple[str, str], bool] = {}
    for resource, id_, kind, is_live, before in desk.rows(
        "select resource, object_id, kind, is_live, before from hookline_changes order by seq"
    ):
        was_live = told.get((resource, id_))
        if was_live is not None:
            assert was_live == (before is not None), (resource, id_, kind)
        if kind in ("deleted", "hidden", "removed"):
            assert not is_live
            assert was_live is not False, "a loss is told once"
        told[resource, id_] = bool(is_live)
    live = {("directory_user", id_) for id_ in desk.ids("directory_users")}
    live |= {("directory_membership", "/".join(pair)) for pair in desk.members()}
    for (resource, id_), is_live in told.items():
        if resource in ("directory_user", "directory_membership"):
            assert is_live == ((resource, id_) in live), (resource, id_)


def how_many(desk: Desk, on_sqlite: int) -> int:
    """A fifth on PostgreSQL: the rules are the same there, and what is only there is seen in the first few."""
    return on_sqlite if desk.database.dialect == "sqlite" else on_sqlite // 5


def test_every_order_ends_equal(new_desk: Callable[[], Desk]) -> None:
    """Orders of a history, drawn from all 5,040, one by one and in batches, end in the rows of the model."""
    events = small_history(Company())
    desk = new_desk()
    orders = list(itertools.permutations(events))
    draw = random.Random(11)
    objects, edges = modelled(events)
    expected: list[tuple[Any, ...]] | None = None
    for order in [tuple(events), *draw.sample(orders, how_many(desk, 700))]:
        desk.clear()
        cut = draw.randrange(len(events) + 1)
        desk.take(*order[:cut])
        desk.take(*order[cut:], order[0])

        found = end_state(desk)
        expected = found if expected is None else expected
        assert found == expected
        check_announcements(desk)
    store = MirrorStore(Verbs("hookline.receiver", desk.database.dialect))
    with desk.database.read() as connection:
        for (name, id_), state in objects.items():
            (row,) = store.read_objects(connection, RESOURCES[name], "default", [id_], to_write=True)
            assert row.known_state() == state
        (edge,) = store.read_edges(connection, DIRECTORY_MEMBERSHIP, "default", edges)
        assert edge.state == edges[edge.ids]


def test_cascades_end_equal_in_any_order(new_desk: Callable[[], Desk]) -> None:
    """Deaths and returns of parents among their children's events: every order ends equal, each loss told once."""
    company = Company()
    events = [
        company.organization("created"),
        company.directory("activated"),
        company.user("created"),
        company.member("added"),
        company.directory("deleted"),
        company.user("updated", first_name="Ida"),
        company.directory("activated"),
        company.organization("deleted"),
    ]
    desk = new_desk()
    draw = random.Random(12)
    expected: list[tuple[Any, ...]] | None = None
    for _ in range(how_many(desk, 300)):
        order = draw.sample(events, len(events))
        desk.clear()
        while order:
            size = draw.randrange(1, 4)
            desk.take(*order[:size])
            order = order[size:]

        found = end_state(desk)
        expected = found if expected is None else expected
        assert found == expected
        check_announcements(desk)
    assert desk.ids("directory_users") == []
