"""Four senders on one PostgreSQL, killed one after the other while 2,000 deliveries flow."""

from __future__ import annotations

import pytest

from tests.crash.senders import run_senders

DELIVERIES = 2_000


# Takes ten seconds and more: seven processes are started, and what the dead have claimed is free after two seconds.
@pytest.mark.timeout(180)
def test_no_killed_sender_loses_or_doubles_a_delivery(postgres_url: str) -> None:
    """Everything arrives, no claim is made while another lives, and only what a dead attempt had sent comes again."""
    tally = run_senders(postgres_url, seed=1, deliveries=DELIVERIES, kills=3)

    print(tally)
    assert tally.wrong() == []
    assert (len(tally.published), len(tally.killed)) == (DELIVERIES, 3)
    assert tally.unknown, "no kill met an attempt under way: it proves nothing"
