"""The company: its events, told in order, are the whole truth, in WorkOS' vocabulary."""

from __future__ import annotations

import json
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hookline.demo.company import Company, Happening
from hookline.demo.look import look
from hookline.demo.truth import Truth, truth_of
from hookline.sender.directories import Directories
from hookline.sender.ids import IdMaker
from hookline.sender.store import SenderStore
from hookline.storage import connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock
from hookline.wire.timestamps import parse_us

START_MS = 1_790_000_000_000
COLUMNS = {
    "organization": ("name", "external_id"),
    "organization_domain": ("organization_id", "domain", "state"),
    "directory": ("organization_id", "name", "type", "state", "external_key"),
    "directory_user": (
        "directory_id",
        "organization_id",
        "idp_id",
        "email",
        "first_name",
        "last_name",
        "username",
        "job_title",
        "state",
    ),
    "directory_group": ("directory_id", "organization_id", "idp_id", "name"),
}


@dataclass(frozen=True)
class Told:
    """An event as it stands in the feed; `act` is the place of what it tells of among the company's acts."""

    type: str
    data: dict[str, Any]
    created_ms: int
    sequence: int
    act: int


@dataclass(frozen=True)
class Life:
    """What happened, what was told of it in the feed's order, and what is true after it."""

    happenings: list[Happening]
    events: list[Told]
    truth: Truth


def live(folder: Path, seed: int, acts: int, *, step_ms: int = 50) -> Life:
    """So many acts of a company at a source of its own."""
    database = connect(f"sqlite:///{folder / f'company-{seed}-{acts}-{step_ms}.db'}")
    migrate(database, "sender", "hookline.sender")
    clock = TurnedClock(START_MS)
    ids = IdMaker(random.Random(f"ids {seed}").getrandbits)
    source = Directories(database, SenderStore(database.dialect), clock=clock, ids=ids)
    company = Company(random.Random(seed), source)
    happenings = []
    for _ in range(acts):
        happenings.append(company.act())
        clock.advance(step_ms)
    acts_of = [number for number, happening in enumerate(happenings) for _ in range(happening.events)]
    with look(database) as seen:
        rows = seen.rows(
            "select e.type, e.body, e.created_ms, e.object_sequence from hookline_sender_feed f"
            " join hookline_sender_events e on e.row_id = f.event_row order by f.seq"
        )
        life = Life(
            happenings,
            [
                Told(type_, json.loads(body)["data"], created_ms, sequence, act)
                for (type_, body, created_ms, sequence), act in zip(rows, acts_of, strict=True)
            ],
            truth_of(seen),
        )
    database.close()
    return life


@pytest.fixture(scope="module")
def long_life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """Long enough for everything to happen; the clock stands still for many acts."""
    return live(tmp_path_factory.mktemp("company"), 1, 1_500, step_ms=0)


class InOrder:
    """The simplest mirror there is: it believes every event, and only works when they come in order."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.memberships: set[tuple[str, str, str]] = set()

    def see(self, event: Told) -> None:
        data = event.data
        if event.type in ("dsync.group.user_added", "dsync.group.user_removed"):
            membership = (data["group"]["id"], data["user"]["id"], data["directory_id"])
            if event.type.endswith("added"):
                self.memberships.add(membership)
            else:
                self.memberships.remove(membership)
        elif event.type.endswith(".deleted"):
            self.bury(data["id"])
        else:
            self.objects[data["id"]] = data

    def bury(self, dead: str) -> None:
        del self.objects[dead]
        self.memberships = {one for one in self.memberships if dead not in one}
        for child in [
            key for key, one in self.objects.items() if dead in (one.get("directory_id"), one.get("organization_id"))
        ]:
            if child in self.objects:
                self.bury(child)

    def as_truth(self) -> Truth:
        objects: dict[str, dict[str, dict[str, Any]]] = {resource: {} for resource in COLUMNS}
        for key, data in self.objects.items():
            names = (*COLUMNS[data["object"]], "created_at", "updated_at")
            columns = {name: data[name] for name in names}
            if data["object"] == "directory":
                columns["state"] = {"active": "linked"}[data["state"]]
            if data["object"] == "directory_user":
                columns["is_active"] = data["state"] == "active"
            if data["object"] == "organization_domain":
                columns["verification_strategy"] = data.get("verification_strategy")
            objects[data["object"]][key] = columns
        return Truth(objects, frozenset(self.memberships))


def check_truth(life: Life) -> None:
    mirror = InOrder()
    for event in life.events:
        mirror.see(event)
    held = mirror.as_truth()

    assert held.objects == life.truth.objects
    assert held.memberships == life.truth.memberships
    assert life.truth.count() > 10


@pytest.mark.parametrize("seed", range(3))
def test_events_told_in_order_are_the_whole_truth(tmp_path: Path, seed: int) -> None:
    """Whoever applies every event in order holds what stands in the source's tables, every column of it."""
    check_truth(live(tmp_path, seed, 300))


