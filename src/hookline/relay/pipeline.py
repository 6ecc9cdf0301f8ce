"""What is done with deliveries on the developer's machine: in order, one at a time, each answered once.

A delivery waits for its turn, for the line's disorder, for whoever paused, for an app that is not up; then it is posted
and its answer told, to the server and to whoever looks on. What comes again after a connection broke is known by its
cursor: it is answered again and not posted again.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, TypeAlias

from hookline.loop import Clock
from hookline.relay.forward import NOT_UP, Forwarder, signed_anew
from hookline.relay.frames import Answer, Delivery
from hookline.relay.hints import Hint, hint
from hookline.sender import http

Kind: TypeAlias = Literal["delivery", "copy", "resend"]
State: TypeAlias = Literal["queued", "sending", "waiting", "answered", "dropped"]

# A signature that is older than this is made anew: receivers refuse one of 3 minutes.
FRESH_MS: Final = 60_000
# How long between looks at an app that is not up.
LOOK_FIRST_MS: Final = 250
LOOK_LAST_MS: Final = 2_000
# Of answers so many are kept for deliveries that come again; a relay has at most 64 under way.
_ANSWERS_KEPT: Final = 1_024


@dataclass(slots=True, eq=False)
class Item:
    """One request for the URL.

    Attributes:
        number: from 1, in the order in which they came.
        kind: a delivery as it came, a copy that the disorder made, or one that was sent again by hand.
        state: `waiting` is for an app that is not up.
        sent: the headers as they were sent last, at `sent_ms`.
        answer: of the last try; of `waiting` why there is none.
    """

    number: int
    delivery: Delivery
    arrived_ms: int
    kind: Kind = "delivery"
    state: State = "queued"
    sent: http.Headers = ()
    sent_ms: int | None = None
    ended_ms: int | None = None
    answer: http.Answer | None = None
    hint: Hint | None = None

    @property
    def is_ended(self) -> bool:
        """Whether nothing more is done with it."""
        return self.state in ("answered", "dropped")

    @property
    def is_good(self) -> bool:
        """Whether it was answered 2xx."""
        return self.answer is not None and self.answer.status is not None and 200 <= self.answer.status <= 299


@dataclass(slots=True)
class Totals:
    """What came of everything so far. `answered` are those with a 2xx, `failed` others that were sent."""

    arrived: int = 0
    answered: int = 0
    failed: int = 0
    dropped: int = 0

    @property
    def ended(self) -> int:
        """With how many nothing more is done."""
        return self.answered + self.failed + self.dropped


class Watcher(Protocol):
    """Whoever looks on."""

    def item(self, item: Item) -> None:
        """Something has become of it: its `state` says what."""


@dataclass(slots=True)
class Signing:
    """With what is signed anew.

    Attributes:
        secret: of the listener, once it is known.
        app_secret: signs everything, where it is not None.
    """

    secret: str | None = field(default=None, repr=False)
    app_secret: str | None = field(default=None, repr=False)


class Pipeline:
    """Takes deliveries and sees them through.

    Args:
        answered: told what came of each, once; also of one that comes again.
        record: keeps each request that was answered, or would not be.
        fate: what befalls the next delivery: after how many ms it comes, once for each time (disorder.py).

    Attributes:
        most: after so many have ended nothing more is posted.
    """

    def __init__(
        self,
        forwarder: Forwarder,
        signing: Signing,
        *,
        watcher: Watcher,
        answered: Callable[[Answer], None],
        clock: Clock,
        fate: Callable[[], tuple[int, ...]] | None = None,
        record: Callable[[Item], None] | None = None,
    ) -> None:
        self.totals = Totals()
        self.last_ms = clock.now_ms()
        self._forwarder = forwarder
        self._signing = signing
        self._watcher = watcher
        self._answered = answered
        self._clock = clock
        self._fate = fate or _orderly
        self._record = record
        self._wake = asyncio.Event()
        self._queue: list[tuple[int, int, Item]] = []
        self._count = 0
        self._under_way: dict[str, list[Item]] = {}
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._is_busy = False
        self.is_paused = False
        self.most: int | None = None
        self.ended = asyncio.Event()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._queue and not self._is_busy

    @property
    def is_stuck(self) -> bool:
        """Whether it makes no headway: it was paused, or the app is not up."""
        return self.is_paused or any(item.state == "waiting" for items in self._under_way.values() for item in items)

    @property
    def has_enough(self) -> bool:
        """Whether as many have ended as were wanted."""
        return self.most is not None and self.totals.ended >= self.most

    @property
    def waiting(self) -> int:
        """How many have not had their turn."""
        return len(self._queue)

    def take(self, delivery: Delivery) -> None:
        """See a delivery through, unless it is one that came before."""
        # In a feed that begins anew, as where the database was removed, a cursor is of another event.
        known, same = self._answers.get(delivery.cursor), self._under_way.get(delivery.cursor)
        if known is not None and known.event_id == delivery.event_id:
            self._answered(known)
            return
        if same is not None and same[0].delivery.event_id == delivery.event_id:
            for item in same:
                # Signed later than the one that waits, perhaps with another secret.
                if item.state == "queued":
                    item.delivery, item.arrived_ms = delivery, self._clock.now_ms()
            return
        self.totals.arrived += 1
        item = self._item(delivery, "delivery")
        waits_ms = self._fate()
        if not waits_ms:
            self.drop(item)
            return
        self._under_way[delivery.cursor] = [item]
        self._put(item, waits_ms[0])
        for wait_ms in waits_ms[1:]:
            copy = self._item(delivery, "copy")
            self._under_way[delivery.cursor].append(copy)
            self._put(copy, wait_ms)

    def drop(self, delivery: Item | Delivery) -> None:
        """Answer one as dropped, without its having been sent."""
        if isinstance(delivery, Delivery):
            self.totals.arrived += 1
            delivery = self._item(delivery, "delivery")
        delivery.state = "dropped"
        self.totals.dropped += 1
        self._end(delivery)

    def resend(self, item: Item) -> Item:
        """Send one again, signed anew, before those that wait."""
        again = self._item(item.delivery, "resend")
        self._put(again, -1)
        return again

    def pause(self, *, paused: bool) -> None:
        """Post nothing for a while; what comes waits."""
        self.is_paused = paused
        self._wake.set()

    async def run(self) -> None:
        """Post what comes, until cancelled."""
        while True:
            self._wake.clear()
            item = self._next()
            if item is None:
                is_held = self.is_paused or self.has_enough
                due_ms = self._queue[0][0] if self._queue and not is_held else None
                await self._clock.sleep_until(due_ms, self._wake)
                continue
            self._is_busy = True
            try:
                await self._see_through(item)
            finally:
                self._is_busy = False
            self.ended.set()

    # -- the inside --------------------------------------------------------------------------------------------

    def _item(self, delivery: Delivery, kind: Kind) -> Item:
        self._count += 1
        self.last_ms = self._clock.now_ms()
        return Item(self._count, delivery, self.last_ms, kind)

    def _put(self, item: Item, wait_ms: int) -> None:
        heapq.heappush(self._queue, (0 if wait_ms < 0 else item.arrived_ms + wait_ms, item.number, item))
        self._watcher.item(item)
        self._wake.set()

    def _next(self) -> Item | None:
        # What was sent again by hand is wanted now, paused or not.
        if self._queue and not self.has_enough and (not self.is_paused or self._queue[0][2].kind == "resend"):
            due_ms, _, item = self._queue[0]
            if due_ms <= self._clock.now_ms():
                heapq.heappop(self._queue)
                return item
        return None

    async def _see_through(self, item: Item) -> None:
        look_ms = LOOK_FIRST_MS
        while True:
            item.sent_ms = self._clock.now_ms()
            headers = self._headers(item, item.sent_ms)
            if item.state == "queued":
                item.state = "sending"
                self._watcher.item(item)
            answer = await self._forwarder.post(headers, item.delivery.body)
            item.sent, item.answer = answer.sent_headers or headers, answer
            item.hint = hint(self._forwarder.url, answer)
            if answer.error not in NOT_UP or item.kind == "resend":
                break
            if item.state != "waiting":
                item.state = "waiting"
                self._watcher.item(item)
            await self._clock.sleep_until(self._clock.now_ms() + look_ms, asyncio.Event())
            look_ms = min(LOOK_LAST_MS, look_ms * 2)
            if self.is_paused:
                # Before all that came after it.
                heapq.heappush(self._queue, (item.arrived_ms, item.number, item))
                return
        item.state = "answered"
        if item.kind == "delivery":
            self.totals.answered += item.is_good
            self.totals.failed += not item.is_good
        elif not item.is_good:
            self.totals.failed += item.kind == "copy"
        self._end(item)

    def _headers(self, item: Item, now_ms: int) -> http.Headers:
        delivery, signing = item.delivery, self._signing
        secret = signing.app_secret
        if secret is None and (item.kind == "resend" or now_ms - item.arrived_ms > FRESH_MS):
            secret = signing.secret
        if secret is None:
            return delivery.headers
        return signed_anew(delivery.headers, delivery.body, secret, event_id=delivery.event_id, now_ms=now_ms)

    def _end(self, item: Item) -> None:
        item.ended_ms = self.last_ms = self._clock.now_ms()
        if item.kind != "resend":
            self._tell(item)
        if self._record is not None and item.state == "answered":
            self._record(item)
        self._watcher.item(item)
        self.ended.set()

    def _tell(self, item: Item) -> None:
        """Answer the server: for a delivery that came in several copies the first to end."""
        cursor = item.delivery.cursor
        left = [one for one in self._under_way.get(cursor, ()) if one is not item]
        if left:
            self._under_way[cursor] = left
        else:
            self._under_way.pop(cursor, None)
        answer = _answer(item)
        if (known := self._answers.get(cursor)) is not None and known.event_id == answer.event_id:
            return
        self._answers[cursor] = answer
        if len(self._answers) > _ANSWERS_KEPT:
            self._answers.popitem(last=False)
        self._answered(answer)


def _orderly() -> tuple[int, ...]:
    return (0,)


def _answer(item: Item) -> Answer:
    delivery, came = item.delivery, item.answer
    if came is None:
        return Answer(delivery.cursor, delivery.event_id, error="dropped")
    return Answer(delivery.cursor, delivery.event_id, came.status, round(came.timings.total_ms), came.error)
