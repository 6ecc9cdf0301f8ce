"""The list of handlers: what it takes and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest

from hookline.errors import ConfigError
from hookline.receiver.handlers import Registry


def heard(event: Any, tx: Any) -> None:
    """A handler that does nothing."""


def test_a_handler_is_named_after_its_function() -> None:
    """Without a name it is module:qualname; the decorator gives the function back."""
    hooks = Registry()

    assert hooks.on("dsync.*")(heard) is heard
    (handler,) = hooks
    assert (handler.name, handler.kind, handler.pattern) == (f"{__name__}:heard", "fact", "dsync.*")
    assert hooks.get(handler.name) is handler


@pytest.mark.parametrize("pattern", ["*", "dsync.*", "dsync.user.*", "dsync.user.created", "authentication.*"])
def test_types_prefixes_and_the_star_are_patterns(pattern: str) -> None:
    """Exact types, dotted prefixes and * are accepted."""
    hooks = Registry()
    hooks.on(pattern)(heard)

    assert len(hooks) == 1


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("dsync.user.craeted", "'dsync.user.created'"),
        ("dsnyc.*", "'dsync"),
        ("dsync*", "expected a type, a prefix"),
        ("*.created", "expected a type, a prefix"),
        ("", "expected a type, a prefix"),
    ],
)
def test_a_misspelt_pattern_is_refused_with_the_nearest(pattern: str, hint: str) -> None:
    """A handler that could never run is an error where it is written, and says what was probably meant."""
    with pytest.raises(ConfigError) as caught:
        Registry().on(pattern)

    assert hint in str(caught.value)


def test_a_type_newer_than_the_catalogue_is_taken_on_demand() -> None:
    """unlisted=True is for types this version does not know yet."""
    hooks = Registry()
    hooks.on("vault.rotated", unlisted=True)(heard)

    assert [handler.pattern for handler in hooks] == ["vault.rotated"]


def test_changes_are_of_mirrored_resources() -> None:
    """Objects and memberships have changes; an unknown resource is refused with the nearest."""
    hooks = Registry()
    hooks.on_change("directory_membership")(heard)

    assert [(handler.kind, handler.pattern) for handler in hooks] == [("change", "directory_membership")]
    with pytest.raises(ConfigError, match="'directory_user'"):
        hooks.on_change("directory_users")


def test_a_name_is_taken_once() -> None:
    """Two handlers of one name would share runs: refused, also for one function under two patterns."""
    hooks = Registry()
    hooks.on("dsync.user.created")(heard)

    with pytest.raises(ConfigError, match="give this one a name="):
        hooks.on("dsync.user.updated")(heard)
    hooks.on("dsync.user.updated", name="heard-updates")(heard)
    assert len(hooks) == 2


def test_a_function_takes_two_arguments() -> None:
    """What cannot be called with (event, tx) is refused where it is registered."""
    with pytest.raises(ConfigError, match=r"\(event, tx\)"):
        Registry().on("*")(lambda event: None)
    with pytest.raises(ConfigError, match=r"\(change, tx\)"):
        Registry().on_change("directory")(lambda change, tx, more: None)
