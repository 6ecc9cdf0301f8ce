"""Who may call, as the source itself publishes it: a list read over HTTPS, in the background and never in a request.

A sender of Hookline publishes one under `/.well-known/hookline-egress.json` (`rules.address.egress_document`). The last
good copy is kept in the database, so that a process that starts while the list cannot be read goes on with it. Without
any copy nobody on the list may call: it never becomes "everybody".
"""

from __future__ import annotations

import http.client
import logging
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar

from hookline.errors import ConfigError, StorageError
from hookline.receiver.app_database import AppDatabase
from hookline.rules.address import parse_egress_document
from hookline.rules.schedule import Backoff
from hookline.storage import Verbs

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.rules.address import Network
    from hookline.storage import Database

log = logging.getLogger("hookline.receiver")

T = TypeVar("T")

TIMEOUT_S: Final = 10.0
MOST_BYTES: Final = 256 * 1024
EVERY_MS: Final = 3_600_000
AGAIN: Final = Backoff(first_s=60, factor=2, cap_s=3_600, tries=2**31)
ACCEPT: Final = "application/json"


class PublishedCallers:
    """One published list, followed from its first mention in a process on.

    Args:
        url: of the list; see `rules.address.check_source_url`.
        database: where its last good copy is; asked for on the thread that follows the list.
        clock: when it is read again: every hour, after a failure in a minute and then ever later.
        fetch: the document at a URL; raises OSError or ValueError where there is none to be had.
    """

    def __init__(
        self,
        url: str,
        *,
        database: Callable[[], Database | AppDatabase],
        clock: Clock,
        fetch: Callable[[str], bytes] | None = None,
    ) -> None:
        self.url = url
        self._database = database
        self._clock = clock
        self._fetch = fetch if fetch is not None else fetch_list
        self._networks: tuple[Network, ...] | None = None
        self._failures = 0
        self._used: AppDatabase | None = None
        self._lock = threading.Lock()
        self._pid = 0
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    def look(self) -> tuple[Network, ...] | None:
        """Who is on the list; None while nothing is known of it. Waits for nothing."""
        if self._pid != os.getpid():
            self.follow()
        return self._networks

    def follow(self) -> None:
        """Begin to follow the list on a thread of its own, unless this process does so already."""
        with self._lock:
            # Threads do not survive a fork.
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            self._stop, self._wake = threading.Event(), threading.Event()
            self._thread = threading.Thread(target=self._follow, name="hookline-callers", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Follow it no longer; the next mention begins again."""
        with self._lock:
            thread, self._thread = self._thread, None
            is_ours, self._pid = self._pid == os.getpid(), 0
            self._stop.set()
            self._wake.set()
        if thread is not None and is_ours:
            thread.join(TIMEOUT_S)

    def _follow(self) -> None:
        stop, wake = self._stop, self._wake
        self._take_kept()
        while True:
            # Before `stop` is looked at: who sets both between the two is not slept through.
            wake.clear()
            if stop.is_set():
                break
            self._clock.wait_until(self._read_once(stop), wake)
        if self._used is not None:
            self._used.end_thread()

    def _take_kept(self) -> None:
        """The copy that was good last, whichever process read it."""
        try:
            row = self._stored(lambda database, verbs: _kept(database, verbs, self.url))
            if row is not None:
                self._take(row)
        except (StorageError, ConfigError) as error:
            log.debug("the kept copy of %s cannot be read: %s", self.url, error)

    def _read_once(self, stop: threading.Event) -> int:
        """Read the list now; when to read it again."""
        try:
            document = self._fetch(self.url)
            self._take(document)
        except (OSError, ValueError, ConfigError, http.client.HTTPException) as error:
            return self._failed(_told(error), stop)
        if self._failures:
            log.warning("the list of addresses at %s can be read again, after %d failures", self.url, self._failures)
            self._failures = 0
        now_ms = self._clock.now_ms()
        named = {"url": self.url, "document": document, "now_ms": now_ms}
        self._note("lists_keep", named, stop)
        return now_ms + EVERY_MS

    def _failed(self, reason: str, stop: threading.Event) -> int:
        self._failures += 1
        now_ms = self._clock.now_ms()
        if self._failures == 1:
            log.warning(
                "the list of addresses at %s cannot be read: %s; %s",
                self.url,
                reason,
                "nobody on it may call until it can" if self._networks is None else "the copy read last stays in force",
            )
        self._note("lists_fail", {"url": self.url, "now_ms": now_ms, "error": reason}, stop)
        due_ms = AGAIN.due_ms(tries_made=self._failures, now_ms=now_ms, jitter=0)
        assert due_ms is not None
        return due_ms

    def _take(self, document: bytes) -> None:
        networks = parse_egress_document(document, setting=self.url).networks
        if self._networks is not None and set(networks) != set(self._networks):
            log.info("the list of addresses at %s has changed: %d entries", self.url, len(networks))
        self._networks = networks

    def _note(self, verb: str, named: dict[str, Any], stop: threading.Event) -> None:
        """Write down how it went, for the next start and for `hookline status`; not what was asked to end."""
        if stop.is_set():
            return
        try:
            self._stored(lambda database, verbs: database.run(lambda connection: verbs[verb].run(connection, named)))
        except StorageError as error:
            log.debug("how reading %s went is not written: %s", self.url, error)

    def _stored(self, work: Callable[[Database | AppDatabase, Verbs], T]) -> T:
        database = self._database()
        if isinstance(database, AppDatabase):
            self._used = database
        return work(database, Verbs("hookline.receiver", database.dialect))


def fetch_list(url: str) -> bytes:
    """The document at a URL. No redirect is followed and no proxy of the environment is used.

    Raises:
        OSError, ValueError, http.client.HTTPException: it is not to be had, too large, or too slow.
    """
    request = urllib.request.Request(url, headers={"Accept": ACCEPT})  # noqa: S310 - checked: check_source_url
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    deadline_s = time.monotonic() + TIMEOUT_S
    content = b""
    with opener.open(request, timeout=TIMEOUT_S) as response:
        while part := response.read1(MOST_BYTES):
            content += part
            if len(content) > MOST_BYTES:
                raise ValueError(f"expected at most {MOST_BYTES} bytes")
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"it took longer than {TIMEOUT_S:g} s")
    return content


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        """Whoever publishes a list names where it is."""


def _kept(database: Database | AppDatabase, verbs: Verbs, url: str) -> bytes | None:
    with database.read() as connection:
        rows = verbs["lists_read"].run(connection, {"url": url})
    return None if not rows or rows[0][0] is None else bytes(rows[0][0])


def _told(error: Exception) -> str:
    """What went wrong, without what the other side wrote."""
    if isinstance(error, urllib.error.HTTPError):
        return f"answered {error.code}" + (", and no redirect is followed" if 300 <= error.code < 400 else "")
    if isinstance(error, urllib.error.URLError):
        reason = error.reason
        return str(getattr(reason, "strerror", None) or getattr(reason, "verify_message", None) or reason)
    return str(error) or type(error).__name__
