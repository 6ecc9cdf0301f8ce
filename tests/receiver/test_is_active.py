"""Permission checks on the mirror: alive and active, and closed in doubt."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hookline import Change, ConfigError, Receiver

from ..conftest import DATABASES
from .company import Company, Desk

RUNS_ON = DATABASES


@pytest.fixture
def hooks(desk: Desk) -> Iterator[Receiver]:
    with Receiver(desk.url, secrets=["whsec_x"]) as hooks:
        yield hooks


def test_alive_and_active(desk: Desk, hooks: Receiver, company: Company) -> None:
    """Only what is alive, under living parents, and in a state that is known as active."""
    desk.take(company.directory("activated"), company.group("created"), company.member("added"))
    desk.take(
        company.user("created", "user_1"),
        company.user("created", "off", state="inactive"),
        company.user("created", "odd", state="suspended_by_moonlight"),
        company.user("created", "none", state=None),
    )

    active = [id_ for id_ in ("user_1", "off", "odd", "none", "unknown") if hooks.is_active("directory_user", id_)]

    assert active == ["user_1"]
    assert hooks.is_active("directory_group", "group_1")
    assert hooks.is_active("directory_membership", "group_1/user_1")
    assert not hooks.is_active("directory_membership", "group_1/off")
    assert not hooks.is_active("directory_membership", "group_1")


def test_a_dead_parent_ends_it(desk: Desk, hooks: Receiver, company: Company) -> None:
    """With the directory's deletion nobody in it is active, at once; nor in another source."""
    desk.take(company.directory("activated"), company.user("created"), company.member("added"))
    assert hooks.is_active("directory_user", "user_1")
    with Receiver(desk.url, secrets=["whsec_x"], source="other") as other:
        assert not other.is_active("directory_user", "user_1")

    desk.take(company.directory("deleted"))

    assert not hooks.is_active("directory_user", "user_1")
    assert not hooks.is_active("directory_membership", "group_1/user_1")


def test_unknown_resources_are_refused(hooks: Receiver) -> None:
    """A misspelt resource is an error of the programmer, told as one."""
    with pytest.raises(ConfigError, match="directory_usr"):
        hooks.is_active("directory_usr", "user_1")


def test_a_change_says_it_too(desk: Desk, company: Company) -> None:
    """Deactivation keeps a user shown and takes the access; deletion takes both."""
    seen: list[tuple[bool, bool]] = []

    def handler(change: Change, tx: object) -> None:
        seen.append((change.is_live, change.is_active))

    desk.hooks.on_change("directory_user", name="h")(handler)
    desk.take(company.user("created"), company.user("updated", state="inactive"), company.user("deleted"))

    assert seen == [(True, True), (True, False), (False, False)]
