"""Passes: all that a source lists, read once, to fill the mirror, to put it right, or to say where it differs.

A pass is rows: its listings, where each stands, what it saw. Each `step` asks the source at most for a page, or for a
few objects, and stores what came of it in one transaction together with where the pass then stands, under a lease that
fences off a process taken for dead. So it is interrupted anywhere at no cost, and anyone goes on with it.

What the source does not answer for is waited for where it passes by itself; for all else the pass stops with the
reason, to be resumed. Neither moves anything, and nothing is concluded from either.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from hookline.errors import HooklineError, SourceError
from hookline.receiver.drift import Drift
from hookline.receiver.leases import LATEST_MS, LEASE_MS, LeaseLost, Leases
from hookline.receiver.listing import Lister, MassDelete, Work
from hookline.receiver.pass_store import (
    CHECK,
    EXPLAIN,
    JUDGE,
    Kind,
    Listing,
    ListingCounts,
    Mode,
    Pass,
    PassStore,
    listing_of,
)
from hookline.receiver.source import PAGE
from hookline.rules.passes import PACE_MS, PASSING, go_on_ms
from hookline.storage import Verbs

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.receiver.mirror_store import MirrorStore
    from hookline.receiver.source import SourceApi
    from hookline.receiver.work import Access
    from hookline.storage import Connection

T = TypeVar("T")

LEASE: Final = "passes"
# How often whoever does not have the lease looks whether it is free.
FOLLOW_MS: Final = LEASE_MS // 4
# A listing that stood still for longer begins anew: what it began with is worth little as a floor by now.
RESTART_AFTER_MS: Final = 6 * 3_600_000
# Scheduled passes of several processes and sources are spread over this part of their period.
SPREAD: Final = 0.1


class _EndedError(HooklineError):
    """Somebody has ended the pass: what this transaction wrote is undone."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How a pass stands.

    Attributes:
        listings: its listings in numbers.
        requests_per_s: since it began.
        end_ms: when it will be through at that rate; None while it is not known how much there is.
    """

    pass_: Pass
    listings: tuple[ListingCounts, ...]
    requests_per_s: float
    end_ms: int | None


class Passes:
    """The passes of one source, as one process has a part in them.

    Args:
        access: the tables.
        mirror: its verbs.
        source: whose.
        api: what answers for it.
        clock: for when a pass is begun; a step is told the time.
        leases: under this process's name.
        every_s: begin one that puts things right so often; None for never.
        jitter: gives -1 to 1, for waits and for when a scheduled one begins.
    """

    def __init__(
        self,
        access: Access,
        mirror: MirrorStore,
        source: str,
        api: SourceApi,
        clock: Clock,
        leases: Leases,
        *,
        every_s: float | None = None,
        jitter: Callable[[], float] | None = None,
    ) -> None:
        verbs = Verbs("hookline.receiver", access.dialect)
        self._access = access
        self._source = source
        self._clock = clock
        self._leases = leases
        self._store = PassStore(verbs)
        self._drift = Drift(verbs, access, api, clock)
        self._lister = Lister(access, self._store, mirror, self._drift, api, clock)
        self._every_ms = None if every_s is None else round(every_s * 1_000)
        self._jitter = jitter or (lambda: random.uniform(-1, 1))  # noqa: S311 - spreads requests, guards nothing
        self._later_ms = 0 if self._every_ms is None else round(self._every_ms * SPREAD * abs(self._jitter()))
        self._token: int | None = None

    # -- by whoever asks ---------------------------------------------------------------------------------------

    def start(
        self,
        kind: Kind,
        mode: Mode,
        *,
        directory_id: str | None = None,
        allow_mass_delete: bool = False,
        asked_by: str,
    ) -> int:
        """Begin a pass, behind those that are running; its number. Whatever stopped of the like is canceled.

        Args:
            kind: `backfill` or `reconcile`: for people.
            mode: `apply` puts the mirror right; `dry_run` leaves it alone and says where it differs.
            directory_id: of this directory alone.
            allow_mass_delete: whatever part of a listing is gone may go.
            asked_by: who, or what: for people.
        """
        now_ms = self._clock.now_ms()

        def work(connection: Connection) -> int:
            return self._start(connection, kind, mode, directory_id, allow_mass_delete, asked_by, now_ms)

        return self._access.run(work)

    def resume(self, pass_id: int, *, allow_mass_delete: bool = False) -> bool:
        """Let a pass that stopped, or waits, go on now where it stands. False where it has ended, or there is none."""
        now_ms = self._clock.now_ms()
        return self._access.run(
            lambda connection: self._store.resume(
                connection, pass_id, allow_mass_delete=allow_mass_delete, now_ms=now_ms
            )
        )

    # -- by whoever works --------------------------------------------------------------------------------------

    def step(self, now_ms: int) -> int | None:
        """Do the next part of the oldest running pass; when to come again (Unix ms), None for when one is begun.

        At most one page, or a few single objects, are asked for.
        """
        with self._access.read() as connection:
            pass_ = self._store.next(connection, self._source)
            scheduled_ms = self._scheduled_ms(connection, now_ms) if pass_ is None else None
            listing = None if pass_ is None else self._store.next_listing(connection, pass_.row_id)
        due_ms = scheduled_ms if pass_ is None else _due_ms(pass_, now_ms)
        if due_ms is None or due_ms > now_ms:
            self.release()
            return due_ms
        if self._token is None:
            self._token = self._access.run(
                lambda connection: self._leases.take(connection, self._source, LEASE, now_ms)
            )
            # Whoever had it may have gone on since the look above.
            return now_ms + FOLLOW_MS if self._token is None else now_ms
        try:
            if pass_ is None:
                self._start_scheduled(now_ms)
                return now_ms
            return self._advance(pass_, listing, now_ms)
        except LeaseLost:
            self._token = None
            return now_ms + FOLLOW_MS
        except _EndedError:
            return now_ms

    def release(self) -> None:
        """Let others take passes on at once; the next step takes the lease again."""
        token, self._token = self._token, None
        if token is not None:
            self._access.run(lambda connection: self._leases.release(connection, self._source, LEASE, token))

    # -- the inside --------------------------------------------------------------------------------------------

    def _start(
        self,
        connection: Connection,
        kind: Kind,
        mode: Mode,
        directory_id: str | None,
        allow_mass_delete: bool,
        asked_by: str,
        now_ms: int,
    ) -> int:
        pass_id = self._store.add(
            connection,
            self._source,
            kind,
            mode,
            directory_id=directory_id,
            allow_mass_delete=allow_mass_delete,
            asked_by=asked_by,
            now_ms=now_ms,
        )
        self._store.supersede(connection, pass_id, self._source, directory_id, now_ms)
        if directory_id is None:
            listings = [listing_of("organization"), listing_of("directory")]
        else:
            listings = [listing_of("directory", directory_id, directory_id)]
        if mode == "dry_run":
            listings += [listing_of(CHECK), listing_of(EXPLAIN), listing_of(JUDGE)]
        self._store.add_listings(connection, pass_id, listings)
        return pass_id

    def _scheduled_ms(self, connection: Connection, now_ms: int) -> int | None:
        """When the next pass is to begin by itself."""
        if self._every_ms is None:
            return None
        begun_ms = self._store.last_begun_ms(connection, self._source)
        if begun_ms is None or begun_ms > now_ms + LATEST_MS:  # the clock has been set back
            return now_ms
        return begun_ms + self._every_ms + self._later_ms

    def _start_scheduled(self, now_ms: int) -> None:
        def work(connection: Connection) -> None:
            self._hold(connection, now_ms)
            due_ms = self._scheduled_ms(connection, now_ms)
            if due_ms is not None and due_ms <= now_ms and not self._store.running(connection, self._source):
                self._start(connection, "reconcile", "apply", None, False, "schedule", now_ms)

        self._access.run(work)

    def _advance(self, pass_: Pass, listing: Listing | None, now_ms: int) -> int:
        if listing is None:
            self._run(lambda connection: self._finish(connection, pass_, now_ms), now_ms)
            return now_ms
        if listing.state == "listing" and now_ms - pass_.updated_ms > RESTART_AFTER_MS:
            self._run(lambda connection: self._restart(connection, pass_, listing, now_ms), now_ms)
            return now_ms
        try:
            work = self._next(pass_, listing, now_ms)
            return self._run(lambda connection: self._move(connection, pass_, work, now_ms), now_ms)
        except SourceError as error:
            return self._failed(pass_, listing, error, now_ms)
        except MassDelete as guard:
            reason = f"{guard}; resume with --allow-mass-delete, or look first: `hookline reconcile`"
            self._run(lambda connection: self._stop(connection, pass_, reason, now_ms), now_ms)
            return now_ms

    def _next(self, pass_: Pass, listing: Listing, now_ms: int) -> Work:
        if listing.resource in (CHECK, EXPLAIN, JUDGE):
            return self._drift.next(pass_, listing, now_ms)
        return self._lister.next(pass_, listing, now_ms)

    def _run(self, work: Callable[[Connection], T], now_ms: int) -> T:
        """`work` in a transaction that the lease guards."""

        def guarded(connection: Connection) -> T:
            self._hold(connection, now_ms)
            return work(connection)

        return self._access.run(guarded)

    def _hold(self, connection: Connection, now_ms: int) -> None:
        assert self._token is not None
        self._leases.hold(connection, self._source, LEASE, self._token, now_ms)

    def _move(self, connection: Connection, pass_: Pass, work: Work, now_ms: int) -> int:
        """Store what a step did; when the next may be done."""
        moved = work(connection)
        is_paced = pass_.counts.get("limited") and moved.counts.get("requests")
        due_ms = now_ms + PACE_MS if is_paced else now_ms
        self._store.move_listing(connection, pass_.row_id, moved.listing)
        counts = _added(pass_.counts, moved.counts)
        started_us = moved.listing.started_us
        if not self._store.move(connection, pass_, counts, started_us=started_us, now_ms=now_ms, due_ms=due_ms):
            raise _EndedError(f"pass {pass_.row_id} was ended")
        return due_ms

    def _finish(self, connection: Connection, pass_: Pass, now_ms: int) -> None:
        self._store.forget_all_seen(connection, pass_.row_id)
        if pass_.mode == "apply" and pass_.directory_id is None:
            self._drift.store.settle_all(connection, pass_, now_ms)
        if not self._store.end(connection, pass_, "completed", None, pass_.counts, now_ms):
            raise _EndedError(f"pass {pass_.row_id} was ended")

    def _restart(self, connection: Connection, pass_: Pass, listing: Listing, now_ms: int) -> None:
        """Begin a listing anew; what it has joined stays."""
        self._store.forget_seen(connection, pass_.row_id, listing)
        fresh = listing_of(listing.resource, listing.scope_id, listing.directory_id)
        self._store.move_listing(connection, pass_.row_id, fresh)
        if not self._store.move(connection, pass_, pass_.counts, started_us=None, now_ms=now_ms, due_ms=now_ms):
            raise _EndedError(f"pass {pass_.row_id} was ended")

    def _failed(self, pass_: Pass, listing: Listing, error: SourceError, now_ms: int) -> int:
        """What a source that did not answer means: wait, or stop. Nothing else moves."""
        reason = f"{error.reason}: {error}"
        now_ms = max(now_ms, self._clock.now_ms())  # asking took its time
        if error.reason in PASSING:
            due_ms = go_on_ms(now_ms, pass_.tries + 1, jitter=self._jitter(), retry_after_s=error.retry_after_s)
            counts = _added(pass_.counts, {"limited" if error.reason == "rate_limited" else "failed": 1})

            def wait(connection: Connection) -> None:
                self._store.wait(connection, pass_, counts, reason, now_ms=now_ms, due_ms=due_ms)

            self._run(wait, now_ms)
            return due_ms

        def stop(connection: Connection) -> None:
            if listing.state == "listing" and error.reason != "unauthorized":
                # Its cursor may be what is wrong: whoever resumes reads the list from its start.
                self._restart(connection, pass_, listing, now_ms)
            self._stop(connection, pass_, reason, now_ms)

        self._run(stop, now_ms)
        return now_ms

    def _stop(self, connection: Connection, pass_: Pass, reason: str, now_ms: int) -> None:
        self._store.end(connection, pass_, "stopped", reason, pass_.counts, now_ms)


def read_progress(connection: Connection, store: PassStore, pass_id: int) -> Progress | None:
    """How a pass stands; None where there is none of that number."""
    pass_ = store.read(connection, pass_id)
    if pass_ is None:
        return None
    listings = tuple(store.listings(connection, pass_id))
    took_s = max(1, pass_.updated_ms - pass_.created_ms) / 1_000
    rate = pass_.counts.get("requests", 0) / took_s
    left = _requests_left(listings)
    end_ms = None if left is None or rate == 0 else pass_.updated_ms + round(left / rate * 1_000)
    return Progress(pass_, listings, rate, end_ms if pass_.state == "running" else None)


def _due_ms(pass_: Pass, now_ms: int) -> int:
    """When a running pass goes on; at once where it was left to wait by a clock that has been set back since."""
    return now_ms if pass_.updated_ms > now_ms + LATEST_MS else pass_.due_ms


def _added(counts: Mapping[str, int], more: Mapping[str, int]) -> dict[str, int]:
    total = Counter(counts)
    total.update(more)
    return {name: count for name, count in total.items() if count}


def _requests_left(listings: tuple[ListingCounts, ...]) -> float | None:
    """About how many requests a pass still takes; None while listings may come that are not known."""
    left = 0.0
    for one in listings:
        if one.state in ("completed", "dropped") or one.resource in (CHECK, EXPLAIN, JUDGE):
            continue
        if one.resource in ("organization", "directory", "directory_group"):
            return None
        ended = [other for other in listings if other.resource == one.resource and other.state == "completed"]
        read, pages = sum(other.listings for other in ended), sum(other.seen / PAGE for other in ended)
        left += one.listings * (1 + (pages / read if read else 0))
    return left
