"""One sender process among several: `python -m tests.crash.one_sender URL`, the encryption key in CRASH_KEY.

Delivers until SIGTERM, with a lease of `LEASE_MS`.
"""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import sys
from typing import Final
from unittest.mock import patch

from hookline.sender import app as sender_app
from hookline.sender.app import SenderApp
from hookline.sender.deliver import Deliverer
from hookline.storage import connect

TIMEOUT_S: Final = 1.5
MARGIN_S: Final = 0.5
LEASE_MS: Final = round((TIMEOUT_S + MARGIN_S) * 1000)


def compose(url: str, key: str) -> SenderApp:
    """As `hookline serve sender` composes it."""
    return SenderApp(
        connect(url),
        api_keys={"production": "sk_live_crash_test_0123", "staging": "sk_test_crash_test_0123"},
        encryption_keys=[key],
        allow_private_targets=True,
    )


async def deliver(app: SenderApp) -> None:
    """Until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    print("delivering", flush=True)
    await app.run(stop)


if __name__ == "__main__":
    short = functools.partial(Deliverer, total_timeout_s=TIMEOUT_S, lease_margin_s=MARGIN_S)
    with patch.object(sender_app, "Deliverer", short):
        asyncio.run(deliver(compose(sys.argv[1], os.environ["CRASH_KEY"])))
