"""Organizations, directories, users and groups as official SDKs read them (protocol reference, §5 and §9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest

from hookline.sender.api import SenderApi
from hookline.sender.api_limit import CallLimit
from hookline.sender.api_parts import CallContext
from hookline.storage import Database
from hookline.testing.clock import TurnedClock

from .conftest import NOW_MS, TEST_KEY, Answer, Client
from .source_rows import Rows


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(database)


def listed(call: Client, path: str, **asked: Any) -> Any:
    answer = call("GET", f"{path}?{urlencode(asked)}")
    assert answer.status == 200, answer.body
    return answer.json


def ids(call: Client, path: str, **asked: Any) -> list[str]:
    return [item["id"] for item in listed(call, path, **asked)["data"]]


def walk(call: Client, path: str, *, between: Callable[[list[str]], None] = lambda _: None, **asked: Any) -> list[str]:
    """Every id, from page to page by `list_metadata.after` (`before` in the order `normal`)."""
    onward = "before" if asked.get("order") == "normal" else "after"
    found: list[str] = []
    more: dict[str, str] = {}
    while True:
        page = listed(call, path, **asked, **more)
        found += [item["id"] for item in page["data"]]
        if page["list_metadata"][onward] is None:
            return found
        more = {onward: page["list_metadata"][onward]}
        between(found)


def named(items: Any) -> list[str]:
    return [item.id for item in items]


# -- what an object looks like


def test_a_user_has_what_clients_require(call: Client, rows: Rows) -> None:
    """Every member of the reference, in lists and alone; deprecated ones empty, `groups` too."""
    organization = rows.organization(NOW_MS)
    directory = rows.directory(NOW_MS, organization_id=organization.id)
    (user,) = rows.users(directory, [NOW_MS])
    (group,) = rows.groups(directory, [NOW_MS])
    rows.join(group, [user])

    alone = call("GET", f"/directory_users/{user.id}")

    assert alone.json == {
        "object": "directory_user",
        "id": user.id,
        "directory_id": directory.id,
        "organization_id": organization.id,
        "idp_id": user.idp_id,
        "email": user.email,
        "first_name": "Ada",
        "last_name": "Lovelace",
        "name": "Ada Lovelace",
        "emails": [],
        "job_title": None,
        "username": None,
        "state": "active",
        "raw_attributes": {},
        "custom_attributes": {"department": None},
        "groups": [],
        "created_at": "2025-11-24T16:00:00.000Z",
        "updated_at": "2025-11-24T16:00:00.000Z",
    }
    assert listed(call, "/directory_users", directory=directory.id) == {
        "object": "list",
        "data": [alone.json],
        "list_metadata": {"before": None, "after": None},
    }


def test_groups_directories_and_organizations_have_what_clients_require(call: Client, rows: Rows) -> None:
    """Alone as in lists; a directory's state is the API's word."""
    organization = rows.organization(NOW_MS, "Acme", "acme.example", external_id="customer-7")
    directory = rows.directory(NOW_MS, organization_id=organization.id, domain="acme.example")
    (group,) = rows.groups(directory, [NOW_MS])
    stamps = {"created_at": "2025-11-24T16:00:00.000Z", "updated_at": "2025-11-24T16:00:00.000Z"}

    shown = {
        "/directory_groups": call("GET", f"/directory_groups/{group.id}").json,
        "/directories": call("GET", f"/directories/{directory.id}").json,
        "/organizations": call("GET", f"/organizations/{organization.id}").json,
    }

    assert shown["/directory_groups"] == {
        "object": "directory_group",
        "id": group.id,
        "idp_id": group.idp_id,
        "directory_id": directory.id,
        "organization_id": organization.id,
        "name": group.name,
        "raw_attributes": {},
        **stamps,
    }
    assert shown["/directories"] == {
        "object": "directory",
        "id": directory.id,
        "organization_id": organization.id,
        "external_key": "sPa12dwRQ",
        "type": "okta scim v2.0",
        "state": "linked",
        "name": "Okta",
        "domain": "acme.example",
        **stamps,
    }
    (domain,) = shown["/organizations"].pop("domains")
    assert (domain["object"], domain["domain"], domain["state"]) == ("organization_domain", "acme.example", "verified")
    assert shown["/organizations"] == {
        "object": "organization",
        "id": organization.id,
        "name": "Acme",
        "metadata": {"tier": "gold"},
        "external_id": "customer-7",
        **stamps,
    }
    shown["/organizations"]["domains"] = [domain]
    assert listed(call, "/directory_groups", directory=directory.id)["data"] == [shown["/directory_groups"]]
    assert listed(call, "/directories")["data"] == [shown["/directories"]]
    assert listed(call, "/organizations")["data"] == [shown["/organizations"]]


def test_an_organization_is_found_by_its_external_id(call: Client, rows: Rows) -> None:
    """By the path of the SDKs; one that nobody has is 404."""
    organization = rows.organization(NOW_MS, external_id="customer-7")

    assert call("GET", "/organizations/external_id/customer-7").json["id"] == organization.id
    missing = call("GET", "/organizations/external_id/customer-8")
    assert (missing.status, missing.json) == (404, {"message": "Organization not found: 'customer-8'."})


def test_groups_of_users_are_shown_where_it_is_set(context: CallContext, rows: Rows) -> None:
    """All of each user's, in lists and alone; a group that was left, or is gone, is not among them."""
    directory = rows.directory(NOW_MS)
    one, other, nobody = rows.users(directory, [NOW_MS] * 3)
    first, second, left = rows.groups(directory, [NOW_MS] * 3)
    rows.join(first, [one, other])
    rows.join(second, [one])
    rows.join(left, [one], is_member=False)
    call = Client(SenderApi(replace(context, user_groups="filled"), problems=list))

    users = {
        user["id"]: [group["id"] for group in user["groups"]]
        for user in listed(call, "/directory_users", directory=directory.id)["data"]
    }

    assert users == {one.id: [first.id, second.id], other.id: [first.id], nobody.id: []}
    alone = call("GET", f"/directory_users/{one.id}").json
    assert alone["groups"] == [call("GET", f"/directory_groups/{id_}").json for id_ in (first.id, second.id)]


