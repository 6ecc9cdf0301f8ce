"""An outage is told when it begins, once a minute, and when it is over."""

from __future__ import annotations

import logging

import pytest

from hookline.errors import StorageUnavailable
from hookline.storage.outage import Outage
from hookline.testing.clock import TurnedClock

log = logging.getLogger("hookline.test")


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock()


@pytest.fixture
def outage(clock: TurnedClock, caplog: pytest.LogCaptureFixture) -> Outage:
    caplog.set_level(logging.DEBUG, "hookline")
    return Outage(log, during="cannot store", after="storing again", now_ms=clock.now_ms)


def test_many_failures_are_one_line_a_minute(
    outage: Outage, clock: TurnedClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The first failure is told with its request; the next one only after a minute."""
    for _ in range(50):
        outage.failed(StorageUnavailable("the disk is full"), "POST /events")
        clock.advance(1_000)
    assert caplog.messages == ["POST /events: cannot store: the disk is full"]

    clock.advance(10_000)
    outage.failed(StorageUnavailable("the disk is full"))

    assert caplog.messages[1:] == ["cannot store: the disk is full"]


def test_the_end_is_told_once(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """With how much failed meanwhile; a success without an outage says nothing, and the next outage is told anew."""
    outage.is_over()
    for _ in range(3):
        outage.failed(StorageUnavailable("locked"))
    outage.is_over()
    outage.is_over()
    outage.failed(StorageUnavailable("locked"))

    assert caplog.messages == ["cannot store: locked", "storing again, after 3 failures", "cannot store: locked"]


def test_only_what_is_unexpected_comes_with_its_traceback(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    """A database that is away explains itself; anything else is shown where it was raised."""
    outage.failed(StorageUnavailable("locked"))
    outage.is_over()
    outage.failed(KeyError("body"))

    assert [record.exc_info is not None for record in caplog.records] == [False, False, True]
