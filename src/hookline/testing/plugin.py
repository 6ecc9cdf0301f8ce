"""The pytest plugin: fixtures for tests of an app that receives webhooks. docs/testing.md shows each.

Loaded by pytest wherever Hookline is installed, so nothing of Hookline is imported before a fixture is asked for, and
nothing is patched, marked or run by itself. `-p no:hookline` leaves it out.
"""

from __future__ import annotations

import os
import pkgutil
import sys
from typing import TYPE_CHECKING, Final, TypeGuard

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from hookline.adapters.django.receiving import Hooks
    from hookline.receiver.app import Receiver
    from hookline.testing.chaos import Chaos
    from hookline.testing.clock import TurnedClock
    from hookline.testing.inbox import Inbox
    from hookline.testing.signed import Signing
    from hookline.testing.story import Story
    from hookline.wire.schemes import Scheme

_APP: Final = "hookline_app"
_DJANGO: Final = "hookline.adapters.django"
_WHICH: Final = (
    "expected to know which Receiver to test: write a fixture hookline_receiver that returns it, or name it as "
    "module:attribute by hookline_app in pytest's configuration, or by HOOKLINE_APP"
)
_FRESH: Final = (
    "expected to know how to begin anew: hookline_chaos(…, fresh=…) takes what gives, for each run, a Receiver with "
    "your handlers on a database where nothing has happened yet, as a context manager"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one setting of the plugin."""
    parser.addini(_APP, "the Receiver that hookline_receiver gives, as module:attribute", default="")


@pytest.fixture
def hookline_receiver(request: pytest.FixtureRequest) -> Receiver:
    """Your Receiver. Override it, or name it by `hookline_app` or `HOOKLINE_APP`; in a Django project it is `hooks`."""
    name = request.config.getini(_APP) or os.environ.get("HOOKLINE_APP", "")
    if name:
        found = pkgutil.resolve_name(name)
    elif f"{_DJANGO}.apps" in sys.modules:
        found = pkgutil.resolve_name(f"{_DJANGO}:hooks")
    else:
        pytest.fail(_WHICH, pytrace=False)
    from hookline.receiver.app import Receiver

    if not isinstance(found, Receiver):
        pytest.fail(f"expected a hookline.Receiver at {name}, got {type(found).__name__}", pytrace=False)
    return found


@pytest.fixture
def hookline_clock() -> TurnedClock:
    """The time of the test: it stands still until `advance` or `set` turns it, and begins with each test at the same.

    What the other fixtures make and the receiver they know live by it.
    """
    from hookline.testing.clock import TurnedClock

    return TurnedClock()


@pytest.fixture
def hookline_event(hookline_clock: TurnedClock) -> Story:
    """Makes events: `hookline_event("dsync.user.created", first_name="Ada")`. See `hookline.testing.Story`."""
    from hookline.testing.story import Story

    return Story(hookline_clock)


@pytest.fixture
def _hookline_turned(hookline_receiver: Receiver, hookline_clock: TurnedClock) -> Iterator[Receiver]:
    """Your Receiver, living by the test's clock."""
    from hookline.testing.clock import on_clock

    with on_clock(hookline_clock, hookline_receiver):
        yield hookline_receiver


@pytest.fixture
def hookline_secret(_hookline_turned: Receiver) -> str:
    """What `hookline_signed` signs with: the receiver's first secret, unless you override it."""
    from hookline.testing.signed import Signing

    return Signing.of(_hookline_turned).secret


@pytest.fixture
def hookline_path(_hookline_turned: Receiver) -> str:
    """Where `hookline_signed` says to post: the door's path. Mounted below another path, override it with
    the whole; in Django the URLconf says.
    """
    from hookline.testing.signed import Signing

    path = Signing.of(_hookline_turned).path
    if not _is_djangos(_hookline_turned):
        return path
    from django.urls import NoReverseMatch, reverse

    try:
        return str(reverse("hookline:webhooks")) + path.removeprefix("/webhooks")
    except NoReverseMatch:
        return path


@pytest.fixture
def hookline_scheme() -> Scheme:
    """How `hookline_signed` signs; override it where the door is one for `standard_webhooks`."""
    return "workos"


@pytest.fixture
def hookline_signed(
    hookline_clock: TurnedClock, hookline_secret: str, hookline_path: str, hookline_scheme: Scheme
) -> Signing:
    """Signs events: `client.post(**hookline_signed(event).django)`, `.flask` or `.httpx`; or its `method`, `path`,
    `headers` and `body`.
    """
    from hookline.testing.signed import Signing

    return Signing(hookline_secret, hookline_clock, hookline_path, hookline_scheme)


@pytest.fixture
def hookline_inbox(request: pytest.FixtureRequest, _hookline_turned: Receiver) -> Iterator[Inbox]:
    """The receiver's inbox: `deliver` events, `drain` it on this thread, `assert_handled`. See
    `hookline.testing.Inbox`.
    """
    from hookline.testing.inbox import Inbox

    _open_database(request, _hookline_turned)
    inbox = Inbox(_hookline_turned)
    with inbox.alone():
        yield inbox
    inbox.receiver.flush()


@pytest.fixture
def hookline_inline(hookline_inbox: Inbox) -> Iterator[Inbox]:
    """The same inbox, drained after each request that is kept, before that is answered."""
    with hookline_inbox.inline():
        yield hookline_inbox


@pytest.fixture
def hookline_chaos(request: pytest.FixtureRequest, hookline_clock: TurnedClock) -> Iterator[Chaos]:
    """Asserts that your handlers come to the same end in whatever order events come: `hookline_chaos(events,
    state=…)`. See `hookline.testing.Chaos`.
    """
    from hookline.testing.chaos import Chaos
    from hookline.testing.clock import on_clock

    def rolled_back() -> AbstractContextManager[Receiver]:
        if f"{_DJANGO}.receiving" not in sys.modules:
            pytest.fail(_FRESH, pytrace=False)
        receiver: Receiver = request.getfixturevalue("_hookline_turned")
        if not _is_djangos(receiver):
            pytest.fail(_FRESH, pytrace=False)
        _open_database(request, receiver)
        from hookline.testing import rollback

        return rollback.rolled_back(receiver)

    with on_clock(hookline_clock):
        yield Chaos(hookline_clock, rolled_back)


def _open_database(request: pytest.FixtureRequest, receiver: Receiver) -> None:
    """Where pytest-django is at work, it lets nobody at the database until its fixture is asked for."""
    if _is_djangos(receiver) and request.config.pluginmanager.has_plugin("django"):
        request.getfixturevalue("db")


def _is_djangos(receiver: Receiver) -> TypeGuard[Hooks]:
    """Whether it is the one of a Django project's settings."""
    module = sys.modules.get(f"{_DJANGO}.receiving")
    return module is not None and isinstance(receiver, module.Hooks)
