"""The source's API over HTTP: each answer is judged before anything of it is believed.

What is asked is `SourceApi` (source.py). An answer is taken only if it is JSON of the shape that was asked for, with
the objects that were asked for; a 404 says that an object is gone only where the API itself says so. Everything else
is a `SourceError`, whose message holds no key and nothing that the other side wrote but its error code and request id.
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from hookline.errors import ConfigError, SourceError
from hookline.receiver.source import PAGE, PATHS, EventPage, FeedEvent, Found, Gone, Page
from hookline.rules.address import check_source_url
from hookline.rules.response import retry_after_s
from hookline.rules.source_clock import MOST_US, Bound, bound, offset_us, with_bound
from hookline.wire.timestamps import format_ms

if TYPE_CHECKING:
    from hookline.loop import Clock

_WORKOS_HOST: Final = "api.workos.com"
# Waits before asking again. With the time limits all of a call stays below a lease (leases.py).
AGAIN_MS: Final = (500, 2_000)
AGAIN_WITHIN_MS: Final = 5_000
# For how long one good answer vouches for a 404.
VOUCHED_MS: Final = 60_000

_TOKEN = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_CURSOR = re.compile(r"\b(?:after|cursor)\b", re.IGNORECASE)
_KEY = re.compile(r"[!-~]+")
_MANY_LINES: Final = 1_000
_NO_ID = frozenset(("", ".", ".."))

T = TypeVar("T")


class Answered(NamedTuple):
    """An HTTP answer; the names of its headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Exchange = Callable[[str, str, Mapping[str, str]], Answered]
