"""Every decision, one question per file: pure functions from values to values.

- `lifecycle`: what state is this work in now?
- `schedule`: when is the next try?
- `response`: what does this answer, or this silence, mean?
- `merge`: does this observation change what the mirror holds?
- `gaps`: is an event missing?
- `refetch`: when is the source asked about what is in doubt?
- `address`: may we call this URL, this IP? may this IP call us?

Time and jitter are arguments; nothing here reads a clock, draws a number, opens a socket or logs.
"""
