"""The requests of a conformance check: events made up, signed well or ill, sent, and taken away again.

The objects are made anew for each check, in a directory of their own, and deleted at its end: the samples' fixed ids
would make a second check stale, and leave people in somebody's mirror. Every request is marked as test traffic.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from urllib.parse import urlsplit

from hookline.sender.attempt import ORIGIN_HEADER, first_headers, judge_answer
from hookline.sender.conformance_model import Observer, SentRequest
from hookline.sender.evidence import shown_headers
from hookline.sender.http import CONNECT_TIMEOUT_S, Headers, Method, Request
from hookline.wire.catalogue import PROBE_TYPE, sample
from hookline.wire.event import encode_event
from hookline.wire.standard import secret_form
from hookline.wire.timestamps import format_ms

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.http import Answer, Exchange
    from hookline.sender.ids import IdMaker

# The signature's headers for a body, by its event's id, a secret, and Unix time in ms.
Sign: TypeAlias = Callable[[bytes, str, str, int], Headers]

OLD_MS: Final = 600_000
"""Twice the widest tolerance of an official SDK."""
APART_MS: Final = 60_000
"""By so much the states of one object are apart."""
TAKE_AWAY_S: Final = 10.0
"""How long deleting may take, beyond the time that the checks have."""
WRONG_SECRET: Final = secret_form("a secret that no endpoint has")
# At once: few enough for an endpoint that has just stood a burst.
_DELETED_AT_ONCE: Final = 4
_LOCATION_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class MadeEvent:
    """An event to be sent: `body` is what is signed."""

    id: str
    type: str
    data: Mapping[str, Any]
    body: bytes


class Requests:
    """What is sent to one endpoint by one check, in all its parts.

    Args:
        sign: makes the signature's headers.
        secret: what the endpoint verifies with. In no `SentRequest`.
        headers: the endpoint's own, sent with each request.
        sensitive: names of those, in lower case, whose values are not to be shown.
        observer: sees what became of the events, where the endpoint is a receiver of ours.
        timeout_s: of one request.
        ends_at: by the event loop's time; what is under way then is given up.
    """

    def __init__(
        self,
        url: str,
        exchange: Exchange,
        *,
        sign: Sign,
        secret: str,
        clock: Clock,
        ids: IdMaker,
        headers: Headers,
        sensitive: frozenset[str],
        observer: Observer | None,
        timeout_s: float,
        ends_at: float,
    ) -> None:
        self.url = url
        self.observer = observer
        self._exchange = exchange
        self._sign = sign
        self._secret = secret
        self._clock = clock
        self._ids = ids
        self._headers = headers
        self._sensitive = sensitive
        self._timeout_s = timeout_s
        self._ends_at = ends_at
        now_ms = clock.now_ms()
        self._directory_id = ids.make("directory", now_ms)
        self._created_ms = now_ms - 10 * APART_MS
        # By the object's id: its resource and its data.
        self._made: dict[str, tuple[str, Mapping[str, Any]]] = {}

    def is_late(self) -> bool:
        """Whether the time that all checks have is up."""
        return asyncio.get_running_loop().time() >= self._ends_at

    # -- what is sent ----------------------------------------------------------------------------------------------

    def user(self, *, last_name: str = "Check", age_ms: int = 0, padding: int = 0) -> dict[str, Any]:
        """A directory user that nobody is, as of `age_ms` ago, with so many characters more in it."""
        now_ms = self._clock.now_ms()
        user_id = self._ids.make("directory_user", now_ms)
        name = f"check-{user_id.rpartition('_')[2].lower()}"
        extra = {"custom_attributes": {"padding": "x" * padding}} if padding else {}
        return sample("dsync.user.created") | {
            "id": user_id,
            "directory_id": self._directory_id,
            "organization_id": None,
            "idp_id": name,
            "email": f"{name}@example.com",
            "first_name": "Conformance",
            "last_name": last_name,
            "name": f"Conformance {last_name}",
            "created_at": format_ms(self._created_ms * 1000),
            "updated_at": format_ms((now_ms - age_ms) * 1000),
            **extra,
        }

    def group(self) -> dict[str, Any]:
        """A directory group, in the same directory."""
        now_ms = self._clock.now_ms()
        return sample("dsync.group.created") | {
            "id": self._ids.make("directory_group", now_ms),
            "directory_id": self._directory_id,
            "organization_id": None,
            "idp_id": "check",
            "name": "Conformance check",
            "created_at": format_ms(self._created_ms * 1000),
            "updated_at": format_ms(now_ms * 1000),
        }

    def membership(self, user: Mapping[str, Any], group: Mapping[str, Any]) -> dict[str, Any]:
        """The data of `dsync.group.user_added`."""
        return {"directory_id": self._directory_id, "user": dict(user), "group": dict(group)}

    def event(self, event_type: str, data: Mapping[str, Any], *, created_age_ms: int = 0) -> MadeEvent:
        """An event of that type, created `created_age_ms` ago."""
        now_ms = self._clock.now_ms()
        event_id = self._ids.make("event", now_ms)
        created_us = (now_ms - created_age_ms) * 1000
        body = encode_event(event_id=event_id, event_type=event_type, data=dict(data), created_us=created_us)
        return MadeEvent(event_id, event_type, data, body)

    def created(self) -> MadeEvent:
        """A user who was not there before."""
        return self.event("dsync.user.created", self.user())

    def created_of(self, size: int) -> MadeEvent:
        """The same in a body of exactly so many bytes."""
        short = self.event("dsync.user.created", self.user(padding=1))
        return self.event("dsync.user.created", self.user(padding=1 + size - len(short.body)))

    def unknown(self) -> MadeEvent:
        """An event of a type that nobody handles."""
        return self.event(PROBE_TYPE, {"object": "probe", "id": self._ids.make("probe", self._clock.now_ms())})

    # -- sending ---------------------------------------------------------------------------------------------------

    async def send(
        self,
        event: MadeEvent,
        how: str = "signed now",
        *,
        url: str | None = None,
        secret: str | None = None,
        age_ms: int = 0,
        body: bytes | None = None,
        is_signed: bool = True,
        content_type: str | None = None,
    ) -> SentRequest:
        """One event.

        Args:
            how: it is signed or sent, for people.
            url: instead of the endpoint's.
            secret: instead of the endpoint's.
            age_ms: how long ago it was signed; less than 0 is the future.
            body: sent instead of what was signed.
            content_type: instead of JSON's.
        """
        signature = self._signature(event.body, event.id, age_ms, secret) if is_signed else ()
        resource, _, verb = event.type.removeprefix("dsync.").partition(".")
        made_id = event.data["id"] if verb in {"created", "updated"} else None
        was_there = made_id in self._made
        if made_id is not None:
            # Before it is sent: whoever interrupts a check does not wait for this answer.
            self._made.setdefault(made_id, (resource, event.data))
        sent = await self._request(
            "POST",
            url or self.url,
            event.body if body is None else body,
            f"{event.type}, {how}",
            signature=signature,
            content_type=content_type,
            event=event,
        )
        if made_id is not None and not was_there and not sent.may_be_taken:
            del self._made[made_id]
        return sent

    async def post(
        self, body: bytes, what: str, *, content_type: str | None = None, signed_as: str | None = None
    ) -> SentRequest:
        """A body that is no event; signed, under this id, or not at all."""
        signature = () if signed_as is None else self._signature(body, signed_as)
        return await self._request("POST", self.url, body, what, signature=signature, content_type=content_type)

    async def ask(self, method: Method) -> SentRequest:
        """A GET or a HEAD."""
        return await self._request(method, self.url, b"", method)

    async def take_away(self) -> int:
        """Delete what the events have made at the other end; how many objects are left there."""
        self._ends_at = max(self._ends_at, asyncio.get_running_loop().time() + TAKE_AWAY_S)
        waiting = list(self._made.items())

        async def delete() -> None:
            while waiting and not self.is_late():
                object_id, (resource, data) = waiting.pop()
                gone = {**data, "state": "inactive", "custom_attributes": {}} if resource == "user" else data
                sent = await self.send(self.event(f"dsync.{resource}.deleted", gone), "taken away again")
                if sent.is_accepted:
                    del self._made[object_id]

        await asyncio.gather(*(delete() for _ in range(_DELETED_AT_ONCE)))
        return len(self._made)

    def _signature(self, body: bytes, event_id: str, age_ms: int = 0, secret: str | None = None) -> Headers:
        return self._sign(body, event_id, secret or self._secret, self._clock.now_ms() - age_ms)

    async def _request(
        self,
        method: Method,
        url: str,
        body: bytes,
        what: str,
        *,
        signature: Headers = (),
        content_type: str | None = None,
        event: MadeEvent | None = None,
    ) -> SentRequest:
        total_s = max(0.1, min(self._timeout_s, self._ends_at - asyncio.get_running_loop().time()))
        headers = (*self._first(method, content_type), *signature, (ORIGIN_HEADER, "test"))
        answer = await self._exchange.send(
            Request(url, headers, body, min(CONNECT_TIMEOUT_S, total_s), total_s, method=method)
        )
        timings = answer.timings
        return SentRequest(
            what=what,
            event_id=None if event is None else event.id,
            event_type=None if event is None else event.type,
            headers=shown_headers(answer.sent_headers or headers, self._sensitive),
            status=answer.status,
            reason=judge_answer(answer, self._clock.now_ms()).reason,
            error=answer.detail if answer.status is None else None,
            location=_location(answer, urlsplit(url).path.strip("/")),
            duration_ms=round(timings.total_ms),
            waited_ms=round(timings.total_ms if timings.first_byte_ms is None else timings.first_byte_ms),
        )

    def _first(self, method: Method, content_type: str | None) -> Headers:
        """What comes before the signature: as with every delivery, but for the type of a body that is another."""
        usual = first_headers(self._headers)
        if method == "POST" and content_type is None:
            return usual
        named = [(name, value) for name, value in usual if name.lower() != "content-type"]
        return tuple(named) if content_type is None else (("Content-Type", content_type), *named)


def _location(answer: Answer, path: str) -> str | None:
    """Where a redirect leads, as far as it is anybody's business: without a query, and `…` for the path that was asked,
    which may be what keeps the endpoint from being found."""
    if answer.status is None or not 300 <= answer.status <= 399:
        return None
    given = next((value for name, value in answer.headers if name.lower() == "location"), None)
    if given is None:
        return None
    try:
        parts = urlsplit(given)
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2]
    to = (f"{parts.scheme}://{host}" if host else "") + (parts.path.replace(path, "…") if path else parts.path)
    return to[:_LOCATION_CHARS] or None
