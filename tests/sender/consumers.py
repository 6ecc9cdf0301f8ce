"""Consumers for the conformance check: one that does what the guide asks, and those that do one thing wrong each.

All are ASGI apps: behind a real server (`Consumers`), or in process with a clock of their own (`Simulated`), where a
fault is about time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, ClassVar

from msgspec import structs

from hookline.dashboard.observing import ReceiverObserver
from hookline.errors import InvalidSignature
from hookline.receiver.model import InboxEntry
from hookline.sender.http import NO_TIME, Answer, CoroutineExchange, Headers, Request, no_answer
from hookline.sender.http_httptools import HttptoolsExchange
from hookline.wire.signature import TOLERANCE_S, verify_signature

SECRET = "whsec_of_the_checked_endpoint"
NOW_MS = 1_764_000_000_000
SILENT = 0
"""Instead of a status: no answer comes."""
MOST_BYTES = 2 * 1024 * 1024


class Consumer:
    """Does what the guide asks: verifies, remembers ids, upserts what is newer, and is an ordinary endpoint of HTTP.

    `work_ms` and `workers` say how long an accepted event is worked for before it is answered, and how many requests
    are served at a time: `Simulated` keeps the time.
    """

    tolerance_s: ClassVar[float | None] = TOLERANCE_S
    most_bytes: ClassVar[int] = MOST_BYTES
    work_ms: ClassVar[int] = 1
    workers: ClassVar[int] = 100

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.objects: dict[str, dict[str, Any]] = {}
        self.edges: set[str] = set()

    # -- one question each, for a fault to answer otherwise ----------------------------------------------------

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        """Status and where to, in the order of our own door."""
        if method != "POST":
            return self.greet(), None
        if len(body) > self.most_bytes:
            return 413, None
        if (refused := self.refuse_type(headers.get("content-type", ""))) is not None:
            return refused, None
        if (refused := self.refuse(headers, body)) is not None:
            return refused, None
        try:
            event = json.loads(body)
        except ValueError:
            return self.unreadable(), None
        return self.take(event), None

    def greet(self) -> int:
        return 405

    def refuse_type(self, content_type: str) -> int | None:
        return 415 if content_type.startswith("application/x-www-form") else None

    def refuse(self, headers: Mapping[str, str], body: bytes) -> int | None:
        given = headers.get("workos-signature", "")
        try:
            verify_signature(body, given, [SECRET], tolerance_s=self.tolerance_s, now_ms=NOW_MS)
        except InvalidSignature as error:
            return self.refused_as(error.reason)
        return None

    def refused_as(self, reason: str) -> int | None:
        return 401

    def unreadable(self) -> int:
        return 400

    def take(self, event: dict[str, Any]) -> int:
        if event["id"] in self.taken:
            return self.again(event)
        self.taken.append(event["id"])
        return self.apply(event)

    def again(self, event: dict[str, Any]) -> int:
        return 200

    def apply(self, event: dict[str, Any]) -> int:
        resource, _, verb = event["event"].removeprefix("dsync.").partition(".")
        data = event["data"]
        if verb == "deleted":
            self.objects.pop(data["id"], None)
        elif verb == "user_added":
            self.edges.add(f"{data['group']['id']}/{data['user']['id']}")
        elif resource in {"user", "group"}:
            self.write(data)
        else:
            return self.unknown()
        return 200

    def write(self, data: dict[str, Any]) -> None:
        held = self.objects.get(data["id"])
        if held is None or held["updated_at"] <= data["updated_at"]:
            self.objects[data["id"]] = data

    def unknown(self) -> int:
        return 200

    # -- ASGI ----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        status, to = self.answer(scope["method"], scope["path"], headers, body)
        pairs = [] if to is None else [(b"location", to.encode())]
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": b""})

    # -- an `Observer` of itself -----------------------------------------------------------------------------------

    async def times_kept(self, event_id: str) -> int | None:
        return self.taken.count(event_id) or None

    async def is_applied(self, event_id: str) -> bool | None:
        return True if event_id in self.taken else None

    async def row(self, resource: str, object_id: str) -> Mapping[str, Any] | None:
        if resource == "directory_membership":
            return {} if object_id in self.edges else None
        return self.objects.get(object_id)


# -- what may be done wrong ---------------------------------------------------------------------------------------


class VerifiesNothing(Consumer):
    def refuse(self, headers: Mapping[str, str], body: bytes) -> int | None:
        return None


class TakesAnyAge(Consumer):
    tolerance_s = None


class LooksBackOnly(Consumer):
    """As the official SDKs of Node, PHP and Elixir do."""

    def refused_as(self, reason: str) -> int | None:
        return None if reason == "future" else 401


class FailsOnForgeries(Consumer):
    """As where an SDK's exception is not caught."""

    def refused_as(self, reason: str) -> int | None:
        return 500 if reason == "mismatch" else 401


