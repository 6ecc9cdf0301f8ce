"""The company: its events, told in order, are the whole truth, in WorkOS' vocabulary."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from hookline.demo.company import Company, Happening, NewEvent, Truth
from hookline.wire.canonical import canonical_bytes
from hookline.wire.timestamps import parse_us

START_MS = 1_790_000_000_000
COLUMNS = {
    "organization": ("name", "external_id"),
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


def live(seed: int, acts: int, *, step_ms: int = 50) -> tuple[Company, list[Happening]]:
    """A company after so many acts, and what happened."""
    company = Company(random.Random(seed))
    return company, [company.act(START_MS + number * step_ms) for number in range(acts)]


def events_of(happenings: list[Happening]) -> list[NewEvent]:
    return [event for happening in happenings for event in happening.events]


class InOrder:
    """The simplest mirror there is: it believes every event, and only works when they come in order."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.memberships: set[tuple[str, str, str]] = set()

    def see(self, event: NewEvent) -> None:
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
            objects[data["object"]][key] = columns
        return Truth(objects, frozenset(self.memberships))


@pytest.mark.parametrize("seed", range(12))
def test_events_told_in_order_are_the_whole_truth(seed: int) -> None:
    """Whoever applies every event in order holds what the company says is true, every column of it."""
    company, happenings = live(seed, 400)
    mirror = InOrder()
    for event in events_of(happenings):
        mirror.see(event)

    held, truth = mirror.as_truth(), company.truth()

    assert held.objects == truth.objects
    assert held.memberships == truth.memberships
    assert truth.count() > 10


def test_the_same_seed_gives_the_same_company() -> None:
    """Randomness and time are arguments: nothing else decides what happens."""
    first, second, other = (live(seed, 200)[1] for seed in (7, 7, 8))

    assert first == second
    assert first != other


def test_a_lively_company_uses_every_directory_and_organization_event() -> None:
    """No act is dead code: in some thousand acts every event type and both ways of leaving are seen."""
    _, happenings = live(1, 3000)
    types = Counter(event.type for event in events_of(happenings))
    inactive = [one for one in events_of(happenings) if one.data.get("state") == "inactive"]

    assert set(types) == {
        "organization.created",
        "organization.updated",
        "organization.deleted",
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
    assert {one.type for one in inactive} >= {"dsync.user.updated"}
    assert any("returns under a new id" in one.summary for one in happenings)
    assert any("is active again" in one.summary for one in happenings)


def test_deaths_come_alone() -> None:
    """What hangs on a dead object ends without events of its own."""
    _, happenings = live(2, 3000)

    for happening in happenings:
        types = [event.type for event in happening.events]
        assert len(types) == 1 or not any(one.endswith(".deleted") for one in types)


def test_clocks_never_stand_still_or_run_backwards() -> None:
    """Two changes of one object in one millisecond still have rising `updated_at`; events are in order of time."""
    _, happenings = live(3, 1500, step_ms=0)
    events = events_of(happenings)
    last: dict[str, int] = {}

    for event in events:
        if event.type.endswith((".created", ".updated", "activated")):
            updated_us = parse_us(event.data["updated_at"])
            assert updated_us > last.get(event.data["id"], 0)
            assert updated_us <= event.created_ms * 1000
            last[event.data["id"]] = updated_us

    assert [one.created_ms for one in events] == sorted(one.created_ms for one in events)


def test_updates_say_what_was_before() -> None:
    """`previous_attributes` is the shallow difference to the payload it replaces: no more, no less."""
    _, happenings = live(4, 1500)
    held: dict[str, dict[str, Any]] = {}
    updates = 0

    for event in events_of(happenings):
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


def test_payloads_are_as_workos_sends_them() -> None:
    """Users do not name their groups, a membership has no id of its own, and every payload has canonical bytes."""
    _, happenings = live(5, 800)

    for event in events_of(happenings):
        data = event.data
        assert canonical_bytes(data)
        if event.type.startswith("dsync.user."):
            assert "groups" not in data
            assert data["object"] == "directory_user"
        if event.type.startswith("dsync.group.user_"):
            assert set(data) == {"directory_id", "user", "group"}
        if event.type == "dsync.deleted":
            assert not {"domains", "external_key"} & set(data)
