"""How commands reach the sender: by its API, whether it is a server elsewhere or the database of these settings.

A local command puts the API together over the database and calls it in memory, as the operator: there is one path,
with one set of checks and errors, and the audit trail says `command`. A remote one speaks HTTP with an API key.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import sys
import uuid
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, Protocol
from urllib.parse import quote, unquote, urlencode, urlsplit

from cyclopts import Parameter

import hookline
from hookline.cli import MANNER, talk
from hookline.config import SETTINGS, Settings, load
from hookline.errors import ConfigError, MigrationError, RequestError, ServerUnreachable
from hookline.rules.address import is_loopback
from hookline.storage import connect, database_file
from hookline.storage.migrate import migrations_missing

if TYPE_CHECKING:
    from hookline.cli.server import AsgiApp

TIMEOUT_S: Final = 60.0
KEYS: Final = {"production": "api_key", "staging": "staging_api_key"}
"""The setting that has the API key of an environment."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Place:
    """Which sender, and which of its environments.

    Parameters
    ----------
    env:
        The environment, each with its own endpoints, events and keys.
    url:
        A server to ask, as https://hooks.example.com; else HOOKLINE_URL; else the database of the settings. Its API
        key comes from HOOKLINE_API_KEY, of staging from HOOKLINE_STAGING_API_KEY.
    database_url:
        The database of the sender, instead of a server; else HOOKLINE_SENDER_DATABASE_URL or HOOKLINE_DATABASE_URL.
    """

    env: Literal["production", "staging"] = "production"
    url: str | None = None
    database_url: Annotated[str | None, Parameter(name="--database-url")] = None


HERE: Final = Place()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API answered."""

    status: int
    content_type: str
    body: bytes


class StreamedAnswer(NamedTuple):
    """An answer that is still coming: its head, and its lines."""

    headers: Message
    lines: Iterator[bytes]


class Transport(Protocol):
    """A way to make a request of the API, and whom it is made of, for people."""

    @property
    def whom(self) -> str: ...

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Make one request; `target` is path and query. ServerUnreachable where there is no answer."""


@dataclass(frozen=True, slots=True)
class _Call:
    """A request of the API, before it is written."""

    method: str
    path: str
    query: Mapping[str, object] | None = None
    body: object = None
    headers: Mapping[str, str] | None = None


class ApiClient:
    """Calls of the API, with answers as decoded JSON and refusals as `RequestError`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self, path: str, query: Mapping[str, object] | None = None) -> Any:
        """One read; None values of `query` are left out, lists become repeated parameters."""
        return self._decoded(_Call("GET", path, query=query))

    def bytes_of(self, path: str) -> bytes:
        """What a read answers, as it is."""
        return self._answer(_Call("GET", path)).body

    def post(self, path: str, body: object = None, *, idempotency_key: str | None = None) -> Any:
        """One action. It carries an idempotency key, so that whoever repeats the request repeats nothing else."""
        key = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._decoded(_Call("POST", path, body=body, headers=key))

    def patch(self, path: str, body: object) -> Any:
        """One change."""
        return self._decoded(_Call("PATCH", path, body=body))

    def put(self, path: str, body: object) -> Any:
        """One value put in its place."""
        return self._decoded(_Call("PUT", path, body=body))

    def delete(self, path: str) -> None:
        """One deletion."""
        self._decoded(_Call("DELETE", path))

    def pages(self, path: str, query: Mapping[str, object]) -> Iterator[dict[str, Any]]:
        """Every page of a list from here on; the list's own order is kept."""
        asked = dict(query)
        while True:
            page = self.get(path, asked)
            yield page
            asked["after"] = page["list_metadata"]["after"]
            if asked["after"] is None:
                return

    def _decoded(self, call: _Call) -> Any:
        answer = self._answer(call)
        if not answer.body:
            return None
        try:
            return json.loads(answer.body)
        except ValueError:
            raise ServerUnreachable(
                f"expected JSON from {call.method} {call.path}, got {answer.content_type or 'something else'}: "
                "is this Hookline?"
            ) from None

    def _answer(self, call: _Call) -> Answer:
        given = {name: value for name, value in (call.query or {}).items() if value is not None}
        target = call.path + ("?" + urlencode(given, doseq=True) if given else "")
        sent = {"Accept": "application/json", "User-Agent": f"hookline/{hookline.__version__}", **(call.headers or {})}
        content = b""
        if call.body is not None:
            content = json.dumps(call.body, ensure_ascii=False).encode("utf-8", "surrogatepass")
            sent["Content-Type"] = "application/json"
        answer = self._transport.send(call.method, target, sent, content)
        if MANNER.get().verbose:
            talk(f"{call.method} {target}: {answer.status}, {len(answer.body)} bytes, from {self._transport.whom}")
        if answer.status >= 400:
            raise _refusal(answer)
        return answer