class LeadsToALogin(Consumer):
    """As a login that stands before everything that it does not know."""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        status, to = super().answer(method, path, headers, body)
        return (302, "/login?next=/") if status == 401 else (status, to)


class TrustsTheUnsigned(Consumer):
    """Verifies what is signed, and takes what is not."""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        if method == "POST" and "workos-signature" not in headers:
            return 200, None
        return super().answer(method, path, headers, body)


class VerifiesTheStart(Consumer):
    """Verifies the event's envelope, which it finds by cutting the body, and uses all of it."""

    def refuse(self, headers: Mapping[str, str], body: bytes) -> int | None:
        return super().refuse(headers, body.replace(b'"closed"', b'"active"'))


class FailsOnDoubles(Consumer):
    def again(self, event: dict[str, Any]) -> int:
        return 409


class IsLimited(Consumer):
    """Asks for fewer requests whenever an event comes again."""

    def again(self, event: dict[str, Any]) -> int:
        return 429


class TakesDoubles(Consumer):
    def again(self, event: dict[str, Any]) -> int:
        self.taken.append(event["id"])
        return self.apply(event)


class NeedsParents(Consumer):
    """An edge needs both its ends."""

    def apply(self, event: dict[str, Any]) -> int:
        if event["event"] == "dsync.group.user_added" and event["data"]["user"]["id"] not in self.objects:
            return 500
        return super().apply(event)


class DropsOrphans(Consumer):
    """Answers 200 to an edge whose ends it does not know, and forgets it."""

    def apply(self, event: dict[str, Any]) -> int:
        if event["event"] == "dsync.group.user_added" and event["data"]["user"]["id"] not in self.objects:
            return 200
        return super().apply(event)


class LastWriteWins(Consumer):
    def write(self, data: dict[str, Any]) -> None:
        self.objects[data["id"]] = data


class RefusesTheStale(Consumer):
    def apply(self, event: dict[str, Any]) -> int:
        return 422 if event["data"].get("last_name") == "Older" else super().apply(event)


class FailsOnUnknownTypes(Consumer):
    def unknown(self) -> int:
        return 500


class FailsOnWhatIsNotJson(Consumer):
    def unreadable(self) -> int:
        return 500


class TakesSmallBodies(Consumer):
    """As Express does by default: 100 kB."""

    most_bytes = 100 * 1024


class TakesAllBodies(Consumer):
    most_bytes = 1 << 40


class FailsOnLargeBodies(Consumer):
    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        return (500, None) if len(body) > MOST_BYTES else super().answer(method, path, headers, body)


class TakesForms(Consumer):
    """Beside events, as an endpoint that others use as well."""

    def refuse_type(self, content_type: str) -> int | None:
        return 200 if content_type.startswith("application/x-www-form") else None


class FailsOnForms(Consumer):
    def refuse_type(self, content_type: str) -> int | None:
        return 500 if content_type.startswith("application/x-www-form") else None


class HangsOnSignedForms(Consumer):
    """As where a framework has read the body away that is then waited for."""

    def refuse_type(self, content_type: str) -> int | None:
        return None

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        status, to = super().answer(method, path, headers, body)
        is_form = headers.get("content-type", "").startswith("application/x-www-form")
        return (SILENT, None) if is_form and status == 200 else (status, to)


class RefusesJson(Consumer):
    def refuse_type(self, content_type: str) -> int | None:
        return 415


