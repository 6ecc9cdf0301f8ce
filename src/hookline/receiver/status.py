"""How a receiver is doing, in one look at its database, and what of that needs somebody.

It is read from the tables alone, so that any process can tell it: the door, the worker and the command may be three.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from hookline.receiver.mirror_queries import MirrorQueries, ResourceCounts
from hookline.receiver.model import AddressListRow, HandlerRow, PassRow, TailRow, WorkerRow
from hookline.receiver.queries import COUNTED, InboxQueries, QuestionCounts
from hookline.storage import Connection
from hookline.wire.timestamps import format_ms

# A worker tells that it is there once a minute (work.py); three are missing then, or its clock is another.
WORKER_UNSEEN_MS: Final = 200_000
# What waits longer is not waiting for the next round: that begins after 5 s at the latest.
LAG_MS: Final = 60_000
REFUSED_WITHIN_MS: Final = 3_600_000
# Providers tell of changes days before; an older copy may leave out an address that calls by now.
LIST_OLD_MS: Final = 7 * 86_400_000
# It is noted every 20 s that a feed is read (tail.py); a lease takes a minute to pass to another process.
TAIL_UNREAD_MS: Final = 200_000
# An event that is missing may come late for two minutes; then the source is asked, where it can be.
GAP_OLD_MS: Final = 900_000
# Refusals that say what is wrong at this end, whoever asked.
OUR_FAULT: Final = {
    "no_secret": "no signing secret is configured: every webhook is answered 503",
    "no_list": "the published list of addresses was never read: every webhook is answered 503",
    "unavailable": "the database could not keep webhooks",
    "consumed": "a middleware reads the body before the door can",
}
# Refusals of requests that claim to be signed: where nothing else comes, the secret or the clock is wrong here. A
# signature is looked at only where the address may call, so those refused for that may be anybody's.
UNPROVED: Final = ("mismatch", "expired", "future")


@dataclass(frozen=True, slots=True)
class Status:
    """One look. Times are Unix milliseconds; counts stop at `queries.COUNTED`.

    Attributes:
        waiting: entries that are not applied yet. oldest_ms: when the first of them arrived.
        last_accepted_ms: when the newest entry arrived.
        probes: entries of the last hour that `hookline doctor` posted, each beside one that had to be refused.
        dead_entries: entries that could not be applied.
        handlers: each with its runs in numbers.
        failing_walks: walks over what hangs on a deleted or returned object that fail.
        refused: refusals of the last hour, by reason.
        workers: who applies, the one seen last first.
        mirror: rows by source and resource.
        lists: the published lists of addresses in use.
        tails: how far the feeds of sources are read, of those, too, that are not read any more.
        tailed: the sources whose feeds are to be read, as this process sees it.
        questions: by source, what it is to be asked, since its events leave it open.
        passes: how sources are compared with the mirror.
        scheduled: how often that is to happen by itself, in seconds by source, as this process sees it.
    """

    now_ms: int
    waiting: int
    oldest_ms: int | None
    last_accepted_ms: int | None
    probes: int
    dead_entries: int
    handlers: Sequence[HandlerRow]
    failing_walks: int
    refused: Mapping[str, int]
    workers: Sequence[WorkerRow]
    mirror: Mapping[str, Sequence[ResourceCounts]]
    lists: Sequence[AddressListRow]
    tails: Sequence[TailRow] = ()
    tailed: Sequence[str] = ()
    questions: Mapping[str, QuestionCounts] = field(default_factory=dict)
    passes: Sequence[PassRow] = ()
    scheduled: Mapping[str, float] = field(default_factory=dict)

    @property
    def lag_ms(self) -> int:
        """How long the entry that waits longest has been waiting; 0 where none waits."""
        return 0 if self.oldest_ms is None else max(0, self.now_ms - self.oldest_ms)

    @property
    def running_workers(self) -> list[WorkerRow]:
        """Those that were seen of late and have not ended."""
        return [one for one in self.workers if one.stopped_ms is None and self.now_ms - one.seen_ms <= WORKER_UNSEEN_MS]

    def needs(self) -> list[str]:
        """What needs somebody, the most urgent first; empty where it is well."""
        return list(_needs(self))

    def needs_of_lists(self) -> list[str]:
        """What of that is about published lists of addresses."""
        return list(_needs_of_lists(self))


def read_status(
    connection: Connection,
    queries: InboxQueries,
    mirror: Mapping[str, MirrorQueries],
    now_ms: int,
    *,
    lists: Collection[str] = (),
    tailed: Collection[str] = (),
    scheduled: Mapping[str, float] | None = None,
) -> Status:
    """Look once, at the published lists of these URLs and the feeds of these sources, too."""
    backlog = queries.backlog(connection)
    since_ms = now_ms - REFUSED_WITHIN_MS
    kept = {one.url: one for one in queries.address_lists(connection)}
    newest = queries.newest(connection, since_ms=since_ms)
    return Status(
        now_ms=now_ms,
        waiting=backlog.waiting,
        oldest_ms=backlog.oldest_ms,
        last_accepted_ms=newest.received_ms,
        probes=newest.probes,
        dead_entries=newest.dead_entries,
        handlers=queries.handlers(connection),
        failing_walks=backlog.failing_walks,
        refused=queries.refused(connection, since_ms=since_ms),
        workers=queries.workers(connection),
        mirror={source: one.counts(connection) for source, one in mirror.items()},
        lists=[
            kept.get(url, AddressListRow(url, None, None, None, "no process has tried yet")) for url in sorted(lists)
        ],
        tails=queries.tails(connection),
        tailed=sorted(tailed),
        questions=queries.questions(connection),
        passes=queries.passes(connection),
        scheduled=scheduled or {},
    )


def _needs(status: Status) -> Iterator[str]:
    # Tables alone, which `hookline db upgrade` makes for both ends, are no receiver.
    is_used = status.workers or status.handlers or status.refused or status.waiting or status.last_accepted_ms
    if not status.running_workers and is_used:
        if not status.workers:
            seen = "no worker was ever seen"
        else:
            last = status.workers[0]
            end = "ended" if last.stopped_ms is not None else "was last seen"
            seen = f"no worker runs; {last.name} {end} {_ago(status.now_ms - last.seen_ms)}"
        yield f"{seen}: what arrives is kept and not applied; start `hookline serve worker`"
    elif status.lag_ms > LAG_MS:
        yield f"the worker lags: an entry has been waiting for {span(status.lag_ms)}, behind or with {status.waiting}"
    for reason, meaning in OUR_FAULT.items():
        if times := status.refused.get(reason):
            yield f"refused {times} within the hour: {meaning}"
    unproved = sum(status.refused.get(reason, 0) for reason in UNPROVED) - status.probes
    accepted_ms = status.last_accepted_ms
    if unproved > 0 and (accepted_ms is None or status.now_ms - accepted_ms > REFUSED_WITHIN_MS):
        reasons = ", ".join(f"{reason} {status.refused[reason]}" for reason in UNPROVED if reason in status.refused)
        yield (
            f"everything was refused within the hour ({reasons}): is the secret or the clock wrong? "
            "`hookline inbox rejected` has the first of each, `hookline doctor` looks"
        )
    if status.dead_entries:
        count = _count(status.dead_entries, "entry", "entries")
        yield f"{count} could not be applied: `hookline inbox dead`, then `hookline inbox retry`"
    yield from _needs_of_handlers(status)
    if status.failing_walks:
        count = _count(status.failing_walks, "walk", "walks")
        yield f"{count} over what hangs on a deleted object fail: handlers wait for it; `hookline mirror walks`"
    yield from status.needs_of_lists()
    yield from _needs_of_tails(status)
    yield from _needs_of_questions(status)
    yield from _needs_of_passes(status)


def _needs_of_passes(status: Status) -> Iterator[str]:
    for one in status.passes:
        if one.state == "stopped":
            again = f"`hookline {one.kind} --resume {one.row_id}`"
            yield f"pass {one.row_id} of {one.source} stopped: {one.reason}; {again}"
        if one.drift:
            count = _count(one.drift, "difference", "differences")
            yield f"{count} between the mirror and {one.source}: `hookline reconcile show`, then heal or ignore them"
    known = {one.source: one for one in status.passes}
    for source, every_s in status.scheduled.items():
        newest = known.get(source)
        # One may be long, and the next begins a period after it was begun; but one that waits may wait for ever.
        is_waiting = newest is not None and newest.state == "running" and newest.reason is not None
        if newest is None or (newest.state in ("stopped", "running") and not is_waiting):
            continue
        since_ms = status.now_ms - (newest.completed_ms or newest.created_ms)
        if status.running_workers and since_ms > 3 * every_s * 1_000:
            wanted = span(round(every_s * 1_000))
            why = f"; pass {newest.row_id} waits: {newest.reason}" if is_waiting else ""
            yield f"the mirror was not put right from {source} for {span(since_ms)}, and is to be every {wanted}{why}"


def _needs_of_tails(status: Status) -> Iterator[str]:
    known = {one.source: one for one in status.tails}
    for source in status.tailed:
        tail = known.get(source)
        unread_ms = None if tail is None or tail.read_ms is None else status.now_ms - tail.read_ms
        if tail is not None and tail.failed_ms is not None:
            if status.now_ms - tail.failed_ms > TAIL_UNREAD_MS:
                yield f"the feed of {source} cannot be read for {span(status.now_ms - tail.failed_ms)}: {tail.error}"
        # Where nothing runs at all, that is said already.
        elif status.running_workers and (unread_ms is None or unread_ms > TAIL_UNREAD_MS):
            since = "was never read" if unread_ms is None else f"was not read for {span(unread_ms)}"
            yield f"the feed of {source} {since}: the workers that run do not have its API key, or tail is off there"
        if tail is not None and tail.lost_us is not None:
            stands_in = "no pass has begun" if tail.pass_id is None else f"pass {tail.pass_id} is to stand in for them"
            yield (
                f"events of {source} since {format_ms(tail.lost_us)} were lost, the source no longer keeps them; "
                f"{stands_in}: `hookline reconcile`"
            )


def _needs_of_lists(status: Status) -> Iterator[str]:
    for one in status.lists:
        if one.fetched_ms is None:
            yield f"{one.url} was never read, so nobody on it may call: {one.error}"
        elif status.now_ms - one.fetched_ms > LIST_OLD_MS:
            since = span(status.now_ms - one.fetched_ms)
            yield f"{one.url} could not be read for {since}, an old copy is in force: {one.error or 'nobody tried'}"


def _needs_of_questions(status: Status) -> Iterator[str]:
    for source, one in status.questions.items():
        if one.gaps and one.first_gap_ms is not None and status.now_ms - one.first_gap_ms > GAP_OLD_MS:
            objects = _count(one.gaps, "object", "objects")
            since = _ago(status.now_ms - one.first_gap_ms)
            yield (
                f"{source}: events are missing of {objects}, noticed first {since}, and the source was not asked: give "
                "Hookline its API key, or run `hookline reconcile`"
            )
        if one.in_vain:
            questions = _count(one.in_vain, "question", "questions")
            yield f"{source}: {questions} got no answer of the source: `hookline mirror why ID` has the reason"


def _needs_of_handlers(status: Status) -> Iterator[str]:
    present = {name for worker in status.running_workers for name in worker.handlers}
    for handler in status.handlers:
        if handler.paused_reason is not None:
            waiting = _count(handler.pending, "run waits", "runs wait")
            yield f"handler {handler.name} is paused ({handler.paused_reason}), {waiting}: `hookline handlers resume`"
        if handler.dead:
            count = _count(handler.dead, "run", "runs")
            yield f"handler {handler.name}: {count} failed for good; `hookline inbox dead`, then `hookline inbox retry`"
        if handler.pending and status.running_workers and handler.name not in present:
            waiting = _count(handler.pending, "run waits", "runs wait")
            yield (
                f"handler {handler.name}: {waiting}, and no running worker has it; name its app with HOOKLINE_APP, or "
                "`hookline handlers forget` it"
            )


def _count(count: int, one: str, many: str) -> str:
    return f"{count}{'+' if count >= COUNTED else ''} {one if count == 1 else many}"


def _ago(ms: int) -> str:
    return f"{span(ms)} ago"


def span(ms: int) -> str:
    """A duration as people say it: its largest unit, and the next below where that is small."""
    left_s = max(0, ms) // 1000
    parts: list[str] = []
    for unit, size_s in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, left_s = divmod(left_s, size_s)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
