"""The receiver's door on uvicorn, pinned to core 0: `store` as it is, `verify` with everything but the storing.

Run by accepts.py as a process of its own: mode, database URL, secret. Prints its port.
"""

from __future__ import annotations

import socket
import sys

import uvicorn

from bench.measure import pin
from hookline.receiver.app import Receiver
from hookline.receiver.model import Entry, PutKind


async def keep_nothing(_entry: Entry) -> PutKind:
    """What the intake's `put` is, without a database behind it."""
    return "accepted"


def main(mode: str, url: str, secret: str) -> None:
    pin(0)
    receiver = Receiver(url, secrets=[secret])
    receiver.open()
    if mode == "verify":
        receiver.intake.put = keep_nothing
    listener = socket.create_server(("127.0.0.1", 0))
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(
        receiver.asgi(), loop="uvloop", http="httptools", log_level="warning", access_log=False, lifespan="on"
    )
    uvicorn.Server(config).run(sockets=[listener])
    receiver.close()


if __name__ == "__main__":
    main(*sys.argv[1:4])
