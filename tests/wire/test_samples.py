"""The samples: each has the shape that the catalogue says, and together they tell one story, in order of time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib import resources
from typing import Any

import pytest

from hookline.wire import timestamps
from hookline.wire.canonical import canonical_bytes
from hookline.wire.catalogue import CATALOGUE, sample, sample_context, sample_created_us, sampled_types

STORY = sorted(CATALOGUE, key=sample_created_us)
# What an id of each resource begins with (the protocol's conventions; the last ones are not published).
PREFIXES = {
    "api_key": "api_key",
    "connected_account": "data_installation",
    "connection": "conn",
    "connection_domain": "conn_domain",
    "directory": "directory",
    "directory_group": "directory_group",
    "directory_token": "directory_token",
    "directory_user": "directory_user",
    "feature_flag": "flag",
    "group": "group",
    "invitation": "invitation",
    "organization": "org",
    "organization_domain": "org_domain",
    "organization_membership": "om",
    "permission": "perm",
    "session": "session",
    "user": "user",
    "agent_identity": "agent_identity",
    "agent_registration": "agent_registration",
    "agent_registration_claim": "agent_registration_claim",
    "agent_registration_claim_attempt": "agent_registration_claim_attempt",
    "agent_registration_credential": "agent_registration_credential",
    "email_verification": "email_verification",
    "magic_auth": "magic_auth",
    "password_reset": "password_reset",
    "waitlist_user": "waitlist_user",
}
ID = re.compile(r"([a-z][a-z_]*)_([0-9A-HJKMNP-TV-Z]{26})")
# No event tells of these: they are only ever named.
NEVER_TOLD = {"environment", "waitlist"}
# Who signs in is known when the identity provider has said so.
NOBODY_YET = {("authentication.sso_started", "user_id")}
# Places that name an object which is no parent: who did or took something, and what it was done with.
MENTIONS = {
    "accepted_user_id",
    "actor_id",
    "agent_registration_claim_id",
    "claimed_by.organization_id",
    "claimed_by.user_id",
    "completed_by_attempt_id",
    "detail.api_key_id",
    "inviter_user_id",
    "key_context.organization_id",
    "owner.id",
    "to_organization_id",
}


def at(data: Any, place: str) -> Any:
    """What is at a dotted place in a payload; KeyError if nothing is."""
    for step in place.split("."):
        data = data[step]
    return data


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of the API inside a payload, itself included."""
    if isinstance(value, dict):
        if "object" in value:
            yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


