"""A migrated sender database on a file, its store, a clock that stands still, and the API over them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography.fernet import Fernet

from hookline.sender.api import SenderApi
from hookline.sender.api_parts import CallContext
from hookline.sender.deliver import SCHEDULES
from hookline.sender.directories import Directories
from hookline.sender.directory_lists import DirectoryLists
from hookline.sender.holding import Holding
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.sender.ids import IdMaker
from hookline.sender.job_store import JobStore
from hookline.sender.keys import ApiKeys, KeyRing
from hookline.sender.listener_store import ListenerStore
from hookline.sender.listeners import Listeners
from hookline.sender.live import LiveFeed
from hookline.sender.publish import Publisher
from hookline.sender.registry import Registry
from hookline.sender.replays import Replays
from hookline.sender.secrets import SecretBox
from hookline.sender.store import SenderStore
from hookline.sender.targets import TargetCheck
from hookline.sender.trials import Trials
from hookline.storage import Database, connect
from hookline.storage.migrate import migrate
from hookline.testing.clock import TurnedClock

from .described import description_of

NOW_MS = 1_764_000_000_000
LIVE_KEY = "sk_live_for_tests"
TEST_KEY = "sk_test_for_tests"


@pytest.fixture
def clock() -> TurnedClock:
    return TurnedClock(NOW_MS)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = connect(f"sqlite:///{tmp_path / 'hookline.db'}")
    migrate(database, "sender", "hookline.sender")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> SenderStore:
    return SenderStore(database.dialect)


@pytest.fixture
def box() -> SecretBox:
    return SecretBox([Fernet.generate_key().decode()])


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        """Why it refused, in whichever dialect."""
        found: str = self.json["detail" if self.headers["content-type"] == "application/problem+json" else "message"]
        return found


@dataclass
class Client:
    """Calls an ASGI app in memory with a key, as a server would; each answer is held against the API's description."""

    app: Any
    key: str | None = LIVE_KEY
    problems: list[str] = field(default_factory=list)

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Answer:
        content = raw if raw is not None else (b"" if body is None else json.dumps(body).encode())
        sent = {"content-length": str(len(content))} if content else {}
        if content:
            sent["content-type"] = "application/json"
        if self.key is not None:
            sent["authorization"] = f"Bearer {self.key}"
        sent |= {name.lower(): value for name, value in (headers or {}).items()}
        return asyncio.run(self._ask_to_the_end(method, path, content, sent))

    async def _ask_to_the_end(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """With what the call leaves running beside it, which a server's loop would go on with."""
        answer = await self.ask(method, path, content, headers)
        if begun := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(begun)
        return answer

    async def ask(self, method: str, path: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """The same on a running event loop, with every header given."""
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        messages: list[Any] = []
        pending = [{"type": "http.request", "body": content, "more_body": False}]

        async def receive() -> Any:
            return pending.pop(0) if pending else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        start = messages[0]
        headers = {name.decode(): value.decode() for name, value in start["headers"]}
        answer = Answer(start["status"], headers, b"".join(message.get("body", b"") for message in messages[1:]))
        if (description := description_of(self.app)) is not None:
            description.check(method, path, answer.status, answer.headers, answer.body)
        return answer


@pytest.fixture
def context(database: Database, store: SenderStore, box: SecretBox, clock: TurnedClock) -> Iterator[CallContext]:
    ids = IdMaker()
    check = TargetCheck(lookup=lambda _host: ["93.184.215.14"])
    publisher = Publisher(database, store, clock=clock, ids=ids)
    keys = KeyRing(database, store, {"production": LIVE_KEY, "staging": TEST_KEY}, clock=clock)
    holding = Holding(JobStore(database.dialect))
    registry = Registry(database, store, box, holding, clock=clock, ids=ids, check_url=check)
    api_keys = ApiKeys(database, store, box, clock=clock, ids=ids, changed=keys.forget)
    yield CallContext(
        database,
        store,
        registry,
        publisher,
        keys,
        clock,
        ids,
        box=box,
        api_keys=api_keys,
        schedules=SCHEDULES,
        trials=Trials(
            database,
            store,
            clock=clock,
            ids=ids,
            decrypt=box.open,
            make_exchange=lambda: HttptoolsExchange(refuse=lambda _: None),
        ),
        replays=Replays(database, store, JobStore(database.dialect), clock=clock, ids=ids),
        directories=Directories(database, store, clock=clock, ids=ids),
        lists=DirectoryLists(database.dialect),
        listeners=Listeners(
            database, store, ListenerStore(database.dialect), LiveFeed(database.dialect), box, clock=clock
        ),
    )
    publisher.close()


@pytest.fixture
def call(context: CallContext) -> Client:
    problems: list[str] = []
    return Client(SenderApi(context, problems=lambda: problems), problems=problems)


@contextlib.contextmanager
def served(app: Any) -> Iterator[str]:
    """An app behind a real server on a port of the loopback interface; gives its URL."""
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            threading.Event().wait(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture
def base_url(call: Client) -> Iterator[str]:
    with served(call.app) as url:
        yield url
