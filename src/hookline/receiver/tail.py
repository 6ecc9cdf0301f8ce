"""The tail: events of the source's feed, read after one another and kept in the inbox as the door keeps webhooks.

It has a place of its own in the feed, which webhooks never move. It moves behind what was read in the very transaction
that keeps that, under a lease (leases.py) which fences off a process that was taken for dead: so no event is passed
that is not in the inbox, whatever dies when. What came as a webhook, too, is known by its id.

Sources withhold events from readers for some seconds, so that none appears behind one that was read already. Where one
does so all the same, it is found by reading again: what was read is read once more when the overlap (60 s) has passed,
from two overlaps before on. Whatever appears within an overlap of its time is found that way.

A feed is read from when the tail was begun: what was before is for a backfill, and handlers do not hear of it. A place
that the source no longer keeps is left for one of now, and a pass that puts the whole mirror right stands in for what
lies between. Reading goes on meanwhile: the merge rules take what comes in any order, and a pass may wait for a person.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from hookline.errors import InvalidBody, SourceError
from hookline.receiver.intake import CHANNEL
from hookline.receiver.leases import LEASE_MS, LeaseLost, Leases
from hookline.receiver.mirror_store import Registered
from hookline.receiver.model import PutKind, TailRow
from hookline.receiver.receive import entry_of
from hookline.receiver.resources import mirrored_types
from hookline.receiver.store import InboxStore
from hookline.rules.schedule import Backoff
from hookline.storage import Verbs
from hookline.wire.catalogue import CATALOGUE, matches
from hookline.wire.event import decode_envelope
from hookline.wire.timestamps import format_ms, parse_us, ulid_time_us

if TYPE_CHECKING:
    from hookline.receiver.counters import Counters
    from hookline.receiver.source import EventPage, FeedEvent, SourceApi
    from hookline.receiver.work import Access
    from hookline.rules.redaction import Secrets
    from hookline.storage import Connection

log = logging.getLogger("hookline.tail")

LEASE: Final = "tail"
EVERY_MS: Final = 5_000
OVERLAP_MS: Final = 60_000
_OVERLAP_US: Final = OVERLAP_MS * 1_000
# How often it is written down that reading goes well, and the lease renewed with it.
NOTED_EVERY_MS: Final = 20_000
# How often whoever does not have the lease looks whether it is free.
FOLLOW_MS: Final = LEASE_MS // 4
AGAIN: Final = Backoff(first_s=5, factor=2, cap_s=300, tries=2**31)
# The longest that a source may ask for.
LONGEST_WAIT_MS: Final = 3_600_000

T = TypeVar("T")


class Tail:
    """Reads the feed of one source, as one process has a part in it.

    Args:
        access: the tables.
        source: whose.
        api: what answers for it.
        leases: under this process's name.
        types: which events to ask for; None for all that the mirror needs or a handler of any process hears of.
        knows_all: whether every type there is is in the catalogue, so that others are not asked for.
        optional: resources that are mirrored only where asked for.
        redact: what is cut out of events before they are kept.
        begin_pass: begins a pass that puts the whole mirror right, and gives its number; None where there is none.
        counters: what is counted here.
        keeping: called in each transaction that keeps something, with its connection.
        kept: called after its commit.
    """

    def __init__(
        self,
        access: Access,
        source: str,
        api: SourceApi,
        leases: Leases,
        *,
        types: Sequence[str] | None = None,
        knows_all: bool = False,
        optional: Collection[str] = (),
        redact: Secrets | None = None,
        begin_pass: Callable[[], int] | None = None,
        counters: Counters | None = None,
        keeping: Callable[[Any], None] | None = None,
        kept: Callable[[], None] | None = None,
    ) -> None:
        self._access = access
        self._source = source
        self._api = api
        self._leases = leases
        self._given_types = None if types is None else tuple(types)
        self._knows_all = knows_all
        self._optional = frozenset(optional)
        self._redact = redact
        self._begin_pass = begin_pass
        self._counters = counters
        self._keeping = keeping
        self._kept = kept
        self._verbs = Verbs("hookline.receiver", access.dialect)
        self._inbox = InboxStore(access.dialect)
        self._token: int | None = None
        # As it is in the table; None where that is to be read. Nobody else writes it while the lease is held.
        self._row: TailRow | None = None
        self._types: tuple[str, ...] = ()
        self._noted_ms = 0
        self._settled_ms = 0
        self._overlap = _Overlap()
        self._failures = 0
        self._wait_ms = 0

    def step(self, now_ms: int) -> int:
        """Read a page, if this process has the lease; when to come again (Unix milliseconds)."""
        try:
            row = self._held(now_ms)
            if row is None:
                return now_ms + FOLLOW_MS
            if now_ms < self._wait_ms <= now_ms + LONGEST_WAIT_MS:
                return self._waited(now_ms)
            due_ms = self._read(row, now_ms)
        except LeaseLost:
            log.warning("tail of %s: another process has taken it over", self._source, extra=self._named)
            self._token = self._row = None
            return now_ms + FOLLOW_MS
        except SourceError as error:
            return self._failed(error, now_ms)
        except Exception:
            self._row = None  # whether a commit was made is not known: look
            raise
        if self._failures:
            log.info("tail of %s: reading again after %d failures", self._source, self._failures, extra=self._named)
            self._failures = 0
        return due_ms

    def release(self) -> None:
        """Let others read at once."""
        token, self._token, self._row = self._token, None, None
        if token is not None:
            self._access.run(lambda connection: self._leases.release(connection, self._source, LEASE, token))

    # -- who reads ---------------------------------------------------------------------------------------------

    def _held(self, now_ms: int) -> TailRow | None:
        """Where reading is, if it is for this process to read."""
        is_taken = self._token is None
        if is_taken:
            self._token = self._access.run(
                lambda connection: self._leases.take(connection, self._source, LEASE, now_ms)
            )
            self._row = None
        if self._token is None:
            return None
        if self._row is None:
            self._row = self._in_lease(now_ms, self._looked_up(now_ms))
            self._noted_ms = now_ms
            if is_taken and self._row.cursor is not None:
                self._overlap.taken_over(self._row.cursor_us, now_ms)
        return self._row

    def _in_lease(self, now_ms: int, work: Callable[[Connection], T]) -> T:
        """`work(connection)` in a transaction that is undone where the lease is somebody else's by now."""
        token = self._token
        assert token is not None

        def fenced(connection: Connection) -> T:
            self._leases.hold(connection, self._source, LEASE, token, now_ms)
            return work(connection)

        return self._access.run(fenced)

    def _looked_up(self, now_ms: int) -> Callable[[Connection], TailRow]:
        def work(connection: Connection) -> TailRow:
            beginning_us = (now_ms - OVERLAP_MS) * 1_000
            if self._verbs["tails_begin"].count(connection, {"source": self._source, "cursor_us": beginning_us}):
                log.info(
                    "tail of %s: begins with events since %s; what was before is for a backfill",
                    self._source,
                    format_ms(beginning_us),
                    extra=self._named,
                )
            self._types = self._asked_for(connection)
            [row] = self._verbs["tails_list"].run(connection, {"source": self._source})
            return TailRow(*row)

        return work

    def _asked_for(self, connection: Connection) -> tuple[str, ...]:
        if self._given_types is not None:
            return self._given_types
        registered = [Registered(*row) for row in self._verbs["handlers_registered"].run(connection)]
        return needed_types(registered, self._source, optional=self._optional, knows_all=self._knows_all)

    # -- reading -----------------------------------------------------------------------------------------------

    def _read(self, row: TailRow, now_ms: int) -> int:
        if row.state == "snapshot":
            row = self._stand_in(row, now_ms)
        is_behind = self._overlap.is_due(now_ms) and self._read_again(row, now_ms)
        since_us = row.cursor_us if row.cursor is None else None
        try:
            page = self._api.events(self._types, after=row.cursor, since_us=since_us)
        except SourceError as error:
            if error.reason != "expired":
                raise
            self._lose(row, now_ms)
            return now_ms
        if page.events:
            self._keep(page, row, now_ms)
        else:
            self._note(row, page.requested_us, now_ms)
        return now_ms if page.has_more or is_behind else now_ms + EVERY_MS

    def _keep(self, page: EventPage, row: TailRow, now_ms: int) -> None:
        """Keep a page's events and the place behind them, in one transaction."""
        last = page.events[-1]
        last_us = time_of(last)
        moved = row._replace(cursor=last.id, cursor_us=page.requested_us if last_us is None else last_us)
        kinds = self._store(page.events, moved, now_ms)
        new = kinds.count("accepted")
        self._count({"kept": new, "known": len(kinds) - new})
        self._overlap.moved(moved.cursor_us, page.requested_us, now_ms)

    def _read_again(self, row: TailRow, now_ms: int) -> bool:
        """A page of what was read already; what is new there the source has shown late. Whether there is more of it."""
        again = self._overlap.begun(row)
        try:
            page = self._api.events(
                self._types, after=again.after, since_us=again.from_us if again.after is None else None
            )
        except SourceError as error:
            if error.reason not in ("expired", "refused"):
                raise
            self._overlap.given_up()  # it reaches back to what the source no longer keeps
            return False
        if events := again.cut(page.events):
            late = self._store(events, row, now_ms, is_again=True).count("accepted")
            self._count({"late": late})
            if late:
                log.info("tail of %s: %d events appeared late", self._source, late, extra=self._named)
        return self._overlap.read(page, now_ms)

    def _store(
        self, events: Sequence[FeedEvent], row: TailRow, now_ms: int, *, is_again: bool = False
    ) -> list[PutKind]:
        entries = [entry_of(self._source, event, now_ms, self._redact) for event in events]

        def work(connection: Connection) -> list[PutKind]:
            kinds = self._inbox.put(connection, entries)
            new = kinds.count("accepted")
            if new and self._keeping is not None:
                self._keeping(connection)
            self._move(connection, row, now_ms, *((0, 0, new) if is_again else (len(kinds), new, 0)))
            return kinds

        kinds = self._in_lease(now_ms, work)
        self._row, self._noted_ms = row, now_ms
        if "accepted" in kinds:
            self._access.tell(CHANNEL)
            if self._kept is not None:
                self._kept()
        return kinds

    def _count(self, counts: Mapping[str, int]) -> None:
        if self._counters is not None:
            self._counters.feed_read(self._source, counts)

    def _move(
        self, connection: Connection, row: TailRow, now_ms: int, read: int = 0, kept: int = 0, late: int = 0
    ) -> None:
        named = {"source": self._source, "cursor": row.cursor, "cursor_us": row.cursor_us, "now_ms": now_ms}
        self._verbs["tails_move"].run(connection, {**named, "read": read, "kept": kept, "late": late})

    def _note(self, row: TailRow, requested_us: int, now_ms: int) -> None:
        """Now and then, at the tip: that reading goes well, what is to be asked for, where a beginning is by now."""
        if 0 <= now_ms - self._noted_ms < NOTED_EVERY_MS and not self._failures:
            return
        if row.cursor is None:
            # A source answers for thirty days at a time: a range that begins before that would be refused.
            row = row._replace(cursor_us=max(row.cursor_us, requested_us - _OVERLAP_US))

        def work(connection: Connection) -> tuple[str, ...]:
            self._move(connection, row, now_ms)
            return self._asked_for(connection)

        self._types = self._in_lease(now_ms, work)
        self._row, self._noted_ms = row, now_ms

    # -- what goes wrong ---------------------------------------------------------------------------------------

    def _failed(self, error: SourceError, now_ms: int) -> int:
        self._failures += 1
        if self._failures == 1:
            log.warning("tail of %s: cannot be read: %s", self._source, error, extra=self._named)
        due_ms = AGAIN.due_ms(tries_made=self._failures, now_ms=now_ms, jitter=0)
        assert due_ms is not None
        asked_ms = 0 if error.retry_after_s is None else math.ceil(error.retry_after_s * 1_000)
        self._wait_ms = min(max(due_ms, now_ms + asked_ms), now_ms + LONGEST_WAIT_MS)
        named = {"source": self._source, "now_ms": now_ms, "error": f"{error.reason}: {error}"}
        return self._waited(now_ms, lambda connection: self._verbs["tails_fail"].run(connection, named))

    def _waited(self, now_ms: int, work: Callable[[Connection], object] = lambda _: None) -> int:
        """Keep the lease while the source is not to be asked; when to come again."""
        try:
            self._in_lease(now_ms, work)
        except LeaseLost:
            self._token = self._row = None
        return min(self._wait_ms, now_ms + FOLLOW_MS)

    def _lose(self, row: TailRow, now_ms: int) -> None:
        # As at the first beginning, by our clock: what the source answered has told no time.
        named = {"source": self._source, "cursor_us": (now_ms - OVERLAP_MS) * 1_000}
        self._in_lease(now_ms, lambda connection: self._verbs["tails_lose"].run(connection, named))
        self._row, self._overlap = None, _Overlap()
        log.warning(
            "tail of %s: the source no longer keeps what came after %s; a pass is to stand in for it, but handlers of "
            "events do not hear of what is lost",
            self._source,
            format_ms(row.cursor_us),
            extra=self._named,
        )

    def _stand_in(self, row: TailRow, now_ms: int) -> TailRow:
        """Have a pass fill the gap: begin it, and look now and then whether it is through."""
        if row.pass_id is None:
            if self._begin_pass is None:
                return row
            pass_id = self._begin_pass()
            named = {"source": self._source, "pass_id": pass_id}
            self._in_lease(now_ms, lambda connection: self._verbs["tails_pass"].run(connection, named))
            row = row._replace(pass_id=pass_id)
        elif not 0 <= now_ms - self._settled_ms < NOTED_EVERY_MS:
            self._settled_ms = now_ms
            settled = self._in_lease(
                now_ms, lambda connection: self._verbs["tails_settle"].run(connection, {"source": self._source})
            )
            if settled:
                log.info(
                    "tail of %s: what was lost is made good by pass %d", self._source, row.pass_id, extra=self._named
                )
                row = row._replace(state="reading", lost_us=None, pass_id=None)
        self._row = row
        return row

    @property
    def _named(self) -> dict[str, str]:
        return {"source": self._source}


