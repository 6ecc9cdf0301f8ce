"""How fast, against what the same machine can do in the same run. `make bench` runs it; no figure fails CI.

Each measurement pairs Hookline with a limit (a server that verifies and stores nothing, a client loop that
keeps no record, a smaller backlog), the two in turn, round by round, and prints their ratio: absolute times lie on
shared machines.
The measured process is pinned to one core and its peer to another where the system allows it.
"""