class FailsOnGet(Consumer):
    def greet(self) -> int:
        return 500


class RedirectsTheSlash(Consumer):
    """As Django's APPEND_SLASH and many a router do."""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        return (308, path[:-1]) if path.endswith("/") else super().answer(method, path, headers, body)


class ParsesFirst(Consumer):
    """Verifies over what it has parsed and written again."""

    def refuse(self, headers: Mapping[str, str], body: bytes) -> int | None:
        try:
            return super().refuse(headers, json.dumps(json.loads(body)).encode())
        except ValueError:
            return 400


class KeepsWhatIsDeleted(Consumer):
    def apply(self, event: dict[str, Any]) -> int:
        return 500 if event["event"].endswith(".deleted") else super().apply(event)


class WorksBeforeItAnswers(Consumer):
    work_ms = 5_000


class WorksALittle(Consumer):
    """Only for what it handles."""

    work_ms = 800

    def unknown(self) -> int:
        return 202


class ServesOneAtATime(Consumer):
    """Each takes a second: the sixteenth of a burst has waited for as long as a sender does."""

    work_ms = 1_000
    workers = 1


class ServesTwoAtATime(Consumer):
    """Of whom the last is still answered in time."""

    work_ms = 1_000
    workers = 2


class HangsOnLargeBodies(Consumer):
    """Reads on and on, and never answers."""

    def answer(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str | None]:
        return (SILENT, None) if len(body) > MOST_BYTES else super().answer(method, path, headers, body)


# -- where they live -----------------------------------------------------------------------------------------------


class Consumers:
    """All of them behind one server, by the first part of the path."""

    def __init__(self) -> None:
        self.by_name: dict[str, Consumer] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.by_name[scope["path"].split("/")[1]](scope, receive, send)


class Drained(ReceiverObserver):
    """What became of events in a receiver of ours that has no worker: it is drained on the spot."""

    def _entries(self, event_id: str) -> list[InboxEntry]:
        self._receiver.drain()
        return super()._entries(event_id)


class Timeless(HttptoolsExchange):
    """The sender's own exchange, by whose watch nothing takes any time: a busy machine makes no verdict."""

    async def send(self, request: Request) -> Answer:
        return structs.replace(await super().send(request), timings=NO_TIME)


def answered(status: int, headers: Headers = (), *, took_ms: int = 0) -> Answer:
    """What an exchange gives that has no socket."""
    timings = structs.replace(NO_TIME, total_ms=float(took_ms))
    silence = no_answer("closed", "")
    return structs.replace(silence, error=None, detail=None, status=status, headers=headers, timings=timings)


class Simulated(CoroutineExchange):
    """Requests to a consumer in this process, and the time they would take, of which none passes.

    What is asked while nothing else is under way begins when the last answer came; what is asked together begins
    together, and waits for one of the consumer's workers.
    """

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._now_ms = 0
        self._free_at_ms = [0] * consumer.workers

    async def send(self, request: Request) -> Answer:
        begun_ms, timeout_ms = self._now_ms, round(request.total_timeout_s * 1000)
        headers = {name.lower(): value for name, value in request.headers}
        path = "/" + request.url.split("/", 3)[3]
        status, to = self._consumer.answer(request.method, path, headers, request.body)
        worker = min(range(len(self._free_at_ms)), key=self._free_at_ms.__getitem__)
        # 202 is what a consumer here says to what it does no work for.
        is_worked = status == 200 and request.method == "POST"
        ends_ms = max(begun_ms, self._free_at_ms[worker]) + (self._consumer.work_ms if is_worked else 1)
        self._free_at_ms[worker] = ends_ms
        is_late = status == SILENT or ends_ms - begun_ms > timeout_ms
        # Others that are asked together begin before any of them ends.
        await asyncio.sleep(0)
        self._now_ms = max(self._now_ms, begun_ms + timeout_ms if is_late else ends_ms)
        if is_late:
            return no_answer("timeout", f"no complete answer headers within {request.total_timeout_s:g} s")
        return answered(status, () if to is None else (("location", to),), took_ms=ends_ms - begun_ms)

    async def close(self) -> None:
        """Nothing is held open."""