class _Again(NamedTuple):
    """A reading of what was read already, page by page, up to where reading was when it was begun."""

    from_us: int
    after: str | None
    until: str | None
    until_us: int
    requested_us: int | None

    def cut(self, events: Sequence[FeedEvent]) -> Sequence[FeedEvent]:
        """Those before its end: what is behind that is for the tail to read, and not late."""
        places = [place for place, event in enumerate(events) if event.id == self.until]
        return events[: places[0]] if places else events

    def goes_on(self, page: EventPage) -> bool:
        """Whether its end is still ahead after this page."""
        if not page.has_more or any(event.id == self.until for event in page.events):
            return False
        last_us = time_of(page.events[-1])
        return last_us is not None and last_us <= self.until_us


class _Overlap:
    """When is what was read to be read once more, and from where on?

    An event that is shown an overlap late at most, and was passed at P, has a time after P less an overlap, and is
    there at P and an overlap. So reading again at least that much later, from two overlaps before P on, finds it.
    """

    def __init__(self) -> None:
        self._due_ms: int | None = None
        self._from_us = 0
        self._moved_us = 0
        self._again: _Again | None = None

    def is_due(self, now_ms: int) -> bool:
        # Further ahead than it was ever set: the clock was set back.
        return self._due_ms is not None and not now_ms < self._due_ms <= now_ms + OVERLAP_MS

    def taken_over(self, cursor_us: int, now_ms: int) -> None:
        """Somebody else read up to there, or this process before it was started again."""
        self._moved_us, self._from_us = cursor_us, cursor_us - 2 * _OVERLAP_US
        is_long_ago = now_ms * 1_000 - cursor_us > 2 * _OVERLAP_US
        self._due_ms = now_ms if is_long_ago else now_ms + OVERLAP_MS

    def moved(self, event_us: int, requested_us: int, now_ms: int) -> None:
        """Events up to this time were read, asked for at `requested_us`."""
        if event_us <= requested_us - _OVERLAP_US:
            return  # long past: whatever was late is there
        self._moved_us = requested_us
        if self._due_ms is None:
            self._due_ms, self._from_us = now_ms + OVERLAP_MS, requested_us - 2 * _OVERLAP_US

    def begun(self, row: TailRow) -> _Again:
        """Where to read on."""
        if self._again is None:
            self._again = _Again(self._from_us, None, row.cursor, row.cursor_us, None)
        return self._again

    def read(self, page: EventPage, now_ms: int) -> bool:
        """A page was read again; whether there is more to read."""
        assert self._again is not None
        asked_us = page.requested_us if self._again.requested_us is None else self._again.requested_us
        if self._again.goes_on(page):
            self._again = self._again._replace(after=page.events[-1].id, requested_us=asked_us)
            return True
        self.given_up()
        if self._moved_us > asked_us - _OVERLAP_US:
            self._due_ms, self._from_us = now_ms + OVERLAP_MS, asked_us - 2 * _OVERLAP_US
        return False

    def given_up(self) -> None:
        """Nothing is to be read again."""
        self._due_ms = self._again = None


def needed_types(
    registered: Sequence[Registered], source: str, *, optional: Collection[str] = (), knows_all: bool = False
) -> tuple[str, ...]:
    """The types that the mirror needs or a handler hears of, in alphabetical order.

    Args:
        registered: the handlers of all processes.
        source: whose events.
        optional: resources that are mirrored only where asked for.
        knows_all: leave out types that are not in the catalogue. A pattern stands for those that are, in any case: the
            feed takes exact names.
    """
    patterns = [handler.pattern for handler in registered if handler.kind == "fact" and handler.hears(source)]
    heard = {name for name in CATALOGUE if any(matches(pattern, name) for pattern in patterns)}
    unlisted = {name for name in patterns if not name.endswith("*") and not knows_all}
    return tuple(sorted(mirrored_types(optional) | heard | unlisted))


def time_of(event: FeedEvent) -> int | None:
    """When an event of the feed happened, by its `created_at` or else its id; None where neither says."""
    try:
        created_at = decode_envelope(event.body).created_at
        return ulid_time_us(event.id) if created_at is None else parse_us(created_at)
    except (InvalidBody, ValueError):
        return ulid_time_us(event.id)
