"""Listeners: developers who hear the feed from their own machine, over a relay (`hookline listen`).

A listener is a name of an environment, with a secret of its own that stays and a place in the feed up to which it has
answered everything. What it gets makes no deliveries and is in no statistics. Which connection it has is written here,
so that a later one takes the place of an earlier, whichever processes they are at.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hookline.errors import RequestError
from hookline.sender.attempt import first_headers, last_headers
from hookline.sender.idempotency import take_key
from hookline.sender.secrets import make_secret
from hookline.sender.store import names_asked_by
from hookline.wire.signature import HEADER, Signer

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.sender.http import Headers
    from hookline.sender.idempotency import IdempotencyKey
    from hookline.sender.listener_store import HeardEvent, ListenerStore, Progress, Standing
    from hookline.sender.live import LiveFeed
    from hookline.sender.model import Environment, Listener
    from hookline.sender.secrets import SecretBox
    from hookline.sender.store import SenderStore
    from hookline.storage import Database
    from hookline.storage.verbs import Connection

Row = TypeVar("Row", bound=tuple[Any, ...])

# Something happened to a listener, or an app's own events have their place in the feed.
CHANNEL: Final = "listeners"
MAX_LISTENERS: Final = 1_000
"""Of one environment."""
# Who was seen within this has a connection, unless its process was killed just now.
SEEN_MS: Final = 45_000
# Places read at once: of those that nobody asked for a listener passes so many with one statement.
_SCANNED: Final = 1_000
# Bodies read at once, or a single one.
_MOST_BYTES: Final = 1024 * 1024
MOST_COUNTED: Final = 1_000
"""Of what was missed; more is "at least"."""
# And so many places are looked at for it.
_MOST_SCANNED: Final = 50_000


@dataclass(frozen=True, slots=True)
class Asked:
    """Which events somebody asks for: names and patterns, as an endpoint does."""

    names: frozenset[str]

    def takes(self, event_type: str) -> bool:
        """Whether a type is one of those."""
        return not self.names.isdisjoint(names_asked_by(event_type))


@dataclass(frozen=True, slots=True)
class Missed:
    """What came since a place: `count` that can be had, the first made at `since_ms`; `gone`, past their retention.

    Each count stops at `MOST_COUNTED`, and looks at no more than 50,000 places.
    """

    count: int = 0
    since_ms: int | None = None
    gone: int = 0


@dataclass(frozen=True, slots=True)
class Opened:
    """A listener that has a new session, its secret in clear, the feed's newest place, what it missed.

    `since`: the place of the time that it asked for.
    """

    listener: Listener
    secret: str
    head: int
    missed: Missed
    since: int | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """Events of the feed that are asked for, with their places; everything up to `through` was looked at.

    `is_end`: there was nothing more.
    """

    events: tuple[tuple[int, HeardEvent], ...]
    through: int
    is_end: bool


class Listeners:
    """Listeners of both environments, for the relay that talks to them and for people."""

    def __init__(
        self,
        database: Database,
        store: SenderStore,
        verbs: ListenerStore,
        feed: LiveFeed,
        box: SecretBox,
        *,
        clock: Clock,
    ) -> None:
        self._database = database
        self._store = store
        self._verbs = verbs
        self._feed = feed
        self._box = box
        self._clock = clock

    # -- the relay ---------------------------------------------------------------------------------------------

    def open(
        self,
        environment: Environment,
        name: str,
        events: Sequence[str],
        *,
        session: str,
        since_ms: int | None = None,
    ) -> Opened:
        """Give a listener, made where there is none, a session that takes the place of the one it has.

        Args:
            since_ms: a time whose place in the feed is asked for.

        Raises:
            RequestError: 409 `too_many_listeners`.
        """
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Listener:
            return self._put(connection, environment, name, now_ms=now_ms, events=events, session=session)

        listener = self._database.run(write)
        self._database.notify(CHANNEL)
        asked = Asked(frozenset(events))
        with self._database.snapshot() as connection:
            head = self._verbs.head(connection, environment)
            missed = (
                Missed() if listener.place is None else self._missed(connection, environment, listener.place, asked)
            )
            since = None if since_ms is None else self._verbs.since(connection, environment, since_ms)
        return Opened(listener, self._box.open(listener.secret_enc), max(head, listener.place or 0), missed, since)

    def read(self, environment: Environment, after: int, asked: Asked, *, limit: int) -> Stretch:
        """What of the feed comes next: at most `limit` events and 1 MiB of them, or one that is larger."""
        with self._database.snapshot() as connection:
            places = self._verbs.stretch(connection, environment, after, _SCANNED)
            chosen: dict[int, int] = {}
            through, total = after, 0
            for place in places:
                if asked.takes(place.type):
                    total += place.body_bytes
                    if chosen and (len(chosen) == limit or total > _MOST_BYTES):
                        return self._stretch(connection, chosen, through, is_end=False)
                    chosen[place.seq] = place.event_row
                through = place.seq
            is_end = len(places) < _SCANNED
            if is_end:
                # What other environments have there is passed as well.
                through = max(through, self._feed.last(connection))
            return self._stretch(connection, chosen, through, is_end=is_end)

    def _stretch(self, connection: Connection, chosen: dict[int, int], through: int, *, is_end: bool) -> Stretch:
        found = self._verbs.events(connection, chosen.values()) if chosen else {}
        return Stretch(tuple((seq, found[row]) for seq, row in chosen.items() if row in found), through, is_end)

    def resent(self, listener_row: int, *, after: int, limit: int) -> list[tuple[int, HeardEvent | None]]:
        """What is to go to a listener once more, by rows; None for an event that is past its retention by now."""
        with self._database.snapshot() as connection:
            rows = self._verbs.resends(connection, listener_row, after=after, limit=limit)
            found = self._verbs.events(connection, {event_row for _, event_row in rows}) if rows else {}
        return [(row, found.get(event_row)) for row, event_row in rows]

    def last(self) -> int:
        """The feed's newest place."""
        with self._database.read() as connection:
            return self._feed.last(connection)

    def has_gap(self, environment: Environment, after: int, asked: Asked) -> bool:
        """Whether an event after a place, one that is asked for, is past its retention."""
        with self._database.snapshot() as connection:
            return any(asked.takes(event_type) for _, event_type in self._gone(connection, environment, after))

    def standing(self, listener_rows: Collection[int]) -> dict[int, Standing]:
        """How each of these that is still there stands now, its secret in clear, by row."""
        with self._database.read() as connection:
            found = self._verbs.standing(connection, listener_rows)
        return {row_id: one._replace(secret=self._box.open(one.secret)) for row_id, one in found.items()}

    def note(self, progress: Sequence[Progress], resent: Collection[int]) -> None:
        """Note how far listeners came and which rows of `resent` are answered: one commit for all of them."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            if progress:
                self._verbs.note(connection, progress, now_ms=now_ms)
            if resent:
                self._verbs.drop_resends(connection, resent)

        self._database.run(write)

    # -- people ------------------------------------------------------------------------------------------------

    def listed(self, environment: Environment) -> list[Listener]:
        """All of an environment, by name."""
        with self._database.read() as connection:
            return self._verbs.listeners(connection, environment)

    def get(self, environment: Environment, name: str) -> Listener:
        """One listener. RequestError 404 where there is none."""
        with self._database.read() as connection:
            return self._found(connection, environment, name)

    def secret_of(self, listener: Listener) -> str:
        """Its secret in clear."""
        return self._box.open(listener.secret_enc)

    def is_connected(self, listener: Listener) -> bool:
        """Whether it has a connection, as far as is known."""
        return is_connected(listener, now_ms=self._clock.now_ms())

    def missed(self, listener: Listener) -> Missed:
        """What came since its place that it asked for last. Nothing, for one that never began."""
        if listener.place is None:
            return Missed()
        asked = Asked(frozenset(listener.events))
        with self._database.snapshot() as connection:
            return self._missed(connection, listener.environment, listener.place, asked)

    def keep(self, environment: Environment, name: str, *, actor: str = "command") -> Listener:
        """The listener of that name, made where there is none: its secret can be had before it first listens.

        Raises:
            RequestError: 409 `too_many_listeners`.
        """
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Listener:
            is_new = self._verbs.listener(connection, environment, name) is None
            listener = self._put(connection, environment, name, now_ms=now_ms)
            if is_new:
                self._audit(connection, environment, actor, "listener.created", name, now_ms)
            return listener

        return self._database.run(write)

    def reveal(self, environment: Environment, name: str, *, actor: str = "command") -> tuple[Listener, str]:
        """A listener and its secret in clear; never without a line in the trail. RequestError 404."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> Listener:
            listener = self._found(connection, environment, name)
            self._audit(connection, environment, actor, "listener.secret_revealed", name, now_ms)
            return listener

        listener = self._database.run(write)
        return listener, self.secret_of(listener)

    def rotate(
        self,
        environment: Environment,
        name: str,
        *,
        actor: str = "command",
        idempotency: IdempotencyKey | None = None,
    ) -> Listener:
        """Give a listener another secret, at once; a connection it has ends and comes back for it.

        Raises:
            RequestError: 404; 409 `idempotency_key_reused`.
        """
        now_ms = self._clock.now_ms()
        secret_enc = self._box.seal(make_secret())

        def write(connection: Connection) -> Listener:
            listener = self._found(connection, environment, name)
            if take_key(connection, self._store, environment, idempotency, name, now_ms=now_ms) is not None:
                return listener
            self._verbs.rotate(connection, environment, name, secret_enc)
            self._audit(connection, environment, actor, "listener.secret_rotated", name, now_ms)
            return self._found(connection, environment, name)

        listener = self._database.run(write)
        self._database.notify(CHANNEL)
        return listener

    def remove(self, environment: Environment, name: str, *, actor: str = "command") -> None:
        """Forget a listener, its secret and its place; a connection it has ends. RequestError 404."""
        now_ms = self._clock.now_ms()

        def write(connection: Connection) -> None:
            if not self._verbs.remove(connection, environment, name):
                raise _unknown()
            self._audit(connection, environment, actor, "listener.removed", name, now_ms)

        self._database.run(write)
        self._database.notify(CHANNEL)

    # -- the inside --------------------------------------------------------------------------------------------

    def _put(
        self,
        connection: Connection,
        environment: Environment,
        name: str,
        *,
        now_ms: int,
        events: Sequence[str] | None = None,
        session: str | None = None,
    ) -> Listener:
        secret_enc = self._box.seal(make_secret())
        self._verbs.put(
            connection, environment, name, secret_enc=secret_enc, events=events, session=session, now_ms=now_ms
        )
        listener = self._found(connection, environment, name)
        # Counted after it was written, and undone with it: of two that come at once no more are let in.
        if listener.secret_enc == secret_enc and self._verbs.count(connection, environment) > MAX_LISTENERS:
            raise RequestError(
                409,
                "too_many_listeners",
                f"expected at most {MAX_LISTENERS} listeners: remove one first (hookline listeners remove NAME)",
            )
        return listener

    def _found(self, connection: Connection, environment: Environment, name: str) -> Listener:
        listener = self._verbs.listener(connection, environment, name)
        if listener is None:
            raise _unknown()
        return listener

    def _missed(self, connection: Connection, environment: Environment, after: int, asked: Asked) -> Missed:
        count, since_ms = 0, None
        for place in _walked(functools.partial(self._verbs.stretch, connection, environment), after):
            if asked.takes(place.type):
                count += 1
                since_ms = place.created_ms if since_ms is None else since_ms
                if count == MOST_COUNTED:
                    break
        gone = 0
        for _, event_type in self._gone(connection, environment, after):
            gone += asked.takes(event_type)
            if gone == MOST_COUNTED:
                break
        return Missed(count, since_ms, gone)

    def _gone(self, connection: Connection, environment: Environment, after: int) -> Iterator[tuple[int, str]]:
        return _walked(functools.partial(self._verbs.gone, connection, environment), after)

    def _audit(
        self, connection: Connection, environment: Environment, actor: str, action: str, name: str, now_ms: int
    ) -> None:
        self._store.audit(connection, environment, actor=actor, action=action, object_id=name, now_ms=now_ms)