"""One request without a body: method, target (path and query) and headers. Raises OSError where no answer came (a
TimeoutError where it did not come in time), or a SourceError where what came is no HTTP answer to go by.
"""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a source may be asked, in requests per second; None for no limit.

    Attributes:
        per_s: all requests of one `HttpSource`.
        users_per_s: lists of users, of each directory by itself; those that name no directory count as of one.
    """

    per_s: float | None = None
    users_per_s: float | None = None


UNPACED: Final = Pace()
# 6,000 a minute for an address, of which half are left to the app's own calls; and 4 a second for each directory's
# users (workos-protocol §4.3, §5).
WORKOS_PACE: Final = Pace(50, 4)


class HttpSource:
    """A source's API, asked over HTTP with one key.

    Several threads may ask at once, each on a connection of its own. No redirect is followed and no proxy of the
    environment used. Waiting for the pace, or before a failed request is made again, is by the clock.

    Args:
        base_url: where the API is, without the paths of `PATHS`: https, or http on this machine.
        api_key: sent as a bearer token.
        clock: ours. Requests are dated by it, corrected by what the `Date` headers of the answers say
            (`rules.source_clock`); without such headers it is taken for the source's.
        exchange: what makes a request; None for HTTP. With one of these nothing is asked a second time.
        pace: None for `WORKOS_PACE` where WorkOS' own API is asked over HTTP, and no limit elsewhere.
        may_use_http: whether http is taken elsewhere, too: development alone.
        outcomes: where answers are counted by what they were: `ok`, `gone`, or the reason of a `SourceError`.

    Raises: ConfigError.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        clock: Clock,
        exchange: Exchange | None = None,
        pace: Pace | None = None,
        may_use_http: bool = False,
        outcomes: Counter[str] | None = None,
    ) -> None:
        check_api(base_url, api_key, may_use_http=may_use_http)
        parts = urlsplit(base_url)
        self._path = parts.path.rstrip("/")
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {api_key}",
            "User-Agent": "hookline",
        }
        self._clock = clock
        self._tries = 1
        self._close: Callable[[], None] | None = None
        if exchange is None:
            from hookline.receiver.source_connection import Connections  # http.client and ssl: not every receiver's

            connections = Connections(base_url)
            exchange, self._close = connections.exchange, connections.close
            self._tries += len(AGAIN_MS)
            if pace is None and parts.hostname == _WORKOS_HOST:
                pace = WORKOS_PACE
        self._exchange = exchange
        self._pacer = _Pacer(UNPACED if pace is None else pace)
        self._lock = threading.Lock()
        self._bounds: tuple[Bound, ...] = ()
        self._good_ms: int | None = None
        self._closed = threading.Event()
        self.outcomes: Counter[str] = Counter() if outcomes is None else outcomes

    def page(self, resource: str, filters: Mapping[str, str], *, after: str | None = None) -> Page:
        """The next page of a list, of at most 100 objects in the source's own order.

        Raises: SourceError; nonsense also where the cursor does not move on.
        """
        return self._counted(lambda: self._page(resource, filters, after))

    def get(self, resource: str, id_: str) -> Found | Gone:
        """One object; `Gone` where the API itself says 404 (a proxy, or another API, can say so of anything)."""
        return self._counted(lambda: self._get(resource, id_))

    def events(self, types: Sequence[str], *, after: str | None = None, since_us: int | None = None) -> EventPage:
        """The events of these types after an event's id, or since a time (of which milliseconds count), or from the
        oldest on that the source keeps.

        Raises: SourceError; `expired` where the source does not know, or no longer, the event of `after`.
        """
        return self._counted(lambda: self._events(types, after, since_us))

    def close(self) -> None:
        """Close its connections; requests under way fail, and so do later ones."""
        self._closed.set()
        if self._close is not None:
            self._close()

    # -- the inside --------------------------------------------------------------------------------------------

    def _page(self, resource: str, filters: Mapping[str, str], after: str | None) -> Page:
        path = PATHS[resource]
        named = {**filters, "limit": str(PAGE)} | ({} if after is None else {"after": after})
        answer, requested_us = self._ask(path, named)
        self._check(answer, path)
        items, cursor = _listed(answer, path, resource)
        _check_moves(path, [item["id"] for item in items], after=after, cursor=cursor)
        self._vouch()
        return Page(items, cursor, requested_us)

    def _get(self, resource: str, id_: str) -> Found | Gone:
        if id_ in _NO_ID:
            raise SourceError("refused", f"GET {PATHS[resource]}: {id_!r} is no id to ask for")
        path = f"{PATHS[resource]}/{quote(id_, safe='')}"
        answer, requested_us = self._ask(path, {})
        if answer.status == 404:
            self._check_404(answer, path, resource)
            return Gone(requested_us)
        self._check(answer, path)
        item = _checked(_decoded(answer, path, dict[str, Any]), path, resource)
        if item["id"] != id_:
            raise SourceError("nonsense", f"GET {path}: answered another object than the one asked for")
        self._vouch()
        return Found(item, requested_us)

    def _events(self, types: Sequence[str], after: str | None, since_us: int | None) -> EventPage:
        path = "/events"
        # Oldest first is what the feed is whatever `order` says (workos-protocol §4.2); a source that heeds it is
        # asked for the same.
        named = {"events": ",".join(types), "limit": str(PAGE), "order": "asc"}
        if after is not None:
            named["after"] = after
        elif since_us is not None:
            named["range_start"] = format_ms(since_us)
        answer, requested_us = self._ask(path, named)
        if after is not None and answer.status in (400, 404, 422) and _names_cursor(answer, after):
            raise SourceError("expired", f"GET {path}: the source does not know the event read last, or no longer")
        self._check(answer, path)
        found = _decoded(answer, path, _EventList)
        events = tuple(_feed_event(raw, path) for raw in found.data)
        cursor = found.list_metadata.after
        _check_moves(path, [event.id for event in events], after=after, cursor=cursor)
        if cursor is not None and not events:
            raise SourceError("nonsense", f"GET {path}: said that there are more events after none")
        self._vouch()
        return EventPage(events, cursor is not None, requested_us)

    def _ask(self, path: str, named: Mapping[str, str]) -> tuple[Answered, int]:
        """The answer, and when it was asked for in the source's time."""
        target = self._path + path + (f"?{urlencode(named, quote_via=quote)}" if named else "")
        began_ms = self._clock.now_ms()
        for left_ms in (*AGAIN_MS[: self._tries - 1], None):
            self._wait_until(self._pacer.due_ms(path, named, self._clock.now_ms()))
            sent_ms = self._clock.now_ms()
            failure: SourceError
            try:
                answer = self._exchange("GET", target, self._headers)
            except TimeoutError:
                # Not again: it may take as long, and whoever holds a lease has only so long.
                raise SourceError("unavailable", f"GET {path}: no whole answer in time") from None
            except OSError as error:
                failure = SourceError("unavailable", f"GET {path}: {_told(error)}")
            else:
                if answer.status < 500 or "retry-after" in answer.headers:
                    return answer, sent_ms * 1_000 + self._offset_us(answer, sent_ms, path)
                failure = self._failure(answer, path)
            if left_ms is None or self._clock.now_ms() - began_ms > AGAIN_WITHIN_MS:
                break
            self._wait_until(self._clock.now_ms() + left_ms)
        raise failure

    def _wait_until(self, due_ms: int) -> None:
        while self._clock.now_ms() < due_ms and not self._closed.is_set():
            self._clock.wait_until(due_ms, self._closed)
        if self._closed.is_set():
            raise SourceError("unavailable", "the source's connections are closed")

    def _offset_us(self, answer: Answered, sent_ms: int, path: str) -> int:
        new = bound(answer.headers.get("date"), sent_ms=sent_ms, received_ms=self._clock.now_ms())
        with self._lock:
            if new is not None:
                self._bounds = with_bound(self._bounds, new)
            offset = offset_us(self._bounds)
        if abs(offset) > MOST_US:
            raise SourceError(
                "nonsense",
                f"GET {path}: its Date header lies {offset // 1_000_000} s from this machine's clock; set the clock "
                "that is wrong: what is read cannot be put in order with what was heard",
            )
        return offset

    def _check(self, answer: Answered, path: str) -> None:
        if answer.status != 200:
            raise self._failure(answer, path)

    def _failure(self, answer: Answered, path: str) -> SourceError:
        status = answer.status
        wait_s = retry_after_s(answer.headers.get("retry-after"), now_ms=self._clock.now_ms())
        told = f"GET {path}: answered {status}{_particulars(answer)}"
        if status == 429:
            return SourceError("rate_limited", told, retry_after_s=wait_s)
        if status in (401, 403):
            return SourceError("unauthorized", f"{told}; check the API key", retry_after_s=wait_s)
        if 300 <= status < 400:
            return SourceError("nonsense", f"{told}, and no redirect is followed; check the URL of the API")
        if 400 <= status < 500:
            return SourceError("refused", told, retry_after_s=wait_s)
        if 500 <= status < 600:
            return SourceError("unavailable", told, retry_after_s=wait_s)
        return SourceError("nonsense", f"{told}, expected 200")

    def _check_404(self, answer: Answered, path: str, resource: str) -> None:
        """Whether a 404 is the API's own word on this object: evidence of a death needs more than a status."""
        error = _error_of(answer)
        if error is None or not isinstance(error.get("message"), str):
            raise SourceError(
                "nonsense",
                f"GET {path}: answered 404 with {_kind_of(answer)}, expected the API's error; check the URL of the API",
            )
        if self._good_ms is None or not 0 <= self._clock.now_ms() - self._good_ms <= VOUCHED_MS:
            # At a wrong URL everything is a 404, in JSON too: so first an answer that only the API gives.
            listed = "organization" if resource == "organization" else "directory"
            vouching, _ = self._ask(PATHS[listed], {"limit": "1"})
            self._check(vouching, PATHS[listed])
            _listed(vouching, PATHS[listed], listed)
            self._vouch()

    def _vouch(self) -> None:
        self._good_ms = self._clock.now_ms()

    def _counted(self, ask: Callable[[], T]) -> T:
        try:
            found = ask()
        except SourceError as error:
            self._count(error.reason)
            raise
        self._count("gone" if isinstance(found, Gone) else "ok")
        return found

    def _count(self, outcome: str) -> None:
        with self._lock:
            self.outcomes[outcome] += 1