# -- lists


@pytest.mark.parametrize("order", ["desc", "asc", "normal"])
def test_a_walk_sees_every_one_once_under_equal_times(call: Client, rows: Rows, order: str) -> None:
    """250 users of three times, in the order of creation and then id; other directories' are not among them."""
    directory, other = rows.directory(NOW_MS), rows.directory(NOW_MS)
    made = rows.users(directory, [NOW_MS] * 120 + [NOW_MS + 1] * 70 + [NOW_MS + 2] * 60)
    rows.users(other, [NOW_MS + 1] * 5)

    walks = [walk(call, "/directory_users", directory=directory.id, order=order, limit=limit) for limit in (7, 100)]

    assert walks == [named(made) if order == "asc" else named(made)[::-1]] * 2


def test_cursors_lead_both_ways(call: Client, rows: Rows) -> None:
    """Exclusive; `before` gives the page that ends in front of it; null at the ends."""
    directory = rows.directory(NOW_MS)
    newest_first = named(rows.groups(directory, [NOW_MS] * 6))[::-1]
    path = "/directory_groups"

    def page(**asked: Any) -> tuple[list[str], Any]:
        found = listed(call, path, directory=directory.id, limit=2, **asked)
        return [item["id"] for item in found["data"]], found["list_metadata"]

    assert page() == (newest_first[:2], {"before": None, "after": newest_first[1]})
    middle = (newest_first[2:4], {"before": newest_first[2], "after": newest_first[3]})
    assert page(after=newest_first[1]) == middle
    assert page(before=newest_first[4]) == middle
    assert page(after=newest_first[3]) == (newest_first[4:], {"before": newest_first[4], "after": None})
    assert page(after=newest_first[5]) == ([], {"before": None, "after": None})
    # `normal` shows the same, with the cursors turned round.
    assert page(order="normal", before=newest_first[1]) == (
        newest_first[2:4],
        {"before": newest_first[3], "after": newest_first[2]},
    )


