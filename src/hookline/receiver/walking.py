"""Walks over what hangs on objects that died or returned, and what keeps one that goes wrong from holding up the rest.

A walk is never given up: the loss of access that it has to tell of stays untold until it was told. What goes wrong:

- a part that raises: walks are taken up one by one and in ever smaller parts, until the child that one fails on is
  found. It waits alone, longer and longer, and all else goes on;
- a part that ends its whole process: the first walk of a process is marked in a transaction of its own, and going on
  takes the mark back. Where a mark is found, walks are taken up one by one, each marked, and in parts the smaller the
  more processes have left theirs; what the last of them stood at waits alone.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from hookline.errors import OutcomeUnknown, StorageUnavailable
from hookline.receiver.failures import place_of
from hookline.receiver.mirror import WALKED_AT_ONCE, Applied, next_child, walk
from hookline.receiver.mirror_store import Cascade, MirrorStore
from hookline.rules.schedule import Backoff

if TYPE_CHECKING:
    from collections.abc import Collection

    from hookline.receiver.work import Access
    from hookline.storage import Connection

log = logging.getLogger("hookline.worker")

# On so many children of one object a walk may fail and go on behind them; with more it is not the children's fault.
MOST_SET_APART: Final = 20
BACKOFF: Final = Backoff(first_s=1, factor=10, cap_s=3_600, tries=2**31)
# The try at which it is said as an error: by then it is not a passing trouble.
LOUD_AT: Final = 3
# Parts are so much smaller for each process that a walk has ended: 200, 25, 3, 1 children. After so many the next child
# is the one.
SHRINKS: Final = 8
ENDED: Final = "walking on ended the worker"
DEATHS: Final = 4


class Walker:
    """Takes up the walks that wait, for one worker.

    Args:
        access: the tables.
        mirror: its verbs.
        asking: as for `mirror.walk`.
    """

    def __init__(self, access: Access, mirror: MirrorStore, *, asking: Collection[str] = ()) -> None:
        self._access = access
        self._mirror = mirror
        self._asking = asking
        self._marks, self._is_careful = True, False
        # The row of the walk that this worker marked last, and with what; None once somebody may have taken that back.
        self._marked: tuple[int, int] | None = None

    def walk(self, now_ms: int) -> Applied | None:
        """Walk on, for a part; None where there was nothing to take."""
        if self._marks and (done := self._walk_marked(now_ms)) is not None:
            return done
        try:
            return self._access.run(lambda connection: walk(self._mirror, connection, now_ms, asking=self._asking))
        except (StorageUnavailable, OutcomeUnknown):
            raise
        except Exception as error:
            log.warning("a part of a walk failed (%s), trying walks one by one", place_of(error))
        return self._walk_each(now_ms)

    def _walk_marked(self, now_ms: int) -> Applied | None:
        """Mark the next walk and, where it was marked before, take a part of it up; None: no mark is left to heed."""

        def mark(connection: Connection) -> tuple[Cascade, int] | None:
            cascade = self._mirror.next_cascade(connection, now_ms)
            if cascade is None:
                return None
            if self._marked is not None and self._marked[0] == cascade.row_id:
                return cascade, self._marked[1]
            self._mirror.mark_cascade(connection, cascade, cascade.begun + 1)
            return cascade, cascade.begun + 1

        found = self._access.run(mark)
        if found is None or not (found[0].begun or self._is_careful):
            self._marks = self._is_careful = False
            return None
        self._is_careful = True
        cascade, begun = found
        self._marked = None
        if begun > (1 if cascade.child is not None else DEATHS):
            self._put_off(cascade, ENDED, now_ms)
            return Applied()

        limit = 1 if cascade.child is not None else max(1, WALKED_AT_ONCE // SHRINKS ** (begun - 1))

        def work(connection: Connection) -> Applied | None:
            taken = self._mirror.next_cascade(connection, now_ms)
            if taken is None or (taken.row_id, taken.position) != (cascade.row_id, cascade.position):
                return None  # another worker was quicker
            done = walk(self._mirror, connection, now_ms, limit=limit, alone=taken, asking=self._asking)
            # Going on took it back; this worker is not through with it.
            self._mirror.mark_cascade(connection, taken, begun)
            return done

        try:
            done = self._access.run(work)
        except (StorageUnavailable, OutcomeUnknown):
            raise
        except Exception as error:
            if limit == 1:
                self._put_off(cascade, place_of(error), now_ms)
                return Applied()
            # As if it had ended the worker: what else is in this part may do so, unmarked, if it were tried otherwise.
            self._access.run(lambda connection: self._mirror.mark_cascade(connection, cascade, begun + 1))
            self._marked = cascade.row_id, begun + 1
            return Applied()
        if done is not None:
            self._marked = cascade.row_id, begun
        return done or Applied()

    def _walk_each(self, now_ms: int) -> Applied:
        """Take walks up one at a time and in ever smaller parts, until the child that one fails on is found: that
        waits, all else goes on.
        """
        together, limit = Applied(), WALKED_AT_ONCE
        taken: list[Cascade] = []

        def work(connection: Connection) -> Applied | None:
            taken.clear()
            cascade = self._mirror.next_cascade(connection, now_ms)
            if cascade is None:
                return None
            taken.append(cascade)
            return walk(self._mirror, connection, now_ms, limit=limit, alone=cascade, asking=self._asking)

        for _ in range(WALKED_AT_ONCE):
            try:
                done = self._access.run(work)
            except (StorageUnavailable, OutcomeUnknown):
                raise
            except Exception as error:
                if not taken:
                    raise
                if limit > 1 and taken[0].child is None:
                    limit //= 2
                    continue
                self._put_off(taken[0], place_of(error), now_ms)
                break
            if done is None:
                break
            together.changes += done.changes
            together.runs += done.runs
            together.cascades += done.cascades
        return together

    def _put_off(self, cascade: Cascade, place: str, now_ms: int) -> None:
        """Let the child that a walk stands at wait longer and longer, or the walk where that does not help. Neither is
        ever given up: handlers have yet to hear of what it comes to.
        """
        tries = cascade.tries + 1
        due_ms = BACKOFF.due_ms(tries_made=tries, now_ms=now_ms, jitter=0)
        assert due_ms is not None
        if not self._set_apart(cascade, due_ms, place):
            self._access.run(lambda connection: self._mirror.fail_cascade(connection, cascade, due_ms, place))
        log.log(
            logging.ERROR if tries == LOUD_AT else logging.WARNING,
            "the walk to what hangs on %s %s failed %d times (%s): handlers wait for it. It is tried again by itself; "
            "`hookline mirror walks` shows it, `hookline inbox retry --walks` tries it now",
            cascade.resource,
            cascade.object_id,
            tries,
            place,
        )

    def _set_apart(self, cascade: Cascade, due_ms: int, place: str) -> bool:
        """Give the child that a walk stands at a walk of its own; False where there is none, or were too many."""

        def work(connection: Connection) -> bool:
            child = next_child(self._mirror, connection, cascade)
            return child is not None and self._mirror.set_apart(
                connection, cascade, child, due_ms, place, most=MOST_SET_APART
            )

        try:
            return self._access.run(work)
        except (StorageUnavailable, OutcomeUnknown):
            raise
        except Exception:
            return False  # what fails is finding the child