def segment(text: str) -> str:
    """A part of a path that comes from outside."""
    return quote(text, safe="")


@contextmanager
def sender_api(place: Place) -> Iterator[ApiClient]:
    """The API of a place, open for some calls.

    Raises:
        ConfigError: the place cannot be: both a server and a database, or no such database.
        RequestError: 401 where a server is named and no key.
        MigrationError: the database is of another version than this command.
    """
    settings = load({"database_url": place.database_url})
    with ExitStack() as ends:
        yield ApiClient(_transport(place, settings, ends))


def _transport(place: Place, settings: Settings, ends: ExitStack) -> Transport:
    return remote_server(place, settings) or _local(place, settings, ends)


def remote_server(place: Place, settings: Settings | None = None) -> RemoteServer | None:
    """The server of a place; None where it is a database.

    Raises:
        ConfigError: both a server and a database, or no URL of one.
        RequestError: 401 where there is no key.
    """
    settings = settings or load({"database_url": place.database_url})
    if place.url is not None and place.database_url is not None:
        raise ConfigError("--url", "expected a server or a database; drop --url or --database-url")
    url = place.url if place.url is not None else None if place.database_url is not None else settings["url"]
    if url is None:
        return None
    key = settings[KEYS[place.env]]
    if key is None:
        raise RequestError(
            401,
            "not_logged_in",
            f"{SETTINGS[KEYS[place.env]].variable} is not set: a server is asked with the API key of {place.env}",
        )
    return RemoteServer(url, key, "--url" if place.url is not None else settings.resolved["url"].origin)


def _local(place: Place, settings: Settings, ends: ExitStack) -> Transport:
    from hookline.cli.sender_app import sender_of

    config = settings.sender()
    database = open_sender_database(settings, place.database_url, ends)
    missing = migrations_missing(database, "sender", "hookline.sender")
    if missing:
        raise MigrationError(
            f"the sender's tables in this database lack {missing} migration(s) of this version: `hookline db upgrade` "
            "applies them, and so does starting the server"
        )
    sender = sender_of(config, database, makes_keys=False)
    ends.callback(sender.close)
    return _InMemory(sender.on_behalf(place.env, "command"), ends)


def open_sender_database(settings: Settings, database_url: str | None, ends: ExitStack) -> Any:
    """The sender's database, which has to be there already.

    Raises:
        ConfigError: there is none at that place.
    """
    # A database named on the command line is meant, whatever the sender's own setting says.
    url = settings["database_url"] if database_url is not None else settings.sender().database_url
    setting = "--database-url" if database_url is not None else SETTINGS["database_url"].variable
    if url.startswith("sqlite:"):
        file = database_file(url, setting=setting)
        if not file.exists():
            raise ConfigError(
                setting,
                f"there is no database {file}; `hookline serve` and `hookline db upgrade` make one, and a server is "
                "named with --url or HOOKLINE_URL",
            )
    database = connect(url, setting=setting)
    ends.callback(database.close)
    return database


