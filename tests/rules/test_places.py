"""JSON paths of what is not shown."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.rules.redaction import REDACTED, Places

R = REDACTED


@pytest.mark.parametrize(
    ("paths", "value", "shown"),
    [
        (["$.a"], {"a": 1, "b": {"a": 2}}, {"a": R, "b": {"a": 2}}),
        (["$..a"], {"a": 1, "b": [{"a": 2}, {"a": None}]}, {"a": R, "b": [{"a": R}, {"a": None}]}),
        (["$.a[*].b"], {"a": [{"b": 1, "c": 2}]}, {"a": [{"b": R, "c": 2}]}),
        (["$.a[1]"], {"a": [1, 2]}, {"a": [1, R]}),
        (["$['a b'].c"], {"a b": {"c": 1}}, {"a b": {"c": R}}),
        (["$.*"], {"a": 1, "b": None}, {"a": R, "b": None}),
        (["$..a.b"], {"x": {"a": {"b": 1, "a": {"b": 2}}}}, {"x": {"a": {"b": R, "a": {"b": R}}}}),
        (["$..[?@.object=='user'].name"], {"object": "user", "name": "Ada"}, {"object": "user", "name": R}),
        (
            ["$..[?@.object=='user'].name"],
            {"data": {"object": "group", "name": "Staff", "of": [{"object": "user", "name": "Ada"}]}},
            {"data": {"object": "group", "name": "Staff", "of": [{"object": "user", "name": R}]}},
        ),
        ([], {"a": 1}, {"a": 1}),
        (["$.a"], "text", "text"),
    ],
)
def test_what_is_shown(paths: list[str], value: Any, shown: Any) -> None:
    assert Places(paths).redacted(value) == shown


def test_people_are_not_shown_and_groups_are() -> None:
    user = {"object": "directory_user", "name": "Ada", "email": "a@b.c", "first_name": "Ada", "state": "active"}
    group = {"object": "directory_group", "name": "Engineering"}
    shown = Places().redacted({"data": {"group": group, "user": user}})
    assert shown["data"]["group"] == group
    assert shown["data"]["user"] == {**user, "name": R, "email": R, "first_name": R}


@pytest.mark.parametrize("path", ["", "$", "email", "$.", "$..", "$.a[", "$[?@.x==1]", "$.a b", "$[-1]", "$[0:2]"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="expected a JSON path"):
        Places([path])


def test_depth_is_no_way_around() -> None:
    deep: Any = {"email": "a@b.c"}
    for _ in range(5_000):
        deep = [deep]
    assert "a@b.c" not in repr(Places().redacted(deep))[:200]
    assert Places().redacted(deep) == REDACTED