def strings(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every string inside a payload with its place."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from strings(inner, f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, f"{place}[]")
    elif isinstance(value, str):
        yield place, value


def own_strings(data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """As `strings`, without what stands in embedded objects: those speak of their own parents."""
    embedded = tuple(f"{name}." for name, inner in data.items() if isinstance(inner, dict) and "object" in inner)
    for place, text in strings(data):
        if "[]" not in place and not place.startswith(embedded):
            yield place, text


def name_of(resource: str, one: dict[str, Any]) -> tuple[Any, ...]:
    """What names an object: its id, or the key that its resource has instead."""
    if "id" in one:
        return (resource, one["id"])
    (key,) = {row.key for row in CATALOGUE.values() if row.object == resource}
    return (resource, *(one[place] for place in key))


def births() -> dict[tuple[Any, ...], int]:
    """When each object that some sample shows was made, microseconds."""
    return {
        name_of(one["object"], one): timestamps.parse_us(one["created_at"])
        for name in CATALOGUE
        for one in objects(sample(name))
        if "created_at" in one and one["object"] != "connection_failed"
    }


def deaths() -> dict[tuple[Any, ...], int]:
    """When each object was deleted that some sample deletes, microseconds."""
    return {
        name_of(row.object, sample(name)): sample_created_us(name)
        for name, row in CATALOGUE.items()
        if row.kind == "D" and row.object
    }


BIRTHS, DEATHS = births(), deaths()


# --- one by one ---------------------------------------------------------------------------------------------


def test_every_type_has_a_sample() -> None:
    """One file and one place in the story per type of the catalogue, and nothing left over."""
    story = json.loads((resources.files("hookline.wire") / "story.json").read_text("utf-8"))

    assert sampled_types() == tuple(CATALOGUE)
    assert set(story) == set(CATALOGUE)
    assert list(story) == sorted(story, key=lambda name: story[name]["created_at"])


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_sample_has_the_shape_of_its_row(name: str) -> None:
    """`data.object`, the key, the parents and the clock are where the table says, and nowhere else."""
    row, data = CATALOGUE[name], sample(name)

    assert data.get("object") == row.object
    for place in row.key:
        assert isinstance(at(data, place), str)
    assert ("id" in data) == (row.key == ("id",))
    for parent in row.parents:
        assert isinstance(at(data, parent.field), str) or (name, parent.field) in NOBODY_YET
    if row.clock == "updated_at":
        assert timestamps.parse_us(data["updated_at"]) >= timestamps.parse_us(data["created_at"])
    else:
        assert "updated_at" not in data


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_sample_has_the_shape_of_its_kind(name: str) -> None:
    """States show an object with its time; relations and facts are none; a fact around an object embeds it."""
    row, data = CATALOGUE[name], sample(name)
    embedded = [inner for inner in data.values() if isinstance(inner, dict) and "object" in inner]

    if row.kind in "FD":
        assert {"object", "created_at"} <= set(data)
    elif row.kind == "R":
        assert {"object", "id", "created_at"}.isdisjoint(data)
        ends = [(f"{place}.id", at(data, place)) for place in ("group", "user") if place in data]
        assert {place for place, _ in ends} <= set(row.key)
        assert [end["object"] for _, end in ends] == [parent.resource for parent in row.parents[: len(ends)]]
    elif row.kind == "M":
        assert len(embedded) == 1
        assert row.key == (f"{embedded[0]['object']}.id",)
    else:
        assert row.kind == "L"
        assert embedded == []


@pytest.mark.parametrize("name", CATALOGUE)
def test_the_table_names_every_parent(name: str) -> None:
    """An id of an object that some sample shows is the key, a parent, or a mention with a reason."""
    row, data = CATALOGUE[name], sample(name)
    known = {key[-1] for key in BIRTHS if ID.fullmatch(key[-1])}

    named = {place for place, text in own_strings(data) if text in known}

    assert named <= {*row.key, *(parent.field for parent in row.parents), *MENTIONS}


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_sample_is_canonical_and_own(name: str) -> None:
    """A sample can be published, and each call gives one that may be changed."""
    first = sample(name)
    canonical_bytes(first)
    first.clear()
    if context := sample_context(name):
        canonical_bytes(context)
        context.clear()

    assert sample(name)
    assert sample_context(name) != {}


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_sample_holds_no_secret(name: str) -> None:
    """What the protocol leaves out is left out: codes, tokens, links, values of keys and of the vault."""
    names = {place.rpartition(".")[2] for place, _ in strings(sample(name))}
    # The token of a domain is published in its DNS.
    secret = {name for name in names if re.search(r"code|token|secret|url|value|password", name)} - {
        "verification_token"
    }

    assert secret <= {"token_suffix", "obfuscated_value", "error_code"} | (
        {"code"} if "error" in sample(name) else set()
    )
    assert not [text for _, text in strings(sample(name)) if re.search(r"\b(sk|whsec)_\w{5,}", text)]


# --- all together -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CATALOGUE)
def test_ids_have_their_prefix_and_time(name: str) -> None:
    """An id is the prefix of its resource and a ULID of the millisecond in which the object was made."""
    for one in objects(sample(name)):
        if "id" not in one:
            continue
        match = ID.fullmatch(one["id"])
        assert match
        assert match[1] == PREFIXES[one["object"]]
        if "created_at" in one:
            assert timestamps.ulid_time_us(one["id"]) == timestamps.parse_us(one["created_at"])
    for parent in CATALOGUE[name].parents:
        if (name, parent.field) in NOBODY_YET:
            continue
        match = ID.fullmatch(at(sample(name), parent.field))
        assert match
        assert match[1] == PREFIXES.get(parent.resource, parent.resource)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_sample_comes_after_what_it_tells_of(name: str) -> None:
    """The event is later than every time at which something in its payload was made or changed."""
    for place, text in strings(sample(name)):
        if place.rpartition(".")[2] in {
            "created_at",
            "updated_at",
            "accepted_at",
            "revoked_at",
            "ended_at",
            "renewed_at",
        }:
            assert timestamps.parse_us(text) < sample_created_us(name)


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_sample_falls_into_the_life_of_its_parents(name: str) -> None:
    """Each parent is shown by another sample, was made before, and is not dead yet."""
    when_us = sample_created_us(name)
    for parent in CATALOGUE[name].parents:
        if parent.resource in NEVER_TOLD or (name, parent.field) in NOBODY_YET:
            continue
        key = (parent.resource, at(sample(name), parent.field))

        assert BIRTHS[key] <= when_us
        assert DEATHS.get(key, when_us) >= when_us


@pytest.mark.parametrize("name", [name for name, row in CATALOGUE.items() if row.kind in "FD"])
def test_a_life_comes_in_order(name: str) -> None:
    """Of one object: made once, `updated_at` never falls, and after its deletion nothing more is told of it."""
    row, data = CATALOGUE[name], sample(name)
    assert row.object
    key = name_of(row.object, data)
    life = [
        (other, sample(other))
        for other in STORY
        if CATALOGUE[other].object == row.object and name_of(row.object, sample(other)) == key
    ]

    assert len({told["created_at"] for _, told in life}) == 1
    assert [told.get("updated_at", "") for _, told in life] == sorted(told.get("updated_at", "") for _, told in life)
    if row.kind == "D":
        assert life[-1][0] == name


def test_only_strangers_are_named_and_not_shown() -> None:
    """Whoever an id names is shown by a sample, but for one who works for the app, and an organization of before."""
    shown = {key[-1] for key in BIRTHS}
    resources_by_prefix = {prefix: resource for resource, prefix in PREFIXES.items()}
    named = {
        (place, text)
        for name in CATALOGUE
        for place, text in strings([sample(name), sample_context(name)])
        if (match := ID.fullmatch(text)) and match[1] in resources_by_prefix and text not in shown
    }

    assert {place.removeprefix("[].") for place, _ in named} == {
        "actor.id",
        "actor_id",
        "agent_identity.id",
        "domains[].id",
        "from_organization_id",
    }
    assert len({text for place, text in named if place.endswith(("actor.id", "actor_id"))}) == 1


def test_one_small_company() -> None:
    """One of each, but for a second domain, invitation and person on the waitlist, whose lives end differently."""
    cast: dict[str, int] = {}
    for key in BIRTHS:
        cast[key[0]] = cast.get(key[0], 0) + 1

    assert {resource: number for resource, number in cast.items() if number > 1} == {
        "organization_domain": 2,
        "invitation": 2,
        "waitlist_user": 2,
    }
    assert {row.object for row in CATALOGUE.values() if row.kind in "FD"} == set(cast) - {"directory_token"}


def test_roles_and_permissions_exist() -> None:
    """Whoever has a role has the default one or the sample's; a role grants the sample's permission or none."""
    permission = sample("permission.created")["slug"]
    roles = {sample("role.created")["slug"], "member"}
    for name in CATALOGUE:
        for one in objects(sample(name)):
            assert {role["slug"] for role in one.get("roles", [])} <= roles
            assert set(one.get("permissions", [])) <= {permission}


def test_samples_follow_the_events_vocabulary() -> None:
    """What webhooks do differently from the API: no `groups`, empty raw attributes, active for linked."""
    for name in CATALOGUE:
        for one in objects(sample(name)):
            if one["object"] == "directory_user":
                assert "groups" not in one
                assert one["raw_attributes"] == {}
                assert one["state"] in {"active", "inactive"}
            if one["object"] == "directory":
                assert one["state"] == "active"
                assert "domain" not in one
    assert [domain["object"] for domain in sample("dsync.activated")["domains"]] == ["organization_domain"]
    assert "metadata" not in sample("dsync.activated")


@pytest.mark.parametrize(
    ("deleted", "before", "missing"),
    [
        ("dsync.deleted", "dsync.activated", {"domains", "external_key"}),
        ("connection.deleted", "connection.deactivated", {"domains", "external_key", "status"}),
    ],
)
def test_reduced_deletions(deleted: str, before: str, missing: set[str]) -> None:
    """These deletions show less than the state before them: whoever replaces instead of merging loses it."""
    assert set(sample(before)) - set(sample(deleted)) == missing
    assert set(sample(deleted)) <= set(sample(before))


@pytest.mark.parametrize(
    "name", [name for name in CATALOGUE if name.startswith("agent.") and CATALOGUE[name].kind == "L"]
)
def test_facts_of_agents_are_ids(name: str) -> None:
    """No object, no state: which registration, and where it went."""
    assert set(sample(name)) - {"agent_registration_id"} <= {"from_organization_id", "to_organization_id"}


@pytest.mark.parametrize("resource", ["user", "group"])
def test_updates_say_what_changed(resource: str) -> None:
    """`previous_attributes` is a shallow difference: applied to the update it gives the object before."""
    before, after = sample(f"dsync.{resource}.created"), sample(f"dsync.{resource}.updated")
    previous = after.pop("previous_attributes")
    previous |= {"updated_at": before["updated_at"]}
    if "custom_attributes" in previous:
        previous["custom_attributes"] = after["custom_attributes"] | previous["custom_attributes"]

    assert after != before
    assert after | previous == before


def test_what_changed_of_keys_and_flags() -> None:
    """A key says it in its payload, where the protocol requires it; a flag around its payload."""
    key = sample("api_key.updated")
    assert key["previous_attributes"] == {"expires_at": sample("api_key.created")["expires_at"]}

    for name, before in (("flag.updated", "flag.created"), ("flag.rule_updated", "flag.updated")):
        context = sample_context(name)
        assert context
        previous = context["previous_attributes"]["data"]
        assert {member: sample(before)[member] for member in previous} == previous
        assert all(sample(name)[member] != value for member, value in previous.items())


@pytest.mark.parametrize("name", CATALOGUE)
def test_flags_alone_need_a_context(name: str) -> None:
    """`client_id` and `actor` for each flag event, the targets too for its rule; nothing elsewhere."""
    context = sample_context(name)
    required = {"client_id", "actor"} if name.startswith("flag.") else set()
    if name == "flag.rule_updated":
        required |= {"access_type", "configured_targets", "previous_attributes"}

    assert (context is not None) == bool(required)
    assert required <= set(context or ())
