"""What the source is to be asked, and the numbers of its objects' events, as verbs.

Decides nothing and opens no transaction: every function runs on the connection it is given.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from hookline.receiver.resources import DIRECTORY_MEMBERSHIP, RESOURCES
from hookline.receiver.source import PATHS
from hookline.rules.gaps import Numbers
from hookline.rules.refetch import Reason
from hookline.storage import Connection, Verbs

Asked: TypeAlias = tuple[str, str, str]
"""(source, resource, object_id). A membership's id are those of group and user with a slash between; where one of the
two is empty, all memberships of the other are meant.
"""

ASKABLE: Final = frozenset({*PATHS, DIRECTORY_MEMBERSHIP.name})
"""What the source can be asked about."""


class Refetch(NamedTuple):
    """What is to be asked about an object.

    `told_by` is the event that says that another is missing. An answer settles it that counts as of later than
    `after_us`, the source's time. `tries` is how often it was asked in vain, and `error` what came last instead of an
    answer. `lower_us` is the `updated_at` of a read that lay below what is known (A4), `lower_read_us` what that counts
    as of.
    """

    source: str
    resource: str
    object_id: str
    reasons: frozenset[Reason]
    told_by: str | None
    after_us: int
    noticed_ms: int
    due_ms: int
    tries: int = 0
    error: str | None = None
    lower_us: int | None = None
    lower_read_us: int | None = None

    @property
    def asked(self) -> Asked:
        return self.source, self.resource, self.object_id


class RefetchStore:
    """The verbs, compiled for one dialect."""

    def __init__(self, verbs: Verbs) -> None:
        self._verbs = verbs
        self._unstub = {
            name: verbs.filled("each", "refetches_unstub", {"table": RESOURCES[name].table}) for name in PATHS
        }

    def of(self, connection: Connection, asked: Iterable[Asked]) -> dict[Asked, Refetch]:
        """What is to be asked about these objects already."""
        rows = self._verbs["refetches_of"].run(connection, {"keys": json.dumps(sorted(asked))})
        return {row[:3]: _refetch(row) for row in rows}

    def put(self, connection: Connection, refetches: Iterable[Refetch]) -> None:
        """Write down what is to be asked, in place of what was to be asked about the same objects."""
        rows = [
            (*one.asked, " ".join(sorted(one.reasons)), *one[4:])
            for one in sorted(refetches, key=lambda one: one.asked)
        ]
        self._verbs["refetches_put"].run_many(connection, rows)

    def end(self, connection: Connection, refetch: Refetch) -> bool:
        """Forget it; False where it is gone, or somebody has asked for more meanwhile."""
        named = dict(zip(("source", "resource", "object_id"), refetch.asked, strict=True))
        return self._verbs["refetches_end"].count(connection, {**named, "after_us": refetch.after_us}) == 1

    def due(self, connection: Connection, source: str, now_ms: int, limit: int) -> list[Refetch]:
        """What is to be asked now, longest due first."""
        named = {"source": source, "now_ms": now_ms, "limit": limit}
        return [_refetch(row) for row in self._verbs["refetches_due"].run(connection, named)]

    def next_ms(self, connection: Connection, source: str) -> int | None:
        """When the next is due."""
        ((due_ms,),) = self._verbs["refetches_next"].run(connection, {"source": source})
        return None if due_ms is None else int(due_ms)

    def forget_stubs(self, connection: Connection, source: str, now_ms: int) -> None:
        """Forget those due that arose because an object was known from a membership alone, and now no longer is."""
        for resource, verb in self._unstub.items():
            verb.run(connection, {"source": source, "resource": resource, "now_ms": now_ms})

    def bodies(self, connection: Connection, source: str, event_ids: Sequence[str]) -> dict[str, bytes]:
        """The bodies of those of these events that are still kept."""
        named = {"source": source, "event_ids": json.dumps(list(event_ids))}
        return {event_id: bytes(body) for event_id, body in self._verbs["refetches_bodies"].run(connection, named)}

    def numbers(self, connection: Connection, asked: Iterable[Asked]) -> dict[Asked, Numbers]:
        """What is known of the numbers of these objects' events."""
        rows = self._verbs["sequences_of"].run(connection, {"keys": json.dumps(sorted(asked))})
        return {row[:3]: Numbers(row[3], tuple(json.loads(row[4]))) for row in rows}

    def put_numbers(self, connection: Connection, numbers: Iterable[tuple[Asked, Numbers]]) -> None:
        """Write that down."""
        rows = [(*asked, one.highest, json.dumps(one.missing)) for asked, one in sorted(numbers)]
        self._verbs["sequences_put"].run_many(connection, rows)


def _refetch(row: tuple[Any, ...]) -> Refetch:
    return Refetch(*row)._replace(reasons=frozenset(row[3].split()))
