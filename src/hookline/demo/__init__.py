"""A simulated company and an unreliable wire: both ends, live, on one laptop."""
