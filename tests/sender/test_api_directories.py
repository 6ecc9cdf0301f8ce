"""Directories over HTTP: what is written, what is refused and by which field, what a repeated key does."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import TEST_KEY, Client

KEY = {"Idempotency-Key": "once"}


def told(call: Client) -> list[tuple[str, Any]]:
    """Every event, in feed order."""
    names = ",".join(["dsync.activated", "dsync.user.created", "dsync.user.deleted", "dsync.group.user_added"])
    return [(one["event"], one["data"]) for one in call("GET", f"/events?limit=100&events={names}").json["data"]]


@pytest.fixture
def directory(call: Client) -> str:
    """The path of a directory of the secure flow."""
    organization = call("POST", "/api/v1/organizations", {"name": "Acme"}).json
    made = call("POST", "/api/v1/directories", {"organization_id": organization["id"], "name": "Acme directory"})
    assert (made.status, made.json["state"], made.json["inactive_flow"]) == (201, "linked", "secure")
    return f"/api/v1/directories/{made.json['id']}"


def test_an_organization_lives_and_ends(call: Client) -> None:
    """Created with its domains, changed, emptied of its external id, deleted."""
    domains = [{"domain": "Acme.example", "state": "verified"}]
    made = call("POST", "/api/v1/organizations", {"name": "Acme", "external_id": "crm-1", "domains": domains})
    path = f"/api/v1/organizations/{made.json['id']}"
    assert made.status == 201
    assert [(one["domain"], one["state"]) for one in made.json["domains"]] == [("acme.example", "verified")]
    assert "verification_token" not in made.json["domains"][0]

    changed = call("PATCH", path, {"external_id": None, "metadata": {"plan": "team"}, "name": None})
    assert (changed.json["external_id"], changed.json["metadata"], changed.json["name"]) == (
        None, {"plan": "team"}, "Acme"
    )  # fmt: skip
    both = call("PATCH", path, {"domains": [{"domain": "acme.example"}, {"domain": "other.example"}]})
    assert [one["state"] for one in both.json["domains"]] == ["verified", "pending"]
    assert both.json["domains"][0] == changed.json["domains"][0]

    assert call("DELETE", path).status == 204
    assert call("DELETE", path).status == 404
    assert call("POST", "/api/v1/directories", {"organization_id": made.json["id"], "name": "Late"}).status == 404


def test_users_groups_and_members_are_written_under_their_directory(call: Client, directory: str) -> None:
    """Each write answers the object as the compatible routes show it."""
    given = {"idp_id": "00u5", "email": "ada@acme.example", "first_name": "Ada", "custom_attributes": {"team": "A"}}
    user = call("POST", f"{directory}/users", given)
    group = call("POST", f"{directory}/groups", {"idp_id": "g", "name": "Engineering"})
    assert (user.status, group.status) == (201, 201)
    assert user.json["role"] == {"slug": "member"}
    member = f"{directory}/groups/{group.json['id']}/members/{user.json['id']}"
    assert [call("PUT", member).status for _ in range(2)] == [204, 204]
    assert [call("DELETE", member).status for _ in range(2)] == [204, 204]

    renamed = call("PATCH", f"{directory}/users/{user.json['id']}", {"last_name": "Okafor", "email": None, "roles": []})
    assert (renamed.json["name"], renamed.json["email"]) == ("Ada Okafor", None)
    assert "role" not in renamed.json
    assert call("PATCH", f"{directory}/groups/{group.json['id']}", {"name": "Optics"}).json["name"] == "Optics"
    assert [type_ for type_, _ in told(call)] == ["dsync.activated", "dsync.user.created", "dsync.group.user_added"]

    assert call("DELETE", f"{directory}/groups/{group.json['id']}").status == 204
    assert call("DELETE", f"{directory}/users/{user.json['id']}").status == 204
    for path in (f"{directory}/groups/{group.json['id']}", f"{directory}/users/{user.json['id']}"):
        gone = call("DELETE", path)
        assert (gone.status, gone.json["code"]) == (404, "entity_not_found")
    assert call("PUT", member).status == 404


@pytest.mark.parametrize(("flow", "is_deleted"), [("secure", True), ("custom", False)])
def test_who_turns_inactive_follows_the_flow(call: Client, flow: str, is_deleted: bool) -> None:
    """Deleted or kept; who repeats the call with its key gets the same answer."""
    made = call("POST", "/api/v1/directories", {"name": "Staff", "inactive_flow": flow}).json
    user = call("POST", f"/api/v1/directories/{made['id']}/users", {"idp_id": "1"}).json
    path = f"/api/v1/directories/{made['id']}/users/{user['id']}"

    first, again = (call("POST", f"{path}/deactivate", headers=KEY) for _ in range(2))

    assert first.status == again.status == 200
    assert first.json == again.json == {"object": "directory_user", "id": user["id"], "deleted": is_deleted}
    back = call("POST", f"{path}/reactivate")
    assert back.status == (404 if is_deleted else 200)
    assert is_deleted or (back.json["id"], back.json["state"]) == (user["id"], "active")


def test_a_repeated_key_writes_once(call: Client, directory: str) -> None:
    """The same body gets what was made; another body is refused; what is gone since is not found."""
    for path, body in (
        ("/api/v1/organizations", {"name": "Other"}),
        ("/api/v1/directories", {"name": "Other"}),
        (f"{directory}/users", {"idp_id": "1"}),
        (f"{directory}/groups", {"idp_id": "1", "name": "Other"}),
        (f"{directory}/bulk", {"operations": [{"operation": "create_user", "attributes": {"idp_id": "2"}}]}),
    ):
        headers = {"Idempotency-Key": path}
        first, again = (call("POST", path, body, headers=headers) for _ in range(2))
        assert first.status == again.status < 300
        assert first.json == again.json
        other = call("POST", path, {**body, "name": "Another"}, headers=headers)
        assert (other.status, other.json["code"]) in (
            (409, "idempotency_key_reused"),
            (422, "invalid_request_parameters"),
        )
    assert len([1 for type_, _ in told(call) if type_ == "dsync.user.created"]) == 2

    headers = {"Idempotency-Key": f"{directory}/users"}
    user = call("POST", f"{directory}/users", {"idp_id": "1"}, headers=headers).json
    call("DELETE", f"{directory}/users/{user['id']}")
    assert call("POST", f"{directory}/users", {"idp_id": "1"}, headers=headers).status == 404
    reused = call("POST", f"{directory}/groups", {"idp_id": "2", "name": "x"}, headers=headers)
    assert (reused.status, reused.json["code"]) == (409, "idempotency_key_reused")


def test_a_bulk_names_what_it_refuses_by_its_place(call: Client, directory: str) -> None:
    """Whatever is wrong with one operation, none is done."""
    good = {"operation": "create_user", "attributes": {"idp_id": "1"}}
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"operation": "create_user", "attributes": {"idp_id": "1"}}, 409, "operations[1].idp_id"),
        ({"operation": "delete_user", "user": {"id": "directory_user_0"}}, 404, "operations[1].id"),
        (
            {"operation": "update_user", "user": {"idp_id": "1"}, "attributes": {"custom_attributes": {"a": 2**60}}},
            422,
            "operations[1].custom_attributes.a",
        ),
        ({"operation": "create_user", "attributes": {}}, 422, "operations[1].create_user.attributes.idp_id"),
        ({"operation": "delete_group", "group": {"id": "a", "idp_id": "b"}}, 422, "operations[1].delete_group.group"),
        ({"operation": "rename"}, 422, "operations[1]"),
    ]
    for operation, status, field in cases:
        answer = call("POST", f"{directory}/bulk", {"operations": [good, operation]})
        assert (answer.status, answer.json["errors"][0]["field"]) == (status, field)
    assert call("POST", f"{directory}/bulk", {"operations": []}).status == 422
    assert call("POST", f"{directory}/bulk", {"operations": [good] * 1001}).status == 422

    operations = [
        good,
        {"operation": "create_group", "attributes": {"idp_id": "g", "name": "Engineering"}},
        {"operation": "add_member", "group": {"idp_id": "g"}, "user": {"idp_id": "1"}},
        {"operation": "update_group", "group": {"idp_id": "g"}, "attributes": {"name": "Optics"}},
        {"operation": "remove_member", "group": {"idp_id": "g"}, "user": {"idp_id": "1"}},
        {"operation": "delete_group", "group": {"idp_id": "g"}},
        {"operation": "update_user", "user": {"idp_id": "1"}, "attributes": {"state": "inactive"}},
    ]
    done = call("POST", f"{directory}/bulk", {"operations": operations})
    assert done.status == 200
    ids = [one["id"] for one in done.json["data"]]
    assert [id_.rpartition("_")[0] for id_ in ids] == [
        "directory_user", *["directory_group"] * 5, "directory_user"
    ]  # fmt: skip
    assert [type_ for type_, _ in told(call)][-3:] == [
        "dsync.user.created", "dsync.group.user_added", "dsync.user.deleted"
    ]  # fmt: skip


def test_a_directory_is_found_by_its_domain_in_any_case(call: Client) -> None:
    """As organizations are: the domain is kept in lower case, whoever wrote it."""
    made = call("POST", "/api/v1/directories", {"name": "Staff", "domain": "Acme.Example"}).json
    assert made["domain"] == "acme.example"
    assert [one["id"] for one in call("GET", "/directories?domain=Acme.Example").json["data"]] == [made["id"]]

    changed = call("PATCH", f"/api/v1/directories/{made['id']}", {"domain": "Acme.Test"}).json
    assert changed["domain"] == "acme.test"
    assert call("PATCH", f"/api/v1/directories/{made['id']}", {"domain": "ACME.test"}).json == changed
    assert [one["id"] for one in call("GET", "/directories?domain=Acme.Test").json["data"]] == [made["id"]]


def test_bad_values_are_refused_by_their_field(call: Client, directory: str) -> None:
    """Strict models: unknown members, wrong types, lone surrogates, NUL, and null where nothing may be null."""
    cases: list[tuple[str, Any, str]] = [
        ("/api/v1/organizations", {"name": ""}, "name"),
        ("/api/v1/organizations", {"name": "A", "domains": [{"domain": "no dots"}]}, "domains[0].domain"),
        ("/api/v1/organizations", {"name": "A", "domains": [{"domain": "a.b"}, {"domain": "A.b"}]}, "domains"),
        ("/api/v1/organizations", {"name": "A", "colour": "red"}, "colour"),
        ("/api/v1/directories", {"name": "A", "inactive_flow": "none"}, "inactive_flow"),
        ("/api/v1/directories", {"name": "A\0"}, "name"),
        (f"{directory}/users", {"idp_id": 7}, "idp_id"),
        (f"{directory}/users", {"idp_id": "\ud800"}, "idp_id"),
        (f"{directory}/users", {"idp_id": None}, "idp_id"),
        (f"{directory}/users", {"idp_id": "1", "state": "inactive"}, "state"),
        (f"{directory}/users", {"idp_id": "1", "custom_attributes": {"a": "\ud800"}}, "custom_attributes.a"),
        (f"{directory}/users", {"idp_id": "1", "custom_attributes": {"a": "x" * 70_000}}, "custom_attributes"),
        (f"{directory}/groups", {"idp_id": "1"}, "name"),
    ]
    for path, body, field in cases:
        answer = call("POST", path, body)
        assert (answer.status, answer.json["errors"][0]["field"]) == (422, field), (path, body)


def test_environments_do_not_meet(call: Client, directory: str) -> None:
    """A key of the other environment finds nothing."""
    call.key = TEST_KEY
    for method, body in (("PATCH", {"name": "x"}), ("DELETE", None)):
        assert call(method, directory, body).status == 404
    assert call("POST", f"{directory}/users", {"idp_id": "1"}).status == 404


def test_the_audit_trail_has_a_line_for_each_organization_and_directory(call: Client, directory: str) -> None:
    """One per call, for what a person sets up; the people in a directory are data."""
    call("POST", f"{directory}/users", {"idp_id": "1"})
    call("PATCH", directory, {"name": "People"})
    call("DELETE", directory)

    lines = [(one["action"], one["detail"]) for one in call("GET", "/api/v1/audit?order=asc").json["data"]]
    assert lines == [
        ("organization.created", {}),
        ("directory.created", {}),
        ("directory.updated", {"fields": ["name"]}),
        ("directory.deleted", {}),
    ]
