"""For users too: signed requests, samples, a clock to turn, a Pair of both ends."""
