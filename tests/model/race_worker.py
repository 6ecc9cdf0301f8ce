"""One of the four: a worker with the app's handlers in a process of its own, until its standard input ends.

Usage: python -m tests.model.race_worker DATABASE_URL
"""

from __future__ import annotations

import contextlib
import sys
import threading

from hookline.receiver.work import Access, Worker
from hookline.rules.schedule import Backoff
from hookline.storage import connect

from .races import App

FAILS_EVERY = 29
BACKOFF = Backoff(first_s=0.05, factor=1, cap_s=0.05, tries=50)


def main(url: str) -> None:
    with contextlib.closing(connect(url)) as database:
        worker = Worker(Access(database), App(fails_every=FAILS_EVERY).registry, backoff=BACKOFF)
        worker.register()
        stop = threading.Event()
        working = threading.Thread(target=worker.run, args=(stop,))
        working.start()
        print("working", flush=True)
        sys.stdin.read()
        stop.set()
        worker.wake.set()
        working.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
