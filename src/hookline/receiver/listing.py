"""One listing of a pass: its pages, and what they leave to conclude (rules A17, A19, C7, D of the design's receiving
reference).

A listing goes from page to page. Where a pass puts things right, every row joins the mirror as of the request of its
own page; where it only looks, rows are compared with the mirror. What a whole listing has not shown, and lives on
nothing later than its first page, is concluded last: each object is asked for alone, and gone where the answer is 404;
a membership is removed. Then the floor is set. A listing that is not whole concludes nothing.

`Lister.next` asks the source, and gives the work that stores what came of it, for a transaction of the caller's.
Nothing is kept in memory between two of its calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from hookline.errors import HooklineError, SourceError
from hookline.loop import Clock as Time
from hookline.receiver.drift import ASK_FOR_MS, ASKED_AT_ONCE, Candidate, Drift
from hookline.receiver.mirror import Seen, apply_reads
from hookline.receiver.mirror_store import Cause, MirrorStore
from hookline.receiver.pass_store import Listing, Moved, Pass, PassStore, listing_of
from hookline.receiver.recognition import UNRECOGNISED, is_recognised
from hookline.receiver.refetch_store import Refetch
from hookline.receiver.resources import (
    DIRECTORY_MEMBERSHIP,
    RESOURCES,
    Observed,
    observe_absent,
    observe_listed,
    observe_read,
    observe_unlisted,
)
from hookline.receiver.source import PATHS, Found, Gone, Page, SourceApi
from hookline.receiver.work import Access
from hookline.rules.merge import Clock, floor_clock
from hookline.rules.passes import may_die
from hookline.rules.refetch import Reason, due_ms
from hookline.storage import Connection

Work: TypeAlias = Callable[[Connection], Moved]

ROWS_AT_ONCE: Final = 500

_EDGE: Final = DIRECTORY_MEMBERSHIP.name


class MassDelete(HooklineError):
    """More of a listing is gone than may be without somebody's leave."""


class Lister:
    """What a listing does next.

    Args:
        api: the source's.
        clock: for how long asking takes.
    """

    def __init__(
        self, access: Access, store: PassStore, mirror: MirrorStore, drift: Drift, api: SourceApi, clock: Time
    ) -> None:
        self._access = access
        self._store = store
        self._mirror = mirror
        self._drift = drift
        self._api = api
        self._clock = clock

    def next(self, pass_: Pass, listing: Listing, now_ms: int) -> Work:
        """Ask the source what is to be asked next.

        Returns: the work that stores it, in a transaction that begins with a write.

        Raises:
            SourceError: there was no answer to go by; also from the work.
            MassDelete: the guard of rule D6.
        """
        return _Step(self, pass_, listing, now_ms).next()


