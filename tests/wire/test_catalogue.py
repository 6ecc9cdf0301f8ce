"""The table of event types, its patterns, and the samples."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from hookline.wire import timestamps
from hookline.wire.canonical import canonical_bytes
from hookline.wire.catalogue import (
    CATALOGUE,
    WEBHOOK_TYPES,
    Edge,
    EventType,
    Kind,
    Parent,
    is_pattern,
    matches,
    nearest,
    sample,
    sampled_types,
)

SAMPLED = [name for name in CATALOGUE if name.startswith(("dsync.", "organization.", "organization_domain."))]


def at(data: Any, place: str) -> Any:
    """What is at a dotted place in a payload; KeyError if nothing is."""
    for step in place.split("."):
        data = data[step]
    return data


def objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object inside a payload, itself included."""
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from objects(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from objects(inner)


# --- the table ----------------------------------------------------------------------------------------------


def test_the_table_is_complete() -> None:
    """The protocol has 111 types; webhooks may subscribe to 93 of them."""
    assert len(CATALOGUE) == 111
    assert len(WEBHOOK_TYPES) == 93
    assert all(name == one.name for name, one in CATALOGUE.items())


def test_what_webhooks_never_carry() -> None:
    """The 18 names that no endpoint may subscribe to, counted by family."""
    rest = Counter(name.split(".")[0] for name in CATALOGUE if name not in WEBHOOK_TYPES)

    assert rest == {"action": 2, "authentication": 2, "dsync": 2, "vault": 12}
    assert {"dsync.token.created", "authentication.mfa_failed", "vault.dek.read"}.isdisjoint(WEBHOOK_TYPES)


def test_kinds() -> None:
    """Each kind is one of the five, in the numbers of the protocol's table."""
    kinds = Counter(one.kind for one in CATALOGUE.values())

    assert set(kinds) == set(get_args(Kind))
    assert (kinds["R"], kinds["M"]) == (4, 1)
    assert {name for name, one in CATALOGUE.items() if one.kind == "D"} == {
        *(name for name in CATALOGUE if name.endswith(".deleted") and not name.startswith(("vault.", "agent."))),
        "api_key.revoked",
        "pipes.connected_account.disconnected",
    }


@pytest.mark.parametrize("one", CATALOGUE.values(), ids=lambda one: one.name)
def test_each_row_makes_sense(one: EventType) -> None:
    """A state has a key, a relation two ends and an edge, and only states have a clock of their own."""
    assert (one.edge is not None) == (one.kind == "R")
    if one.kind in "FD":
        assert one.key
        assert one.object
    if one.kind in "RLM":
        assert one.clock == "event"
    if one.kind == "R":
        assert len(one.key) == 2
        assert one.object is None
    assert len({parent.resource for parent in one.parents}) == len(one.parents)


def test_states_without_updated_at() -> None:
    """Of the types that carry a state, password resets alone have no `updated_at`."""
    odd = {name for name, one in CATALOGUE.items() if one.kind in "FD" and one.clock == "event"}

    assert odd == {"password_reset.created", "password_reset.succeeded"}


def test_edges() -> None:
    """Both relations of the protocol are named, each with one type that adds and one that removes."""
    edges = {name: one.edge for name, one in CATALOGUE.items() if one.edge}

    assert edges == {
        "dsync.group.user_added": Edge("directory_membership", adds=True),
        "dsync.group.user_removed": Edge("directory_membership", adds=False),
        "group.member_added": Edge("group_member", adds=True),
        "group.member_removed": Edge("group_member", adds=False),
    }


def test_rows_spelled_out() -> None:
    """Some rows in full, one of each sort."""
    directory, organization = Parent("directory", "directory_id"), Parent("organization", "organization_id")

    assert CATALOGUE["dsync.user.deleted"] == EventType(
        "dsync.user.deleted", True, "D", "directory_user", ("id",), (directory, organization), "updated_at", None
    )
    assert CATALOGUE["organization_role.updated"].key == ("organization_id", "slug", "resource_type_slug")
    assert CATALOGUE["dsync.group.user_added"].key == ("group.id", "user.id")
    assert CATALOGUE["organization_domain.verification_failed"].key == ("organization_domain.id",)
    assert CATALOGUE["connection.deleted"].kind == "D"
    assert CATALOGUE["connection.deactivated"].kind == "F"
    assert CATALOGUE["flag.rule_updated"].object == "feature_flag"
    assert CATALOGUE["authentication.sso_failed"].key == ("sso.session_id",)
    assert CATALOGUE["agent.registration.refreshed"].key == ("agent_registration_id",)


def test_the_official_sdk_knows_every_name() -> None:
    """No name is ours: the official package dispatches each, and lists the subscribable ones alike."""
    models = pytest.importorskip("workos.events.models")
    events = pytest.importorskip("workos.common.models.create_webhook_endpoint_events")
    theirs = {member.value for member in events.CreateWebhookEndpointEvents}

    assert set(CATALOGUE) <= set(models.EventSchema._DISPATCH)
    assert theirs & set(CATALOGUE) == WEBHOOK_TYPES


# --- patterns -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "event_type", "takes"),
    [
        ("*", "dsync.user.created", True),
        ("*", "anything", True),
        ("dsync.*", "dsync.activated", True),
        ("dsync.*", "dsync.user.created", True),
        ("dsync.*", "dsync.of.tomorrow", True),
        ("dsync.*", "dsync", False),
        ("dsync.*", "dsyncs.activated", False),
        ("dsync.user.*", "dsync.user.created", True),
        ("dsync.user.*", "dsync.group.created", False),
        ("user.*", "dsync.user.created", False),
        ("dsync.user.created", "dsync.user.created", True),
        ("dsync.user.created", "dsync.user.created.twice", False),
        ("dsync.user", "dsync.user.created", False),
        ("dsync.user.created", "DSYNC.USER.CREATED", False),
        ("*.created", "user.created", False),
    ],
)
def test_patterns(pattern: str, event_type: str, takes: bool) -> None:
    """A star takes all, a prefix what lies under it, anything else itself."""
    assert matches(pattern, event_type) is takes


