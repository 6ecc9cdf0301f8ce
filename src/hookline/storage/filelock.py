"""One writer at a time on a SQLite file, across threads and processes, each in its turn.

SQLite before 3.51.3 can corrupt a WAL that two connections write and checkpoint at once, and its own busy
handler lets one process starve another. So every write and checkpoint of ours holds this lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
import time
from pathlib import Path

from hookline.errors import StorageUnavailable

POLL_S = 0.0005
POLL_LAST_S = 0.01

_child_guard = threading.Lock()


class FileLock:
    """A lock of two files beside the database: a turnstile that a waiter holds while it waits for the lock.

    Whoever has just released must pass the turnstile again, and finds the waiter in it: so nobody starves.
    Not reentrant. The kernel releases it when a process dies.
    """

    def __init__(self, path: Path) -> None:
        self._paths = (path.with_name(path.name + ".turn"), path.with_name(path.name + ".lock"))
        self._thread_lock = threading.Lock()
        self._files: tuple[int, int] | None = None
        self._pid = os.getpid()

    def acquire(self, timeout_s: float) -> float:
        """Take the lock; the seconds left of `timeout_s`. StorageUnavailable when others hold it for longer."""
        deadline = time.monotonic() + timeout_s
        if self._pid != os.getpid():
            self._after_fork()
        if not self._thread_lock.acquire(timeout=timeout_s):
            raise StorageUnavailable(_held(timeout_s))
        try:
            turnstile, lock = self._opened()
            self._wait(turnstile, deadline, timeout_s)
            try:
                self._wait(lock, deadline, timeout_s)
            finally:
                fcntl.flock(turnstile, fcntl.LOCK_UN)
        except BaseException:
            self._thread_lock.release()
            raise
        return max(0.0, deadline - time.monotonic())

    def release(self) -> None:
        """Give it back; the next waiter goes on."""
        if self._files is not None:
            fcntl.flock(self._files[1], fcntl.LOCK_UN)
        self._thread_lock.release()

    def close(self) -> None:
        """Close the files. They stay on disk: removing a lock file under another's feet breaks the lock."""
        files, self._files = self._files, None
        for file in files or ():
            with contextlib.suppress(OSError):
                os.close(file)

    def _opened(self) -> tuple[int, int]:
        if self._files is None:
            turnstile = _open(self._paths[0])
            try:
                self._files = (turnstile, _open(self._paths[1]))
            except StorageUnavailable:
                os.close(turnstile)
                raise
        return self._files

    def _wait(self, file: int, deadline: float, timeout_s: float) -> None:
        pause_s = POLL_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise StorageUnavailable(_held(timeout_s)) from None
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.5, POLL_LAST_S)
            else:
                return

    def _after_fork(self) -> None:
        # A child shares the parent's open files and so its lock: it needs files of its own. Once, and marked last: a
        # second thread of the child that came here at the same time would take the lock away under the first.
        with _child_guard:
            if self._pid != os.getpid():
                self.close()
                self._thread_lock = threading.Lock()
                self._pid = os.getpid()


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageUnavailable(f"cannot open {path}, which guards the database: {error.strerror}") from error


def _held(timeout_s: float) -> str:
    return f"another writer held the database for more than {timeout_s:g} s"