@pytest.mark.parametrize("order", ["desc", "asc", "normal"])
@pytest.mark.parametrize("of", ["directory", "group"])
def test_deleting_behind_and_ahead_of_a_reader_skips_nothing(call: Client, rows: Rows, order: str, of: str) -> None:
    """The object that the cursor names goes while the list is read, and so do others: the rest is seen once."""
    directory = rows.directory(NOW_MS)
    users = rows.users(directory, [NOW_MS] * 12 + [NOW_MS + 5] * 12)
    (group,) = rows.groups(directory, [NOW_MS])
    rows.join(group, users)
    by_id = {user.id: user for user in users}
    in_order = named(users) if order == "asc" else named(users)[::-1]
    gone: set[str] = set()

    def delete_what_was_read_last(found: list[str]) -> None:
        ahead = [id_ for id_ in in_order if id_ not in {*found, *gone}][:1]
        for id_ in (found[-1], *ahead):
            rows.delete_users([by_id[id_]])
            gone.add(id_)

    asked = {"directory": directory.id} if of == "directory" else {"group": group.id}
    found = walk(call, "/directory_users", between=delete_what_was_read_last, order=order, limit=3, **asked)

    assert found == [id_ for id_ in in_order if id_ in found or id_ not in gone]
    assert len(gone) >= 8


def test_members_who_leave_or_come_while_they_are_read_move_no_cursor(call: Client, rows: Rows) -> None:
    """Who left is still a place in the list."""
    directory = rows.directory(NOW_MS)
    users = rows.users(directory, [NOW_MS] * 6)
    (group,) = rows.groups(directory, [NOW_MS])
    rows.join(group, users[1:])

    def leave_and_come(found: list[str]) -> None:
        rows.join(group, [user for user in users if user.id == found[-1]], is_member=False)
        rows.join(group, users[:1])

    found = walk(call, "/directory_users", between=leave_and_come, group=group.id, limit=2)

    assert found == named(users)[::-1]


def test_users_are_asked_for_by_group_idp_id_and_email(call: Client, rows: Rows) -> None:
    """Exactly as written."""
    directory, other = rows.directory(NOW_MS), rows.directory(NOW_MS)
    one, same, third = rows.users(directory, [NOW_MS] * 3)
    elsewhere = rows.users(other, [NOW_MS], idp_id=one.idp_id, email=one.email)[0]
    first, second = rows.groups(directory, [NOW_MS] * 2)
    rows.join(first, [one, third])
    rows.join(second, [one])
    path = "/directory_users"

    assert ids(call, path, group=first.id) == [third.id, one.id]
    assert ids(call, path, group=first.id, directory=directory.id) == [third.id, one.id]
    assert ids(call, path, directory=directory.id, idp_id=one.idp_id) == [one.id]
    assert ids(call, path, directory=other.id, idp_id=one.idp_id) == [elsewhere.id]
    assert ids(call, path, directory=directory.id, idp_id="nobody") == []
    assert ids(call, path, directory=directory.id, email=same.email) == [same.id]
    assert ids(call, path, directory=directory.id, idp_id=one.idp_id, email=same.email) == []
    assert ids(call, path, directory=directory.id, idp_id=one.idp_id, after=one.id) == []
    assert ids(call, "/directory_groups", user=one.id) == [second.id, first.id]
    assert ids(call, "/directory_groups", user=one.id, directory=directory.id) == [second.id, first.id]
    assert ids(call, "/directory_groups", user=same.id) == []
    assert walk(call, "/directory_groups", user=one.id, limit=1, order="asc") == [first.id, second.id]


def test_an_address_of_many_is_paged(call: Client, rows: Rows) -> None:
    """In the order of creation, as the whole list."""
    directory = rows.directory(NOW_MS)
    twins = [rows.users(directory, [NOW_MS + at % 2], email="twin@example.com")[0] for at in range(7)]
    rows.users(directory, [NOW_MS] * 3)

    found = walk(call, "/directory_users", directory=directory.id, email="twin@example.com", limit=2)

    assert found == [user.id for user in sorted(twins, key=lambda user: (user.created_ms, user.id))][::-1]