@pytest.mark.parametrize("pattern", ["*", "dsync.*", "dsync.user.*", "dsync.user.created", "order.placed"])
def test_what_is_a_pattern(pattern: str) -> None:
    """A star alone, a prefix with one at its end, or a plain name."""
    assert is_pattern(pattern)


@pytest.mark.parametrize("pattern", ["", ".*", "**", "*.created", "dsync*", "dsync.*.created", "a.*.*", "a\n"])
def test_what_is_no_pattern(pattern: str) -> None:
    """A star elsewhere would look like a pattern and match nothing, so it is none."""
    assert not is_pattern(pattern)


def test_nearest() -> None:
    """A typo finds its name; what is like nothing finds none."""
    assert nearest("dsync.usr.created") == "dsync.user.created"
    assert nearest("organisation.created") == "organization.created"
    assert nearest("zzz") is None


# --- samples ------------------------------------------------------------------------------------------------


def test_who_has_a_sample() -> None:
    """Every type of Directory Sync and of organizations has one, and no file is left over."""
    assert sampled_types() == tuple(sorted(SAMPLED))
    assert len(SAMPLED) == 20


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_have_the_shape_of_their_row(name: str) -> None:
    """`data.object`, the key, the parents and the clock are where the table says."""
    one, data = CATALOGUE[name], sample(name)

    assert data.get("object") == one.object
    for place in one.key:
        assert isinstance(at(data, place), str)
    for parent in one.parents:
        assert at(data, parent.field)
    if one.clock == "updated_at":
        assert timestamps.parse_us(data["updated_at"]) >= timestamps.parse_us(data["created_at"])
    else:
        assert "updated_at" not in data


@pytest.mark.parametrize("name", SAMPLED)
def test_samples_are_canonical_and_own(name: str) -> None:
    """A sample can be published, and each call gives one that may be changed."""
    first = sample(name)
    canonical_bytes(first)
    first.clear()

    assert sample(name)


def test_samples_tell_of_one_company() -> None:
    """One organization, directory, group and user; ids with their prefixes, made when the object was."""
    ids: dict[str, set[str]] = {}
    for name in SAMPLED:
        for one in objects(sample(name)):
            if "id" not in one:
                continue
            ids.setdefault(one["object"], set()).add(one["id"])
            assert re.fullmatch(r"[a-z_]+_[0-9A-HJKMNP-TV-Z]{26}", one["id"])
            if "created_at" in one:
                assert timestamps.ulid_time_us(one["id"]) == timestamps.parse_us(one["created_at"])

    assert {resource: len(found) for resource, found in ids.items()} == {
        "organization": 1,
        "organization_domain": 1,
        "directory": 1,
        "directory_user": 1,
        "directory_group": 1,
        "directory_token": 1,
    }


def test_samples_follow_the_events_vocabulary() -> None:
    """What webhooks do differently from the API: no `groups`, empty raw attributes, active for linked."""
    for name in SAMPLED:
        for one in objects(sample(name)):
            if one.get("object") == "directory_user":
                assert "groups" not in one
                assert one["raw_attributes"] == {}
                assert one["state"] in {"active", "inactive"}
            if one.get("object") == "directory":
                assert one["state"] == "active"
                assert "domain" not in one
    assert [domain["object"] for domain in sample("dsync.activated")["domains"]] == ["organization_domain"]
    assert {"domains", "external_key"}.isdisjoint(sample("dsync.deleted"))
    assert "metadata" not in sample("dsync.activated")


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


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("dsync.usr.created", "'dsync.user.created'"),
        ("user.created", "'dsync.user.created'"),
        ("../samples/dsync.activated", "'dsync.activated'"),
        ("zzz", "'zzz'"),
        ("", "''"),
        ("\x00", "x00"),
    ],
)
def test_no_sample(name: str, hint: str) -> None:
    """Asking for a sample that is not there names the nearest that is."""
    with pytest.raises(LookupError, match="expected an event type with a sample") as caught:
        sample(name)

    assert hint in str(caught.value)