def is_connected(listener: Listener, *, now_ms: int) -> bool:
    """Whether it has a connection: its session is one, and a process had it just now."""
    return listener.session is not None and listener.seen_ms is not None and now_ms - listener.seen_ms <= SEEN_MS


def send_again(
    verbs: ListenerStore,
    connection: Connection,
    environment: Environment,
    name: str | None,
    *,
    event_row: int,
    event_type: str,
    now_ms: int,
) -> list[str]:
    """Have an event go once more to one listener, or to all who are connected and ask for its type; their names.

    The caller notifies `CHANNEL` after the commit.

    Raises:
        RequestError: 404 where there is no listener of that name.
    """
    if name is not None:
        found = verbs.listener(connection, environment, name)
        if found is None:
            raise _unknown()
        chosen = [found]
    else:
        chosen = [
            one
            for one in verbs.listeners(connection, environment)
            if is_connected(one, now_ms=now_ms) and Asked(frozenset(one.events)).takes(event_type)
        ]
    if chosen:
        verbs.add_resends(connection, [one.row_id for one in chosen], event_row, now_ms=now_ms)
    return [one.name for one in chosen]


def first_request(event: HeardEvent, signer: Signer, *, now_ms: int, is_replay: bool = False) -> Headers:
    """The headers that a first attempt of this event has, signed now; `is_replay`: that of a delivery made again."""
    return (
        *first_headers(()),
        (HEADER, signer.sign(event.body, timestamp_ms=now_ms)),
        *last_headers("replay" if is_replay else "published", event.traceparent, event.object_sequence),
    )


def _walked(read: Callable[[int, int], Sequence[Row]], after: int) -> Iterator[Row]:
    """Rows that begin with their place, page by page, up to `_MOST_SCANNED` of them."""
    for _ in range(_MOST_SCANNED // _SCANNED):
        rows = read(after, _SCANNED)
        yield from rows
        if len(rows) < _SCANNED:
            return
        after = rows[-1][0]


def _unknown() -> RequestError:
    # Without the name: many are like ada@laptop, somebody's.
    return RequestError(404, "entity_not_found", "Listener not found: there is none of that name.")
