"""The listeners that are connected to this process: woken by news, looked after, their progress written together.

While nobody listens it runs nothing and asks nothing of the database. Else it hears of commits, and looks at the feed's
end at most so often that all listeners together read some 200 times a second; every 5 s it looks which sessions were
replaced, which secrets rotated and which keys revoked.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from hookline.errors import RequestError, StorageError
from hookline.relay.frames import UNANSWERED_S, WINDOW, Bye, Hello
from hookline.relay.session import Session
from hookline.sender.listeners import CHANNEL, MOST_COUNTED, Asked
from hookline.sender.publish import DELIVERIES_CHANNEL

if TYPE_CHECKING:
    from hookline.relay.frames import Start
    from hookline.sender.app import SenderApp
    from hookline.sender.keys import KeyHolder
    from hookline.sender.listener_store import HeardEvent
    from hookline.sender.listeners import Stretch

log = logging.getLogger("hookline.relay")

T = TypeVar("T")

MOST_SESSIONS: Final = 256
"""Of one process."""
# With notifications lost, or an app's own events fed by another process, the feed is looked at so often all the same.
POLL_MS: Final = 5_000
# How often that somebody is connected is written, where nothing else is.
_SEEN_MS: Final = 15_000
# Real pauses: between two looks at the feed's end (and per session), and before answers are written, so that many are
# one commit.
_GAP_S: Final = 0.05
_GAP_PER_SESSION_S: Final = 0.005
_NOTE_AFTER_S: Final = 0.2
# Reads of listeners wait for each other, not for the API, and leave it its connections.
_THREADS: Final = 2
COME_BACK_MS: Final = 1_000


class Hub:
    """The sessions of one process.

    Args:
        sender: whose feed it is. The caller keeps it.
    """

    def __init__(self, sender: SenderApp) -> None:
        self._sender = sender
        self._listeners = sender.listeners
        self._clock = sender.clock
        self._sessions: dict[str, Session] = {}
        self._is_draining = False
        self._news = asyncio.Event()
        self._attend = asyncio.Event()
        self._has_answers = asyncio.Event()
        self._closing: set[asyncio.Task[None]] = set()
        self._seen_ms = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._ends: list[Callable[[], None]] = []
        self._executor: ThreadPoolExecutor | None = None
        self._noting = asyncio.Lock()
        self._opening = 0

    # -- sessions ----------------------------------------------------------------------------------------------

    async def open(self, start: Start, holder: KeyHolder) -> tuple[Session, Hello]:
        """A session for who listens; one that the same listener has ends, as soon as `_look_after` sees the new one.

        Raises:
            RequestError: 409 `too_many_listeners`; 503 where this process is stopping or has as many as it may.
            StorageError: the database is away.
        """
        self._refuse_while_draining()
        if len(self._sessions) + self._opening >= MOST_SESSIONS:
            raise RequestError(503, "too_many_sessions", f"{MOST_SESSIONS} listeners are connected to this process.")
        self._opening += 1
        try:
            # What the listener's session before this one has answered counts.
            await self.save()
            session_id = f"session_{secrets.token_urlsafe(16)}"
            opened = await self._run(
                lambda: self._listeners.open(
                    holder.environment, start.name, start.events, session=session_id, since_ms=start.since_ms
                )
            )
            asked = Asked(frozenset(start.events))
            session = Session(
                session_id, opened, asked, holder, reader=self, clock=self._clock, changed=self._has_answers.set
            )
            self._sessions[session_id] = session
        finally:
            self._opening -= 1
        if self._is_draining:
            session.end(_STOPPING)
        self._follow()
        listener, missed = opened.listener, opened.missed
        return session, Hello(
            session=session_id,
            environment=listener.environment,
            secret=opened.secret,
            head=str(opened.head),
            now_ms=self._clock.now_ms(),
            window=WINDOW,
            cursor=None if listener.place is None else str(listener.place),
            missed=missed.count,
            missed_most=MOST_COUNTED,
            missed_since_ms=missed.since_ms,
            gone=missed.gone,
            since=None if opened.since is None else str(opened.since),
        )

    def _refuse_while_draining(self) -> None:
        if self._is_draining:
            raise RequestError(503, "stopping", "This process is stopping: come back in a moment.")

    def find(self, session_id: str, holder: KeyHolder) -> Session:
        """A session of the caller's environment. RequestError 409 `session_over` where there is none here."""
        session = self._sessions.get(session_id)
        if session is None or session.environment != holder.environment:
            raise RequestError(
                409,
                "session_over",
                "There is no such session here: start anew. Where several processes serve, the calls of one session "
                "have to reach the same one.",
            )
        return session

    async def close(self, session: Session) -> None:
        """Its connection is gone: note how far it came."""
        session.leave()
        try:
            await self._note([session], is_open=False)
        except StorageError as error:
            # What it answered last comes again.
            log.warning("listener %d: how far it came is not noted: %s", session.row_id, error)
        finally:
            self._sessions.pop(session.id, None)
            if not self._sessions:
                await self._rest()

    def drain(self) -> None:
        """The process is told to stop: say so to everybody. On the event loop, or before there is one."""
        self._is_draining = True
        for session in self._sessions.values():
            session.end(_STOPPING)

    # -- what sessions read ------------------------------------------------------------------------------------

    async def read(self, session: Session, limit: int) -> Stretch:
        """What of the feed comes next for it."""
        return await self._run(
            lambda: self._listeners.read(session.environment, session.place, session.asked, limit=limit)
        )

    async def resent(self, session: Session, after: int, limit: int) -> list[tuple[int, HeardEvent | None]]:
        """What is to be sent to it once more."""
        return await self._run(lambda: self._listeners.resent(session.row_id, after=after, limit=limit))

    async def has_gap(self, session: Session, after: int) -> bool:
        """Whether events it asks for are past their retention, after a place."""
        return await self._run(lambda: self._listeners.has_gap(session.environment, after, session.asked))

    async def save(self) -> None:
        """Note how far all have come: one commit."""
        if self._sessions:
            await self._note(list(self._sessions.values()), is_open=True)

    async def _note(self, sessions: Sequence[Session], *, is_open: bool) -> None:
        # One at a time: what is being written must not be written twice.
        async with self._noting:
            found = [(session, *session.progress(is_open=is_open)) for session in sessions]
            rows = [row for _, _, resent in found for row in resent]
            await self._run(lambda: self._listeners.note([progress for _, progress, _ in found], rows))
            for session, progress, resent in found:
                session.noted(progress, resent)

    # -- beside them -------------------------------------------------------------------------------------------

    def _follow(self) -> None:
        if self._tasks:
            return
        loop = asyncio.get_running_loop()

        def heard(*events: asyncio.Event) -> Callable[[], None]:
            def callback() -> None:
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    for event in events:
                        loop.call_soon_threadsafe(event.set)

            return callback

        database = self._sender.database
        self._ends = [
            database.subscribe(DELIVERIES_CHANNEL, heard(self._news)),
            database.subscribe(CHANNEL, heard(self._news, self._attend)),
        ]
        self._tasks = [
            asyncio.create_task(_forever(step, name))
            for step, name in ((self._tell_news, "news"), (self._look_after, "care"), (self._write_answers, "answers"))
        ]

    async def _rest(self) -> None:
        tasks, self._tasks = self._tasks, []
        ends, self._ends = self._ends, []
        for end in ends:
            end()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._executor is not None and not self._tasks:
            self._executor.shutdown(wait=False)
            self._executor = None

    async def _tell_news(self) -> None:
        await self._clock.sleep_until(self._clock.now_ms() + POLL_MS, self._news)
        self._news.clear()
        last = await self._run(self._listeners.last)
        for session in self._sessions.values():
            session.news(last)
        await asyncio.sleep(_GAP_S + _GAP_PER_SESSION_S * len(self._sessions))

    async def _write_answers(self) -> None:
        await self._has_answers.wait()
        await asyncio.sleep(_NOTE_AFTER_S)
        self._has_answers.clear()
        await self.save()

    async def _look_after(self) -> None:
        now_ms = self._clock.now_ms()
        await self._end_some(now_ms)
        self._drop_uncarried()
        if now_ms - self._seen_ms >= _SEEN_MS:
            self._seen_ms = now_ms
            await self.save()
        await self._clock.sleep_until(now_ms + POLL_MS, self._attend)
        self._attend.clear()

    async def _end_some(self, now_ms: int) -> None:
        """End the sessions that should not go on, and tell the others what is to be sent once more."""
        sessions = [session for session in self._sessions.values() if not session.is_over()]
        if not sessions:
            return
        standing = await self._run(lambda: self._listeners.standing({session.row_id for session in sessions}))
        holders = {session.holder for session in sessions}
        revoked = await self._run(lambda: {holder for holder in holders if not self._sender.is_valid(holder)})
        for session in sessions:
            found = standing.get(session.row_id)
            if found is None:
                session.end(_REMOVED)
            elif session.holder in revoked:
                session.end(_REVOKED)
            elif found.session != session.id:
                session.end(_ELSEWHERE)
            elif found.secret != session.secret:
                session.end(_CHANGED)
            elif session.silent_ms(now_ms) > UNANSWERED_S * 1000:
                session.end(_UNANSWERED)
            else:
                session.resends(found.last_resend)

    def _drop_uncarried(self) -> None:
        """What was started over HTTP and ended before it was streamed: nobody else closes that."""
        for session in list(self._sessions.values()):
            if session.is_over() and not session.is_carried:
                task = asyncio.create_task(self.close(session))
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)

    async def _run(self, work: Callable[[], T]) -> T:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="hookline-relay")
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)


async def _forever(step: Callable[[], Awaitable[None]], name: str) -> None:
    """A step after the other. One that fails is tried again: listeners must not go deaf by it."""
    while True:
        try:
            await step()
        except StorageError as error:
            log.warning("listeners, %s: the database is not available, trying again: %s", name, error)
            await asyncio.sleep(_AGAIN_S)
        except Exception:
            log.exception("listeners, %s: a step failed, trying again", name)
            await asyncio.sleep(_AGAIN_S)


_AGAIN_S: Final = 1.0
_REMOVED: Final = Bye("revoked", "this listener was removed")
_REVOKED: Final = Bye("revoked", "the API key is not valid any more")
_CHANGED: Final = Bye("changed", "the secret was rotated: come back for the new one", 0)
_ELSEWHERE: Final = Bye("elsewhere", "the same listener has connected once more")
_STOPPING: Final = Bye("stopping", "the server is stopping", COME_BACK_MS)
_UNANSWERED: Final = Bye(
    "unanswered", f"nothing was said for {UNANSWERED_S:.0f} s although answers are owed: come back to go on", 0
)