def check_api(base_url: str, api_key: str, *, may_use_http: bool = False) -> None:
    """Refuse what no `HttpSource` can be made of, as its arguments say.

    Raises: ConfigError.
    """
    check_source_url(base_url, setting="api_url", may_use_http=may_use_http)
    if urlsplit(base_url).query or not _KEY.fullmatch(base_url):
        raise ConfigError("api_url", "expected a URL without a query, of ASCII signs alone and without spaces")
    if not isinstance(api_key, str) or not _KEY.fullmatch(api_key):
        raise ConfigError("api_key", "expected ASCII letters, digits and signs alone, without spaces")


class _Pacer:
    """When each request may be made: evenly spaced, of all together and of each directory's lists of users."""

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._free_ms: dict[str, float] = {}
        self._lock = threading.Lock()

    def due_ms(self, path: str, named: Mapping[str, str], now_ms: int) -> int:
        """When this request may be made, which is taken from the others' time."""
        gaps = {}
        if self._pace.per_s is not None:
            gaps[""] = 1_000 / self._pace.per_s
        if self._pace.users_per_s is not None and path == PATHS["directory_user"]:
            gaps[f"users of {named.get('directory', '')}"] = 1_000 / self._pace.users_per_s
        with self._lock:
            due_ms = max([float(now_ms), *(self._free_ms.get(line, 0) for line in gaps)])
            if len(self._free_ms) > _MANY_LINES:
                self._free_ms = {line: free_ms for line, free_ms in self._free_ms.items() if free_ms > now_ms}
            self._free_ms.update({line: due_ms + gap_ms for line, gap_ms in gaps.items()})
        return math.ceil(due_ms)


class _Metadata(msgspec.Struct, frozen=True):
    after: str | None


class _List(msgspec.Struct, frozen=True):
    data: list[dict[str, Any]]
    list_metadata: _Metadata