class RemoteServer:
    """A server over HTTP or HTTPS, a connection per request. Proxies of the environment are not used."""

    def __init__(self, url: str, key: str, origin: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise ConfigError(origin, "expected the root of a server, as https://hooks.example.com")
        if parts.username is not None or parts.password is not None:
            raise ConfigError(origin, "expected no user or password in it: the API key is HOOKLINE_API_KEY")
        self._origin = origin
        self.whom = f"{parts.scheme}://{parts.netloc} ({origin})"
        self._parts = parts
        self._key = key
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            print("warning: the API key goes to this server in clear: expected https://", file=sys.stderr)

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """One request and its whole answer."""
        with self._asked(method, target, headers, body) as answer:
            return self._whole(answer)

    @contextmanager
    def stream(self, target: str) -> Iterator[StreamedAnswer]:
        """An answer to be read as it comes.

        Raises: ServerUnreachable; RequestError for any answer but 200.
        """
        with self._asked("GET", target, {"Accept": "text/event-stream, application/json"}, b"") as answer:
            if answer.status != 200:
                raise _refusal(self._whole(answer))
            yield StreamedAnswer(answer.headers, self._lines(answer))

    def _whole(self, answer: http.client.HTTPResponse) -> Answer:
        with self._reaching():
            return Answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())

    def _lines(self, answer: http.client.HTTPResponse) -> Iterator[bytes]:
        # What goes wrong where a line is put to use is none of the server's: it is not within `_reaching`.
        while True:
            with self._reaching():
                line = answer.readline()
            if not line:
                return
            yield line

    @contextmanager
    def _asked(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Iterator[http.client.HTTPResponse]:
        parts = self._parts
        connection = self._connection()
        try:
            with self._reaching():
                connection.request(
                    method,
                    parts.path.rstrip("/") + target,
                    body or None,
                    {**headers, "Authorization": f"Bearer {self._key}"},
                )
                answer = connection.getresponse()
            yield answer
        finally:
            connection.close()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """What happens to a connection, as ServerUnreachable."""
        parts = self._parts
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise ServerUnreachable(
                f"cannot reach {parts.scheme}://{parts.netloc}, which {self._origin} names: {why}. "
                "Does `hookline serve` run there?"
            ) from None

    def _connection(self) -> http.client.HTTPConnection:
        host, port = str(self._parts.hostname), self._parts.port
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=ssl.create_default_context())


class _InMemory:
    """An ASGI application in this process, on an event loop that lasts as long as the client."""

    def __init__(self, app: AsgiApp, ends: ExitStack) -> None:
        self._app = app
        self.whom = "the database of the settings"
        self._runner = ends.enter_context(asyncio.Runner())

    def send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        return self._runner.run(self._send(method, target, headers, body))

    async def _send(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answer:
        path, _, query = target.partition("?")
        sent = [(name.lower().encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        if body:
            sent.append((b"content-length", str(len(body)).encode()))
        scope: MutableMapping[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": sent,
            "client": ("127.0.0.1", 0),
            "server": ("command", 0),
        }
        messages: list[MutableMapping[str, Any]] = []
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> MutableMapping[str, Any]:
            return unread.pop() if unread else {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await self._app(scope, receive, send)
        start, *rest = messages
        found = dict(start["headers"])
        content_type: bytes = found.get(b"content-type", b"")
        return Answer(
            start["status"], content_type.decode("latin-1"), b"".join(message.get("body", b"") for message in rest)
        )


def _refusal(answer: Answer) -> RequestError:
    try:
        told = json.loads(answer.body)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        return RequestError(
            answer.status, None, f"the server answered {answer.status} and nothing that Hookline says: is this one?"
        )
    errors = told.get("errors")
    message = str(told.get("detail") or told.get("message") or f"the server answered {answer.status}")
    code = told.get("code")
    if answer.status == 401:
        code, message = "not_logged_in", "the API key is not valid for this server"
    return RequestError(
        answer.status,
        code,
        message,
        [error for error in errors if isinstance(error, dict)] if isinstance(errors, Sequence) else None,
    )