def test_directories_and_organizations_are_asked_for_by_what_people_know(call: Client, rows: Rows) -> None:
    """By organization, a part of the name in any case, a domain; `domains` in every encoding of the SDKs."""
    acme = rows.organization(NOW_MS, "Acme 100%", "acme.example", "acme.test")
    other = rows.organization(NOW_MS, "Other", "other.example")
    okta = rows.directory(NOW_MS, "Okta of Acme", organization_id=acme.id, domain="acme.example")
    entra = rows.directory(NOW_MS, "Entra of Acme", organization_id=acme.id)
    google = rows.directory(NOW_MS, "Google", organization_id=other.id)

    assert ids(call, "/directories") == [google.id, entra.id, okta.id]
    assert ids(call, "/directories", organization_id=acme.id) == [entra.id, okta.id]
    assert ids(call, "/directories", organization_id=acme.id, search="OKTA") == [okta.id]
    assert ids(call, "/directories", search="of acme") == [entra.id, okta.id]
    assert ids(call, "/directories", search="") == [google.id, entra.id, okta.id]
    assert ids(call, "/directories", domain="ACME.example") == [okta.id]
    assert ids(call, "/organizations") == [other.id, acme.id]
    assert ids(call, "/organizations", search="100%") == [acme.id]
    assert ids(call, "/organizations", search="%") == [acme.id]
    for query in (
        "domains=acme.test,nobody.test",
        "domains=nobody.test&domains=ACME.TEST",
        "domains[]=acme.test",
        "domains[0]=acme.test",
    ):
        assert [item["id"] for item in call("GET", f"/organizations?{query}").json["data"]] == [acme.id]
    assert ids(call, "/organizations", domains="nobody.test") == []


# -- what is not there


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/organizations/org_x", "Organization not found: 'org_x'."),
        ("/directories/directory_x", "Directory not found: 'directory_x'."),
        ("/directory_users/directory_user_x", "Directory User not found: 'directory_user_x'."),
        ("/directory_groups/directory_group_x", "Directory Group not found: 'directory_group_x'."),
        ("/directory_users?directory=directory_x", "Directory not found: 'directory_x'."),
        ("/directory_users?group=directory_group_x", "Directory Group not found: 'directory_group_x'."),
        ("/directory_groups?directory=directory_x", "Directory not found: 'directory_x'."),
        ("/directory_groups?user=directory_user_x", "Directory User not found: 'directory_user_x'."),
    ],
)
def test_what_is_unknown_is_404_in_the_old_dialect(call: Client, path: str, what: str) -> None:
    """A message and nothing else; of lists too: an empty one would say that all of it is gone."""
    answer = call("GET", path)

    assert (answer.status, answer.json) == (404, {"message": what})
    assert answer.headers["content-type"] == "application/json"


def test_what_hangs_on_something_deleted_is_not_there(call: Client, rows: Rows, database: Database) -> None:
    """A directory's deletion takes its users, groups and lists; another's stay."""
    directory, other = rows.directory(NOW_MS), rows.directory(NOW_MS)
    (user,) = rows.users(directory, [NOW_MS])
    (group,) = rows.groups(directory, [NOW_MS])
    rows.join(group, [user])
    with database.transaction() as connection:
        rows.store.put_directory(connection, replace(directory, deleted_ms=NOW_MS + 1))

    gone = [
        f"/directories/{directory.id}",
        f"/directory_users/{user.id}",
        f"/directory_groups/{group.id}",
        f"/directory_users?directory={directory.id}",
        f"/directory_users?group={group.id}",
        f"/directory_groups?directory={directory.id}",
        f"/directory_groups?user={user.id}",
    ]

    assert {path: call("GET", path).status for path in gone} == dict.fromkeys(gone, 404)
    assert ids(call, "/directories") == [other.id]
    # Still a place in the list.
    assert ids(call, "/directories", order="asc", after=directory.id) == [other.id]


def test_a_directory_is_deleted(call: Client, context: CallContext, rows: Rows) -> None:
    """202 without a body; all that is in it is gone, and one event tells of it. Once more, or unknown: 404."""
    directory = context.directories.create_directory("production", organization_id=None, name="Okta")
    user = context.directories.create_user("production", directory.id, idp_id="1", email="a@example.com")

    answer = call("DELETE", f"/directories/{directory.id}")

    assert (answer.status, answer.body) == (202, b"")
    for path in (f"/directories/{directory.id}", f"/directory_users/{user.id}"):
        assert call("GET", path).status == 404
    events = call("GET", "/events?events=dsync.deleted,dsync.user.deleted").json["data"]
    assert [(event["event"], event["data"]["id"]) for event in events] == [("dsync.deleted", directory.id)]
    for id_ in (directory.id, "directory_x"):
        missing = call("DELETE", f"/directories/{id_}")
        assert (missing.status, missing.json) == (404, {"message": f"Directory not found: '{id_}'."})


