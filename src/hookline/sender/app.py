"""The sender of one process: API, publisher and delivery loop over one database, put together.

Takes plain values; who reads the configuration, listens on a port and handles signals is the command. An app of
one's own can mount it as ASGI, run its loop, and publish through `publisher`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from hookline.errors import ConfigError, StorageError
from hookline.loop import SystemClock
from hookline.rules.address import Network, vet_ip, vet_url
from hookline.rules.health import HealthPolicy
from hookline.rules.schedule import Schedule
from hookline.sender import closing, directories, holding, replays, retention
from hookline.sender.closing import Closing
from hookline.sender.counters import Counters
from hookline.sender.deliver import SCHEDULES, Deliverer, Limits
from hookline.sender.directories import Directories
from hookline.sender.egress import published_egress
from hookline.sender.holding import Holding
from hookline.sender.http import configured_tls
from hookline.sender.http_dial import EgressProxy
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.sender.ids import IdMaker
from hookline.sender.job_store import JobStore
from hookline.sender.jobs import JobRunner
from hookline.sender.keys import ApiKeys, KeyHolder, KeyRing, make_missing_keys
from hookline.sender.listener_store import ListenerStore
from hookline.sender.listeners import Listeners
from hookline.sender.live import LiveFeed
from hookline.sender.model import ENVIRONMENTS, Environment
from hookline.sender.publish import Publisher
from hookline.sender.queries import Backlog, OpenWork, backlog, open_work
from hookline.sender.registry import Registry
from hookline.sender.replays import Replays
from hookline.sender.retention import Retention
from hookline.sender.secrets import open_box
from hookline.sender.statistics import Statistics
from hookline.sender.store import SenderStore
from hookline.sender.targets import TargetCheck
from hookline.sender.trials import Trials
from hookline.storage.migrate import migrate
from hookline.storage.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.api import SenderApi
    from hookline.sender.http import Exchange
    from hookline.storage import Connection, Database

log = logging.getLogger("hookline.sender")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
AsgiApp: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


# Longer than a round that waits for a locked database and tries again.
STUCK_MS: Final = 60_000


@dataclass(frozen=True, slots=True)
class StoredWork:
    """What the database holds of open work, and when that was read."""

    read_ms: int
    backlog: Mapping[Environment, Backlog]
    open: OpenWork


class SenderApp:
    """Everything the sender needs in one process.

    Brings the tables up to date, opens the secrets, and makes API keys for environments that have none. The
    caller keeps the database and closes it after `close`.

    Args:
        database: its tables may be shared with the receiver.
        api_keys: from the configuration, per environment.
        encryption_keys: from the configuration, newest first; None: on SQLite a key file beside the database.
        allow_private_targets: for development: plain http, loopback and private addresses may be called.
        allowed_targets: networks that may be called although they are not public.
        schedules: per environment; the built-in one where none is given.
        clock: what time it is, for everything in here.
        jitter: draws from -1 to 1.
        lookup: names to addresses, asked when an endpoint is saved; the system's resolver by default.
        make_exchange: how deliveries speak HTTP, an `Exchange` class or what makes one; called on the event loop that
            delivers, as `make_exchange(refuse=…, tls=…)`: with what is asked of every address before it is dialled,
            and the context that checks certificates. It knows of no egress proxy.
        targets_ca: authorities, in PEM, that endpoints' certificates are checked against beside the system's.
        egress: where deliveries come from, published for consumers; None publishes nothing.
        egress_proxy_url: `http://[user:password@]host[:port]`, through which deliveries go out; None: directly.
        api_calls_per_s: how often each API key may call this process; None is unlimited.
        limits: how many deliveries are under way at once.
        health: how long an endpoint may fail before it is disabled.
        kept_s: how long bodies and deliveries are kept, per environment; 30 and 7 days where not given.
        user_groups: whether `/directory_users` shows users with their groups (`filled`) or, as WorkOS does for newer
            teams, without (`empty`).
        users_per_s: how often each directory's users may be listed; None is unlimited (WorkOS: 4).
        makes_keys: whether an environment without an API key gets one.

    Attributes:
        made_keys: API keys made just now, in clear for the only time: to be printed once.
        publisher: to publish without HTTP.
        registry: to manage endpoints without HTTP.
        directories: to write organizations and directories without HTTP.
        api_keys: to manage API keys without HTTP.
        replays: to send events again without HTTP.
        trials: to test and check endpoints without HTTP.
        targets: whether a URL may be registered, and where it leads.
        schedules: the retries of each environment.
        egress: where deliveries come from, as it is published; empty where nothing is.
        store: the verbs, for whoever reads.
        live_feed: what is newest in the feed, for whoever watches.
        listeners: who hears the feed over a relay, and how far they came.
        retention: to remove what is past its time without waiting for the next round.
        counters: what this process has counted.
        statistics: what pages show of how much is sent and how it goes.
        load_api: gives what answers calls. Whoever calls it first waits half a second: a server, before it listens.

    Raises:
        ConfigError: a key is wrong or missing, `targets_ca` holds no certificate, or an egress proxy is named that
            `make_exchange` would pass by.
        MigrationError: the tables are of another version.
        StorageUnavailable: the database cannot be reached.
    """

    def __init__(
        self,
        database: Database,
        *,
        api_keys: Mapping[Environment, str] | None = None,
        encryption_keys: Sequence[str] | None = None,
        allow_private_targets: bool = False,
        allowed_targets: Sequence[Network] = (),
        schedules: Mapping[str, Schedule] | None = None,
        clock: Clock | None = None,
        jitter: Callable[[], float] | None = None,
        lookup: Callable[[str], Sequence[str]] | None = None,
        make_exchange: Callable[..., Exchange] | None = None,
        targets_ca: Path | None = None,
        egress: Sequence[Network] | None = None,
        egress_proxy_url: str | None = None,
        api_calls_per_s: float | None = None,
        limits: Limits | None = None,
        health: HealthPolicy | None = None,
        kept_s: Mapping[str, float] | None = None,
        user_groups: Literal["empty", "filled"] = "empty",
        users_per_s: float | None = None,
        makes_keys: bool = True,
    ) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._allowed = tuple(allowed_targets)
        self._allow_private = allow_private_targets
        self.schedules = {**SCHEDULES, **(schedules or {})}
        self.egress = tuple(egress or ())
        self._jitter = jitter or _draw_jitter
        self._limits = limits or Limits()
        if egress_proxy_url is not None and make_exchange is not None:
            raise ConfigError("egress_proxy_url", "is for the built-in exchange; expected it without make_exchange")
        # Read now, not with the first delivery: a file that is none stops the start.
        tls = configured_tls(targets_ca)
        make = make_exchange or functools.partial(HttptoolsExchange, proxy_url=_checked_proxy(egress_proxy_url))
        self._make_exchange = functools.partial(make, refuse=self._refuse_address, tls=tls)
        self._health = health or HealthPolicy()
        self.counters = Counters()
        configured = dict(api_keys or {})
        migrate(database, "sender", "hookline.sender")
        self.store = SenderStore(database.dialect)
        self._keys = KeyRing(database, self.store, configured, clock=self._clock)
        self._box = open_box(database, self.store, keys=encryption_keys, key_file=_key_file(database))
        ids = self._ids = IdMaker()
        self.made_keys: dict[Environment, str] = {}
        if makes_keys:
            self.made_keys = make_missing_keys(
                database, self.store, configured, box=self._box, ids=ids, now_ms=self._clock.now_ms()
            )
        self.targets = TargetCheck(allowed=self._allowed, allow_private=allow_private_targets, lookup=lookup)
        self.statistics = Statistics(database)
        self.publisher = Publisher(
            database, self.store, clock=self._clock, ids=ids, counters=self.counters, statistics=self.statistics
        )
        self.directories = Directories(
            database, self.store, clock=self._clock, ids=ids, counters=self.counters, statistics=self.statistics
        )
        self._jobs = JobStore(database.dialect)
        self._holding = Holding(self._jobs)
        self.registry = Registry(
            database, self.store, self._box, self._holding, clock=self._clock, ids=ids, check_url=self.targets
        )
        self.live_feed = LiveFeed(database.dialect)
        self.listeners = Listeners(
            database, self.store, ListenerStore(database.dialect), self.live_feed, self._box, clock=self._clock
        )
        self.api_keys = ApiKeys(database, self.store, self._box, clock=self._clock, ids=ids, changed=self._keys.forget)
        self.replays = Replays(database, self.store, self._jobs, clock=self._clock, ids=ids)
        self.trials = Trials(
            database,
            self.store,
            clock=self._clock,
            ids=ids,
            decrypt=self._box.open,
            make_exchange=self._make_exchange,
            refuse_url=self._refuse_url,
        )
        self.retention = Retention(self.store, self._jobs, kept_s=kept_s or {})
        database.run(lambda connection: self.retention.plan(connection, now_ms=self._clock.now_ms()))
        published = None if egress is None else published_egress(database, self.store, egress, self._clock.now_ms())

        def make_api() -> SenderApi:
            # The framework takes half a second to load: a process that answers no calls does without.
            from hookline.sender.api import SenderApi
            from hookline.sender.api_limit import CallLimit
            from hookline.sender.api_parts import CallContext
            from hookline.sender.directory_lists import DirectoryLists

            context = CallContext(
                database=database,
                store=self.store,
                registry=self.registry,
                publisher=self.publisher,
                directories=self.directories,
                keys=self._keys,
                clock=self._clock,
                ids=ids,
                box=self._box,
                api_keys=self.api_keys,
                schedules=self.schedules,
                replays=self.replays,
                trials=self.trials,
                lists=DirectoryLists(database.dialect),
                listeners=self.listeners,
                egress=published,
                user_groups=user_groups,
                users_limit=None if users_per_s is None else CallLimit(users_per_s),
            )
            return SenderApi(context, problems=self.problems, counters=self.counters, calls_per_s=api_calls_per_s)

        self.load_api = functools.cache(make_api)
        self._delivery_ended = False
        if allow_private_targets:
            log.warning(
                "private targets are allowed: endpoints may be plain http and lead to loopback and inner networks. "
                "For development only"
            )

    @property
    def clock(self) -> Clock:
        """What time it is in here."""
        return self._clock

    @property
    def database(self) -> Database:
        """What it keeps everything in, for whoever reads."""
        return self._database

    @property
    def openapi(self) -> dict[str, Any]:
        """The description of the API, as it is answered at `/openapi.json`."""
        return self.load_api().openapi

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Under a server with lifespan the delivery loop runs with it; else the caller runs `run`."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            await self.load_api()(scope, receive, send)

    def on_behalf(self, environment: Environment, actor: str) -> AsgiApp:
        """The API for somebody in this process, without a key; `actor` is what the audit trail calls them."""

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await self.load_api()(scope, receive, send, holder=KeyHolder(environment, actor, ""))

        return app

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver and do jobs until `stop` is set, then finish what is under way."""
        exchange = self._make_exchange()
        jobs = self.job_runner()
        deliverer = Deliverer(
            self._database,
            self.store,
            exchange,
            clock=self._clock,
            decrypt=self._box.open,
            jitter=self._jitter,
            schedules=self.schedules,
            limits=self._limits,
            health=self._health,
            ids=self._ids,
            refuse_url=self._refuse_url,
            counters=self.counters,
            statistics=self.statistics,
            note_job=jobs.note_due,
        )
        self._delivery_ended = False
        executor = ThreadPoolExecutor(1, thread_name_prefix="hookline-jobs")
        working = asyncio.get_running_loop().run_in_executor(executor, jobs.run)
        stopping = asyncio.create_task(_stop_with(stop, jobs))
        try:
            await deliverer.run(stop)
        finally:
            self._delivery_ended = True
            stopping.cancel()
            jobs.stop()
            await asyncio.gather(working, stopping, return_exceptions=True)
            executor.shutdown()
            await exchange.close()

    def key_holder(self, key: str) -> KeyHolder | None:
        """Whose API key this is; None for one that is not valid. May read the database."""
        return self._keys.find(key)

    def is_valid(self, holder: KeyHolder) -> bool:
        """Whether the key of somebody who is connected is still valid. May read the database."""
        return self._keys.is_valid(holder)

    @contextlib.contextmanager
    def look(self) -> Iterator[Connection]:
        """A connection that cannot write and sees one moment: for `store` and whatever else reads."""
        with self._database.snapshot() as connection:
            yield connection

    def job_runner(self) -> JobRunner:
        """Who does the jobs of this process: `run` has one of its own."""
        return JobRunner(
            self._database,
            self._jobs,
            clock=self._clock,
            kinds={
                closing.KIND: Closing(self.store, self._jobs).do_part,
                directories.KIND: self.directories.do_part,
                holding.KIND: self._holding.do_part,
                replays.KIND: self.replays.do_part,
                retention.KIND: self.retention.do_part,
            },
        )

    def backlog(self) -> StoredWork:
        """What waits in the database, for metrics. StorageUnavailable: it cannot be read."""
        now_ms = self._clock.now_ms()
        with self._database.read() as connection:
            return StoredWork(
                now_ms,
                {one: backlog(self.store, connection, one, now_ms=now_ms) for one in ENVIRONMENTS},
                open_work(self.store, connection),
            )

    def problems(self) -> list[str]:
        """What keeps this process from its work, for people; empty where nothing does. Reads the database."""
        found = []
        try:
            with self._database.read() as connection:
                self.store.setting(connection, "encryption_check")
        except StorageError as error:
            found.append(str(error))
        if self._delivery_ended:
            found.append("the delivery loop has ended")
        elif (beat_ms := self.counters.heartbeat_ms) is not None:
            # At rest a round begins every 5 s; one that is stuck in the database or on a lock begins no other.
            silent_ms = self._clock.now_ms() - beat_ms
            if silent_ms > STUCK_MS:
                found.append(f"the delivery loop has begun no round for {silent_ms // 1000} s")
        return found

    def close(self) -> None:
        """Finish what is being published. The delivery loop has ended by then."""
        self.publisher.close()
        if self._keys.has_uses():
            self._keys.write_uses()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        stop = asyncio.Event()
        await receive()
        self.load_api()
        delivering = asyncio.create_task(self.run(stop))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        stop.set()
        try:
            await delivering
        finally:
            self.close()
            await send({"type": "lifespan.shutdown.complete"})

    def _refuse_address(self, address: str) -> str | None:
        answer = vet_ip(address, allowed=self._allowed, allow_private=self._allow_private)
        return None if answer.allowed else answer.message

    def _refuse_url(self, environment: Environment, url: str) -> str | None:
        answer = vet_url(url, environment=environment, allowed=self._allowed, allow_private=self._allow_private)
        return None if answer.target is not None else answer.message


def _checked_proxy(url: str | None) -> str | None:
    if url is not None:
        try:
            EgressProxy.from_url(url)
        except ValueError as error:
            raise ConfigError("HOOKLINE_EGRESS_PROXY_URL", str(error)) from None
    return url


def _key_file(database: Database) -> Path | None:
    return Path(f"{database.path}.key") if isinstance(database, SqliteDatabase) else None


async def _stop_with(stop: asyncio.Event, jobs: JobRunner) -> None:
    """Jobs end with the stop, while the attempts under way may take their time."""
    await stop.wait()
    jobs.stop()


def _draw_jitter() -> float:
    return random.uniform(-1, 1)  # noqa: S311  (spreads load, guards nothing)
