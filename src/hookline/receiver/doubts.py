"""What one transaction leaves in doubt, and what it settles: gathered while observations are joined, written at its
end.

A doubt is a row of hookline_refetches, which refetch.py takes to the source. Where the source cannot be asked, nothing
is written but gaps: they are shown, and close by themselves or not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from hookline.errors import InvalidBody
from hookline.receiver.kept import kept_event
from hookline.receiver.refetch_store import ASKABLE, Asked, Refetch, RefetchStore
from hookline.receiver.resources import DIRECTORY_MEMBERSHIP
from hookline.rules.gaps import Numbers, follows, heard
from hookline.rules.refetch import Reason, due_ms, settles_after_us

if TYPE_CHECKING:
    from hookline.storage import Connection

_GAPS: Final[frozenset[Reason]] = frozenset({"gap", "sequence"})
_NO_REASONS: Final = frozenset[Reason]()


class _Gap(NamedTuple):
    event_id: str
    previous: Mapping[str, Any]


class _Number(NamedTuple):
    number: int
    clock_us: int


class Doubts:
    """One transaction's.

    Args:
        store: the verbs.
        now_ms: Unix milliseconds.
        asking: the sources that can be asked.

    Attributes:
        has_known: whether there may be doubts from before.
    """

    def __init__(self, store: RefetchStore, now_ms: int, asking: Collection[str]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._asking = asking
        self.has_known = True
        self._wished: dict[Asked, tuple[set[Reason], int]] = {}
        self._gaps: dict[Asked, _Gap] = {}
        self._late: dict[Asked, list[Mapping[str, Any]]] = defaultdict(list)
        self._numbers: dict[Asked, list[_Number]] = defaultdict(list)
        self._answers: dict[Asked, int] = {}
        self._lower: dict[Asked, tuple[int, int]] = {}
        self._counts: Counter[tuple[str, ...]] = Counter()

    def can_ask(self, source: str, resource: str) -> bool:
        """Whether the source can be asked about such an object."""
        return source in self._asking and resource in ASKABLE

    def wish(self, asked: Asked, reasons: Iterable[Reason], latest_us: int) -> None:
        """Ask the source about an object; `latest_us` is the latest of the clocks in doubt.

        Not about a membership with a slash in the id of an end, which is not to be told from another one.
        """
        if asked[1] == DIRECTORY_MEMBERSHIP.name and asked[2].count("/") != 1:
            return
        known, known_us = self._wished.get(asked, (set[Reason](), 0))
        known.update(reasons)
        self._wished[asked] = known, max(settles_after_us(latest_us), known_us)

    def replaced(
        self, asked: Asked, event_id: str, payload: Mapping[str, Any], before: Mapping[str, Any], clock_us: int
    ) -> None:
        """An update's content has replaced an older one: is an event missing between the two?"""
        previous = payload.get("previous_attributes")
        if isinstance(previous, dict) and asked[1] in ASKABLE and not follows(asked[1], previous, before):
            self._gaps[asked] = _Gap(event_id, previous)
            self._counts[asked[0], "noticed"] += 1
            self.wish(asked, ["gap"], clock_us)

    def came_late(self, asked: Asked, payload: Mapping[str, Any] | None) -> None:
        """An update older than what is known: perhaps the one that was missing."""
        if payload is None or asked[1] not in ASKABLE:
            return
        gap = self._gaps.get(asked)
        if gap is not None and follows(asked[1], gap.previous, payload):
            del self._gaps[asked]
            self._wished[asked][0].discard("gap")
            self._counts[asked[0], "healed"] += 1
        else:
            self._late[asked].append(payload)

    def came_numbered(self, asked: Asked, number: int, clock_us: int) -> None:
        """An event that says which of its object's it is."""
        self._numbers[asked].append(_Number(number, clock_us))

    def read_lower(self, asked: Asked, updated_us: int, clock_us: int) -> None:
        """The source has shown an object with an `updated_at` lower than what is known (A4)."""
        self._lower[asked] = updated_us, clock_us

    def answered(self, asked: Asked, clock_us: int) -> None:
        """The source has answered; the answer counts as of `clock_us`."""
        self._answers[asked] = max(clock_us, self._answers.get(asked, 0))

    def write(self, connection: Connection) -> Counter[tuple[str, ...]]:
        """Write down what is left.

        Returns: by (source, end) how many gaps were `noticed`, `healed` and `fetched`, as `Counters.gaps` has it.
        """
        closed = self._write_numbers(connection) if self._numbers else set[Asked]()
        wished = {asked: one for asked, one in self._wished.items() if one[0]}
        keys = {*wished, *self._late, *self._answers, *closed}
        known = self._store.of(connection, keys) if keys and self.has_known else {}
        changed: dict[Asked, Refetch] = {}
        for asked, refetch in list(known.items()):
            left = self._left(connection, refetch, is_closed=asked in closed)
            if not left:
                if self._store.end(connection, refetch):  # else somebody has asked for more since
                    del known[asked]
            elif left != refetch.reasons:
                changed[asked] = refetch._replace(reasons=left)
        for asked, (reasons, after_us) in wished.items():
            changed[asked] = self._merged(asked, frozenset(reasons), after_us, changed.get(asked) or known.get(asked))
        if changed:
            self._store.put(connection, changed.values())
        return self._counts

    def _left(self, connection: Connection, refetch: Refetch, *, is_closed: bool) -> frozenset[Reason]:
        """Why it is still to be asked."""
        asked, left = refetch.asked, refetch.reasons
        if refetch.after_us < self._answers.get(asked, -1):
            self._counts[asked[0], "fetched"] += len(left & _GAPS)
            if "sequence" in left:
                numbers = self._store.numbers(connection, [asked])
                self._store.put_numbers(connection, [(of, Numbers(one.highest)) for of, one in numbers.items()])
            return _NO_REASONS
        if is_closed:
            left -= {"sequence"}
        if "gap" in left and asked in self._late and self._closes_gap(connection, refetch):
            left -= {"gap"}
            self._counts[asked[0], "healed"] += 1
        return left

    def _merged(self, asked: Asked, reasons: frozenset[Reason], after_us: int, known: Refetch | None) -> Refetch:
        gap = self._gaps.get(asked)
        told_by = gap.event_id if gap is not None else None
        lower = self._lower.get(asked, (None, None))
        due = due_ms(reasons, after_us, self._now_ms)
        if known is None:
            one = Refetch(*asked, reasons, told_by, after_us, self._now_ms, due)
            return one._replace(lower_us=lower[0], lower_read_us=lower[1])
        later_us = max(after_us, known.after_us)
        return known._replace(
            reasons=known.reasons | reasons,
            told_by=told_by or known.told_by,
            lower_us=known.lower_us if lower[0] is None else lower[0],
            lower_read_us=known.lower_read_us if lower[1] is None else lower[1],
            after_us=later_us,
            # Not before an answer can settle both.
            due_ms=max(min(due, known.due_ms), due_ms(_NO_REASONS, later_us, self._now_ms)),
        )

    def _closes_gap(self, connection: Connection, refetch: Refetch) -> bool:
        """Whether an update that came late is like what the event that told of the gap has replaced."""
        if refetch.told_by is None:
            return False
        body = self._store.bodies(connection, refetch.source, [refetch.told_by]).get(refetch.told_by)
        if body is None:
            return False
        try:
            previous = kept_event(body, refetch.told_by, None).data.get("previous_attributes")
        except InvalidBody:
            return False
        return isinstance(previous, dict) and any(
            follows(refetch.resource, previous, payload) for payload in self._late[refetch.asked]
        )

    def _write_numbers(self, connection: Connection) -> set[Asked]:
        """The objects of which no number is missing any more."""
        known = self._store.numbers(connection, self._numbers)
        closed: set[Asked] = set()
        changed: list[tuple[Asked, Numbers]] = []
        for asked, came in self._numbers.items():
            before = known.get(asked)
            after: Numbers | None = before
            for one in came:
                was, after = after, heard(after, one.number)
                if was is not None and len(after.missing) > len(was.missing):
                    self._counts[asked[0], "noticed"] += len(after.missing) - len(was.missing)
                    if asked[1] in ASKABLE:
                        self.wish(asked, ["sequence"], one.clock_us)
                elif was is not None and len(after.missing) < len(was.missing):
                    self._counts[asked[0], "healed"] += 1
            assert after is not None
            if not after.missing:
                if asked in self._wished:
                    self._wished[asked][0].discard("sequence")
                if before is not None and before.missing:
                    closed.add(asked)
            if after != before:
                changed.append((asked, after))
        self._store.put_numbers(connection, changed)
        return closed
