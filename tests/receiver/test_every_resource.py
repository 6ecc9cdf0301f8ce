"""What holds of one resource and not of the others: lists of domains, pairs of memberships, keys made of slugs."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest

from hookline.errors import ConfigError
from hookline.receiver.app import Receiver
from hookline.receiver.resources import EDGES, OPTIONAL, RESOURCES, observe
from hookline.wire.event import Event

from .company import START_MS, Company, Desk


def domain(number: int, **fields: Any) -> dict[str, Any]:
    times = {"created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-01T00:00:00.000Z"}
    name = {
        "object": "organization_domain",
        "id": f"domain_{number}",
        "domain": f"{number}.example",
        "state": "pending",
    }
    return {**name, **times, "organization_id": "org_1", **fields}


def membership(company: Company, word: str, number: int = 1, **fields: Any) -> dict[str, Any]:
    data = {"object": "organization_membership", "id": f"om_{number}", "user_id": "user_1", "organization_id": "org_1"}
    return company.event(f"organization_membership.{word}", {**data, "status": "active", **fields})


def member(company: Company, word: str, group: str = "group_1", om: str = "om_1") -> dict[str, Any]:
    event = company.event(f"group.member_{word}", {})
    return {**event, "data": {"group_id": group, "organization_membership_id": om}}


def role(company: Company, word: str, **fields: Any) -> dict[str, Any]:
    data = {"object": "role", "slug": "analyst", "resource_type_slug": "organization", "permissions": []}
    return company.event(f"role.{word}", {**data, **fields})


def flips(desk: Desk) -> list[tuple[str, str]]:
    """What became of memberships of groups, and of what they hang on."""
    return sorted(desk.changes("group_member"))


# -- an organization's list of domains --------------------------------------------------------------------------


def test_a_list_brings_its_domains_silently(desk: Desk, company: Company) -> None:
    """The domains in an organization's event are rows before any event of their own, and nobody hears of them."""
    desk.take(company.organization("created", domains=[domain(1), domain(2, state="verified")]))

    sql = "select id, organization_id, domain, state from hookline_organization_domains_live order by id"
    assert desk.rows(sql) == [
        ("domain_1", "org_1", "1.example", "pending"),
        ("domain_2", "org_1", "2.example", "verified"),
    ]
    assert desk.changes("organization_domain") == []


def test_an_accepted_list_replaces_the_set(desk: Desk, company: Company) -> None:
    """A domain that the newer list lacks is hidden in the same transaction, aloud; one it has again is shown again."""
    first = company.organization("created", domains=[domain(1), domain(2)])
    without = company.organization("updated", domains=[domain(1)])
    again = company.organization("updated", domains=[domain(1), domain(2)])
    desk.take(first)
    desk.take(without)

    assert desk.ids("organization_domains") == ["domain_1"]
    desk.take(again)
    assert desk.ids("organization_domains") == ["domain_1", "domain_2"]
    assert desk.changes("organization_domain") == [("hidden", "domain_2"), ("shown", "domain_2")]
    assert desk.rows("select cause from hookline_changes where resource = 'organization_domain' order by seq") == [
        (without["id"],),
        (again["id"],),
    ]


def test_a_stale_list_has_no_say(desk: Desk, company: Company) -> None:
    """The list of an organization event that is not accepted neither hides nor brings back."""
    short = company.organization("created", domains=[])
    long = company.organization("updated", domains=[domain(1)])
    desk.take(long)
    desk.take(short)
    assert desk.ids("organization_domains") == ["domain_1"]

    older = company.organization("updated", domains=[domain(1), domain(2)])
    newest = company.organization("updated", domains=[domain(1)])
    desk.take(newest)
    desk.take(older)
    assert desk.ids("organization_domains") == ["domain_1"]


def test_a_domain_joins_by_its_own_clock(desk: Desk, company: Company) -> None:
    """An older copy in a newer list does not undo what the domain's own event said."""
    verified = company.event("organization_domain.verified", domain(1, state="verified", updated_at=None))
    verified["data"]["updated_at"] = verified["created_at"]
    desk.take(verified)
    desk.take(company.organization("updated", domains=[domain(1)]))

    assert desk.rows("select state from hookline_organization_domains_live") == [("verified",)]


