"""What a provider's claims make somebody: rules as they are written, and the highest role that one gives."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.rules.roles import RoleRule, parse_role_rule, role_of

RULES = [
    parse_role_rule(text)
    for text in ("groups:admins=admin", "groups:staff=viewer", "realm.roles:ops=operator", "on_call:true=operator")
]


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({}, None),
        ({"groups": "staff"}, "viewer"),
        ({"groups": ["guests", "staff"]}, "viewer"),
        ({"groups": ["staff", "admins"]}, "admin"),
        ({"groups": ["Admins"]}, None),
        ({"groups": {"admins": True}}, None),
        ({"groups": [["admins"], 7, None]}, None),
        ({"realm": {"roles": ["ops"]}}, "operator"),
        ({"realm.roles": ["ops"]}, "operator"),
        ({"realm": "ops"}, None),
        ({"on_call": True, "groups": "staff"}, "operator"),
        ({"on_call": False}, None),
        ({"on_call": 1}, None),
    ],
)
def test_the_highest_role_that_a_rule_gives(claims: dict[str, Any], role: str | None) -> None:
    assert role_of(claims, RULES) == role


def test_everybody_may_have_a_role() -> None:
    rules = [*RULES, parse_role_rule("*=viewer")]
    assert role_of({}, rules) == "viewer"
    assert role_of({"groups": "admins"}, rules) == "admin"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("groups:admins=admin", RoleRule("groups", "admins", "admin")),
        (" https://example.com/roles:a=b=viewer ", RoleRule("https://example.com/roles", "a=b", "viewer")),
        ("*=operator", RoleRule("*", "", "operator")),
    ],
)
def test_rules_are_read_as_they_are_written(text: str, rule: RoleRule) -> None:
    assert parse_role_rule(text) == rule
    assert str(rule) == text.strip()


@pytest.mark.parametrize(
    "text", ["", "admin", "groups=admin", "groups:=admin", ":x=admin", "groups:x=root", "groups:x"]
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected claim:value=role"):
        parse_role_rule(text)
