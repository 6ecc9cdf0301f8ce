"""A feed of events read from a source's own API and delivered as the source would: no tunnel and no public URL.

The source sends nothing here, so nothing need reach this machine. Each event is signed on this machine, with a secret
that stays. The place in the feed moves as deliveries are answered: whoever comes back is offered what came meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from hookline.errors import InvalidBody, RequestError, SourceError
from hookline.loop import Clock
from hookline.receiver.source import FeedEvent, SourceApi
from hookline.relay.following import (
    BACKOFF_FIRST_MS,
    BACKOFF_LAST_MS,
    FIRST_TRIES,
    Latest,
    Missed,
    Plan,
    UnderWay,
    Watcher,
    hand_over,
)
from hookline.relay.frames import Answer, Bye, Delivery, Hello
from hookline.relay.pipeline import Pipeline
from hookline.sender.attempt import first_headers
from hookline.wire.catalogue import CATALOGUE, matches
from hookline.wire.event import decode_envelope
from hookline.wire.signature import HEADER, sign
from hookline.wire.timestamps import parse_us

POLL_MS: Final = 2_000
MOST_COUNTED: Final = 1_000
"""Of what was missed; more is "at least"."""
# Handed over and not answered: more is read when the app has kept up.
_MOST_UNDER_WAY: Final = 200
_FOR_GOOD: Final = frozenset({"unauthorized", "refused"})


class Polling:
    """Reads a source's feed, oldest first, and hands it over as deliveries.

    Args:
        api: the source's; it is asked from threads.
        source: whose, for people.
        secret: signs here.
        after: the event up to which everything was answered; None for who is new, and begins at now.
        keep: called with the id of that event, whenever it moves.
    """

    def __init__(
        self,
        api: SourceApi,
        plan: Plan,
        *,
        source: str,
        secret: str,
        after: str | None,
        keep: Callable[[str], None],
        watcher: Watcher,
        clock: Clock,
    ) -> None:
        self._api = api
        self._plan = plan
        self._source = source
        self._secret = secret
        self._after = after
        self._since_us: int | None = None
        self._has_begun = False
        self._keep = keep
        self._watcher = watcher
        self._clock = clock
        self._types = types_of(plan.start.events)
        self._under_way = UnderWay()
        self._kept_up = asyncio.Event()
        self.live_since_ms: int | None = None
        self.to_come = 0

    def answered(self, answer: Answer) -> None:
        """The place moves past every event that was answered, and up to the first that was not."""
        passed = self._under_way.answered(answer.cursor)
        if passed is not None:
            self._keep(passed)
            self._kept_up.set()

    async def run(self, pipeline: Pipeline) -> Bye:
        """Read until cancelled.

        Raises:
            RequestError: the source will not have us: 401 for its key.
            SourceError: it could not be reached in the first place.
        """
        tries = 0
        while True:
            try:
                if self._has_begun:
                    await self._read(pipeline, was_lost=tries > 0)
                else:
                    await self._begin(pipeline)
                tries = 0
            except SourceError as error:
                self.live_since_ms = None
                if error.reason in _FOR_GOOD:
                    raise _refusal(error) from None
                if error.reason == "expired":
                    # What lies between is not in the feed any more: on from now.
                    self._after, self._since_us = None, self._clock.now_ms() * 1000
                tries += 1
                if not self._has_begun and tries >= FIRST_TRIES and not self._plan.waits:
                    raise
                wait_ms = round((error.retry_after_s or 0) * 1000) or min(BACKOFF_LAST_MS, BACKOFF_FIRST_MS << tries)
                self._watcher.disconnected(str(error), retry_ms=wait_ms)
                await self._sleep(wait_ms)

    async def leave(self) -> None:
        """The place was kept with each answer."""

    # -- the inside --------------------------------------------------------------------------------------------

    async def _begin(self, pipeline: Pipeline) -> None:
        """Find out what was missed, and what becomes of it."""
        began_ms = self._clock.now_ms()
        since_ms = self._plan.start.since_ms
        missed: list[FeedEvent] = []
        is_all = True
        if self._after is not None and since_ms is None:
            missed, is_all = await self._missed(self._after)
        else:
            self._after = None
            self._since_us = self._since_us or (began_ms if since_ms is None else since_ms) * 1000
            await self._page()  # whether anybody is there, and takes the key
        hello = self._hello(missed, is_all=is_all)
        self._watcher.connected(hello, way="poll", took_ms=self._clock.now_ms() - began_ms)
        chosen = await self._chosen(hello) if missed else None
        self._has_begun, self.live_since_ms = True, self._clock.now_ms()
        self._watcher.began(hello, chosen)
        if chosen == "none":
            # Of more than are counted there is no last one to go on after.
            self._after, self._since_us = (missed[-1].id, None) if is_all else (None, began_ms * 1000)
            self._keep(missed[-1].id)
        else:
            await self._take(pipeline, missed, is_missed=True, latest=chosen == "latest")

    async def _missed(self, after: str) -> tuple[list[FeedEvent], bool]:
        found: list[FeedEvent] = []
        while len(found) < MOST_COUNTED:
            page = await asyncio.to_thread(self._api.events, self._types, after=after)
            found += page.events
            if not page.has_more or not page.events:
                return found, True
            after = page.events[-1].id
        return found, False

    def _hello(self, missed: Sequence[FeedEvent], *, is_all: bool) -> Hello:
        """What the view says of what was missed."""
        return Hello(
            session="",
            environment=self._source,
            secret=self._secret,
            head="",
            now_ms=self._clock.now_ms(),
            missed=len(missed),
            missed_most=MOST_COUNTED if not is_all else len(missed) + 1,
            missed_since_ms=_created_ms(missed[0]) if missed else None,
        )

    async def _chosen(self, hello: Hello) -> Missed:
        return await self._watcher.choose(hello) if self._plan.missed == "ask" else self._plan.missed

    async def _page(self) -> tuple[tuple[FeedEvent, ...], bool]:
        since_us = self._since_us if self._after is None else None
        page = await asyncio.to_thread(self._api.events, self._types, after=self._after, since_us=since_us)
        return page.events, page.has_more

    async def _read(self, pipeline: Pipeline, *, was_lost: bool) -> None:
        began_ms = self._clock.now_ms()
        events, has_more = await self._page()
        if was_lost:
            self.live_since_ms = self._clock.now_ms()
            hello = self._hello((), is_all=True)
            self._watcher.connected(hello, way="poll", took_ms=self.live_since_ms - began_ms)
        await self._take(pipeline, events, is_missed=False, latest=False)
        if not has_more:
            await self._sleep(POLL_MS)

    async def _take(self, pipeline: Pipeline, events: Sequence[FeedEvent], *, is_missed: bool, latest: bool) -> None:
        chosen = Latest(len(events), is_on=latest)
        for event in events:
            while len(self._under_way) >= _MOST_UNDER_WAY:
                self._kept_up.clear()
                await self._kept_up.wait()
            self._under_way.add(event.id)
            hand_over(pipeline, *chosen.take(self._delivery(event, is_missed=is_missed)))
            self._after = event.id

    def _delivery(self, event: FeedEvent, *, is_missed: bool) -> Delivery:
        signed = sign(event.body, self._secret, timestamp_ms=self._clock.now_ms())
        return Delivery(
            cursor=event.id,
            event_id=event.id,
            event_type=event.type,
            created_at=_created_at(event),
            headers=(*first_headers(()), (HEADER, signed)),
            body=event.body,
            is_missed=is_missed,
        )

    async def _sleep(self, wait_ms: int) -> None:
        await self._clock.sleep_until(self._clock.now_ms() + wait_ms, asyncio.Event())


def types_of(patterns: Sequence[str]) -> list[str]:
    """The types that patterns stand for, as a source's API takes them: exact names, those that are known."""
    exact = [one for one in patterns if not one.endswith("*")]
    known = [name for name in CATALOGUE if any(matches(pattern, name) for pattern in patterns)]
    return list(dict.fromkeys([*exact, *known]))


def _created_at(event: FeedEvent) -> str:
    try:
        return decode_envelope(event.body).created_at or ""
    except InvalidBody:
        return ""


def _created_ms(event: FeedEvent) -> int | None:
    try:
        return parse_us(_created_at(event)) // 1000
    except ValueError:
        return None


def _refusal(error: SourceError) -> RequestError:
    return RequestError(401 if error.reason == "unauthorized" else 400, "source", str(error))