def test_lists_and_domains_end_equal_in_any_order(desk: Desk, company: Company) -> None:
    """Lists with and without a domain, its own events and its deletion: every order shows the same."""
    events = [
        company.organization("created", domains=[domain(1)]),
        company.event("organization_domain.created", domain(2)),
        company.organization("updated", domains=[domain(1), domain(2)]),
        company.organization("updated", domains=[domain(2)]),
        company.event("organization_domain.deleted", domain(2)),
        company.event("organization_domain.created", domain(3)),
    ]
    desk.take(*events)
    expected = desk.rows("select id, domain from hookline_organization_domains_live order by id")
    assert [id_ for id_, _ in expected] == ["domain_3"]

    for order in random.Random(3).sample(list(itertools.permutations(events)), 60):
        with desk.database.transaction() as connection:
            for table in ("inbox", "organizations", "organization_domains", "changes"):
                connection.execute(f"delete from hookline_{table}")
        for event in order:
            desk.take(event)
        assert desk.rows("select id, domain from hookline_organization_domains_live order by id") == expected
        announced = desk.rows("select id from hookline_organization_domains where announced_live = 1")
        assert announced == [("domain_3",)]


def test_a_failed_verification_is_a_fact(desk: Desk, company: Company) -> None:
    """It holds a domain in its payload, and moves nothing."""
    event = company.event("organization_domain.verification_failed", {"reason": "x", "organization_domain": domain(1)})
    desk.take(event)

    assert desk.outcomes() == ["ignored"]
    assert desk.one("select count(*) from hookline_organization_domains") == 0


@pytest.mark.parametrize("domains", ["x", {"id": 1}, [1, None, "x", []], [{"id": 5}], [{"id": "a\x00"}], [{}] * 3])
def test_a_list_of_nonsense_poisons_nothing(desk: Desk, company: Company, domains: Any) -> None:
    """Whatever stands where domains should, the organization is applied and the views can be read."""
    desk.take(company.organization("created", domains=domains))

    assert desk.outcomes() == ["applied"]
    assert desk.ids("organizations") == ["org_1"]
    desk.ids("organization_domains")


# -- memberships of organizations -------------------------------------------------------------------------------


def test_a_pair_has_one_membership_at_a_time(desk: Desk, company: Company) -> None:
    """A new membership of a pair ends the older in the view, whose deletion comes late; dead ones are no trouble."""
    first, gone, second = (
        membership(company, "created", 1),
        membership(company, "deleted", 1),
        membership(company, "created", 2),
    )
    desk.take(first)
    desk.take(second)
    assert desk.ids("organization_memberships") == ["om_2"]

    desk.take(gone)
    assert desk.ids("organization_memberships") == ["om_2"]
    desk.take(membership(company, "deleted", 2))
    desk.take(membership(company, "created", 3))
    assert desk.ids("organization_memberships") == ["om_3"]
    assert desk.one("select count(*) from hookline_organization_memberships") == 3


def test_other_pairs_are_other_memberships(desk: Desk, company: Company) -> None:
    """The same user in two organizations, and two users in one, are all shown."""
    desk.take(
        membership(company, "created", 1),
        membership(company, "created", 2, organization_id="org_2"),
        membership(company, "created", 3, user_id="user_2"),
    )

    assert desk.ids("organization_memberships") == ["om_1", "om_2", "om_3"]


def test_an_inactive_membership_is_no_access(desk: Desk, company: Company) -> None:
    """A deactivated one stays a row that is alive and not active; words nobody knows are not active either."""
    desk.take(membership(company, "created"), membership(company, "updated", status="inactive"))
    assert desk.rows("select status, is_active from hookline_organization_memberships_live") == [("inactive", 0)]

    desk.take(membership(company, "updated", status="dormant"))
    assert desk.rows("select status, is_active from hookline_organization_memberships_live") == [("dormant", 0)]


# -- groups and their members -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parent", ["organization", "user", "organization_membership", "group"])
def test_a_parents_death_ends_membership_of_groups(desk: Desk, company: Company, parent: str) -> None:
    """Whatever a group's member hangs on, however far above, its death is told once and the view is right at once."""
    desk.take(
        company.organization("created"),
        company.event("user.created", {"object": "user", "id": "user_1", "email": "ada@acme.example"}),
        membership(company, "created"),
        company.event("group.created", {"object": "group", "id": "group_1", "organization_id": "org_1"}),
        member(company, "added"),
    )
    assert desk.rows("select group_id, organization_membership_id from hookline_group_members_live") == [
        ("group_1", "om_1")
    ]
    id_ = {"organization": "org_1", "user": "user_1", "organization_membership": "om_1", "group": "group_1"}[parent]

    death = company.event(f"{parent}.deleted", {"object": parent, "id": id_})
    desk.take(death)

    assert desk.rows("select * from hookline_group_members_live") == []
    assert flips(desk) == [("added", "group_1/om_1"), ("hidden", "group_1/om_1")]
    assert (
        desk.one("select cause from hookline_changes where kind = 'hidden' and resource = 'group_member'")
        == death["id"]
    )


