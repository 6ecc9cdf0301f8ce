"""Healing: what a dry run found is asked for once more, and joins the mirror as the source has it now.

That is the same joining as everywhere, so that healing something that has mended itself, or changed once more, is never
wrong. What it takes away was said to be gone (404), and is guarded as a pass guards it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from hookline.errors import SourceError
from hookline.loop import Clock
from hookline.receiver.drift import ASKED_AT_ONCE, Answers, Drift, DriftItem, GroupsOf
from hookline.receiver.listing import MassDelete
from hookline.receiver.mirror import Seen, apply_reads
from hookline.receiver.mirror_store import Cause, MirrorStore, Scope
from hookline.receiver.recognition import UNRECOGNISED, is_recognised
from hookline.receiver.resources import (
    DIRECTORY_MEMBERSHIP,
    LISTINGS,
    RESOURCES,
    Observed,
    observe_absent,
    observe_listed,
    observe_read,
    observe_unlisted,
)
from hookline.receiver.source import Found, Gone, SourceApi
from hookline.receiver.work import Access
from hookline.rules.passes import may_die
from hookline.storage import Connection, Verbs

_EDGE = DIRECTORY_MEMBERSHIP.name


@dataclass(frozen=True, slots=True)
class Healed:
    """What became of items: `left` still differ, `why` says why healing ended before its end, or is None."""

    healed: tuple[DriftItem, ...]
    left: tuple[DriftItem, ...]
    why: str | None = None


class Healer:
    """Puts single differences right.

    Args:
        access: the tables.
        mirror: its verbs.
        source: whose.
        api: what answers for it.
        clock: for when it was healed.
    """

    def __init__(self, access: Access, mirror: MirrorStore, source: str, api: SourceApi, clock: Clock) -> None:
        self._access = access
        self._mirror = mirror
        self._source = source
        self._api = api
        self._clock = clock
        self._drift = Drift(Verbs("hookline.receiver", access.dialect), access, api, clock)

    def heal(self, items: Sequence[DriftItem], *, allow_mass_delete: bool = False) -> Healed:
        """Put open items right; each few in a transaction of their own.

        Raises: MassDelete: more of a listing would go than may without leave, or the source knows none of what is here;
            nothing was done.
        """
        if not allow_mass_delete:
            self._guard(items)
            try:
                self._recognise(items)
            except SourceError as error:
                return Healed((), tuple(items), f"{error.reason}: {error}")
        healed: list[DriftItem] = []
        left = [item for item in items if item.kind == "uncertain"]  # refetch.py asks about them
        items = [item for item in items if item.kind != "uncertain"]
        for at in range(0, len(items), ASKED_AT_ONCE):
            part = items[at : at + ASKED_AT_ONCE]
            answers = Answers(self._api)
            try:
                for item in part:
                    answers.ask(item)
            except SourceError as error:
                return Healed(tuple(healed), (*left, *items[at:]), f"{error.reason}: {error}")
            done = self._access.run(partial(self._join, items=part, answers=answers, now_ms=self._clock.now_ms()))
            healed += [item for item in part if item.row_id in done]
            left += [item for item in part if item.row_id not in done]
        return Healed(tuple(healed), tuple(left))

    def _guard(self, items: Sequence[DriftItem]) -> None:
        gone: Counter[Scope] = Counter()
        for item in items:
            if item.kind == "extra" and item.resource in LISTINGS:
                of = item.object_id.split("/", 1)[0] if item.resource == _EDGE else item.scope_id
                gone[Scope(item.resource, of)] += 1
        with self._access.read() as connection:
            for scope, count in gone.items():
                live = self._mirror.count_live(connection, self._source, scope)
                if count > may_die(live):
                    what = f"{scope.resource} of {scope.scope_id}" if scope.scope_id else scope.resource
                    raise MassDelete(
                        f"{count:,} of {live:,} {what} would go, and no more than {may_die(live):,} may without leave"
                    )

    def _recognise(self, items: Sequence[DriftItem]) -> None:
        """MassDelete where the source's word that something is gone is worth nothing: the guard lets go few, and few
        may be all there are.
        """
        takes_away = any(item.kind == "extra" for item in items)
        if takes_away and not is_recognised(self._access, self._mirror, self._source, self._api.get):
            raise MassDelete(f"{UNRECOGNISED} It takes nothing away without leave")

    def _join(self, connection: Connection, items: Sequence[DriftItem], answers: Answers, now_ms: int) -> set[int]:
        """Join what the source said; those that do not differ any more."""
        seen: list[Seen] = []
        for item in items:
            if item.kind != "extra" and _takes_away(item, answers):
                continue  # the guard has not counted it: a later dry run finds that it is gone
            observed = _said(item, answers)
            if observed.ignored is not None:
                raise SourceError("nonsense", f"a {item.resource}: {observed.ignored}")
            seen.append(Seen(self._source, observed, Cause(None, f"drift_{item.row_id}")))
        apply_reads(self._mirror, connection, seen, now_ms, asking=(self._source,))
        for resource in RESOURCES.values():
            ids = [item.object_id for item in items if item.resource == resource.name]
            if ids:
                self._mirror.rewrite(connection, resource, self._source, ids)
        done = {item.row_id for item in items if self._is_equal(connection, item, answers)}
        self._drift.store.settle(connection, sorted(done), "healed", None, now_ms)
        return done

    def _is_equal(self, connection: Connection, item: DriftItem, answers: Answers) -> bool:
        if item.kind == "extra" and item.resource != _EDGE:
            row = self._drift.store.rows(connection, item.resource, self._source, [item.object_id])
            if isinstance(answers.objects[item.resource, item.object_id], Gone):
                return item.object_id in row and not row[item.object_id].is_live
        return self._drift.compare(connection, self._source, replace(item, evidence={}), answers) is None


def _takes_away(item: DriftItem, answers: Answers) -> bool:
    """Whether the source says by now that it has no such object, or membership."""
    if item.resource == _EDGE:
        group_id, user_id = item.object_id.split("/", 1)
        return group_id not in answers.groups[user_id].group_ids
    return isinstance(answers.objects[item.resource, item.object_id], Gone)


def _said(item: DriftItem, answers: Answers) -> Observed:
    if item.resource == _EDGE:
        group_id, user_id = item.object_id.split("/", 1)
        groups: GroupsOf = answers.groups[user_id]
        observe = observe_listed if group_id in groups.group_ids else observe_unlisted
        return observe(_EDGE, (group_id, user_id), item.scope_id or None, groups.requested_us)
    found = answers.objects[item.resource, item.object_id]
    if isinstance(found, Found):
        return observe_read(item.resource, found.item, found.requested_us)
    return observe_absent(item.resource, item.object_id, found.requested_us)
