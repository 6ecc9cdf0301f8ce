"""When an event is missing, by what an update says was before it, and by the numbers of an object's events."""

from __future__ import annotations

import random
from typing import Any

import pytest

from hookline.rules.gaps import MOST_MISSING, Numbers, follows, heard

BEFORE = {
    "name": "Ada",
    "state": "active",
    "job_title": None,
    "groups": [],
    "updated_at": "2026-01-01T00:00:00.000Z",
    "emails": [{"value": "ada@acme.example", "primary": True}],
    "custom_attributes": {"team": "Core", "desk": "4"},
}


@pytest.mark.parametrize(
    ("previous", "does"),
    [
        ({}, True),
        ({"name": "Ada"}, True),
        ({"name": "Grace"}, False),
        ({"name": "Ada", "state": "inactive"}, False),
        ({"job_title": None}, True),
        ({"badge": None}, True),
        ({"badge": "red"}, False),
        ({"name": None}, False),
        ({"updated_at": "2025-01-01T00:00:00.000Z"}, True),
        ({"groups": [{"id": "group_1"}]}, True),
        ({"emails": [{"value": "ada@acme.example", "primary": True}]}, True),
        ({"emails": [{"value": "ada@acme.example", "primary": False}]}, False),
        ({"emails": []}, False),
        ({"custom_attributes": {"team": "Core"}}, True),
        ({"custom_attributes": {"team": "Sales"}}, False),
        ({"custom_attributes": {"floor": None}}, True),
        ({"custom_attributes": None}, False),
    ],
)
def test_an_update_follows_what_it_says_was_before_it(previous: dict[str, Any], does: bool) -> None:
    """Null equals absent; `groups` and `updated_at` are no evidence; of an object only the named parts count."""
    assert follows("directory_user", previous, BEFORE) is does


@pytest.mark.parametrize(
    ("numbers", "known"),
    [
        ([5], Numbers(5)),
        ([5, 6], Numbers(6)),
        ([5, 8], Numbers(8, (6, 7))),
        ([5, 8, 6], Numbers(8, (7,))),
        ([5, 8, 7, 6], Numbers(8)),
        ([5, 8, 8, 5], Numbers(8, (6, 7))),
        ([5, 2], Numbers(5)),
        ([5, 7, 10], Numbers(10, (6, 8, 9))),
    ],
)
def test_numbers_that_are_missing_are_known_until_they_come(numbers: list[int], known: Numbers) -> None:
    """Of what came before the first number nothing is known; a number heard twice says nothing new."""
    state: Numbers | None = None
    for number in numbers:
        state = heard(state, number)
    assert state == known


def test_a_leap_is_kept_small() -> None:
    """One answer of the source stands for all, so that no number can make a row of any size."""
    far = heard(heard(None, 1), 10**14)

    assert len(far.missing) == MOST_MISSING
    assert far.missing[-1] == 10**14 - 1
    assert len(heard(far, 2 * 10**14).missing) == MOST_MISSING


def test_in_any_order_what_all_came_leaves_nothing_missing() -> None:
    """Twenty events shuffled, the first in its place."""
    draw = random.Random(4)
    for _ in range(50):
        rest = draw.sample(range(2, 21), 19)
        state: Numbers | None = None
        for number in [1, *rest]:
            state = heard(state, number)
        assert state == Numbers(20)