def test_a_death_that_came_and_went_ends_older_members(desk: Desk, company: Company) -> None:
    """An organization's death older than a membership's life, and newer than its place in a group, takes the place."""
    group = company.event("group.created", {"object": "group", "id": "group_1", "organization_id": "org_1"})
    added, died = member(company, "added"), company.organization("deleted")
    back = company.organization("updated")
    alive_since = [
        membership(company, "updated"),
        company.event("group.updated", {"object": "group", "id": "group_1", "organization_id": "org_1"}),
    ]
    desk.take(group, added, back, *alive_since)
    assert flips(desk) == [("added", "group_1/om_1")]

    desk.take(died)

    assert desk.ids("organization_memberships") == ["om_1"]
    assert desk.rows("select * from hookline_group_members_live") == []
    assert flips(desk) == [("added", "group_1/om_1"), ("hidden", "group_1/om_1")]


def test_member_events_make_neither_end(desk: Desk, company: Company) -> None:
    """They hold ids only: no stub can be made of them, and a remove before its add wins by time."""
    added, removed = member(company, "added"), member(company, "removed")
    desk.take(removed)
    desk.take(added)

    assert desk.rows("select * from hookline_group_members_live") == []
    assert desk.one("select count(*) from hookline_groups") == 0
    assert desk.outcomes() == ["applied", "stale"]


# -- keys made of slugs -----------------------------------------------------------------------------------------


def test_a_role_that_is_made_again_is_ordinary(desk: Desk, company: Company) -> None:
    """The same slug lives, dies and lives again as one row; a late event from before its death does not raise it."""
    made, late = role(company, "created"), role(company, "updated", permissions=["x"])
    gone, again = role(company, "deleted"), role(company, "created", permissions=["y"])
    desk.take(made)
    desk.take(gone)
    desk.take(late)
    assert desk.ids("roles") == []

    desk.take(again)

    assert desk.rows("select id, slug, resource_type_slug from hookline_roles_live") == [
        ("analyst/organization", "analyst", "organization")
    ]
    assert [kind for kind, _ in desk.changes("role")] == ["created", "deleted", "recreated"]


def test_a_role_without_a_kind_is_an_organizations(desk: Desk, company: Company) -> None:
    """A deletion that does not say what the role is for still ends the role of the one kind there was at first."""
    desk.take(role(company, "created"))
    desk.take(role(company, "deleted", resource_type_slug=None))

    assert desk.ids("roles") == []
    assert desk.one("select count(*) from hookline_roles") == 1


def test_slugs_of_organizations_are_apart(desk: Desk, company: Company) -> None:
    """One slug in two organizations is two roles, and slashes in a slug cannot make one key of two."""
    roles = [("org_1", "lead"), ("org_2", "lead"), ("org_1", "a/b"), ("org_1", "a%2Fb")]
    for organization_id, slug in roles:
        data = {"object": "organization_role", "organization_id": organization_id, "slug": slug}
        desk.take(company.event("organization_role.created", {**data, "resource_type_slug": "organization"}))

    assert len(desk.ids("organization_roles")) == 4
    desk.take(company.organization("deleted"))
    assert desk.ids("organization_roles") == ["org_2/lead/organization"]


@pytest.mark.parametrize("fields", [{"slug": None}, {"slug": 5}, {"slug": ""}, {"resource_type_slug": 7}])
def test_a_role_that_is_not_named_is_set_aside(desk: Desk, company: Company, fields: dict[str, Any]) -> None:
    """Without what makes its key nothing is mirrored, and the reason names the place."""
    desk.take(role(company, "created", **fields))

    assert desk.rows("select outcome, reason from hookline_inbox_outcomes") == [
        ("ignored", f"data.{next(iter(fields))}: expected 1 to 255 printable characters")
    ]


# -- the rest ---------------------------------------------------------------------------------------------------


def test_a_connections_state_is_content(desk: Desk, company: Company) -> None:
    """Deactivated is alive and not active; the deletion's reduced copy takes nothing away that it does not hold."""
    data = {"object": "connection", "id": "conn_1", "organization_id": "org_1", "name": "SSO", "external_key": "k"}
    desk.take(company.event("connection.activated", {**data, "state": "active"}))
    desk.take(company.event("connection.deactivated", {**data, "state": "inactive"}))
    assert desk.rows("select state, is_active from hookline_connections_live") == [("inactive", 0)]

    desk.take(company.event("connection.deleted", {"object": "connection", "id": "conn_1", "name": "SSO"}))

    assert desk.ids("connections") == []
    assert desk.rows("select external_key, organization_id, deleted_at is null from hookline_connections") == [
        ("k", "org_1", 0)
    ]


