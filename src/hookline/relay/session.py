"""One listener's connection, whatever carries it: what it is sent, what it owes, how far it came.

Of the feed at most `WINDOW` deliveries are unanswered at a time, and no more bodies are in memory than one reading
brings. Everything here runs on one event loop; the database is read through `Reader`, on threads.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from hookline.errors import InvalidFrame, StorageError
from hookline.relay.frames import (
    BEAT_EVERY_S,
    WINDOW,
    Answer,
    Beat,
    Begin,
    Bye,
    Delivery,
    Start,
)
from hookline.sender.listener_store import Progress
from hookline.sender.listeners import first_request
from hookline.wire.signature import Signer
from hookline.wire.timestamps import format_ms

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.relay.frames import FromListener, FromServer
    from hookline.sender.keys import KeyHolder
    from hookline.sender.listener_store import HeardEvent
    from hookline.sender.listeners import Asked, Opened, Stretch

log = logging.getLogger("hookline.relay")

# A place, and the row of what is sent once more at it.
_CURSOR: Final = re.compile(r"(\d{1,18})(?:-(\d{1,18}))?")
# How long until a database that is away is asked again.
_AWAY_MS: Final = 1_000
# Bodies read at once of what is sent once more; of the feed a reading is bounded by their bytes.
_RESENT_AT_ONCE: Final = 4
_NOWHERE: Final = -1


class Reader(Protocol):
    """What a session reads, without blocking the loop."""

    async def read(self, session: Session, limit: int) -> Stretch: ...
    async def resent(self, session: Session, after: int, limit: int) -> list[tuple[int, HeardEvent | None]]: ...
    async def has_gap(self, session: Session, after: int) -> bool: ...
    async def save(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Due:
    """An event to be sent: its place in the feed; `resend`, the row of what is sent once more at that place."""

    event: HeardEvent
    seq: int
    resend: int | None = None

    @property
    def cursor(self) -> str:
        return str(self.seq) if self.resend is None else f"{self.seq}-{self.resend}"


@dataclass(frozen=True, slots=True)
class _Owed:
    """What was sent and is not answered yet."""

    event_id: str
    seq: int
    resend: int | None


@dataclass(slots=True)
class _Counts:
    """What was answered since that was last noted; `resent` are rows of what was sent once more."""

    answered: int = 0
    succeeded: int = 0
    resent: list[int] = field(default_factory=list)


class Session:
    """The connection of one listener.

    Args:
        session_id: names it.
        opened: the listener, and what it was told.
        changed: called when there is something to be noted of it.

    Attributes:
        asked: for which events.
        place: up to there the feed was sent; -1 before it has begun.
        is_carried: somebody writes what `frames` gives to a connection.
    """

    def __init__(
        self,
        session_id: str,
        opened: Opened,
        asked: Asked,
        holder: KeyHolder,
        *,
        reader: Reader,
        clock: Clock,
        changed: Callable[[], None],
    ) -> None:
        self.id = session_id
        self.row_id = opened.listener.row_id
        self.environment = opened.listener.environment
        self.holder = holder
        self.asked = asked
        self.secret = opened.secret
        self._signer = Signer(opened.secret)
        self._told = opened.listener.place
        self._head = opened.head
        self._reader = reader
        self._clock = clock
        self._changed = changed
        self._wake = asyncio.Event()
        self._begun: int | None = None
        self._said_ms = 0
        self._bye: Bye | None = None
        self._is_gone = False
        self._is_away = False
        self.is_carried = False
        self._owed: dict[str, _Owed] = {}
        self._resent_through = 0
        self._has_resends = True
        self._has_news = True
        self._counts = _Counts()
        self._heard_ms = clock.now_ms()
        self.place = _NOWHERE

    def is_over(self) -> bool:
        """Whether nothing more will be sent to it."""
        return self._is_gone or self._bye is not None

    # -- from elsewhere ----------------------------------------------------------------------------------------

    def news(self, last: int) -> None:
        """The feed goes up to `last`."""
        if last > self.place:
            self._has_news = True
            self._wake.set()

    def resends(self, last: int) -> None:
        """What is to be sent once more goes up to this row."""
        if last > self._resent_through:
            self._has_resends = True
            self._wake.set()

    def end(self, bye: Bye) -> None:
        """Say no more than this."""
        if self._bye is None:
            self._bye = bye
            self._wake.set()

    def leave(self) -> None:
        """Nobody is there to be told anything."""
        self._is_gone = True
        self._wake.set()

    def silent_ms(self, now_ms: int) -> int:
        """For how long it has said nothing although it has to: to begin, or to answer."""
        owes = self._begun is None or bool(self._owed)
        return now_ms - self._heard_ms if owes else 0

    # -- from the listener -------------------------------------------------------------------------------------

    def hear(self, frame: FromListener) -> None:
        """Take what the listener says.

        Raises:
            InvalidFrame: it is out of turn, or of something it was not sent.
        """
        self._heard_ms = self._clock.now_ms()
        match frame:
            case Answer():
                self._answered(frame)
            case Begin():
                self._begin(frame)
            case Start():
                raise InvalidFrame("expected one start, got another: a connection is of one listener")

    def _begin(self, frame: Begin) -> None:
        if self._begun is not None:
            raise InvalidFrame("expected one begin, got another")
        self._begun = _place(frame.after, "$.after")
        self._wake.set()

    def _answered(self, frame: Answer) -> None:
        _place(frame.cursor, "$.cursor")
        owed = self._owed.get(frame.cursor)
        if owed is None:
            # Answered twice: over HTTP an answer whose own answer was lost is sent again.
            return
        if owed.event_id != frame.event_id:
            raise InvalidFrame(f"expected an answer for {owed.event_id} at $.event_id, which this cursor was sent with")
        del self._owed[frame.cursor]
        self._counts.answered += 1
        self._counts.succeeded += frame.status is not None and 200 <= frame.status <= 299
        if owed.resend is not None:
            self._counts.resent.append(owed.resend)
        self._wake.set()
        self._changed()

    # -- to the listener ---------------------------------------------------------------------------------------

    async def frames(self) -> AsyncGenerator[FromServer, None]:
        """What is to be written to the connection, in order, until it is over."""
        self.is_carried = True
        await self._wait_for_begin()
        self._said_ms = self._clock.now_ms()
        while not self.is_over():
            self._wake.clear()
            retry_ms = None
            try:
                due, through, is_end = await self._next(WINDOW - len(self._owed))
            except StorageError as error:
                if not self._is_away:
                    log.warning("listener %d: the feed cannot be read, trying again: %s", self.row_id, error)
                self._is_away = self._has_news = self._has_resends = True
                due, through, is_end = (), self.place, True
                retry_ms = self._clock.now_ms() + _AWAY_MS
            else:
                self._is_away = False
            for one in due:
                if self.is_over():
                    break
                yield self._sent(one)
            else:
                self.place = through
            if due or not is_end or self.is_over():
                self._has_news = True
                continue
            beat_ms = self._said_ms + round(BEAT_EVERY_S * 1000)
            if self._clock.now_ms() >= beat_ms:
                self._said_ms = self._clock.now_ms()
                yield Beat(str(self.place), self._said_ms, is_behind=self._has_news)
            else:
                await self._clock.sleep_until(beat_ms if retry_ms is None else min(beat_ms, retry_ms), self._wake)
        if self._bye is not None and not self._is_gone:
            yield self._bye

    async def _wait_for_begin(self) -> None:
        while (begun := self._begun) is None:
            if self.is_over():
                return
            self._wake.clear()
            await self._clock.sleep_until(None, self._wake)
        try:
            if begun > self._head:
                self.end(_expired(f"{begun} is no place of this feed, which goes up to {self._head}"))
            # Of what was gone since the place it was told it knows.
            elif begun != self._told and await self._reader.has_gap(self, begun):
                self.end(_expired("events after that place are past their retention"))
            else:
                self.place = begun
                # Before the first delivery: who is new and falls silent now is not new once more.
                await self._reader.save()
        except StorageError as error:
            log.warning("listener %d cannot begin: the database is not available: %s", self.row_id, error)
            self.end(Bye("stopping", "the database is not available: come back in a moment", _AWAY_MS))

    async def _next(self, room: int) -> tuple[Sequence[_Due], int, bool]:
        """What is to be sent now, the place in the feed after it, and whether there is nothing more."""
        if room > 0 and self._has_resends:
            self._has_resends = False
            found = await self._reader.resent(self, self._resent_through, min(room, _RESENT_AT_ONCE))
            if found:
                self._has_resends, self._resent_through = True, found[-1][0]
                # What is past its retention by now is as good as answered.
                self._counts.resent += [row for row, event in found if event is None]
                due = [_Due(event, self.place, row) for row, event in found if event is not None]
                return due, self.place, False
        if room > 0 and self._has_news:
            self._has_news = False
            stretch = await self._reader.read(self, room)
            return [_Due(event, seq) for seq, event in stretch.events], stretch.through, stretch.is_end
        return (), self.place, True

    def _sent(self, one: _Due) -> Delivery:
        self._said_ms = now_ms = self._clock.now_ms()
        if not self._owed:
            # It owes nothing so far: how long it has been silent counts from here.
            self._heard_ms = now_ms
        self._owed[one.cursor] = _Owed(one.event.id, one.seq, one.resend)
        self.place = max(self.place, one.seq)
        is_replay = one.resend is not None
        return Delivery(
            cursor=one.cursor,
            event_id=one.event.id,
            event_type=one.event.type,
            created_at=format_ms(one.event.created_ms * 1000),
            headers=first_request(one.event, self._signer, now_ms=now_ms, is_replay=is_replay),
            body=one.event.body,
            is_missed=not is_replay and one.seq <= self._head,
            origin="replay" if is_replay else "published",
        )

    # -- to be noted -------------------------------------------------------------------------------------------

    def progress(self, *, is_open: bool) -> tuple[Progress, Sequence[int]]:
        """How far it came since `noted`, and which rows of what was sent once more are answered."""
        place = next((one.seq - 1 for one in self._owed.values() if one.resend is None), self.place)
        counts = self._counts
        return (
            Progress(self.row_id, self.id, place, counts.answered, counts.succeeded, is_open),
            tuple(counts.resent),
        )

    def noted(self, progress: Progress, resent: Sequence[int]) -> None:
        """That was stored; more may have come meanwhile."""
        counts = self._counts
        counts.answered -= progress.answered
        counts.succeeded -= progress.succeeded
        del counts.resent[: len(resent)]


def _place(text: str, field_path: str) -> int:
    """The place in a cursor. InvalidFrame for what is no cursor of ours."""
    found = _CURSOR.fullmatch(text)
    if found is None:
        raise InvalidFrame(f"expected a cursor that the server has sent at {field_path}")
    return int(found[1])


def _expired(why: str) -> Bye:
    return Bye("expired_cursor", f"{why}: come back, and begin where `hello` says", 0)
