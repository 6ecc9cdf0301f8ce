"""For users too: signed requests, samples, a clock to turn, an inbox to drain, chaos, a Sink that misbehaves.

Names are loaded when they are first asked for: the pytest plugin lives here, and costs nothing where it is not used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hookline.testing.chaos import Chaos
    from hookline.testing.clock import TurnedClock
    from hookline.testing.fake_workos import FakeWorkOS
    from hookline.testing.inbox import Inbox
    from hookline.testing.samples import sample_event
    from hookline.testing.scenarios import SCENARIOS
    from hookline.testing.signed import SignedRequest, Signing, signed_request
    from hookline.testing.sink import Sink, SinkRequest
    from hookline.testing.source_faults import SourceFaults
    from hookline.testing.story import Story

__all__ = [
    "SCENARIOS",
    "Chaos",
    "FakeWorkOS",
    "Inbox",
    "SignedRequest",
    "Signing",
    "Sink",
    "SinkRequest",
    "SourceFaults",
    "Story",
    "TurnedClock",
    "sample_event",
    "signed_request",
]

_HOMES = {
    "SCENARIOS": "scenarios",
    "Chaos": "chaos",
    "FakeWorkOS": "fake_workos",
    "Inbox": "inbox",
    "SignedRequest": "signed",
    "Signing": "signed",
    "Sink": "sink",
    "SinkRequest": "sink",
    "SourceFaults": "source_faults",
    "Story": "story",
    "TurnedClock": "clock",
    "sample_event": "samples",
    "signed_request": "signed",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
