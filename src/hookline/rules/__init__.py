"""Every decision, one question per file. Pure: time and jitter are arguments."""
