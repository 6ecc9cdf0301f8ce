"""Takes what is in doubt to the source: one worker at a time for each source, one question after the other.

Each question is asked outside of any transaction; its answer is joined (mirror.py `apply_reads`) in one, under the
lease. An answer that counts as of too early to settle the doubt is joined too, and the question comes again. What is no
answer changes nothing: the source is left alone for a while, as long as it asks for, or that one question waits.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from hookline.errors import SourceError
from hookline.receiver.leases import LeaseLost
from hookline.receiver.mirror import Applied, Seen, apply_reads
from hookline.receiver.mirror_store import Cause
from hookline.receiver.recognition import UNRECOGNISED, is_recognised
from hookline.receiver.resources import (
    DIRECTORY_MEMBERSHIP,
    Observed,
    observe_absent,
    observe_listed,
    observe_read,
    observe_unlisted,
)
from hookline.receiver.source import Gone
from hookline.rules.merge import EPSILON_US, read_clock
from hookline.rules.refetch import due_ms
from hookline.rules.schedule import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

    from hookline.loop import Clock
    from hookline.receiver.counters import Counters
    from hookline.receiver.leases import Leases
    from hookline.receiver.mirror_store import MirrorStore
    from hookline.receiver.refetch_store import Refetch
    from hookline.receiver.source import Page, SourceApi
    from hookline.receiver.work import Access
    from hookline.storage import Connection

log = logging.getLogger("hookline.refetch")

LEASE: Final = "refetch"
CAUSE: Final = "refetch"
# So many questions are asked in a step, and so often it is looked for new ones.
AT_ONCE: Final = 10
LOOK_MS: Final = 15_000
# The source does not answer anybody, or not this one question.
AWAY: Final = Backoff(first_s=5, factor=4, cap_s=900, tries=2**31)
IN_VAIN: Final = Backoff(first_s=60, factor=4, cap_s=21_600, tries=2**31)
# Somebody has to mend that; it is looked whether they have.
UNAUTHORIZED_MS: Final = 600_000
_PAGE: Final = 500


class Refetcher:
    """Asks one source about what is in doubt.

    Args:
        access: the tables.
        mirror: their verbs.
        source: its name.
        api: how it is asked.
        clock: for the time after an answer, which may have taken long.
        leases: the verbs of leases, with this worker's name.
        counters: what is counted here.
    """

    def __init__(
        self,
        access: Access,
        mirror: MirrorStore,
        source: str,
        api: SourceApi,
        clock: Clock,
        leases: Leases,
        *,
        counters: Counters | None = None,
    ) -> None:
        self.name = f"refetch {source}"
        self._access = access
        self._mirror = mirror
        self._source = source
        self._api = api
        self._clock = clock
        self._leases = leases
        self._counters = counters
        self._token: int | None = None
        self._away = 0
        self._waits_from_ms = 0
        self._waits_until_ms = 0
        self._is_recognised = False

    def step(self, now_ms: int) -> int | None:
        """Ask what is due, a few questions at most; when to come again (Unix ms)."""
        # Before it began to wait, the clock has been set back.
        if self._waits_from_ms <= now_ms < self._waits_until_ms:
            return self._waits_until_ms
        due = self._take(now_ms)
        if due is None:
            return now_ms + LOOK_MS
        try:
            for refetch in due:
                # The answer to one may have settled another: a list names many memberships.
                if self._is_open(refetch) and not self._ask(refetch):
                    return self._waits_until_ms
        except LeaseLost as lost:
            log.warning("%s", lost)
            self._token = None
            return self._clock.now_ms() + LOOK_MS
        if len(due) == AT_ONCE:
            return self._clock.now_ms()
        with self._access.read() as connection:
            next_ms = self._mirror.refetches.next_ms(connection, self._source)
        return min(self._clock.now_ms() + LOOK_MS, next_ms if next_ms is not None else now_ms + LOOK_MS)

    def release(self) -> None:
        """Let others ask at once."""
        token, self._token = self._token, None
        if token is not None:
            self._access.run(lambda connection: self._leases.release(connection, self._source, LEASE, token))

    def _take(self, now_ms: int) -> list[Refetch] | None:
        """What is due; None where nothing is, or somebody else asks. At rest this is one statement."""
        with self._access.read() as connection:
            next_ms = self._mirror.refetches.next_ms(connection, self._source)
        if next_ms is None or next_ms > now_ms:
            return None

        def work(connection: Connection) -> list[Refetch] | None:
            token = self._leases.take(connection, self._source, LEASE, now_ms) if self._token is None else self._token
            if token is None:
                return None
            self._leases.hold(connection, self._source, LEASE, token, now_ms)
            self._token = token
            self._mirror.refetches.forget_stubs(connection, self._source, now_ms)
            return self._mirror.refetches.due(connection, self._source, now_ms, AT_ONCE)

        try:
            return self._access.run(work)
        except LeaseLost:
            self._token = None
            return None

    def _is_open(self, refetch: Refetch) -> bool:
        with self._access.read() as connection:
            return refetch.asked in self._mirror.refetches.of(connection, [refetch.asked])

    def _ask(self, refetch: Refetch) -> bool:
        """Ask about one object and join the answer; False where the source is to be left alone for a while."""
        try:
            if refetch.resource != DIRECTORY_MEMBERSHIP.name:
                self._ask_object(refetch)
            else:
                group_id, _, user_id = refetch.object_id.partition("/")
                self._ask_members(refetch, group_id, user_id)
        except SourceError as error:
            return self._put_off(refetch, error)
        self._away = 0
        return True

    def _ask_object(self, refetch: Refetch) -> None:
        answer = self._api.get(refetch.resource, refetch.object_id)
        if isinstance(answer, Gone):
            self._recognise()
            observed = observe_absent(refetch.resource, refetch.object_id, answer.requested_us)
        else:
            observed = observe_read(refetch.resource, answer.item, answer.requested_us)
            if observed.ignored is not None:
                raise SourceError("nonsense", f"{refetch.resource} {refetch.object_id}: {observed.ignored}")
        resets = _is_second(refetch, observed, answer.requested_us)
        if resets:
            log.warning(
                "%s %s: the source showed it twice with an updated_at below what was known; what it shows counts now",
                refetch.resource,
                refetch.object_id,
            )
        self._join(refetch, answer.requested_us, lambda _: [observed], resets=resets)

    def _ask_members(self, refetch: Refetch, group_id: str, user_id: str) -> None:
        """C7: all groups of the user, or all users of the group where no user is named."""
        end, id_ = ("directory_user", user_id) if user_id else ("directory_group", group_id)
        other, filter_ = ("directory_group", "user") if user_id else ("directory_user", "group")
        refusal: SourceError | None = None
        try:
            pages = self._pages(other, {filter_: id_})
        except SourceError as error:
            if error.reason != "refused":
                raise
            pages, refusal = [], error
        if not any(page.items for page in pages):
            # An empty list may be one of nobody: only of somebody who is there it says anything.
            answer = self._api.get(end, id_)
            if isinstance(answer, Gone):
                self._recognise()
                gone = observe_absent(end, id_, answer.requested_us)
                self._join(refetch, answer.requested_us, lambda _: [gone])
                return
            if refusal is not None:
                raise refusal
        started_us = pages[0].requested_us
        # No page is older than the first, whatever was taken for the source's time then.
        found = {item["id"]: (item, max(page.requested_us, started_us)) for page in pages for item in page.items}

        def pair(far_id: str) -> tuple[str, str]:
            return (far_id, user_id) if user_id else (group_id, far_id)

        def observed(connection: Connection) -> list[Observed]:
            edge = DIRECTORY_MEMBERSHIP.name
            listed = [
                observe_listed(edge, pair(far_id), _directory_of(item), requested_us)
                for far_id, (item, requested_us) in found.items()
            ]
            known = self._known(connection, (end, id_))
            return listed + [
                observe_unlisted(edge, keys, None, started_us)
                for keys in known
                if keys[0 if user_id else 1] not in found
            ]

        self._join(refetch, started_us, observed)

    def _recognise(self) -> None:
        """SourceError where a 404 is worth nothing; once the source was recognised, it is."""
        if not self._is_recognised and not is_recognised(self._access, self._mirror, self._source, self._api.get):
            raise SourceError("unauthorized", UNRECOGNISED)
        self._is_recognised = True

    def _pages(self, resource: str, filters: dict[str, str]) -> list[Page]:
        """All pages of a list. The lease is renewed between them: each may take nearly as long as it lasts."""
        pages = [self._api.page(resource, filters)]
        cursors: set[str] = set()
        while (after := pages[-1].after) is not None:
            if after in cursors:
                raise SourceError("nonsense", f"the list of {resource} goes in a circle")
            cursors.add(after)
            self._access.run(self._hold)
            pages.append(self._api.page(resource, filters, after=after))
        return pages

    def _known(self, connection: Connection, end: tuple[str, str]) -> list[tuple[str, str]]:
        """All pairs of an end that the mirror has a row of, whatever their state."""
        keys: list[tuple[str, ...]] = []
        after: tuple[str, ...] = ("", "")
        edge = DIRECTORY_MEMBERSHIP.name
        while found := self._mirror.children(connection, edge, self._source, end, after, _PAGE):
            keys += found
            after = found[-1]
        return [(one, other) for one, other in keys]

    def _join(
        self,
        refetch: Refetch,
        requested_us: int,
        observe: Callable[[Connection], list[Observed]],
        *,
        resets: bool = False,
    ) -> None:
        """Join an answer, and see whether it has settled what was asked."""
        now_ms = self._clock.now_ms()
        counts_as_of_us = read_clock(requested_us)[0]

        def work(connection: Connection) -> Applied:
            self._hold(connection)
            seen = [Seen(self._source, one, Cause(None, CAUSE), resets=resets) for one in observe(connection)]
            done = apply_reads(self._mirror, connection, seen, now_ms, asking=(self._source,))
            left = self._mirror.refetches.of(connection, [refetch.asked]).get(refetch.asked)
            if left is not None and left.after_us < counts_as_of_us:
                # About a membership, and the list was asked for, which names others perhaps.
                self._mirror.refetches.end(connection, left)
            elif left is not None and left.due_ms <= now_ms:
                again_ms = max(due_ms(left.reasons, left.after_us, now_ms), _in_vain_ms(left, now_ms))
                self._mirror.refetches.put(connection, [left._replace(due_ms=again_ms, tries=left.tries + 1)])
            return done

        done = self._access.run(work)
        if self._counters is not None:
            self._counters.gaps_seen(done.gaps)
        if done.runs:
            self._access.tell("runs")
        self._access.tell("inbox")  # walks may have been queued
        log.debug("asked about %s %s: %s", refetch.resource, refetch.object_id, " ".join(sorted(refetch.reasons)))

    def _hold(self, connection: Connection) -> None:
        assert self._token is not None
        self._leases.hold(connection, self._source, LEASE, self._token, self._clock.now_ms())

    def _put_off(self, refetch: Refetch, error: SourceError) -> bool:
        """Leave the source alone, or that one question; whether others may be asked."""
        now_ms = self._clock.now_ms()
        asked_ms = now_ms + round((error.retry_after_s or 0) * 1_000)
        if error.reason == "unauthorized":
            if self._away == 0:
                log.error("source %s: %s. Nothing is asked of it for now: check the API key", self._source, error)
            self._away += 1
            self._waits_from_ms, self._waits_until_ms = now_ms, max(asked_ms, now_ms + UNAUTHORIZED_MS)
            return False
        if error.reason in ("unavailable", "rate_limited"):
            self._away += 1
            wait_ms = AWAY.due_ms(tries_made=self._away, now_ms=now_ms, jitter=0)
            assert wait_ms is not None
            self._waits_from_ms, self._waits_until_ms = now_ms, max(asked_ms, wait_ms)
            log.warning(
                "source %s: %s; asking again in %d s", self._source, error, (self._waits_until_ms - now_ms) // 1_000
            )
            return False
        log.warning("%s %s could not be asked about: %s", refetch.resource, refetch.object_id, error)

        def work(connection: Connection) -> None:
            self._hold(connection)
            left = self._mirror.refetches.of(connection, [refetch.asked]).get(refetch.asked)
            if left is not None:
                waits = left._replace(
                    due_ms=max(asked_ms, _in_vain_ms(left, now_ms)), tries=left.tries + 1, error=str(error)
                )
                self._mirror.refetches.put(connection, [waits])

        self._access.run(work)
        return True


def _is_second(refetch: Refetch, observed: Observed, requested_us: int) -> bool:
    """Whether an answer agrees with one from ε before or earlier on an `updated_at` below what is known (A4)."""
    return (
        refetch.lower_us is not None
        and refetch.lower_read_us is not None
        and bool(observed.objects)
        and observed.objects[0].updated_us == refetch.lower_us
        and read_clock(requested_us)[0] >= refetch.lower_read_us + EPSILON_US
    )


def _in_vain_ms(refetch: Refetch, now_ms: int) -> int:
    due = IN_VAIN.due_ms(tries_made=refetch.tries + 1, now_ms=now_ms, jitter=0)
    assert due is not None
    return due


def _directory_of(item: dict[str, object]) -> str | None:
    directory_id = item.get("directory_id")
    return directory_id if isinstance(directory_id, str) else None
