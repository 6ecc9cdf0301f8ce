"""`FakeWorkOS`: a source to test against: Hookline's own sender, its API behind faults that are told beforehand.

No second API: what it answers, refuses, counts and delivers is the sender's own work over a real database.

    with FakeWorkOS(tmp_path) as fake:
        directory = fake.directories.create_directory(fake.environment, organization_id=None, name="Okta")
        fake.faults.expect("status/503", path="/directory_users", skip=2)     # in the middle of a pass
        source = HttpSource("https://fake.test", fake.api_key, exchange=fake.exchange)
"""

from __future__ import annotations

import asyncio
import base64
import concurrent.futures
import contextlib
import hashlib
import json
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, MutableMapping, Sequence
from email.utils import formatdate
from http.client import responses
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self, TypeAlias, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode

import uvicorn

from hookline.errors import RequestError
from hookline.loop import Clock, SystemClock
from hookline.receiver.source_http import Answered
from hookline.rules.address import parse_networks
from hookline.rules.schedule import Schedule
from hookline.sender.api import error_body
from hookline.sender.api_parts import UserGroups, dialect_of
from hookline.sender.app import SenderApp
from hookline.sender.directories import Directories
from hookline.sender.drafts import draft_event
from hookline.sender.event_writer import Publication
from hookline.sender.http import NO_TIME, Answer, CoroutineExchange, Exchange, Request
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.sender.ids import IdMaker
from hookline.sender.model import Environment
from hookline.storage import connect
from hookline.testing.due import has_due_deliveries
from hookline.testing.line import Line, Receive
from hookline.testing.past_database import LAG_MS, PastDatabase
from hookline.testing.source_faults import SourceFaults

T = TypeVar("T")

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]

PATIENCE_S: Final = 30.0
_POLL_S: Final = 0.002
# Where webhooks go that are handed to a `receive` of the test's own.
_LINE_URL: Final = "https://receiver.example/webhooks"
# Of a fake, for what only tests see: the same for every one, so that a folder can be opened again.
_ENCRYPTION_KEY: Final = base64.urlsafe_b64encode(hashlib.sha256(b"hookline.testing.FakeWorkOS").digest()).decode()
_LOOPBACK: Final = parse_networks(["127.0.0.0/8", "::1/128"], setting="")
_LISTS: Final = frozenset({"/organizations", "/directories", "/directory_users", "/directory_groups", "/events"})
_MOST_ON_A_PAGE: Final = 100
_JSON: Final = {"content-type": "application/json"}
_REQUEST_ID: Final = "req_00000000000000000000000000"
_PAGE_OF_HTML: Final = b"<!doctype html><html><head><title>Bad gateway</title></head><body>Bad gateway</body></html>"


class _Broken(NamedTuple):
    """No whole answer: `cut` is what comes before the connection breaks; of silence nothing ever does."""

    is_silent: bool
    cut: Answered | None = None