def test_each_key_sees_its_environment_alone(call: Client, rows: Rows, context: CallContext) -> None:
    """What is of another environment is 404, and in no list."""
    organization = rows.organization(NOW_MS, external_id="x")
    directory = rows.directory(NOW_MS)
    (user,) = rows.users(directory, [NOW_MS])
    (group,) = rows.groups(directory, [NOW_MS])
    staging = Client(call.app, TEST_KEY)

    assert ids(staging, "/directories") == ids(staging, "/organizations") == []
    for path in (
        f"/organizations/{organization.id}",
        "/organizations/external_id/x",
        f"/directories/{directory.id}",
        f"/directory_users/{user.id}",
        f"/directory_groups/{group.id}",
        f"/directory_users?directory={directory.id}",
        f"/directory_groups?user={user.id}",
    ):
        assert (call("GET", path).status, staging("GET", path).status) == (200, 404)


def test_without_a_key_nothing_is_told(call: Client) -> None:
    """401 `{message}` on each of them."""
    anybody = Client(call.app, None)

    for path in ("/organizations", "/directories", "/directory_users", "/directory_groups", "/directory_users/x"):
        answer = anybody("GET", path)
        assert (answer.status, answer.json) == (401, {"message": "Unauthorized"})


# -- what is refused


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/directory_users", "expected `directory` or `group`"),
        ("/directory_users?idp_id=1", "idp_id: expected `directory` beside it"),
        ("/directory_users?email=a@example.com", "email: expected `directory` beside it"),
        ("/directory_users?group=g&email=a@example.com", "email: expected `directory` beside it"),
        ("/directory_groups", "expected `directory` or `user`"),
        ("/directories?organization_id=org_x", "Organization not found: 'org_x'."),
        ("/directories?limit=0", "limit: "),
        ("/directories?limit=101", "limit: "),
        ("/directories?order=newest", "order: "),
        ("/directories?before=a&after=b", "expected before or after, got both"),
        ("/directories?after=directory_x", "expected the id of an item of this list in `after`"),
        ("/directories?before=org_01KAVY7ZS5RQ8M3W0N4T6B2D9F", "expected the id of an item of this list in `before`"),
        ("/organizations?after=", "expected the id of an item of this list in `after`"),
    ],
)
def test_bad_parameters_are_422_in_the_old_dialect(call: Client, path: str, part: str) -> None:
    """A message and nothing else, which says what was expected."""
    answer = call("GET", path)

    assert answer.status == 422
    assert set(answer.json) == {"message"}
    assert part in answer.json["message"]


def test_an_unknown_parameter_is_passed_over(call: Client, rows: Rows) -> None:
    """As WorkOS does: newer clients send what is not known here."""
    directory = rows.directory(NOW_MS)

    assert ids(call, "/directories", expand="everything") == [directory.id]


# -- limits


@pytest.fixture
def limited(context: CallContext) -> Client:
    return Client(SenderApi(replace(context, users_limit=CallLimit(4)), problems=list))


def test_users_may_be_listed_so_often_for_each_directory(limited: Client, rows: Rows, clock: TurnedClock) -> None:
    """429 with the bare word as JSON and Retry-After; other directories, groups and single users are not counted."""
    directory, other = rows.directory(NOW_MS), rows.directory(NOW_MS)
    (user,) = rows.users(directory, [NOW_MS])
    (group,) = rows.groups(directory, [NOW_MS])

    def ask(**asked: str) -> Answer:
        return limited("GET", f"/directory_users?{urlencode(asked)}")

    passed = [ask(directory=directory.id).status for _ in range(3)] + [ask(group=group.id).status]
    refused = [ask(directory=directory.id), ask(group=group.id)]

    assert passed == [200] * 4
    for answer in refused:
        assert (answer.status, answer.body, answer.headers["retry-after"]) == (429, b'"Ratelimited"', "1")
        assert answer.headers["content-type"] == "application/json"
    assert ask(directory=other.id).status == 200
    assert limited("GET", f"/directory_users/{user.id}").status == 200
    assert limited("GET", f"/directory_groups?directory={directory.id}").status == 200
    clock.advance(250)
    assert [ask(directory=directory.id).status for _ in range(2)] == [200, 429]


def test_the_general_limit_says_it_in_each_dialect(context: CallContext, rows: Rows) -> None:
    """The bare word where users are listed, a message elsewhere."""
    call = Client(SenderApi(context, problems=list, calls_per_s=1))
    assert call("GET", "/directories").status == 200

    assert call("GET", "/directory_users").body == b'"Ratelimited"'
    other = call("GET", "/directories")
    assert (other.status, other.json) == (429, {"message": "Too many requests: wait 1 s."})
