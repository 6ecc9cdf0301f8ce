"""For users too: signed requests, samples, a clock to turn, a Pair of both ends."""

from hookline.testing.clock import TurnedClock
from hookline.testing.samples import sample_event
from hookline.testing.signed import SignedRequest, signed_request

__all__ = ["SignedRequest", "TurnedClock", "sample_event", "signed_request"]