class FakeWorkOS:
    """A source. Use as a context manager, or `close` it.

    Args:
        where: a folder, for an SQLite file in it, or a database URL. What an earlier fake left there is still there.
        clock: what time it is, for everything in here; the machine's by default.
        environment: whose state, events and endpoints these are.
        seed: of what chance decides.
        user_groups: whether users are shown with their groups: `empty` as WorkOS does for newer teams, or `filled`.
        users_per_s: how often each directory's users may be listed; WorkOS allows 4. None is unlimited.
        schedule: when failed deliveries are tried again; the environment's own by default.
        delivers: whether webhooks are sent to the endpoints that are registered.

    Attributes:
        api_key: the one that its API takes.
        directories: the writes, each with the events that tell of it; every method begins with `environment`.
        silent_directories: the same writes, of which no event tells.
        faults: what befalls requests, what the API hides, what becomes of webhooks.
        line: what becomes of webhooks handed to `deliver_to`: lost, late, doubled.
        sender: the sender itself: its registry, publisher and store are there to be used.
    """

    def __init__(
        self,
        where: Path | str,
        *,
        clock: Clock | None = None,
        environment: Environment = "production",
        seed: int = 0,
        user_groups: UserGroups = "empty",
        users_per_s: float | None = None,
        schedule: Schedule | None = None,
        delivers: bool = True,
    ) -> None:
        self.environment: Environment = environment
        self.api_key = f"sk_{'live' if environment == 'production' else 'test'}_of_a_fake_workos"
        self.faults = SourceFaults(seed)
        self._clock = clock or SystemClock()
        self._present = connect(
            str(where) if "://" in str(where) else f"sqlite:///{Path(where).absolute() / 'workos.db'}"
        )
        self._database = PastDatabase(self._present, clock=self._clock, keep_ms=self._furthest_ms)
        self.line = Line(_nobody)
        self.sender = SenderApp(
            self._database,
            api_keys={environment: self.api_key},
            encryption_keys=[_ENCRYPTION_KEY],
            allowed_targets=_LOOPBACK,
            schedules=None if schedule is None else {environment: schedule},
            clock=self._clock,
            make_exchange=lambda **parts: _Webhooks(HttptoolsExchange(**parts), self.line, self.faults, self._clock),
            user_groups=user_groups,
            users_per_s=users_per_s,
            makes_keys=False,
        )
        self.directories = self.sender.directories
        self.silent_directories = Directories(
            self._database, self.sender.store, clock=self._clock, ids=IdMaker(), is_silent=True
        )
        self._loop = _Loop()
        self._stop: asyncio.Event | None = None
        self._delivering: Any = None
        self._server: _Served | None = None
        if delivers:
            self._stop = self._loop.run(_event())
            self._delivering = self._loop.begin(self.sender.run(self._stop))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop serving and delivering, and close the database."""
        if self._server is not None:
            self._loop.run(self._server.stop())
        if self._stop is not None:
            self._loop.call(self._stop.set)
            self._delivering.result(PATIENCE_S)
        self.sender.close()
        self._loop.close()
        self._database.close()
        self._present.close()

    # -- asking it -------------------------------------------------------------------------------------------------

    def exchange(self, method: str, target: str, headers: Mapping[str, str]) -> Answered:
        """One request without a body, in process: an `Exchange` of `hookline.receiver.source_http`.

        Raises: ConnectionResetError, TimeoutError, as a network would and as told.
        """
        answer = self._loop.run(self._answer(method, target, headers, b""))
        if isinstance(answer, Answered):
            return answer
        if answer.is_silent:
            raise TimeoutError("the fake answers nothing")
        raise ConnectionResetError("the fake broke the connection")

    @property
    def url(self) -> str:
        """Where it is served, on a loopback port; from the first time that anybody asks."""
        if self._server is None:
            self._server = _Served(self._answer)
            self._loop.run(self._server.start())
        return self._server.url

    # -- what happens at the source --------------------------------------------------------------------------------

    def publish(self, type_: str, data: Mapping[str, Any], *, organization_id: str | None = None) -> str:
        """Publish an event that is none of `directories`'; returns its id. RequestError as the API would refuse it."""
        draft = draft_event({"event": type_, "data": dict(data), "organization_id": organization_id})
        return self.sender.publisher.publish_inline(Publication(self.environment, (draft,)))[0].id

    def deliver_to(self, receive: Receive, *, events: Sequence[str] = ("*",)) -> str:
        """Hand webhooks to `receive` (a `Receiver.receive`), in memory, over `line`; returns the secret they bear.

        Once for a fake. Endpoints on the network are registered by `sender.registry`, or over the API.
        """
        self.line.hand_to(receive)
        endpoint = self.sender.registry.create(self.environment, url=_LINE_URL, events=list(events), actor="fake")
        return self.sender.registry.secret_of(endpoint)

    def drain(self) -> None:
        """Wait until every delivery that is due by the clock has been tried. TimeoutError where that takes too long."""
        deadline_s = time.monotonic() + PATIENCE_S
        while self._is_busy():
            if self._delivering is None or self._delivering.done():
                raise RuntimeError("nothing is delivered: the loop has ended, or was not asked for")
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"deliveries are still due after {PATIENCE_S:g} s")
            time.sleep(_POLL_S)

    # -- the inside ------------------------------------------------------------------------------------------------

    def _is_busy(self) -> bool:
        return has_due_deliveries(self._present, self._clock.now_ms())

    def _furthest_ms(self) -> int:
        return round(max(self.faults.lag_s, self.faults.events_lag_s) * 1000)

    async def _answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answered | _Broken:
        path, _, query = target.partition("?")
        fault, _, argument = (self.faults.draw(path) or "").partition("/")
        match fault:
            case "reset":
                return _Broken(is_silent=False)
            case "silence":
                return _Broken(is_silent=True)
            case "status":
                return self._made(_refusal(int(argument), path))
            case "rate-limited":
                wait = {"retry-after": argument} if argument else {}
                return self._made(Answered(429, {**_JSON, **wait}, b'"Ratelimited"'))
            case "html":
                return self._made(Answered(int(argument or 200), {"content-type": "text/html"}, _PAGE_OF_HTML))
            case "expired" if "after" in dict(parse_qsl(query)):
                return self._made(_expired(path))
        answer = await self._asked(method, path, self._paged(method, path, query), headers, body)
        match fault:
            case "cut":
                return _Broken(is_silent=False, cut=answer)
            case "truncated":
                return answer._replace(body=answer.body[: len(answer.body) // 2])
            case "wrong-types":
                return answer._replace(body=_with_wrong_types(answer.body))
            case "cycle" if path in _LISTS:
                return answer._replace(body=_with_cycle(answer.body, dict(parse_qsl(query)).get("after")))
        return answer

    def _paged(self, method: str, path: str, query: str) -> str:
        if self.faults.page_size is None or method != "GET" or path not in _LISTS:
            return query
        asked = parse_qsl(query, keep_blank_values=True)
        limits = [value for name, value in asked if name == "limit"]
        if limits and not (limits[-1].isdecimal() and int(limits[-1]) <= _MOST_ON_A_PAGE):
            return query  # the API refuses it
        limit = min(self.faults.page_size, int(limits[-1]) if limits else 10)
        return urlencode([*((name, value) for name, value in asked if name != "limit"), ("limit", str(limit))])

    async def _asked(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answered:
        dialect = dialect_of(path)
        lags = {
            "events": self.faults.events_lag_s,
            "directories": self.faults.lag_s,
            "directory_users": self.faults.lag_s,
        }
        # The routes run in threads that take over this context.
        token = LAG_MS.set(round(lags.get(dialect, 0) * 1000) if method == "GET" else 0)
        try:
            return self._made(await _ask(self.sender, method, path, query, headers, body))
        finally:
            LAG_MS.reset(token)

    def _made(self, answer: Answered) -> Answered:
        date = formatdate(self._clock.now_ms() / 1000, usegmt=True)
        return answer._replace(headers={**answer.headers, "date": date, "content-length": str(len(answer.body))})


async def _ask(app: Any, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answered:
    """One request to an ASGI application."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode("latin-1"),
        "query_string": query.encode("latin-1"),
        "root_path": "",
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    received: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        return received.pop() if received else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    names = {name.decode("latin-1"): value.decode("latin-1") for name, value in sent[0].get("headers", ())}
    return Answered(sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))


def _refusal(status: int, path: str) -> Answered:
    message = responses.get(status, "told to fail")
    body = error_body(RequestError(status, None, message), dialect_of(path), _REQUEST_ID)
    return Answered(status, {**_JSON, "x-request-id": _REQUEST_ID}, json.dumps(body, separators=(",", ":")).encode())


def _expired(path: str) -> Answered:
    error = RequestError(422, "cursor_expired", "told to have expired", [{"code": "cursor_expired", "field": "after"}])
    if dialect_of(path) != "events":
        error = RequestError(422, "cursor_expired", "`after`: told to have expired")
    body = error_body(error, dialect_of(path), _REQUEST_ID)
    return Answered(422, {**_JSON, "x-request-id": _REQUEST_ID}, json.dumps(body, separators=(",", ":")).encode())


def _with_wrong_types(body: bytes) -> bytes:
    if not body:
        return body  # of a deletion
    value = json.loads(body)
    if isinstance(value, dict):
        items = value.get("data", [value])
        for item in items:
            item["id"] = 7
        if not items:
            value["data"] = "none"
    return json.dumps(value, separators=(",", ":")).encode()


def _with_cycle(body: bytes, after: str | None) -> bytes:
    value = json.loads(body)
    if isinstance(value, dict) and value.get("data"):
        value["list_metadata"]["after"] = after or value["data"][0]["id"]
    return json.dumps(value, separators=(",", ":")).encode()


async def _event() -> asyncio.Event:
    return asyncio.Event()


def _nobody(*_: object) -> tuple[int, list[tuple[str, str]], bytes]:
    raise RuntimeError("nobody takes these webhooks: FakeWorkOS.deliver_to names who does")


class _Webhooks(CoroutineExchange):
    """An `Exchange` that loses and delays, over the network or a `Line`."""

    def __init__(self, network: Exchange, line: Line, faults: SourceFaults, clock: Clock) -> None:
        self._network, self._line, self._faults, self._clock = network, line, faults, clock

    async def send(self, request: Request) -> Answer:
        if self._faults.loses_webhook():
            return _taken(request)
        if self._faults.webhooks_delay_s:
            due_ms = self._clock.now_ms() + round(self._faults.webhooks_delay_s * 1000)
            await self._clock.sleep_until(due_ms, asyncio.Event())
        return await (self._line if request.url == _LINE_URL else self._network).send(request)

    async def close(self) -> None:
        await self._network.close()


def _taken(request: Request) -> Answer:
    """What the sender is told of a delivery that never arrives."""
    return Answer(
        status=200,
        error=None,
        detail=None,
        headers=(),
        body=b"",
        body_bytes=0,
        body_end="complete",
        address="127.0.0.1",
        tls=None,
        reused=False,
        redone=False,
        sent_headers=request.headers,
        timings=NO_TIME,
    )


class _Loop:
    """An event loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fake-workos", daemon=True)
        self._thread.start()

    def begin(self, work: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.begin(work).result(PATIENCE_S)

    def call(self, act: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(act)

    def close(self) -> None:
        self.run(self._finish())
        self.call(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _finish(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_default_executor()


class _Served:
    """The fake behind a socket: a server on the loop that it is started on."""

    def __init__(self, answer: Callable[..., Awaitable[Answered | _Broken]]) -> None:
        self._answer = answer
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                access_log=False,
                server_header=False,
                date_header=False,  # the fake's own clock says what time it is
                proxy_headers=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._serving = asyncio.create_task(self._server.serve([self._listening]))
        while not self._server.started:
            if self._serving.done():
                await self._serving
            await asyncio.sleep(_POLL_S)

    async def stop(self) -> None:
        self._server.should_exit = True
        if self._serving is not None:
            await self._serving
        self._listening.close()

    async def _app(self, scope: Scope, receive: Any, send: Any) -> None:
        parts: list[bytes] = []
        while (message := await receive())["type"] == "http.request":
            parts.append(message["body"])
            if not message.get("more_body"):
                break
        query = scope["query_string"].decode("latin-1")
        target = scope["raw_path"].decode("latin-1") + (f"?{query}" if query else "")
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        answer = await self._answer(scope["method"], target, headers, b"".join(parts))
        if isinstance(answer, Answered):
            await _send(send, answer, answer.body)
            return
        if answer.is_silent:
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        if answer.cut is not None:
            await _send(send, answer.cut, answer.cut.body[: len(answer.cut.body) // 2], more=True)
        _reset(send)


async def _send(send: Any, answer: Answered, body: bytes, *, more: bool = False) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})


def _reset(send: Any) -> None:
    """Break a connection of uvicorn's, whose `send` belongs to a request that knows its transport."""
    transport = send.__self__.transport
    with contextlib.suppress(OSError):
        # Lingering for no time at all is what sends RST instead of FIN.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
