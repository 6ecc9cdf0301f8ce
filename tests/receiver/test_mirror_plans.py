"""How SQLite finds rows by many keys at once: from the keys to the rows, whatever it takes the tables' sizes for."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from hookline.receiver.resources import DIRECTORY_MEMBERSHIP
from hookline.storage import Verb, Verbs

from .company import Desk


def read_edges(verbs: Verbs) -> Verb:
    words = {"table": DIRECTORY_MEMBERSHIP.table, "one": "group_id", "other": "user_id", "scope": "null", "lock": ""}
    return verbs.filled("each", "mirror_read_edges", words)


def read_floors(verbs: Verbs) -> Verb:
    return verbs["floors_read"]


def read_refetches(verbs: Verbs) -> Verb:
    return verbs["refetches_of"]


def read_numbers(verbs: Verbs) -> Verb:
    return verbs["sequences_of"]


@pytest.mark.parametrize("verb", [read_edges, read_floors, read_refetches, read_numbers])
def test_keys_lead_to_rows(desk: Desk, verb: Callable[[Verbs], Verb]) -> None:
    """The other way round each of a hundred thousand rows is compared with each of the keys."""
    keys = json.dumps([["default", "x", "y"]])
    compiled = verb(Verbs("hookline.receiver", "sqlite"))
    named = {"source": "default", "pairs": json.dumps([["g", "u"]]), "scopes": keys, "keys": keys}
    plan = [row[3] for row in desk.rows(f"explain query plan {compiled._head.text}", *compiled._head.values(named))]
    assert len(plan) == 2
    assert plan[0].startswith("SCAN")
    assert "USING INDEX sqlite_autoindex" in plan[1]
    assert plan[1].count("=?") == 3
