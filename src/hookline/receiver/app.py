"""`Receiver`: the receiving end put together, and the one object an app holds.

Building one touches no disk and starts nothing, so that a module that builds it can be imported anywhere. The
database is opened (and, where it is Hookline's own, migrated) at the first use.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self, TypeVar

from hookline.errors import ConfigError, StorageError
from hookline.loop import Clock, SystemClock
from hookline.receiver.app_database import AppDatabase
from hookline.receiver.asgi import AsgiDoor
from hookline.receiver.counters import Counters
from hookline.receiver.handlers import Registry
from hookline.receiver.intake import CHANNEL, Intake, Opened
from hookline.receiver.minutes import Minutes
from hookline.receiver.model import NO_SOURCE, Entry, PutKind, Receipt, Request
from hookline.receiver.poke import Poke
from hookline.receiver.receive import MAX_BODY, NO_PATH, Doors, HeadersLike, answer, header_pairs
from hookline.receiver.rejections import Rejections
from hookline.receiver.resources import OPTIONAL
from hookline.receiver.retention import Pruner, Retention
from hookline.receiver.source import WORKOS_URL
from hookline.receiver.sources import DEFAULT, DEFAULT_PATH, Source, TailMode
from hookline.receiver.wsgi import WsgiDoor
from hookline.rules.address import parse_networks
from hookline.storage import Connection, Database, Verbs, connect, database_file, is_postgres
from hookline.storage.app_connection import announce
from hookline.storage.migrate import load_migrations, migrate, migrations_missing
from hookline.storage.outage import Outage
from hookline.wire.catalogue import nearest
from hookline.wire.schemes import Scheme
from hookline.wire.signature import TOLERANCE_S

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

    from hookline.receiver.callers import PublishedCallers
    from hookline.receiver.feeds import Feeds
    from hookline.receiver.handlers import Transactions
    from hookline.receiver.live import LiveInbox
    from hookline.receiver.mirror_search import Mirrored
    from hookline.receiver.pass_store import Pass
    from hookline.receiver.queries import InboxQueries
    from hookline.receiver.receive import Door
    from hookline.receiver.reconcile import Findings, Reconciler, Report
    from hookline.receiver.source import SourceApi
    from hookline.receiver.source_http import Exchange
    from hookline.receiver.status import Status
    from hookline.receiver.why import Why
    from hookline.receiver.work import Worker
    from hookline.rules.address import Network

log = logging.getLogger("hookline.receiver")

T = TypeVar("T")
Function = TypeVar("Function", bound=Callable[..., Any])

BODY_TIMEOUT_S = 10.0  # for a whole body: senders give the whole exchange 5 to 30 s
FLUSH_EVERY_S = 1.0
RETENTION = Retention()
_PART, _PACKAGE = "receiver", "hookline.receiver"
# With the commit, by the app's own connection: who keeps something opens none beside it.
_ANNOUNCE: Final = functools.partial(announce, channel=CHANNEL)


class Receiver:
    """Receives, keeps and applies the webhooks of one source, or of several.

        hooks = Receiver("sqlite:///app.db", secrets=[os.environ["WEBHOOK_SECRET"]])

        @hooks.on("dsync.user.created")
        def welcome(event, tx): ...

    Several sources are given as `sources=`; of one, its name is `source` and the rest of it (see `Source`) is given
    here directly: `secrets`, `scheme`, `path` (always `/webhooks` if not given), `path_token`, `allowed_ips`,
    `allowed_ips_url`, `tolerance_s`, `max_body`, `redact`, `retention`, and of its API `api_key`, `api_url`, `tail`,
    `tail_types`, `reconcile_every_s`, `api_over_http`, `exchange`.

    Args:
        database_url: a database of Hookline's: `sqlite:///app.db` or `postgresql://…`. Its tables are made at the first
            use.
        transactions: instead, the app's own database access; call `migrate()` once to make the tables.
        sources: several sources, each with its name, its path and its rules; and then nothing that is of one.
        secrets: every signing secret in force.
        source: the name everything is kept under.
        mirror: resources to mirror besides the usual ones: `invitation`, `session`. They say much about people and
            change often, so they are mirrored only where asked for; every worker of a database should be asked alike.
        trusted_proxies: addresses or networks whose `X-Forwarded-For` is believed.
        body_timeout_s: how long a client may take to send its body, where the server leaves that to us (ASGI).
        clock: what time it is.

    Raises:
        ConfigError: naming the argument.
    """

    # Whether it was made of the `HOOKLINE_…` variables, too.
    takes_settings: ClassVar[bool] = False

    def __init__(
        self,
        database_url: str | None = None,
        *,
        transactions: Transactions | None = None,
        sources: Sequence[Source] | None = None,
        secrets: Sequence[str] | None = None,
        source: str = DEFAULT,
        scheme: Scheme = "workos",
        mirror: Collection[str] = (),
        tolerance_s: float | None = TOLERANCE_S,
        path: str = DEFAULT_PATH,
        path_token: str | None = None,
        allowed_ips: str | Sequence[str] = (),
        allowed_ips_url: str | None = None,
        trusted_proxies: str | Sequence[str] = (),
        max_body: int = MAX_BODY,
        body_timeout_s: float = BODY_TIMEOUT_S,
        redact: Mapping[str, Sequence[str]] | None = MappingProxyType({}),
        retention: Retention | None = RETENTION,
        api_key: str | None = None,
        api_url: str = WORKOS_URL,
        tail: TailMode = "off",
        tail_types: Sequence[str] | None = None,
        reconcile_every_s: float | None = None,
        api_over_http: bool = False,
        exchange: Exchange | None = None,
        clock: Clock | None = None,
    ) -> None:
        if (database_url is None) == (transactions is None):
            raise ConfigError("database_url", "expected either database_url= or transactions=, and not both")
        if not body_timeout_s > 0:
            raise ConfigError("body_timeout_s", f"expected more than 0, got {body_timeout_s}")
        if isinstance(mirror, str) or not set(mirror) <= OPTIONAL:
            raise ConfigError("mirror", f"expected a list of some of {', '.join(sorted(OPTIONAL))}; got {mirror!r}")
        alone = Source(
            source,
            () if secrets is None else secrets,
            scheme=scheme,
            path=path,
            path_token=path_token,
            allowed_ips=allowed_ips,
            allowed_ips_url=allowed_ips_url,
            tolerance_s=tolerance_s,
            max_body=max_body,
            redact=redact,
            retention=retention,
            api_key=api_key,
            api_url=api_url,
            tail=tail,
            tail_types=tail_types,
            reconcile_every_s=reconcile_every_s,
            api_over_http=api_over_http,
            exchange=exchange,
        )
        self.sources: Final = _several(sources, alone) if sources is not None else (alone,)
        self._optional = frozenset(mirror)
        self.clock: Clock = SystemClock() if clock is None else clock
        self.body_timeout_s = body_timeout_s
        self.handlers = Registry()
        self.trusted_proxies = parse_networks(trusted_proxies, setting="trusted_proxies")
        self._lists = self._lists_of(self.sources)
        self.doors = Doors(
            [one.door(self.trusted_proxies, self._published(one)) for one in self.sources if one.has_door]
        )
        if database_url is not None:
            database = connect(database_url)  # says now what is wrong with the URL; opens nothing
            database.close()
        self._database_url = database_url
        self._transactions = transactions
        self._app_database = None if transactions is None else AppDatabase(transactions)
        self._outage = Outage(
            log,
            during="cannot keep webhooks, answering 503 until it works again",
            after="keeping webhooks again",
            now_ms=self.clock.now_ms,
        )
        self._rejections = Rejections()
        self._minutes = Minutes()
        self.counters = Counters()
        self._lock = threading.RLock()
        self._compiled: Verbs | None = None
        self.opened: Opened | None = None
        self._poke = Poke()
        self._failures: list[StorageError] = []
        self._flush_timer: threading.Timer | None = None
        self._flush_pid = 0
        # Its own: who closes waits, under the other, for a commit that asks for a timer.
        self._flush_lock = threading.Lock()

    # -- handlers ----------------------------------------------------------------------------------------------

    def on(
        self, pattern: str, *, source: str | None = None, name: str | None = None, unlisted: bool = False
    ) -> Callable[[Function], Function]:
        """Call a function once for every event of a type, as `function(event, tx)`: see `Registry.on`."""
        self._check_source("on", source)
        return self.handlers.on(pattern, source=source, name=name, unlisted=unlisted)

    def on_change(
        self, resource: str, *, source: str | None = None, name: str | None = None
    ) -> Callable[[Function], Function]:
        """Call a function for every accepted change of a resource, as `function(change, tx)`."""
        self._check_source("on_change", source)
        if resource in OPTIONAL - self._optional:
            asked = f"Receiver(mirror=[{resource!r}])"
            raise ConfigError("on_change", f"{resource!r} is mirrored only where asked for: {asked}")
        return self.handlers.on_change(resource, source=source, name=name)

    def on_kept(self, function: Function) -> Function:
        """Call a function soon after webhooks were kept, to wake a task queue of the app's: see `Registry.on_kept`."""
        return self.handlers.on_kept(function)

    # -- the door ----------------------------------------------------------------------------------------------

    def receive(
        self, method: str, path: str, headers: HeadersLike, body: bytes, peer: str | None
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Answer one request. Every adapter that waits in a thread comes down to this.

        Args:
            path: decoded, relative to where the receiver is mounted.
            headers: a mapping or pairs, in any case, text or bytes; a value may be a list.
            body: the raw bytes.
            peer: the address of the connection's other end.

        Returns: status, headers and body of the answer; 200 to a POST means that the entry is committed.
        """
        request = Request(method.upper(), path, header_pairs(headers), body, peer)
        door = self.doors.find(path)
        receipt = NO_PATH if door is None else door.receive(request, self._put_inline, self.clock.now_ms())
        if receipt.kind == "refused":
            self.note(receipt, peer, door)
        pairs, content = answer(receipt)
        return receipt.status, [(name.decode("latin-1"), value.decode("latin-1")) for name, value in pairs], content

    def note(self, receipt: Receipt, peer: str | None, door: Door | None) -> None:
        """Count a refusal by a door; None: there was none at that path.

        It is written within a second or so, together with all others of that time.
        """
        # Where nothing is, is no source's; but of one source everything is.
        source = door.source if door is not None else self._only_source or NO_SOURCE
        self._rejections.note(receipt, source, peer, self.clock.now_ms())
        self.counters.request_refused(source, str(receipt.reason))
        self._flush_soon()

    def flush(self) -> None:
        """Write what was refused and kept so far, in numbers; what cannot be written now waits for the next time."""
        rows, minutes = self._rejections.drain(), self._minutes.drain()
        if not rows and not minutes:
            return
        try:
            self.intake.add_counts(rows, minutes)
        except Exception as error:
            self._rejections.restore(rows)
            self._minutes.restore(minutes)
            # A broken database is reported where it costs a webhook.
            log.debug("counts of requests are not written yet: %s", error)
            return
        for row in rows:
            log.warning(
                "refused %d request(s): %s, the first: %s",
                row.times,
                row.reason,
                row.sample,
                extra={"source": row.source},
            )

    # -- the ends of it ----------------------------------------------------------------------------------------

    def worker(self, *, concurrency: int = 4) -> Worker:
        """What applies the inbox and runs this receiver's handlers, up to `concurrency` of them at once."""
        from hookline.receiver.work import Access, Worker  # a process that is only a door never needs it

        return Worker(
            Access(self.database, transactions=self._transactions),
            self.handlers,
            clock=self.clock,
            concurrency=concurrency,
            optional=self._optional,
            counters=self.counters,
            asking=[one.name for one in self.sources if one.api_key is not None],
            pruners=[
                Pruner(self._verbs(), one.name, one.retention) for one in self.sources if one.retention is not None
            ],
        )

    def run_worker(self, stop: threading.Event, *, concurrency: int = 4) -> None:
        """Apply and run handlers on this thread until `stop` is set; what is under way is finished first."""
        worker = self.worker(concurrency=concurrency)

        def wake_at_end() -> None:
            stop.wait()
            worker.wake.set()

        threading.Thread(target=wake_at_end, name="hookline-worker-stop", daemon=True).start()
        with self.feeds():
            worker.run(stop)

    def feeds(self) -> Feeds:
        """What a worker does beside: reads the feeds of the sources that have an API, and compares with what they list.

        `run_worker` runs it; who runs a `worker` by hand enters this as a context around it.
        """
        from hookline.receiver.feeds import Feeds  # as for the worker
        from hookline.receiver.work import Access

        return Feeds(
            Access(self.database, transactions=self._transactions),
            [one for one in self.sources if one.api_key is not None],
            clock=self.clock,
            optional=self._optional,
            counters=self.counters,
            keeping=None if self._app_database is None else _ANNOUNCE,
            kept=self._tell_kept,
        )

    def source_api(self, source: str | None = None) -> SourceApi:
        """A source's API, to be closed after use; `source` is needed only where there are several.

        Raises: ConfigError where there is no such source, or no key to ask it with.
        """
        self._check_source("source", source)
        if source is None and (source := self._only_source) is None:
            raise ConfigError("source", f"expected one of {', '.join(one.name for one in self.sources)}: who is asked?")
        [asked] = [one for one in self.sources if one.name == source]
        api = asked.api(self.clock, self.counters.requests[source])
        if api is None:
            raise ConfigError(
                "api_key", f"{source!r} has none; expected HOOKLINE_WORKOS_API_KEY, or Source(…, api_key=…)"
            )
        return api

    def findings(self, source: str) -> Findings:
        """Passes and differences of one source, to be looked at, ended or left alone: needs no key of its API.

        Raises: as `open`.
        """
        from hookline.receiver.reconcile import Findings  # as for the worker
        from hookline.receiver.work import Access

        return Findings(Access(self.database, transactions=self._transactions), source, self.clock)

    @contextlib.contextmanager
    def reconciler(self, source: str | None = None) -> Iterator[Reconciler]:
        """Passes and differences of one source, to be begun, followed and dealt with; `source` as of `source_api`.

        Raises: as `source_api` and `open`.
        """
        from hookline.receiver.reconcile import Reconciler  # as for the worker
        from hookline.receiver.work import Access

        with contextlib.closing(self.source_api(source)) as api:
            access = Access(self.database, transactions=self._transactions)
            yield Reconciler(access, source or self.sources[0].name, api, self.clock)

    def backfill(
        self, *, source: str | None = None, directory_id: str | None = None, allow_mass_delete: bool = False
    ) -> Report:
        """Read all that a source lists into the mirror, here and now; what is interrupted, a worker goes on with.

        Args:
            source: as of `source_api`.
            directory_id: of this directory alone.
            allow_mass_delete: let go whatever is gone at the source, however much of a list it is.

        Returns: how it ended: `report.pass_.state` is `completed`, or `stopped` with a `reason`.
        """
        with self.reconciler(source) as reconciler:
            return reconciler.run(
                "backfill",
                "apply",
                directory_id=directory_id,
                allow_mass_delete=allow_mass_delete,
                asked_by="app",
            )

    def reconcile(
        self,
        *,
        source: str | None = None,
        directory_id: str | None = None,
        apply: bool = False,
        allow_mass_delete: bool = False,
    ) -> Report:
        """Compare the mirror with all that a source lists, here and now: `report.has_drift`. With `apply` put it right.

        The other arguments, and what is returned, are as of `backfill`; `reconciler` gives the single differences.
        """
        with self.reconciler(source) as reconciler:
            return reconciler.run(
                "reconcile",
                "apply" if apply else "dry_run",
                directory_id=directory_id,
                allow_mass_delete=allow_mass_delete,
                asked_by="app",
            )

    def passes(self, source: str | None = None, *, limit: int = 20) -> list[Pass]:
        """The newest passes of a source, or of all, the newest first."""
        from hookline.receiver.pass_store import PassStore

        self._check_source("source", source)
        with self._reached.read() as connection:
            return PassStore(self._verbs()).newest(connection, source, limit)

    def drain(self) -> None:
        """Apply and run handlers on this thread until nothing is due: for tests, and for scripts."""
        self.worker().drain()

    def is_active(self, resource: str, id: str, *, source: str | None = None) -> bool:  # noqa: A002 - as in the tables
        """Whether an object is alive in the mirror, its parents too, and in an active state: for permission checks.

        Fails closed: what is unknown, not of this source, or in a state nobody knows is not active.

        Args:
            resource: `directory_user`, `directory_membership`, …
            id: the object's; of a membership `group_id/user_id`.
            source: whose mirror; needed only where there are several.

        Raises:
            ConfigError: no such resource or source, or none is named where there are several.
            StorageUnavailable: it cannot be looked up; refuse access then.
        """
        from hookline.receiver.queries import is_active  # as for the worker

        self._check_source("is_active", source)
        if source is None and (source := self._only_source) is None:
            raise ConfigError("source", f"expected one of {', '.join(one.name for one in self.sources)}: who is asked?")
        with self._reached.read() as connection:
            return is_active(connection, self._verbs(), source, resource, id)

    @contextlib.contextmanager
    def look(self, source: str | None = None) -> Iterator[tuple[InboxQueries, Connection]]:
        """The queries of a source, or of all that are in the database, and a connection to run them on."""
        from hookline.receiver.queries import InboxQueries

        with self._reached.read() as connection:
            yield InboxQueries(self._verbs(), source), connection

    @contextlib.contextmanager
    def look_at_mirror(self, source: str) -> Iterator[Mirrored]:
        """The mirror of a source as it is at one moment, whether this receiver has that source or only its database."""
        from hookline.receiver.mirror_search import Mirrored

        with self._moment() as connection:
            yield Mirrored.of(self._verbs(), source, connection)

    def why(self, resource: str, id: str, *, source: str, newest: int | None = None) -> Why:  # noqa: A002 - as `is_active`
        """Why an object is in the mirror as it is: see `why.why`.

        Raises: ConfigError: no such resource.
        """
        from hookline.receiver.why import why

        with self._moment() as connection:
            return why(self._verbs(), connection, resource, id, source=source, newest=newest)

    @contextlib.contextmanager
    def look_live(self) -> Iterator[tuple[LiveInbox, Connection]]:
        """What is newest in the inbox, for whoever watches, and a connection to read it on."""
        from hookline.receiver.live import LiveInbox

        with self._reached.read() as connection:
            yield LiveInbox(self._verbs()), connection

    def status(self, *, counts_mirror: bool = True) -> Status:
        """How it is doing, and what of that needs somebody: what `hookline status` shows.

        Args:
            counts_mirror: whether the rows of the mirror are counted, which takes long where they are many.

        Raises: as `open`.
        """
        from hookline.receiver.mirror_queries import MirrorQueries
        from hookline.receiver.status import read_status

        tailed = [one.name for one in self.sources if one.tail != "off"]
        scheduled = {
            one.name: one.reconcile_every_s for one in self.sources if one.reconcile_every_s is not None and one.api_key
        }
        with self.look() as (queries, connection):
            sources = queries.sources(connection) if counts_mirror else ()
            mirror = {source: MirrorQueries(self._verbs(), source) for source in sources}
            return read_status(
                connection, queries, mirror, self.clock.now_ms(), lists=self._lists, tailed=tailed, scheduled=scheduled
            )

    def asgi(self) -> AsgiDoor:
        """An ASGI application: serve it alone, or mount it (`app.mount("/hooks", receiver.asgi())`)."""
        return AsgiDoor(self)

    def wsgi(self) -> WsgiDoor:
        """A WSGI application: serve it alone, or mount it under a dispatcher."""
        return WsgiDoor(self)

    @property
    def intake(self) -> Intake:
        """Where entries are kept, opened."""
        return (self.opened or self.open()).intake

    @property
    def database(self) -> Database | None:
        """Hookline's own database, opened; None on the app's transactions."""
        return self.open().database

    def migrate(self) -> int:
        """Bring the tables up to date; returns how many migrations were applied. Own databases do it when opened."""
        return migrate(self._reached, _PART, _PACKAGE)

    def missing_migrations(self) -> int:
        """How many migrations its database still lacks; nothing is opened, made or changed for it.

        Raises: StorageUnavailable, MigrationError, ConfigError.
        """
        if self._app_database is not None:
            return migrations_missing(self._app_database, _PART, _PACKAGE)
        assert self._database_url is not None
        if (file := self.sqlite_file()) is not None and not file.exists():
            return len(load_migrations(_PACKAGE, "sqlite"))
        with contextlib.closing(connect(self._database_url)) as database:
            return migrations_missing(database, _PART, _PACKAGE)

    @property
    def owns_database(self) -> bool:
        """Whether its tables are in a database of Hookline's own, and not reached through the app's transactions."""
        return self._app_database is None

    def sqlite_file(self) -> Path | None:
        """The file of its database, which need not exist; None where it has none.

        Raises: StorageUnavailable: the app's database cannot be asked.
        """
        url = self._database_url if self._app_database is None else self._app_database.url()
        return None if url is None or is_postgres(url) else database_file(url, setting="")

    def follow_lists(self) -> None:
        """Begin to read the published lists of addresses, in the background; else the first request begins it."""
        for callers in self._lists.values():
            callers.follow()

    def is_ready(self) -> bool:
        """Whether a POST could be answered 200 now: a source has a secret, and the inbox can be reached.

        Where no source has a door, whether the inbox can be reached.
        """
        if any(one.has_door for one in self.sources) and not any(door.has_secret for door in self.doors):
            return False
        try:
            self._probe()
        except Exception as error:
            log.warning("not ready: %s", error)
            return False
        return True

    def open(self) -> Opened:
        """Open the database unless it is open.

        Raises: StorageUnavailable, MigrationError, ConfigError.
        """
        failures = self._failures
        with self._lock:
            if self.opened is not None:
                return self.opened
            if self._failures is not failures:
                # Somebody tried while this thread waited for the lock. One at a time would add up their timeouts.
                raise self._failures[0]
            try:
                self.opened = self._open()
            except StorageError as error:
                self._failures = [error]
                self._outage.failed(error)
                raise
            return self.opened

    def close(self) -> None:
        """Write what is counted, finish what is under way, and close. The next use opens again."""
        for callers in self._lists.values():
            callers.close()  # before the lock is taken: its thread may be about to open the database
        with self._lock:
            if self.opened is not None:
                self.opened.intake.close()  # first: what is under way is counted, too
            with self._flush_lock:
                timer, self._flush_timer = self._flush_timer, None
            if timer is not None:
                timer.cancel()
            self.flush()
            opened, self.opened = self.opened, None
            if opened is not None:
                opened.intake.close()
                if opened.database is not None:
                    opened.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- the inside --------------------------------------------------------------------------------------------

    def _lists_of(self, sources: Sequence[Source]) -> dict[str, PublishedCallers]:
        urls = {one.allowed_ips_url for one in sources if one.allowed_ips_url is not None}
        if not urls:
            return {}
        from hookline.receiver.callers import PublishedCallers  # an HTTP client, which hardly any receiver needs

        return {url: PublishedCallers(url, database=lambda: self._reached, clock=self.clock) for url in urls}

    def _published(self, source: Source) -> Callable[[], Sequence[Network] | None] | None:
        return None if source.allowed_ips_url is None else self._lists[source.allowed_ips_url].look

    @property
    def _only_source(self) -> str | None:
        return self.sources[0].name if len(self.sources) == 1 else None

    def _check_source(self, setting: str, source: str | None) -> None:
        names = [one.name for one in self.sources]
        if source is not None and source not in names:
            near = nearest(source, names)
            hint = f"did you mean {near!r}?" if near else f"there is {', '.join(names)}"
            raise ConfigError(setting, f"no source is {source!r}; {hint}")

    def _put_inline(self, entry: Entry) -> PutKind:
        return self.intake.put_inline(entry)

    def _open(self) -> Opened:
        if self._app_database is not None:
            app = self._app_database
            intake = Intake(
                app,
                self._outage,
                self.counters,
                minutes=self._minutes,
                takes_minutes_along=True,
                keeping=_ANNOUNCE,
                kept=self._tell_kept,
                end_thread=app.end_thread,
            )
            return Opened(None, intake)
        assert self._database_url is not None
        database = connect(self._database_url)
        try:
            migrate(database, _PART, _PACKAGE)
        except BaseException:
            database.close()
            raise

        def kept() -> None:
            database.notify(CHANNEL)
            self._flush_soon()
            self._tell_kept()

        return Opened(database, Intake(database, self._outage, self.counters, minutes=self._minutes, kept=kept))

    def _tell_kept(self) -> None:
        if (function := self.handlers.poked) is not None:
            self._poke(function)

    @property
    def _reached(self) -> Database | AppDatabase:
        if self._app_database is not None:
            return self._app_database
        database = self.database
        assert database is not None
        return database

    def _moment(self) -> AbstractContextManager[Connection]:
        """A connection that sees one moment; on the app's transactions one of those."""
        database = self.database
        return self._reached.read() if database is None else database.snapshot()

    def _verbs(self) -> Verbs:
        if self._compiled is None:
            self._compiled = Verbs(_PACKAGE, self._reached.dialect)
        return self._compiled

    def _probe(self) -> None:
        with self._reached.read() as connection:
            connection.cursor().execute("select 1 from hookline_inbox limit 1")

    def _flush_soon(self) -> None:
        if self._flush_timer is not None and self._flush_pid == os.getpid():
            return
        with self._flush_lock:
            # A timer's thread does not survive a fork.
            if self._flush_timer is None or self._flush_pid != os.getpid():
                self._flush_pid = os.getpid()
                self._flush_timer = threading.Timer(FLUSH_EVERY_S, self._flush_on_time)
                self._flush_timer.daemon = True
                self._flush_timer.start()

    def _flush_on_time(self) -> None:
        self._flush_timer = None
        self.flush()


def _several(sources: Sequence[Source], alone: Source) -> tuple[Source, ...]:
    """The sources, unless something is said besides that is of one: `alone` is made of that."""
    if not sources or not all(isinstance(one, Source) for one in sources):
        raise ConfigError("sources", "expected a list of Source(…), at least one")
    for one in fields(Source):
        if getattr(alone, one.name) != getattr(_NOTHING_SAID, one.name):
            argument = "source" if one.name == "name" else one.name
            raise ConfigError(argument, f"expected as Source({one.name}=…) in sources=, and not besides that")
    return tuple(sources)


_NOTHING_SAID: Final = Source()
