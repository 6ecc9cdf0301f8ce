"""The official SDKs read what our source holds, unmodified: every list to its end, every object, and the feed."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from workos import WorkOSClient
from workos._errors import BadRequestError, NotFoundError, UnprocessableEntityError

from hookline.sender.directories import DomainValues
from hookline.sender.directory_changes import AddMember, CreateGroup, CreateUser
from hookline.testing import FakeWorkOS, TurnedClock

from .conftest import NODE
from .processes import clean_environment

# More than a page of a hundred, all of one moment: the clock stands still.
COUNT: Final = 120


@dataclass(frozen=True)
class Source:
    """A fake with a company in it, and the ids of every list, oldest first."""

    fake: FakeWorkOS
    lists: dict[str, list[str]]
    asked: dict[str, str]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Source]:
    with FakeWorkOS(tmp_path_factory.mktemp("source"), clock=TurnedClock(), delivers=False) as fake:
        write, environment = fake.directories, fake.environment
        organizations = [
            write.create_organization(environment, name=f"Org {n}", external_id=f"customer-{n}") for n in range(COUNT)
        ]
        acme = write.update_organization(
            environment, organizations[0].id, {"domains": [DomainValues("acme.example", "verified")]}
        )
        directories = [
            write.create_directory(environment, organization_id=acme.id, name=f"Okta {n}", type="okta scim v2.0")
            for n in range(COUNT)
        ]
        okta = directories[0].id
        users = write.apply(
            environment,
            okta,
            [
                CreateUser({"idp_id": f"u{n}", "email": f"u{n}@acme.example", "custom_attributes": {"team": None}})
                for n in range(COUNT)
            ],
        ).ids
        groups = write.apply(
            environment, okta, [CreateGroup({"idp_id": f"g{n}", "name": f"Team {n}"}) for n in range(COUNT)]
        ).ids
        write.apply(environment, okta, [AddMember(groups[0], user) for user in users])
        write.apply(environment, okta, [AddMember(group, users[0]) for group in groups[1:]])
        ids = {"directories": [one.id for one in directories], "users": list(users), "groups": list(groups)}
        yield Source(
            fake,
            {
                **ids,
                "organizations": [one.id for one in organizations],
                "directoriesOf": ids["directories"],
                "members": ids["users"],
                "groupsOf": ids["groups"],
            },
            {
                "organization": acme.id,
                "external": "customer-0",
                "directory": okta,
                "user": users[0],
                "group": groups[0],
            },
        )


@pytest.fixture
def sdk(source: Source) -> Iterator[WorkOSClient]:
    client = WorkOSClient(api_key=source.fake.api_key, client_id="client_test", base_url=source.fake.url, max_retries=0)
    yield client
    client.close()


def another_directory(source: Source) -> str:
    write, environment = source.fake.directories, source.fake.environment
    doomed = write.create_directory(environment, organization_id=None, name="Doomed").id
    write.apply(environment, doomed, [CreateUser({"idp_id": "1"})])
    return doomed


def walks(sdk: WorkOSClient, source: Source) -> dict[str, Callable[..., Any]]:
    asked, sync = source.asked, sdk.directory_sync
    return {
        "organizations": sdk.organizations.list_organizations,
        "directories": sync.list_directories,
        "directoriesOf": lambda **more: sync.list_directories(organization_id=asked["organization"], **more),
        "users": lambda **more: sync.list_users(directory=asked["directory"], **more),
        "members": lambda **more: sync.list_users(group=asked["group"], **more),
        "groups": lambda **more: sync.list_groups(directory=asked["directory"], **more),
        "groupsOf": lambda **more: sync.list_groups(user=asked["user"], **more),
    }


def feed(source: Source) -> list[str]:
    url = "/events?events=dsync.user.created,dsync.group.user_added&limit=100"
    ids: list[str] = []
    while True:
        after = f"&after={ids[-1]}" if ids else ""
        answer = source.fake.exchange("GET", url + after, {"authorization": f"Bearer {source.fake.api_key}"})
        found = json.loads(answer.body)["data"]
        if not found:
            return ids
        ids += [event["id"] for event in found]


def test_the_python_client_walks_every_list(sdk: WorkOSClient, source: Source) -> None:
    """In both orders, under equal times, each once; of users by its defaults too."""
    for name, listing in walks(sdk, source).items():
        expected = source.lists[name]
        for order, ids in (("desc", expected[::-1]), ("asc", expected)):
            assert [one.id for one in listing(limit=50, order=order).auto_paging_iter()] == ids, (name, order)
    assert [one.id for one in walks(sdk, source)["users"]().auto_paging_iter()] == source.lists["users"][::-1]


def test_the_python_client_gets_every_object(sdk: WorkOSClient, source: Source) -> None:
    """Into the SDK's own model, as the list had it."""
    getters: dict[str, Callable[[str], Any]] = {
        "organizations": sdk.organizations.get_organization,
        "directories": sdk.directory_sync.get_directory,
        "users": sdk.directory_sync.get_user,
        "groups": sdk.directory_sync.get_group,
    }
    for name, get in getters.items():
        listed = list(walks(sdk, source)[name](limit=100).auto_paging_iter())[::12]
        assert [get(one.id) for one in listed] == listed
    acme = sdk.organizations.get_organization_by_external_id("customer-0")
    assert (acme.id, [domain.domain for domain in acme.domains]) == (source.asked["organization"], ["acme.example"])
    user = sdk.directory_sync.get_user(source.asked["user"])
    assert (user.state, user.custom_attributes, user.groups) == ("active", {"team": None}, [])