def test_so_it_is_after_a_long_life(long_life: Life) -> None:
    """Of one in which everything has happened, most of it in one millisecond."""
    check_truth(long_life)


def test_the_same_seed_gives_the_same_company(tmp_path: Path) -> None:
    """Randomness and time are arguments: nothing else decides what happens."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    first, second, other = (live(folder, seed, 100) for folder, seed in zip(folders, (7, 7, 8), strict=True))

    assert first == second
    assert first.happenings != other.happenings


def test_a_lively_company_uses_every_directory_and_organization_event(long_life: Life) -> None:
    """No act is dead code: in a life of 1,500 acts every event type and both ways of leaving are seen."""
    types = Counter(event.type for event in long_life.events)
    inactive = [one for one in long_life.events if one.data.get("state") == "inactive"]

    assert set(types) == {
        "organization.created",
        "organization.updated",
        "organization.deleted",
        "organization_domain.created",
        "dsync.activated",
        "dsync.deleted",
        "dsync.user.created",
        "dsync.user.updated",
        "dsync.user.deleted",
        "dsync.group.created",
        "dsync.group.updated",
        "dsync.group.deleted",
        "dsync.group.user_added",
        "dsync.group.user_removed",
    }
    assert {one.type for one in inactive} == {"dsync.user.updated", "dsync.user.deleted"} | {
        one.type for one in inactive if one.type.startswith("dsync.group.user_")
    }
    assert any("returns under a new id" in one.summary for one in long_life.happenings)
    assert any("is active again" in one.summary for one in long_life.happenings)


def test_deaths_come_alone(long_life: Life) -> None:
    """What hangs on a dead object ends without events of its own."""
    told = Counter(event.act for event in long_life.events)
    deaths = [event for event in long_life.events if event.type.endswith(".deleted")]

    assert {event.type for event in deaths} > {"organization.deleted", "dsync.deleted", "dsync.group.deleted"}
    assert all(told[event.act] == 1 for event in deaths)


def test_clocks_never_stand_still_or_run_backwards(long_life: Life) -> None:
    """All of it in one millisecond: an object's `updated_at` rises and its events are numbered from one."""
    updated: dict[Any, int] = {}
    created: dict[Any, int] = {}
    counted: Counter[Any] = Counter()

    for event in long_life.events:
        is_relation = event.type.startswith("dsync.group.user_")
        key = (event.data["group"]["id"], event.data["user"]["id"]) if is_relation else event.data["id"]
        counted[key] += 1
        assert event.sequence == counted[key]
        assert event.created_ms > created.get(key, 0)
        created[key] = event.created_ms
        if event.type.endswith((".created", ".updated", "activated")):
            updated_us = parse_us(event.data["updated_at"])
            assert updated.get(key, 0) < updated_us <= event.created_ms * 1000
            updated[key] = updated_us


def test_updates_say_what_was_before(long_life: Life) -> None:
    """`previous_attributes` is the shallow difference to the payload it replaces: no more, no less."""
    held: dict[str, dict[str, Any]] = {}
    updates = 0

    for event in long_life.events:
        data = dict(event.data)
        if event.type.startswith("dsync.") and event.type.endswith(".updated"):
            previous = data.pop("previous_attributes")
            before = held[data["id"]]
            changed = {key for key in data if data[key] != before[key]} - {"updated_at"}
            assert changed == set(previous)
            assert all(before[key] == previous[key] for key in previous)
            updates += 1
        if "id" in data:
            held[data["id"]] = data

    assert updates > 200


def test_payloads_are_as_workos_sends_them(long_life: Life) -> None:
    """Users do not name their groups, and a membership has no id of its own."""
    for event in long_life.events:
        data = event.data
        if event.type.startswith("dsync.user."):
            assert "groups" not in data
            assert data["object"] == "directory_user"
        if event.type.startswith("dsync.group.user_"):
            assert set(data) == {"directory_id", "user", "group"}
        if event.type == "dsync.deleted":
            assert not {"domains", "external_key"} & set(data)
