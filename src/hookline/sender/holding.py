"""What becomes of held deliveries when their endpoint is resumed: all are sent, those since a time, the newest of each
object, or none.

The first part is done in the transaction that resumes, so that a small backlog is decided at once; the rest is a job
(jobs.py). Parts go from the newest event to the oldest and take what is still held, so that nothing but the choice
needs to be remembered. A release ends where its endpoint is paused or turned off again: what is left stays held for the
next choice. While the endpoint is half open one delivery is let go, and the rest waits for its success.

Where the endpoint is opened before its backlog was held (closing.py), a choice that leaves something out must see that
too: it is held first, and until then nothing is claimed. What is published meanwhile only waits. `all` leaves nothing
out: what was not held yet goes on as if the endpoint had never been closed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from hookline.sender.job_store import LAST
from hookline.sender.jobs import Part

if TYPE_CHECKING:
    from hookline.sender.job_store import Held, Job, JobStore
    from hookline.storage.verbs import Connection

Deliver: TypeAlias = Literal["all", "since", "latest", "none"]
Stage: TypeAlias = Literal["hold", "release", "look", "forget"]

KIND: Final = "release"
PART: Final = 500
# A publish that saw the endpoint paused may commit after the last part; it is looked for once more.
LOOK_AGAIN_MS: Final = 60_000
# How often a release asks whether its half-open endpoint has proved itself.
HALF_OPEN_MS: Final = 5_000
# Somebody is changing the endpoint: its backlog is looked at again after so long.
BUSY_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Choice:
    """What to send of what is held. `since_ms`, Unix milliseconds, is for `since`: deliveries made then or later."""

    deliver: Deliver = "all"
    since_ms: int = 0


@dataclass(frozen=True, slots=True)
class HeldCount:
    """What a choice would come to; `held` is the sum of the others, and counts what is about to be held, too."""

    held: int
    to_send: int
    to_cancel: int


@dataclass(frozen=True, slots=True)
class _Release:
    """How a release stands; kept as its job's detail. `version` is the endpoint's when it began."""

    deliver: Deliver
    since_ms: int
    version: int
    stage: Stage = "release"
    is_probing: bool = False


class Holding:
    """Lets held deliveries go."""

    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    def count(self, connection: Connection, endpoint_row: int, choice: Choice) -> HeldCount:
        """What a choice would come to now. Changes nothing.

        `latest` reads every held event, and remembers the digest of each object meanwhile.
        """
        through = self._through(connection, endpoint_row)
        held, since = self._jobs.held_count(connection, endpoint_row, through_row=through, since_ms=choice.since_ms)
        to_send = {"all": held, "since": since, "none": 0}.get(choice.deliver)
        if to_send is None:
            met: set[str] = set()

            def note(digests: set[str]) -> set[str]:
                new = digests - met
                met.update(new)
                return new

            to_send = held = 0
            for page in self._pages(connection, endpoint_row, through):
                send, drop = self._newest(connection, page, note)
                to_send, held = to_send + len(send), held + len(send) + len(drop)
        return HeldCount(held, to_send, held - to_send)

    def begin(self, connection: Connection, endpoint_row: int, choice: Choice, *, was_open: bool, now_ms: int) -> None:
        """Let go what was chosen, in the transaction that opened the endpoint; what is more than a part, later.

        Nothing happens to what an endpoint holds that is not open. The caller notifies the delivery loop afterwards.

        Args:
            was_open: the endpoint was open before: what waits for it is none of what it held.
        """
        opened = self._jobs.open_endpoint(connection, endpoint_row)
        if opened is None:
            return
        release = _Release(choice.deliver, choice.since_ms, opened.version)
        through = opened.hold_through_row if was_open else self._jobs.last_delivery(connection)
        if choice.deliver == "all":
            through = None
        if through is not None and not self._hold(connection, endpoint_row, through, now_ms):
            through = None
        if through != opened.hold_through_row:
            self._jobs.note_backlog(connection, endpoint_row, through)
        if through is not None:
            detail = asdict(replace(release, stage="hold"))
            self._jobs.put(connection, KIND, str(endpoint_row), detail, due_ms=now_ms)
            return
        part = self._part(connection, endpoint_row, release, now_ms)
        if part.again_ms is None:
            self._jobs.end(connection, KIND, str(endpoint_row))
        else:
            self._jobs.put(connection, KIND, str(endpoint_row), part.detail, due_ms=part.again_ms)

    def do_part(self, connection: Connection, job: Job, now_ms: int) -> Part:
        """The next part of a release."""
        return self._part(connection, int(job.subject), _Release(**job.detail), now_ms)

    def _part(self, connection: Connection, endpoint_row: int, release: _Release, now_ms: int) -> Part:
        opened = self._jobs.open_endpoint(connection, endpoint_row)
        if release.stage == "forget" or opened is None:
            forgotten = self._jobs.forget_objects(connection, endpoint_row, limit=PART)
            return Part(None if forgotten < PART else now_ms, asdict(replace(release, stage="forget")))
        if release.stage == "hold":
            return self._hold_part(connection, endpoint_row, release, opened.hold_through_row, now_ms)
        is_half_open = opened.is_half_open
        if is_half_open and release.is_probing:
            return Part(now_ms + HALF_OPEN_MS, asdict(release))
        # Of a half-open endpoint one delivery goes first. `latest` notes what it looks at, so it looks at one alone.
        limit = 1 if is_half_open and release.deliver == "latest" else PART
        page = self._jobs.held(connection, endpoint_row, limit=limit)
        send, drop = self._decide(connection, endpoint_row, release, page)
        if is_half_open:
            send = send[:1]
        self._jobs.send_held(connection, send, now_ms=now_ms)
        reason = "superseded" if release.deliver == "latest" else "not_resumed"
        self._jobs.drop_held(connection, drop, reason=reason, now_ms=now_ms)
        is_probing = is_half_open and bool(send)
        again_ms = now_ms + HALF_OPEN_MS if is_probing else now_ms
        stage: Stage = release.stage
        if len(page) < limit and not is_probing:
            # After the last look the objects that were met are forgotten.
            stage = "look" if stage == "release" else "forget"
            again_ms = now_ms + LOOK_AGAIN_MS if stage == "look" else now_ms
        return Part(again_ms, asdict(replace(release, stage=stage, is_probing=is_probing)), has_released=bool(send))

    def _hold_part(
        self, connection: Connection, endpoint_row: int, release: _Release, through: int | None, now_ms: int
    ) -> Part:
        if through is not None:
            if self._hold(connection, endpoint_row, through, now_ms):
                return Part(now_ms, asdict(release))
            if not self._jobs.end_backlog(connection, endpoint_row):
                return Part(now_ms + BUSY_MS, asdict(release))
        # From here on the endpoint's deliveries may be claimed: whoever waits to do so hears of it.
        return Part(now_ms, asdict(replace(release, stage="release")), has_released=True)

    def _hold(self, connection: Connection, endpoint_row: int, through: int, now_ms: int) -> int:
        return self._jobs.hold_backlog(connection, endpoint_row, through, limit=PART, now_ms=now_ms)

    def _through(self, connection: Connection, endpoint_row: int) -> int:
        """Up to which row what waits is about to be held."""
        opened = self._jobs.open_endpoint(connection, endpoint_row)
        return LAST if opened is None else opened.hold_through_row or 0

    def _decide(
        self, connection: Connection, endpoint_row: int, release: _Release, page: Sequence[Held]
    ) -> tuple[list[int], list[int]]:
        """The rows to send, newest first, and those to cancel."""
        if release.stage == "look" or release.deliver == "all":
            # What came so late was published while the endpoint was being resumed: nobody chose to do without it.
            return [one.row_id for one in page], []
        if release.deliver == "latest":
            return self._newest(
                connection,
                page,
                lambda hashes: self._jobs.note_objects(connection, endpoint_row, release.version, hashes),
            )
        since_ms = LAST if release.deliver == "none" else release.since_ms
        send = [one.row_id for one in page if one.created_ms >= since_ms]
        return send, [one.row_id for one in page if one.created_ms < since_ms]

    def _pages(self, connection: Connection, endpoint_row: int, through: int) -> Iterator[list[Held]]:
        """All that is held, and what is about to be."""
        after = (-1, 0)
        while waiting := self._jobs.waiting(connection, endpoint_row, through_row=through, after=after, limit=PART):
            yield [held for held, _ in waiting]
            after = (waiting[-1][1], waiting[-1][0].row_id)
        before = (LAST, LAST)
        while page := self._jobs.held(connection, endpoint_row, before=before, limit=PART):
            yield page
            before = (page[-1].event_row, page[-1].row_id)

    def _newest(
        self, connection: Connection, page: Sequence[Held], note: Callable[[set[str]], set[str]]
    ) -> tuple[list[int], list[int]]:
        """The rows whose event is the newest of its object, and the others. Events about no object are all kept.

        `note` is given the objects of the page and gives those it had not been given before.
        """
        bodies = self._jobs.bodies(connection, {one.event_row for one in page})
        objects = {row: object_digest(body) for row, body in bodies.items()}
        new = note({digest for digest in objects.values() if digest is not None})
        send: list[int] = []
        drop: list[int] = []
        for one in page:
            digest = objects.get(one.event_row)
            if digest is None or digest in new:
                send.append(one.row_id)
                new.discard(digest or "")
            else:
                drop.append(one.row_id)
        return send, drop


class _Object(msgspec.Struct):
    object: Any = None
    id: Any = None


class _Body(msgspec.Struct):
    data: _Object


_BODY: Final = msgspec.json.Decoder(_Body)


def object_digest(body: bytes) -> str | None:
    """SHA-256 of the kind and id of the object that an event is about (`data.object`, `data.id`); None of none."""
    try:
        data = _BODY.decode(body).data
    except msgspec.MsgspecError:
        return None
    if not (isinstance(data.object, str) and isinstance(data.id, str) and data.object and data.id):
        return None
    return hashlib.sha256(f"{data.object}\n{data.id}".encode()).hexdigest()