def test_the_python_client_filters_users(sdk: WorkOSClient, source: Source) -> None:
    """By the identity provider's id and by address, within a directory."""
    okta, sync = source.asked["directory"], sdk.directory_sync

    assert [one.idp_id for one in sync.list_users(directory=okta, idp_id="u7").data] == ["u7"]
    assert [one.idp_id for one in sync.list_users(directory=okta, email="u8@acme.example").data] == ["u8"]


def test_the_python_client_reads_the_feed_of_it(sdk: WorkOSClient, source: Source) -> None:
    """Its walk over typed events, and those of one organization."""
    events = sdk.events.list_events(events=["dsync.user.created", "dsync.group.user_added"], limit=100)
    walked: list[Any] = list(events.auto_paging_iter())

    assert [event.id for event in walked] == feed(source)
    assert {type(event).__name__ for event in walked} == {"DsyncUserCreated", "DsyncGroupUserAdded"}
    of_acme = sdk.events.list_events(events=["dsync.user.created"], organization_id=source.asked["organization"])
    assert len(of_acme.data) == 10


def test_the_python_client_names_our_refusals(sdk: WorkOSClient) -> None:
    """404, 422 and 400 by their message."""
    with pytest.raises(NotFoundError, match="Directory not found: 'directory_x'") as missing:
        sdk.directory_sync.get_directory("directory_x")
    with pytest.raises(UnprocessableEntityError, match="expected `directory` or `group`"):
        sdk.directory_sync.list_users()
    with pytest.raises(BadRequestError, match="Organization not found: 'org_x'"):
        sdk.events.list_events(events=["user.created"], organization_id="org_x")

    assert (missing.value.request_id or "").startswith("req_")


def test_the_python_client_waits_where_users_are_listed_too_often(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Retry-After says. (Out of retries it fails on the body, a bare JSON string, where it takes an object.)"""
    waits: list[float] = []
    monkeypatch.setattr("workos._base_client.time.sleep", waits.append)
    source.fake.faults.expect("rate-limited/3")
    patient = WorkOSClient(
        api_key=source.fake.api_key, client_id="client_test", base_url=source.fake.url, max_retries=1
    )

    found = patient.directory_sync.list_users(directory=source.asked["directory"], limit=100)
    patient.close()

    assert (len(found.data), waits) == (100, [3])


def test_the_python_client_deletes_a_directory(sdk: WorkOSClient, source: Source) -> None:
    """It is gone with its users."""
    doomed = another_directory(source)
    (user,) = sdk.directory_sync.list_users(directory=doomed).data

    sdk.directory_sync.delete_directory(doomed)

    for get in (lambda: sdk.directory_sync.get_directory(doomed), lambda: sdk.directory_sync.get_user(user.id)):
        with pytest.raises(NotFoundError):
            get()


def test_the_node_client_reads_all_of_it(source: Source, node: str) -> None:
    """Every list in both orders by its own auto-pagination, objects, the feed, refusals, and a deletion."""
    hostname, _, port = source.fake.url.removeprefix("http://").partition(":")
    doomed = another_directory(source)
    of_feed = feed(source)
    done = subprocess.run(
        [node, NODE / "lists.mjs", hostname, port, source.fake.api_key, json.dumps({**source.asked, "doomed": doomed})],
        stdout=subprocess.PIPE,
        env=clean_environment(),
        check=True,
        timeout=45,
    )
    seen = json.loads(done.stdout)

    expected = {name: {"desc": ids[::-1], "asc": ids} for name, ids in source.lists.items()}
    expected["directories"] = {
        "desc": [doomed, *source.lists["directories"][::-1]],
        "asc": [*source.lists["directories"], doomed],
    }
    assert seen["lists"] == expected
    assert seen["feed"] == of_feed
    objects, asked = seen["objects"], source.asked
    assert {name: one["id"] for name, one in objects.items()} == {
        "organization": asked["organization"],
        "external": asked["organization"],
        "directory": asked["directory"],
        "user": asked["user"],
        "group": asked["group"],
    }
    assert objects["directory"]["state"] == "active"  # the SDK's word for `linked`
    assert (objects["user"]["customAttributes"], objects["user"]["groups"]) == ({"team": None}, [])
    refusals = [(seen[name]["name"], seen[name]["status"]) for name in ("missing", "unselected", "unknown", "deleted")]
    assert refusals == [
        ("NotFoundException", 404),
        ("UnprocessableEntityException", 422),
        ("GenericServerException", 400),  # its name for a 400 that has a message alone
        ("NotFoundException", 404),
    ]
    assert all(seen[name]["hasRequestId"] for name in ("missing", "unselected", "unknown", "deleted"))
