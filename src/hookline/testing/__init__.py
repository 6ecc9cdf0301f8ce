"""For users too: signed requests, samples, a clock to turn, a Sink that misbehaves, a Pair of both ends."""

from hookline.testing.clock import TurnedClock
from hookline.testing.samples import sample_event
from hookline.testing.signed import SignedRequest, signed_request
from hookline.testing.sink import Sink, SinkRequest

__all__ = ["SignedRequest", "Sink", "SinkRequest", "TurnedClock", "sample_event", "signed_request"]