def test_invitations_and_sessions_only_if_asked(tmp_path: Path) -> None:
    """They are refused to handlers and left out of the mirror unless the receiver names them."""
    plain = Receiver(f"sqlite:///{tmp_path / 'plain.db'}", secrets=["whsec_1"])
    asked = Receiver(f"sqlite:///{tmp_path / 'asked.db'}", secrets=["whsec_1"], mirror=["session"])

    with pytest.raises(ConfigError, match=r"mirror=\['session'\]"):
        plain.on_change("session")
    asked.on_change("session")(lambda change, tx: None)
    with pytest.raises(ConfigError, match="expected a list of some of invitation, session"):
        Receiver("sqlite:///x.db", mirror=["user"])


def test_an_invitations_token_is_not_kept(company: Company) -> None:
    """What would let its reader in is no part of the mirror, even if a source should send it."""
    data = {
        "object": "invitation",
        "id": "invitation_1",
        "token": "t0k3n",
        "accept_invitation_url": "https://x.example",
    }
    event = company.event("invitation.created", data)
    (seen,) = observe(Event.from_bytes(json.dumps(event).encode()), event["id"], START_MS, OPTIONAL).objects

    assert seen.payload is not None
    assert {"token", "accept_invitation_url"}.isdisjoint(seen.payload)


HOSTILE: list[dict[str, Any]] = [
    {"organization_id": 7, "user_id": ["user_1"]},
    {"organization_id": "x" * 300, "user_id": "x\x00"},
    {"name": "a\x00b", "slug": "a\x00b" * 3, "domain": {"a": 1}, "email": 5},
    {"role": "member", "roles": {"slug": 5}, "permissions": "all"},
    {"state": 1, "status": None, "email_verified": "yes", "system": 3, "directory_managed": []},
    {"updated_at": "9999-12-31T23:59:59.999Z", "expires_at": "soon", "last_sign_in_at": -1},
    {"previous_attributes": 5, "metadata": [[[[]]]], "number": 10**300},
]


@pytest.mark.parametrize("fields", HOSTILE, ids=lambda fields: next(iter(fields)))
@pytest.mark.parametrize("name", [*RESOURCES])
def test_hostile_payloads_poison_nothing(desk: Desk, company: Company, name: str, fields: dict[str, Any]) -> None:
    """Whatever a well-formed event of any resource holds, it is applied or left out at the first try."""
    word = {"directory": "dsync.activated", "connection": "connection.activated"}.get(name, f"{name}.created")
    type_ = word.replace("directory_", "dsync.")
    data = {"object": name, "id": "id_1", "organization_id": "org_1", "user_id": "user_1", "slug": "s", **fields}
    worker = desk.new_worker(optional=OPTIONAL)
    desk.put(company.event(type_, data), company.organization("created", "org_2"))

    worker.drain()

    assert desk.outcomes()[1] == "applied"
    assert desk.outcomes()[0] in ("applied", "ignored")
    assert desk.rows("select reason from hookline_inbox_outcomes where outcome = 'dead'") == []
    desk.ids(RESOURCES[name].table.removeprefix("hookline_"))


@pytest.mark.timeout(240)  # on a busy machine
def test_each_of_10_000_users_of_a_deleted_directory_is_lost_once(desk: Desk, company: Company) -> None:
    """A directory's deletion ends in exactly one on_change per user, none of which leaves access on.

    Takes about 4 s: 20,000 changes and as many runs of a handler, each a commit of its own but for the first half.
    """
    users = 10_000
    desk.take(company.organization("created"), company.directory("activated"))
    for first in range(0, users, 1_000):
        desk.put(*(company.user("created", f"user_{number}") for number in range(first, first + 1_000)))
    desk.worker.drain()
    assert desk.one("select count(*) from hookline_directory_users_live") == users
    heard: list[tuple[str, bool, bool]] = []

    @desk.hooks.on_change("directory_user", name="access")
    def hear(change: Any, tx: Any) -> None:
        heard.append((change.id, change.is_live, change.after is None))

    worker = desk.new_worker()
    worker.register()
    desk.put(company.directory("deleted"))
    worker.drain()

    assert sorted(heard) == sorted((f"user_{number}", False, True) for number in range(users))
    assert desk.ids("directory_users") == []
    assert desk.one("select count(*) from hookline_directory_users where announced_live = 1") == 0


def test_every_edge_and_resource_can_be_listened_to(desk: Desk) -> None:
    """on_change takes the name of all that is mirrored."""
    for name in (*RESOURCES, *EDGES):
        desk.hooks.on_change(name, name=name)(lambda change, tx: None)

    assert len(desk.hooks) == len(RESOURCES) + len(EDGES)
