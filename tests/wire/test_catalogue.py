"""The table of event types, its patterns, and the samples."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest

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
    sample_context,
    sample_created_us,
)

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


# --- samples (what they hold: test_samples.py) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("dsync.usr.created", "'dsync.user.created'"),
        ("user.create", "'user.created'"),
        ("../samples/dsync.activated", "'dsync.activated'"),
        ("zzz", "'zzz'"),
        ("", "''"),
        ("\x00", "x00"),
    ],
)
def test_no_sample(name: str, hint: str) -> None:
    """Asking for a sample that is not there names the nearest that is."""
    for ask in (sample, sample_created_us, sample_context):
        with pytest.raises(LookupError, match="expected an event type with a sample") as caught:
            ask(name)

        assert hint in str(caught.value)
