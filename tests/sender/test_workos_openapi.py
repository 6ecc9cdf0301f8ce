"""Our answers on the compatible routes against WorkOS's own description of them (npm `@workos/openapi-spec`).

Where that document is older than the protocol, or silent, is listed in workos_openapi.toml, each with its reason; a
difference that is not listed fails, and so does one that is listed and no longer is one.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # comes with schemathesis
from jsonschema import Draft202012Validator, FormatChecker

from hookline.sender.api import SenderApi
from hookline.sender.api_limit import CallLimit
from hookline.sender.api_parts import CallContext
from hookline.sender.directories import Directories, DomainValues
from hookline.sender.model import Environment
from hookline.testing.clock import TurnedClock
from hookline.wire.catalogue import CATALOGUE, sample, sample_context, sampled_types

from .conftest import Answer, Client

PRODUCTION: Final[Environment] = "production"
PACKAGE: Final = Path(__file__).parents[1] / "node" / "node_modules" / "@workos" / "openapi-spec"
LISTED: Final = Path(__file__).with_name("workos_openapi.toml")
# What the document calls the parameters of our paths.
PATHS: Final = {
    "/webhook_endpoints": "/webhook_endpoints",
    "/webhook_endpoints/{endpoint_id}": "/webhook_endpoints/{id}",
    "/events": "/events",
    "/organizations": "/organizations",
    "/organizations/{organization_id}": "/organizations/{id}",
    "/organizations/external_id/{external_id}": "/organizations/external_id/{external_id}",
    "/directories": "/directories",
    "/directories/{directory_id}": "/directories/{id}",
    "/directory_users": "/directory_users",
    "/directory_users/{user_id}": "/directory_users/{id}",
    "/directory_groups": "/directory_groups",
    "/directory_groups/{group_id}": "/directory_groups/{id}",
}


@cache
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.load(
        (PACKAGE / "open-api-spec.yaml").read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    return loaded


@cache
def validator(schema: str) -> Any:
    whole = {**json.loads(schema), "components": document()["components"]}
    return Draft202012Validator(whole, format_checker=FormatChecker())


@pytest.fixture(autouse=True)
def _package() -> None:
    if not PACKAGE.is_dir():
        pytest.skip(
            "tests/node/node_modules is missing (`npm ci --prefix tests/node`): WorkOS's description was not asked"
        )


def broken(value: Any, schema: Mapping[str, Any]) -> Iterator[str]:
    """What of a schema a value breaks: where, and by which rule."""
    for error in validator(json.dumps(schema, sort_keys=True)).iter_errors(value):
        place = re.sub(r"\[[0-9]+\]", "[]", error.json_path)
        missing = f" {error.message.split(' ')[0]}" if error.validator == "required" else ""
        yield f"{place} {error.validator}{missing}"


def differences_of(method: str, path: str, answer: Answer) -> Iterator[str]:
    """In what an answer is not as the document has it."""
    template = next(ours for ours in PATHS if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", ours), path.partition("?")[0]))
    name = f"{method} {template} {answer.status}"
    described = document()["paths"][PATHS[template]][method.lower()]["responses"].get(str(answer.status))
    if described is None:
        yield f"{name}: status"
        return
    content = described.get("content", {}).get("application/json")
    if content is None or not content["schema"]:
        if answer.body:
            yield f"{name}: body"
        return
    assert answer.headers["content-type"] == "application/json"
    if template == "/events" and answer.status == 200:
        return  # type by type, below
    yield from (f"{name}: {what}" for what in broken(answer.json, content["schema"]))


def listed(kind: str) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for entry in tomllib.loads(LISTED.read_text())[kind]:
        assert entry["reason"]
        for what in entry["what"]:
            assert what not in reasons
            reasons[what] = entry["reason"]
    return reasons


def check(found: set[str], kind: str) -> None:
    reasons = listed(kind)
    assert not (new := sorted(found - reasons.keys())), (
        f"not as WorkOS describes it, and not listed:\n{chr(10).join(new)}"
    )
    assert not (old := sorted(reasons.keys() - found)), f"listed, and no difference any more:\n{chr(10).join(old)}"


def company(directories: Directories) -> dict[str, str]:
    """An organization with everything that can be in one; its ids."""
    acme = directories.create_organization(
        PRODUCTION,
        name="Acme",
        domains=[DomainValues("acme.example", "verified", "dns"), DomainValues("acme.test")],
        external_id="customer-1",
        metadata={"tier": "gold"},
    )
    okta = directories.create_directory(
        PRODUCTION, organization_id=acme.id, name="Okta", type="okta scim v2.0", domain="acme.example"
    )
    directories.create_directory(PRODUCTION, organization_id=acme.id, name="Entra", type="azure scim v2.0")
    ada = directories.create_user(
        PRODUCTION,
        okta.id,
        idp_id="00u1",
        email="ada@acme.example",
        first_name="Ada",
        last_name="Lovelace",
        job_title="Engineer",
        username="ada",
        custom_attributes={"department": "Engines", "manager": None},
        roles=["admin", "member"],
    )
    directories.create_user(PRODUCTION, okta.id, idp_id="00u2", email=None)
    group = directories.create_group(PRODUCTION, okta.id, idp_id="Engines", name="Engines")
    directories.add_member(PRODUCTION, okta.id, group.id, ada.id)
    return {"organization": acme.id, "directory": okta.id, "user": ada.id, "group": group.id}


def test_answers_are_as_workos_describes_them(context: CallContext, call: Client) -> None:
    """Every operation and every status that a compatible route can answer."""
    ids = company(context.directories)
    limited = Client(SenderApi(context, problems=list, calls_per_s=0.001))
    assert limited("GET", "/directories").status == 200
    slow = Client(SenderApi(replace(context, users_limit=CallLimit(0.001)), problems=list))
    assert slow("GET", f"/directory_users?directory={ids['directory']}").status == 200
    found: set[str] = set()

    def ask(method: str, path: str, body: Any = None, *, by: Client = call) -> Answer:
        answer = by(method, path, body)
        found.update(differences_of(method, path, answer))
        return answer

    endpoint = {"endpoint_url": "https://a.example.com/", "events": ["dsync.user.created"]}
    created = ask("POST", "/webhook_endpoints", endpoint).json["id"]
    one = f"/webhook_endpoints/{created}"
    ask("POST", "/webhook_endpoints", endpoint)
    ask("POST", "/webhook_endpoints", {**endpoint, "endpoint_url": "http://127.0.0.1/"})
    ask("POST", "/webhook_endpoints", {**endpoint, "events": ["no.such.type"]})
    ask("GET", "/webhook_endpoints")
    ask("GET", "/webhook_endpoints?limit=0")
    ask("PATCH", one, {"status": "disabled"})
    ask("PATCH", one, {"endpoint_url": "http://127.0.0.1/"})
    ask("PATCH", one, {"events": []})
    ask("PATCH", "/webhook_endpoints/we_x", {})
    ask("DELETE", one)
    ask("DELETE", one)
    for path, id_, external in (
        ("/organizations", ids["organization"], True),
        ("/directories", ids["directory"], False),
        ("/directory_users", ids["user"], False),
        ("/directory_groups", ids["group"], False),
    ):
        of = f"?directory={ids['directory']}" if path.startswith("/directory_") else "?limit=1"
        assert ask("GET", path + of).json["data"]
        ask("GET", f"{path}{of}&limit=0")
        ask("GET", f"{path}{of}&after=x")
        ask("GET", f"{path}/{id_}")
        ask("GET", f"{path}/x")
        if external:
            ask("GET", f"{path}/external_id/customer-1")
            ask("GET", f"{path}/external_id/customer-2")
    assert len(ask("GET", f"/directory_users?group={ids['group']}").json["data"]) == 1
    assert len(ask("GET", f"/directory_groups?user={ids['user']}").json["data"]) == 1
    ask("GET", "/directory_users")
    ask("GET", "/directory_users?directory=x")
    ask("GET", "/directory_groups?user=x")
    ask("GET", "/directory_groups")
    ask("GET", "/directories?organization_id=x")
    ask("GET", f"/directory_users?directory={ids['directory']}", by=slow)
    ask("GET", "/directory_users", by=limited)
    ask("GET", "/events?events=dsync.user.created")
    ask("GET", "/events")
    ask("GET", "/events?events=dsync.user.created&organization_id=org_x")
    ask("GET", "/events?events=dsync.user.created&after=x")
    ask("DELETE", f"/directories/{ids['directory']}")
    ask("DELETE", f"/directories/{ids['directory']}")

    check(found, "answers")


def test_events_are_as_workos_describes_them(context: CallContext, call: Client, clock: TurnedClock) -> None:
    """Those that state causes, and a sample of every other type, as `GET /events` lists them."""
    ids = company(context.directories)
    clock.advance(1)
    write, okta = context.directories, ids["directory"]
    write.update_user(PRODUCTION, okta, ids["user"], email="countess@acme.example", custom_attributes={"manager": "x"})
    write.update_group(PRODUCTION, okta, ids["group"], name="Analytical Engines")
    write.remove_member(PRODUCTION, okta, ids["group"], ids["user"])
    write.delete_group(PRODUCTION, okta, ids["group"])
    write.delete_user(PRODUCTION, okta, ids["user"])
    write.delete_directory(PRODUCTION, okta)
    write.update_organization(PRODUCTION, ids["organization"], {"domains": [DomainValues("acme.test", "verified")]})
    write.delete_organization(PRODUCTION, ids["organization"])
    told = {event["event"] for event in feed(call)}
    for name in sampled_types():
        if name not in told:
            context_of = {} if sample_context(name) is None else {"context": sample_context(name)}
            call("POST", "/api/v1/events", {"event": name, "data": sample(name), **context_of})
    common, any_type = document()["components"]["schemas"]["EventSchema"]["allOf"]
    of_type = {one["properties"]["event"]["const"]: one for one in any_type["oneOf"]}
    found: set[str] = set()

    events = feed(call)
    for event in events:
        name = event["event"]
        found.update(f"{name}: {what}" for what in broken(event, common))
        if name in of_type:
            found.update(f"{name}: {what}" for what in broken(event, of_type[name]))
        else:
            found.add(f"{name}: type")

    assert len(told) >= 14
    assert {event["event"] for event in events} == set(sampled_types())
    found |= {f"{name}: not in our catalogue" for name in of_type.keys() - CATALOGUE.keys()}
    check(found, "events")


def feed(call: Client) -> list[Any]:
    events: list[Any] = []
    names = ",".join(sorted(CATALOGUE))
    while True:
        after = f"&after={events[-1]['id']}" if events else ""
        found = call("GET", f"/events?limit=100&events={names}{after}").json["data"]
        if not found:
            return events
        events += found


def test_parameters_are_those_that_workos_describes(call: Client) -> None:
    """Of every operation, by name, and whether it is required."""
    found: set[str] = set()
    ours = call("GET", "/openapi.json").json["paths"]
    for path, theirs in PATHS.items():
        for method, operation in ours[path].items():
            described = document()["paths"][theirs][method]
            names = [
                {
                    item["name"] + (" required" if item.get("required") else "")
                    for item in one.get("parameters", ())
                    if item["in"] == "query"
                }
                for one in (operation, described)
            ]
            found |= {f"{method.upper()} {path}: {name}, ours alone" for name in names[0] - names[1]}
            found |= {f"{method.upper()} {path}: {name}, theirs alone" for name in names[1] - names[0]}

    check(found, "parameters")
