"""Telling something outside that the inbox has something, such as a task queue of the app's.

The inbox is the truth, and a poke only a hint: a lost one loses nothing, since the next one, or a worker, finds all
that waits.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

log = logging.getLogger("hookline.receiver")


class Poke:
    """Calls a function on a thread beside, once for all that came while it was called before.

    Whoever keeps webhooks neither waits for it nor hears of its failures: a queue's broker may be slow or away.
    """

    _is_running: bool
    _is_wanted: bool

    def __init__(self) -> None:
        self._reset()

    def __call__(self, function: Callable[[], Any]) -> None:
        """Have `function` called, after now."""
        if self._pid != os.getpid():
            self._reset()  # a fork takes along that a thread is running, but not the thread
        with self._guard:
            self._is_wanted = True
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, args=(function,), name="hookline-poke", daemon=True).start()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._guard = threading.Lock()
        self._is_wanted = self._is_running = False

    def _run(self, function: Callable[[], Any]) -> None:
        while True:
            with self._guard:
                if not self._is_wanted:
                    self._is_running = False
                    return
                self._is_wanted = False
            try:
                function()
            except Exception as error:
                # Without its message, which may hold the password of a broker.
                kind = type(error).__name__
                log.warning("what was to hear of kept webhooks failed (%s): they wait for the next poke", kind)