class _Step:
    """One step of one listing."""

    def __init__(self, lister: Lister, pass_: Pass, listing: Listing, now_ms: int) -> None:
        self._access, self._store = lister._access, lister._store
        self._mirror, self._drift, self._api = lister._mirror, lister._drift, lister._api
        self._clock = lister._clock
        self._pass, self._listing, self._now_ms = pass_, listing, now_ms
        self._cause = Cause(None, f"pass_{pass_.row_id}")
        self._requests = 0
        self._is_recognised = False

    def next(self) -> Work:
        if self._listing.state == "closing":
            return self._close
        if self._listing.state == "confirming":
            return self._conclude()
        if self._listing.resource == "directory" and self._listing.scope_id:
            return self._begin_alone(self._listing.scope_id)
        return self._read_page()

    # -- pages -------------------------------------------------------------------------------------------------

    def _read_page(self) -> Work:
        listing = self._listing
        filters = {} if not listing.scope_id else {_filter(listing): listing.scope_id}
        try:
            page = self._api.page(_listed(listing), filters, after=listing.cursor)
        except SourceError as error:
            # What a deleted group or directory is a filter for is refused. Whether it is gone, it says itself.
            if error.reason != "refused" or not listing.scope_id or not isinstance(found := self._parent(), Gone):
                raise
            self._requests += 1
            return self._bury(found)
        self._requests += 1
        self._check(page)
        if listing.resource == "organization" and listing.cursor is None and not self._is_known(page):
            self._recognise()  # here, since it is the first listing of a pass over all
        dated = page._replace(requested_us=self._dated(page.requested_us))
        return lambda connection: self._store_page(connection, dated)

    def _check(self, page: Page) -> None:
        """SourceError where a page is none of this listing's."""
        listing, resource = self._listing, _listed(self._listing)
        where = PATHS[resource]
        if page.after is not None and (not page.items or page.after == listing.cursor):
            raise SourceError("nonsense", f"{where}: a page leads to itself, or is empty and names a next one")
        directory_id = listing.directory_id
        for item in page.items:
            if item.get("object", resource) != resource:
                raise SourceError("nonsense", f"{where}: expected {resource} objects, got another kind")
            if directory_id is not None and item.get("directory_id") != directory_id:
                raise SourceError("nonsense", f"{where}: asked for what is in {directory_id}, got what is not")
            if RESOURCES[resource].key_of(item) is None:
                raise SourceError("nonsense", f"{where}: {RESOURCES[resource].lacks(item)}")
        ids = [item["id"] for item in page.items]
        if len(set(ids)) < len(ids):
            raise SourceError("nonsense", f"{where}: one page shows an object twice")

    def _store_page(self, connection: Connection, page: Page) -> Moved:
        listing = self._listing
        ids = [item["id"] for item in page.items]
        if self._store.see(connection, self._pass.row_id, listing, ids) < len(ids):
            raise SourceError("nonsense", f"{PATHS[_listed(listing)]}: a page shows again what one before it did")
        counts = {"edges" if listing.resource == _EDGE else "objects": len(ids)}
        if self._pass.mode == "apply":
            counts |= self._join(connection, list(self._of_page(connection, page)))
        elif listing.resource == _EDGE:
            counts |= self._note(connection, self._drift.missing_edges(connection, self._pass.source, listing, ids))
        else:
            counts |= self._note(
                connection,
                self._drift.different(connection, self._pass.source, listing.resource, page.items, page.requested_us),
            )
        moved = replace(
            listing,
            state="listing" if page.after is not None else "confirming",
            cursor=page.after,
            started_us=page.requested_us if listing.started_us is None else listing.started_us,
            seen=listing.seen + len(ids),
        )
        return self._moved(moved, counts)

    def _of_page(self, connection: Connection, page: Page) -> Iterable[Observed]:
        """What a page says: objects, or pairs with those users that the mirror does not have so."""
        listing, resource = self._listing, _listed(self._listing)
        if listing.resource != _EDGE:
            yield from (_read(resource, item, page.requested_us) for item in page.items)
            return
        updated_at = dict(RESOURCES[resource].columns)["updated_at"]
        known = self._store.known(connection, resource, self._pass.source, [item["id"] for item in page.items])
        for item in page.items:
            keys = (listing.scope_id, item["id"])
            yield observe_listed(_EDGE, keys, listing.directory_id, page.requested_us)
            if known.get(item["id"], "") != updated_at(item):
                yield _read(resource, item, page.requested_us)

    def _is_known(self, page: Page) -> bool:
        """Whether something on a page is here already."""
        resource = self._listing.resource
        with self._access.read() as connection:
            return bool(self._store.known(connection, resource, self._pass.source, [item["id"] for item in page.items]))

    def _recognise(self) -> None:
        """MassDelete where the source knows nothing of what is here, before anything of it is joined or dies: the guard
        lets go few, and few may be all there are.
        """
        if self._pass.mode == "dry_run" or self._pass.allow_mass_delete or self._is_recognised:
            return
        if not is_recognised(self._access, self._mirror, self._pass.source, self._ask):
            raise MassDelete(f"{UNRECOGNISED} Nothing was deleted at its word")
        self._is_recognised = True

    def _begin_alone(self, directory_id: str) -> Work:
        """Of one directory alone, it is asked for instead of listed."""
        found = self._get("directory", directory_id)
        if isinstance(found, Gone):
            return self._bury(found)

        def work(connection: Connection) -> Moved:
            counts = {"objects": 1}
            if self._pass.mode == "apply":
                counts |= self._join(connection, [_read("directory", found.item, found.requested_us)])
            else:
                different = self._drift.different(
                    connection, self._pass.source, "directory", [found.item], found.requested_us
                )
                counts |= self._note(connection, different)
            self._add_listings(connection, [directory_id])
            return self._moved(replace(self._listing, state="completed", started_us=found.requested_us, seen=1), counts)

        return work

    # -- conclusions -------------------------------------------------------------------------------------------

    def _conclude(self) -> Work:
        listing = self._listing
        with self._access.read() as connection:
            candidates = self._candidates(connection)
        if listing.live is None:  # the first look
            # What shows something is there itself; what shows nothing, or too little, is asked whether it is.
            is_asked = listing.scope_id and (candidates or not listing.seen)
            if is_asked and isinstance(found := self._parent(), Gone):
                return self._bury(found)
            if candidates:
                return self._count
        if not candidates:
            return self._set_floor
        if self._pass.mode == "dry_run":
            return lambda connection: self._note_unseen(connection, candidates)
        if listing.resource == _EDGE:
            return lambda connection: self._remove(connection, candidates)
        return self._confirm(candidates[:ASKED_AT_ONCE])

    def _candidates(self, connection: Connection) -> list[str]:
        """The next that a whole listing has not shown, and that live on nothing later than its first page; and those
        that are only named by what is in them.
        """
        listing, source = self._listing, self._pass.source
        after = listing.cursor or ""
        while True:
            unseen = self._mirror.unseen(connection, source, listing.scope, self._floor, after, ROWS_AT_ONCE)
            orphans = self._store.orphans(connection, source, listing, self._floor, after, ROWS_AT_ONCE)
            # Where one of the two goes on behind its last, so far both are known.
            until = min((found[-1] for found in (unseen, orphans) if len(found) == ROWS_AT_ONCE), default=None)
            if self._pass.mode == "dry_run" and unseen:
                # The mirror was not written: what was shown lives there on what it did before.
                shown = self._store.seen_of(connection, self._pass.row_id, listing, unseen)
                unseen = [id_ for id_ in unseen if id_ not in shown]
            found = sorted(id_ for id_ in {*unseen, *orphans} if until is None or id_ <= until)
            if found or until is None:
                return found
            after = until

    def _count(self, connection: Connection) -> Moved:
        """Note how many there are, and look at the guard before anything of it dies."""
        live = self._mirror.count_live(connection, self._pass.source, self._listing.scope)
        if self._pass.mode == "apply" and not self._pass.allow_mass_delete:
            self._guard(connection, live)
        return self._moved(replace(self._listing, live=live), {})

    def _guard(self, connection: Connection, live: int) -> None:
        """Rule D6."""
        listing, allowed = self._listing, may_die(live)
        found, after = listing.died, ""
        while unseen := self._mirror.unseen(
            connection, self._pass.source, listing.scope, self._floor, after, ROWS_AT_ONCE
        ):
            found, after = found + len(unseen), unseen[-1]
        if found > allowed:
            what = f"{listing.resource} of {listing.scope_id}" if listing.scope_id else listing.resource
            raise MassDelete(
                f"{found:,} of {live:,} {what} are not at the source any more, and no more than {allowed:,} may go "
                "without leave: is it the right source, and complete? Nothing of them was deleted"
            )

    def _confirm(self, ids: Sequence[str]) -> Work:
        """Ask for each alone: rule D5."""
        resource = self._listing.resource
        seen: list[Observed] = []
        died = 0
        done: str | None = None
        for id_ in ids:
            try:
                found = self._get(resource, id_)
            except SourceError:
                if done is None:
                    raise
                break  # what was answered so far is kept; the next step asks this one again
            if isinstance(found, Gone):
                died += 1
                seen.append(observe_absent(resource, id_, found.requested_us))
            else:
                seen.append(_read(resource, found.item, found.requested_us))
            done = id_
            if self._clock.now_ms() - self._now_ms > ASK_FOR_MS:
                break
        listing = replace(self._listing, cursor=done, died=self._listing.died + died)
        return lambda connection: self._moved(listing, self._join(connection, seen) | {"died": died})

    def _remove(self, connection: Connection, user_ids: Sequence[str]) -> Moved:
        """Rule C7. The guard has looked at them; what has come meanwhile lives on something later."""
        listing = self._listing
        assert listing.started_us is not None
        seen = [
            observe_unlisted(_EDGE, (listing.scope_id, id_), listing.directory_id, listing.started_us)
            for id_ in user_ids
        ]
        counts = self._join(connection, seen) | {"removed": len(user_ids)}
        return self._moved(replace(listing, cursor=user_ids[-1], died=listing.died + len(user_ids)), counts)

    def _set_floor(self, connection: Connection) -> Moved:
        """Rule D4."""
        listing = self._listing
        if self._pass.mode == "apply" and not self._mirror.set_floor(
            connection, self._pass.source, listing.scope, self._floor
        ):
            # More of it has come meanwhile that the listing did not show: it is concluded as well, from the start.
            return self._moved(replace(listing, cursor=None, live=None), {})
        return self._moved(replace(listing, state="closing", cursor=None), {})

    def _note_unseen(self, connection: Connection, ids: Sequence[str]) -> Moved:
        listing = self._listing
        found = self._drift.unseen(listing, ids)
        return self._moved(replace(listing, cursor=ids[-1]), self._note(connection, found))

    def _close(self, connection: Connection) -> Moved:
        """What a listing leaves: others to read, and what lives though it did not show it, to be asked for alone."""
        pass_, listing = self._pass, self._listing
        if listing.resource in ("directory", "directory_group"):
            after = ""
            while ids := self._store.seen_page(connection, pass_.row_id, listing, after, ROWS_AT_ONCE):
                self._add_listings(connection, ids)
                after = ids[-1]
        if pass_.mode == "apply":
            self._wish(connection)
        self._store.forget_seen(connection, pass_.row_id, listing)
        return self._moved(replace(listing, state="completed"), {})

    def _wish(self, connection: Connection) -> None:
        """Have what was born or touched meanwhile asked for, since no page tells of it."""
        listing = self._listing
        assert listing.started_us is not None
        reasons: frozenset[Reason] = frozenset({"unlisted"})
        due_at_ms = due_ms(reasons, listing.started_us, self._now_ms)
        after = ""
        while ids := self._store.touched(connection, self._pass, listing, self._floor, after, ROWS_AT_ONCE):
            after = ids[-1]
            within = f"{listing.scope_id}/" if listing.resource == _EDGE else ""
            asked = [(self._pass.source, listing.resource, f"{within}{id_}") for id_ in ids]
            known = self._mirror.refetches.of(connection, asked)
            wishes = [
                Refetch(*one, reasons, None, listing.started_us, self._now_ms, due_at_ms)
                for one in asked
                if one not in known  # it is asked for anyway, and later
            ]
            self._mirror.refetches.put(connection, wishes)

    def _bury(self, gone: Gone) -> Work:
        """What the listing is in is gone, and its other listings with it."""
        listing = self._listing
        resource, id_ = _parent_of(listing)

        def work(connection: Connection) -> Moved:
            if self._pass.mode == "apply":
                counts = self._join(connection, [observe_absent(resource, id_, gone.requested_us)]) | {"died": 1}
            else:
                within = "" if resource == "directory" else listing.directory_id or ""
                counts = self._note(connection, [Candidate(resource, id_, within, "extra")])
            if resource == "directory":
                self._store.drop_listings(connection, self._pass.row_id, id_)
            return self._moved(replace(listing, state="dropped"), counts)

        return work

    # -- the source --------------------------------------------------------------------------------------------

    def _parent(self) -> Found | Gone:
        """What the listing is in, as the source has it."""
        return self._get(*_parent_of(self._listing))

    def _get(self, resource: str, id_: str) -> Found | Gone:
        """An object as the source has it. That it has none counts only of a source that is recognised: a pass may be
        gone on with under another key than it was begun.
        """
        found = self._ask(resource, id_)
        if isinstance(found, Gone):
            self._recognise()
        return found

    def _ask(self, resource: str, id_: str) -> Found | Gone:
        found = self._api.get(resource, id_)
        self._requests += 1
        if isinstance(found, Found) and found.item.get("id") != id_:
            raise SourceError("nonsense", f"{PATHS[resource]}: asked for one object, got another")
        return found._replace(requested_us=self._dated(found.requested_us))

    def _dated(self, requested_us: int) -> int:
        """When something was asked, which is not before the listing's first page, whatever was taken for the source's
        time then, perhaps by another process: what it shows would else be older than the listing, and dead.
        """
        started_us = self._listing.started_us
        return requested_us if started_us is None else max(requested_us, started_us)

    # -- the rest ----------------------------------------------------------------------------------------------

    @property
    def _floor(self) -> Clock:
        assert self._listing.started_us is not None
        return floor_clock(self._listing.started_us)

    def _join(self, connection: Connection, seen: Sequence[Observed]) -> dict[str, int]:
        """Join into the mirror; what that changed, as counts."""
        reads = [Seen(self._pass.source, one, self._cause) for one in seen]
        source = (self._pass.source,)
        return {"changes": apply_reads(self._mirror, connection, reads, self._now_ms, asking=source).changes}

    def _note(self, connection: Connection, candidates: Sequence[Candidate]) -> dict[str, int]:
        self._drift.store.add(connection, self._pass, candidates, self._now_ms)
        return {"candidates": len(candidates)}

    def _add_listings(self, connection: Connection, ids: Sequence[str]) -> None:
        """Add those of what is in these directories or groups."""
        listing = self._listing
        if listing.resource == "directory":
            found = [listing_of(of, id_, id_) for id_ in ids for of in ("directory_user", "directory_group")]
        else:
            found = [listing_of(_EDGE, id_, listing.scope_id) for id_ in ids]
        self._store.add_listings(connection, self._pass.row_id, found)

    def _moved(self, listing: Listing, counts: dict[str, int]) -> Moved:
        return Moved(listing, counts | {"requests": self._requests})


def _listed(listing: Listing) -> str:
    """The resource whose objects it lists: of memberships the users."""
    return "directory_user" if listing.resource == _EDGE else listing.resource


def _filter(listing: Listing) -> str:
    """What it is filtered by, where it is."""
    return "group" if listing.resource == _EDGE else "directory"


def _parent_of(listing: Listing) -> tuple[str, str]:
    """What a listing with a filter is in."""
    return ("directory_group" if listing.resource == _EDGE else "directory"), listing.scope_id


def _read(resource: str, item: dict[str, Any], requested_us: int) -> Observed:
    """SourceError where an object names itself in a way that cannot be kept."""
    seen = observe_read(resource, item, requested_us)
    if seen.ignored is not None:
        raise SourceError("nonsense", f"{PATHS[resource]}: {seen.ignored}")
    return seen
