"""Reconciling as an app or a command does it: begin or resume a pass, follow it, and deal with what it found.

Whoever asks for a pass works on it, unless a worker does by then; who is interrupted leaves it where it stands, to a
worker or to whoever resumes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from hookline.receiver.drift import DriftItem, DriftState, DriftStore
from hookline.receiver.heal import Healed, Healer
from hookline.receiver.leases import Leases, holder_name
from hookline.receiver.mirror_queries import MirrorQueries
from hookline.receiver.mirror_store import MirrorStore
from hookline.receiver.pass_store import Kind, Mode, Pass, PassStore
from hookline.receiver.passes import Passes, Progress, read_progress
from hookline.receiver.resources import RESOURCES
from hookline.receiver.source import Found
from hookline.rules.drift import Cause
from hookline.rules.drift import Kind as DriftKind
from hookline.storage import Verbs

if TYPE_CHECKING:
    from hookline.loop import Clock
    from hookline.receiver.source import SourceApi
    from hookline.receiver.work import Access

# So often who follows a pass is told how it stands, and looks whether others have ended it.
LOOK_MS: Final = 500


@dataclass(frozen=True, slots=True)
class Report:
    """What a pass came to.

    Attributes:
        pass_: as it ended: `completed`, `stopped` with a reason, or `canceled`.
        found: how many items by state, kind and cause.
    """

    pass_: Pass
    found: tuple[tuple[DriftState, DriftKind, Cause, int], ...]

    def count(self, *kinds: DriftKind, state: DriftState = "open") -> int:
        """How many items of these kinds, or of all but `uncertain`, are in a state."""
        asked = kinds or ("missing", "extra", "differs")
        return sum(count for in_state, kind, _, count in self.found if in_state == state and kind in asked)

    @property
    def has_drift(self) -> bool:
        """Whether mirror and source differ, but for what is ignored."""
        return self.count() > 0


class Findings:
    """Passes of one source and what they found, without asking it anything: to be looked at, ended, or left alone.

    Args:
        access: the tables.
        source: whose.
        clock: for when something was settled.
    """

    def __init__(self, access: Access, source: str, clock: Clock) -> None:
        self._verbs = Verbs("hookline.receiver", access.dialect)
        self._access = access
        self._source = source
        self._clock = clock
        self._store = PassStore(self._verbs)
        self._drift = DriftStore(self._verbs)

    def report(self, pass_: Pass) -> Report:
        """What a pass has found so far."""
        with self._access.read() as connection:
            return Report(pass_, tuple(self._drift.counts(connection, pass_.row_id)))

    def read(self, pass_id: int) -> Pass | None:
        """A pass of this source; None where it has none of that number."""
        with self._access.read() as connection:
            found = self._store.read(connection, pass_id)
        return None if found is None or found.source != self._source else found

    def newest_report(self) -> Pass | None:
        """The newest dry run that came to its end."""
        with self._access.read() as connection:
            for one in self._store.newest(connection, self._source, 100):
                if one.mode == "dry_run" and one.state == "completed":
                    return one
        return None

    def newest(self, limit: int) -> list[Pass]:
        """The newest passes of the source, the newest first."""
        with self._access.read() as connection:
            return self._store.newest(connection, self._source, limit)

    def page(
        self,
        pass_id: int,
        *,
        state: DriftState | None = None,
        kind: DriftKind | None = None,
        after: int = 0,
        limit: int,
    ) -> list[DriftItem]:
        """The next items that a pass has found, after one, in the order in which it did."""
        with self._access.read() as connection:
            return self._drift.found(connection, pass_id, state=state, kind=kind, after=after, limit=limit)

    def items(
        self, pass_id: int, *, state: DriftState | None = None, kinds: Collection[DriftKind] = ()
    ) -> Iterator[DriftItem]:
        """What a pass has found, in the order in which it did."""
        after = 0
        while True:
            with self._access.read() as connection:
                page = self._drift.found(connection, pass_id, state=state, after=after)
            if not page:
                return
            after = page[-1].row_id
            yield from (one for one in page if not kinds or one.kind in kinds)

    def item(self, row_id: int) -> DriftItem | None:
        """One item of this source; None where it has none of that number."""
        with self._access.read() as connection:
            found = self._drift.read(connection, row_id)
        return None if found is None or found.source != self._source else found

    def ignore(self, items: Sequence[DriftItem], note: str) -> int:
        """Say that items are not to be dealt with, now and in later passes, until they differ otherwise; how many."""
        now_ms = self._clock.now_ms()
        ids = [one.row_id for one in items]
        return self._access.run(lambda connection: self._drift.settle(connection, ids, "ignored", note, now_ms))

    def cancel(self, pass_id: int, *, asked_by: str) -> bool:
        """End a pass that runs or stopped; what it did stays. False where it has ended, or the source has none such."""
        if self.read(pass_id) is None:
            return False
        now_ms = self._clock.now_ms()
        return self._access.run(
            lambda connection: self._store.cancel(connection, pass_id, f"canceled by {asked_by}", now_ms)
        )

    def progress(self, pass_id: int) -> Progress | None:
        """How a pass stands; None where the source has none of that number."""
        with self._access.read() as connection:
            found = read_progress(connection, self._store, pass_id)
        return None if found is None or found.pass_.source != self._source else found

    def _has_ended(self, pass_id: int) -> bool:
        with self._access.read() as connection:
            found = self._store.read(connection, pass_id)
        return found is None or found.state != "running"


class Reconciler(Findings):
    """Passes and differences of one source, and the source itself.

    Args:
        access, source: as of `Findings`.
        api: what answers for the source; closed by whoever made it.
        clock: for the time and the sleep.
    """

    def __init__(self, access: Access, source: str, api: SourceApi, clock: Clock) -> None:
        super().__init__(access, source, clock)
        self._api = api
        self._mirror = MirrorStore(self._verbs)
        self.passes: Final = Passes(access, self._mirror, source, api, clock, Leases(self._verbs, holder_name()))

    def run(
        self,
        kind: Kind,
        mode: Mode,
        *,
        directory_id: str | None = None,
        allow_mass_delete: bool = False,
        asked_by: str,
        tell: Callable[[Progress], None] | None = None,
    ) -> Report:
        """Begin a pass and follow it to its end. Arguments as of `Passes.start` and `follow`."""
        pass_id = self.passes.start(
            kind, mode, directory_id=directory_id, allow_mass_delete=allow_mass_delete, asked_by=asked_by
        )
        return self.follow(pass_id, tell=tell)

    def follow(self, pass_id: int, *, tell: Callable[[Progress], None] | None = None) -> Report:
        """Work on a pass, or watch others do, until it has ended.

        Args:
            tell: called about twice a second with how it stands, and at its end.

        Raises: LookupError: there is none of that number.
        """
        never = threading.Event()
        told_ms, step_ms = -LOOK_MS, 0
        try:
            while True:
                now_ms = self._clock.now_ms()
                if now_ms - told_ms >= LOOK_MS or self._has_ended(pass_id):
                    told_ms = now_ms
                    progress = self.progress(pass_id)
                    if progress is None:
                        raise LookupError(pass_id)
                    if tell is not None:
                        tell(progress)
                    if progress.pass_.state != "running":
                        return self.report(progress.pass_)
                if now_ms >= step_ms:
                    step_ms = self.passes.step(now_ms) or now_ms + LOOK_MS
                if step_ms > (now_ms := self._clock.now_ms()):
                    self._clock.wait_until(min(step_ms, now_ms + LOOK_MS), never)
        finally:
            self.passes.release()

    def heal(self, items: Sequence[DriftItem], *, allow_mass_delete: bool = False) -> Healed:
        """Put items right: see `Healer.heal`."""
        healer = Healer(self._access, self._mirror, self._source, self._api, self._clock)
        return healer.heal(items, allow_mass_delete=allow_mass_delete)

    def values(self, item: DriftItem) -> list[tuple[str, Any, Any]]:
        """(field, at the source, here) of an item that differs, as both are now: personal data.

        Raises: SourceError.
        """
        if item.kind != "differs":
            return []
        there = self._api.get(item.resource, item.object_id)
        with self._access.read() as connection:
            here = MirrorQueries(self._verbs, self._source).row(connection, item.resource, item.object_id)
        columns = dict(RESOURCES[item.resource].columns)
        found: list[tuple[str, Any, Any]] = []
        for name in item.fields:
            payload = there.item if isinstance(there, Found) else {}
            source_value = columns[name](payload) if name in columns else payload.get(name)
            own = None if here is None else here.columns.get(name, (here.payload or {}).get(name))
            found.append((name, source_value, own))
        return found