class _EventList(msgspec.Struct, frozen=True):
    data: list[msgspec.Raw]
    list_metadata: _Metadata


class _Envelope(msgspec.Struct, frozen=True):
    id: str
    event: str


def _decoded(answer: Answered, path: str, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.body, type=shape)
    except msgspec.ValidationError as error:
        raise SourceError("nonsense", f"GET {path}: answered JSON of another shape: {error}") from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise SourceError("nonsense", f"GET {path}: answered {_kind_of(answer)}, expected JSON") from None


def _listed(answer: Answered, path: str, resource: str) -> tuple[tuple[dict[str, Any], ...], str | None]:
    """The objects of a list and the cursor to those after them."""
    found = _decoded(answer, path, _List)
    return tuple(_checked(item, path, resource) for item in found.data), found.list_metadata.after


def _checked(item: dict[str, Any], path: str, resource: str) -> dict[str, Any]:
    if not isinstance(item.get("id"), str) or not item["id"]:
        raise SourceError("nonsense", f"GET {path}: answered an object without an id")
    if item.get("object", resource) != resource:
        raise SourceError("nonsense", f"GET {path}: answered an object that is no {resource}")
    return item


def _check_moves(path: str, ids: Sequence[str], *, after: str | None, cursor: str | None) -> None:
    """Refuse a page that leads nowhere or in a circle."""
    if len(ids) > PAGE:
        raise SourceError("nonsense", f"GET {path}: answered {len(ids)} objects, asked for at most {PAGE}")
    if len(set(ids)) < len(ids):
        raise SourceError("nonsense", f"GET {path}: answered an object twice on one page")
    if after is not None and (after in ids or cursor == after):
        raise SourceError("nonsense", f"GET {path}: goes in a circle: what comes after a cursor leads to it again")
    if cursor == "":
        raise SourceError("nonsense", f"GET {path}: answered an empty cursor, expected one or null")
    if cursor is not None and "\x00" in cursor:
        raise SourceError("nonsense", f"GET {path}: answered a cursor that holds a NUL: PostgreSQL cannot keep it")


def _feed_event(raw: msgspec.Raw, path: str) -> FeedEvent:
    try:
        envelope = msgspec.json.decode(raw, type=_Envelope)
    except msgspec.ValidationError as error:
        raise SourceError("nonsense", f"GET {path}: answered something that is no event: {error}") from None
    except (RecursionError, UnicodeDecodeError):
        raise SourceError("nonsense", f"GET {path}: answered an event that cannot be decoded") from None
    if not envelope.id or not envelope.event:
        raise SourceError("nonsense", f"GET {path}: answered an event without an id or a type")
    if "\x00" in envelope.id:
        raise SourceError(
            "nonsense", f"GET {path}: answered an event whose id holds a NUL: no cursor can be kept of it"
        )
    return FeedEvent(envelope.id, envelope.event, bytes(raw))


def _error_of(answer: Answered) -> dict[str, Any] | None:
    """The API's error object; None where the body is none."""
    try:
        found = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def _names_cursor(answer: Answered, after: str) -> bool:
    """Whether an error is about the cursor. What WorkOS says of one that it no longer keeps is not published."""
    error = _error_of(answer)
    if error is None:
        return False
    if error.get("code") == "entity_not_found":
        return True
    errors = error.get("errors")
    told = [error, *(one for one in (errors if isinstance(errors, list) else ()) if isinstance(one, dict))]
    texts = [text for one in told for name in ("field", "code", "message") if isinstance(text := one.get(name), str)]
    return any(after in text or _CURSOR.search(text) for text in texts)


def _particulars(answer: Answered) -> str:
    """What may be repeated of an error: its code, and the id that the source's people can find it by."""
    error = _error_of(answer)
    named = [("", error.get("code") if error is not None else None), ("request ", answer.headers.get("x-request-id"))]
    shown = [f"{name}{value}" for name, value in named if isinstance(value, str) and _TOKEN.fullmatch(value)]
    return f" ({', '.join(shown)})" if shown else ""


def _kind_of(answer: Answered) -> str:
    """What an answer is, for a message."""
    if not answer.body.strip():
        return "nothing"
    if answer.body.lstrip()[:1] == b"<" or "html" in answer.headers.get("content-type", ""):
        return "HTML"
    return "other JSON" if _is_json(answer.body) else f"{len(answer.body)} bytes that are no JSON"


def _is_json(body: bytes) -> bool:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _told(error: OSError) -> str:
    """What kept a connection from being made or used, without what the other side sent."""
    return getattr(error, "verify_message", None) or error.strerror or str(error) or type(error).__name__
