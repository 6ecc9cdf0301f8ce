"""Places in a JSON document by paths, and what is said of those that lead nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.cli.json_paths import add, override, parse_assignment, parse_path, remove, shown
from hookline.errors import ConfigError

PATHS = [
    ("email", ("email",)),
    ("user.email", ("user", "email")),
    ("emails[0].value", ("emails", 0, "value")),
    ("a[1][2]", ("a", 1, 2)),
    ('raw["urn:x:2.0:User"].department', ("raw", "urn:x:2.0:User", "department")),
    ('["a\\"=b"]', ('a"=b',)),
    ("Žofia", ("Žofia",)),
]


def document() -> dict[str, Any]:
    return {"email": "a", "name": None, "roles": [{"slug": "one"}, {"slug": "two"}], "raw": {"a.b": 1}, "no": False}


@pytest.mark.parametrize(("text", "path"), PATHS)
def test_a_path_is_read_and_written_alike(text: str, path: tuple[str | int, ...]) -> None:
    assert parse_path(text, "--flag") == path
    assert shown(path) == text


@pytest.mark.parametrize(
    "text",
    ["", ".", ".a", "a.", "a..b", "a[", "a[x]", "a[-1]", "a[0", "a]b", '["a"', 'a"b', "[0]a", '["\\q"]', 'a["\n"]'],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--flag: expected a path such as"):
        parse_path(text, "--flag")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=x", "x"),
        ("a=", ""),
        ("a=1", 1),
        ("a=1.50", 1.5),
        ("a=true", True),
        ("a=null", None),
        ('a="1"', "1"),
        ("a=[1, {}]", [1, {}]),
        ("a=b=c", "b=c"),
        ("a=NaN", "NaN"),
        ("a={broken", "{broken"),
        ("a=" + "[" * 5_000, "[" * 5_000),
    ],
)
def test_a_value_is_json_where_it_is_some(text: str, value: Any) -> None:
    """Else the string that it is."""
    found = parse_assignment(text, "--flag")

    assert (found.path, found.value) == (("a",), value)
    assert type(found.value) is type(value)


def test_an_equals_sign_within_a_quoted_name_is_part_of_it() -> None:
    assert parse_assignment('["a=b"].c=d=e', "--flag") == (("a=b", "c"), "d=e")


@pytest.mark.parametrize("text", ["a", "=1", '["a=b"', '["a=b"]'])
def test_what_is_no_assignment_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--flag: expected path=value, got"):
        parse_assignment(text, "--flag")


def changed(change: Any, text: str) -> dict[str, Any]:
    found = document()
    change(found, parse_path(text, "--flag") if change is remove else parse_assignment(text, "--flag"), "--flag")
    return found


def test_a_value_is_put_where_one_is() -> None:
    assert changed(override, "email=b") == document() | {"email": "b"}
    assert changed(override, "roles[1].slug=three")["roles"] == [{"slug": "one"}, {"slug": "three"}]
    assert changed(override, 'raw["a.b"]={"c": 2}')["raw"] == {"a.b": {"c": 2}}


def test_a_value_is_added_where_none_is() -> None:
    assert changed(add, "new=1") == document() | {"new": 1}
    assert changed(add, "roles[0].name=One")["roles"][0] == {"slug": "one", "name": "One"}
    assert changed(add, "roles[2]={}")["roles"] == [{"slug": "one"}, {"slug": "two"}, {}]


def test_a_place_is_taken_away() -> None:
    assert "name" not in changed(remove, "name")
    assert changed(remove, "roles[0]")["roles"] == [{"slug": "two"}]


@pytest.mark.parametrize("change", [override, remove])
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("emial", "there is no emial: email?"),
        ("zzz", "there is no zzz: the payload has email, name, roles, raw, no"),
        ("roles[0].slog", r"there is no roles\[0\].slog: roles\[0\].slug?"),
        ("roles[2]", r"there is no roles\[2\]: roles is a list of 2"),
        ("roles.slug", "there is no roles.slug: roles is a list of 2"),
        ("email.x", "there is no email.x: email is a string and has nothing in it"),
        ("name.x", "there is no name.x: name is null"),
        ("no[0]", r"there is no no\[0\]: no is a truth value"),
        ('raw["a.b"].c', r'there is no raw\["a.b"\].c: raw\["a.b"\] is a number'),
        ("raw.ab", r'there is no raw.ab: raw\["a.b"\]?'),
    ],
)
def test_a_place_that_is_not_there_is_said_with_those_near(change: Any, path: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        changed(change, path if change is remove else f"{path}=1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("email=1", "email is there already; --override changes it"),
        ("roles[0]=1", r"roles\[0\] is there already; --override changes it"),
        ("roles[3]=1", r"expected roles\[2\], the end of the list; got roles\[3\]"),
        ("rols[2]=1", "there is no rols: roles?"),
        ("email.x=1", "there is no email.x: email is a string"),
        ("roles.x=1", "there is no roles.x: roles is a list of 2"),
    ],
)
def test_what_cannot_be_added_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        changed(add, text)
