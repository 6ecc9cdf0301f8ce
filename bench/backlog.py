"""What waits: deliveries and their endpoints, entries of the inbox; as many as asked for, in a minute, by plain SQL.

Of deliveries an event is for ten of the endpoints, in their order; all are due, in no order, as retries with their
jitter leave them: what is due first lies all over the tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from bench.accepts import SECRET, body
from hookline.loop import SystemClock
from hookline.sender.ids import IdMaker
from hookline.sender.store import SenderStore
from hookline.storage import Database
from hookline.storage.migrate import migrate
from hookline.storage.verbs import compile_verb

EVENT_TYPE: Final = "dsync.user.updated"
FANOUT: Final = 10
# Deliveries to a commit: what SQLite writes ahead stays small enough for its checkpoint.
AT_ONCE: Final = 200_000

_EVENTS: Final = """-- Adds events.
insert into hookline_sender_events (id, environment, type, body, created_ms, published_ms)
with recursive n (number) as (select cast(:first as bigint) union all select number + 1 from n where number < :last)
select 'event_' || substr(cast(100000000000000 + number as text), 2), 'production', :type, cast(:body as blob), :now_ms,
    :now_ms
from n
"""
_FEED: Final = """-- Lists them.
insert into hookline_sender_feed (environment, event_row)
select environment, row_id from hookline_sender_events where row_id > :before order by row_id
"""
_DELIVERIES: Final = """-- Adds a delivery of each to as many endpoints, which follow each other.
insert into hookline_sender_deliveries
    (id, environment, event_row, endpoint_row, origin, state, due_ms, created_ms, updated_ms)
with recursive n (number) as (select 0 union all select number + 1 from n where number < :fanout - 1)
select 'delivery_' || substr(cast(100000000000000 + e.row_id * :fanout + n.number as text), 2), e.environment, e.row_id,
    :first_endpoint + (e.row_id * :fanout + n.number) % :endpoints, 'published', 'pending',
    :now_ms - 1 - (e.row_id * :fanout + n.number) * 7919 % 1000003, :now_ms, :now_ms
from hookline_sender_events e
cross join n
where e.row_id > :before
order by e.row_id, n.number
"""
_ENTRIES: Final = """-- Adds entries to the inbox.
insert into hookline_inbox (source, event_id, sha256, type, body, received_ms)
with recursive n (number) as (select cast(:first as bigint) union all select number + 1 from n where number < :last),
named (event_id, user_id, updated_at) as (
    select 'event_' || substr(cast(100000000000000 + number as text), 2),
        'directory_user_' || substr(cast(100000000000000 + number * 7919 % :users as text), 2),
        '2026-01-02T00:00:0' || cast(number / 1000000 as text) || '.'
            || substr(cast(1000000 + number % 1000000 as text), 2) || 'Z'
    from n
)
select 'default', event_id, cast(event_id as blob), :type,
    cast(replace(replace(replace(:body, 'EVENT', event_id), 'USER', user_id), 'UPDATED', updated_at) as blob), :now_ms
from named
"""
_QUEUE: Final = """-- Has them applied.
insert into hookline_inbox_queue (seq, due_ms) select seq, received_ms from hookline_inbox where seq > :before
"""
USERS: Final = 100_000


def add_endpoints(
    database: Database,
    count: int,
    url: Callable[[int], str],
    *,
    event_type: Callable[[int], str] = lambda _: EVENT_TYPE,
    seal: Callable[[str], str] = str,
) -> SenderStore:
    """The sender's tables, and so many endpoints; `url` and `event_type` give each its own, `seal` seals its secret."""
    migrate(database, "sender", "hookline.sender")
    store, clock, ids = SenderStore(database.dialect), SystemClock(), IdMaker()
    with database.transaction() as connection:
        for number in range(count):
            store.add_endpoint(
                connection,
                endpoint_id=ids.make("we", clock.now_ms()),
                environment="production",
                url=url(number),
                events=[event_type(number)],
                description=None,
                secret_enc=seal(SECRET),
                now_ms=clock.now_ms(),
            )
    return store


def add_deliveries(database: Database, count: int, *, fanout: int = FANOUT) -> None:
    """So many due deliveries over all endpoints, an event for every `fanout` of them."""
    with database.read() as connection:
        sql = "select min(row_id), max(row_id), count(*) from hookline_sender_endpoints"
        first_endpoint, last_endpoint, endpoints = connection.execute(sql).fetchone()
    if last_endpoint - first_endpoint + 1 != endpoints or count % fanout or fanout > endpoints:
        raise ValueError("expected endpoints in a row, as add_endpoints leaves them, and a multiple of the fan-out")
    events, feed, deliveries = (compile_verb("fill", text, database.dialect) for text in (_EVENTS, _FEED, _DELIVERIES))
    left = count // fanout
    while left:
        size = min(left, AT_ONCE // fanout)
        now_ms = SystemClock().now_ms()
        with database.transaction() as connection:
            before = connection.execute("select coalesce(max(row_id), 0) from hookline_sender_events").fetchone()[0]
            numbered = {"first": before + 1, "last": before + size, "type": EVENT_TYPE, "body": body(1)}
            events.run(connection, {**numbered, "now_ms": now_ms})
            feed.run(connection, {"before": before})
            spread = {"fanout": fanout, "first_endpoint": first_endpoint, "endpoints": endpoints}
            deliveries.run(connection, {**spread, "before": before, "now_ms": now_ms})
        left -= size


def add_entries(database: Database, count: int) -> None:
    """So many entries of the inbox, due to be applied, ten million at most: each an update of one of a hundred thousand
    users, newer than those before.
    """
    entries, queue = (compile_verb("fill", text, database.dialect) for text in (_ENTRIES, _QUEUE))
    body_of_all = body(1).decode().replace("event_01BENCH000000000000001", "EVENT")
    body_of_all = body_of_all.replace("directory_user_00000000000000000000000001", "USER")
    body_of_all = re.sub('(?<="updated_at":")[^"]+', "UPDATED", body_of_all)
    while count:
        size = min(count, AT_ONCE)
        with database.transaction() as connection:
            before = connection.execute("select coalesce(max(seq), 0) from hookline_inbox").fetchone()[0]
            numbered = {"first": before + 1, "last": before + size, "users": USERS, "now_ms": SystemClock().now_ms()}
            entries.run(connection, {**numbered, "type": EVENT_TYPE, "body": body_of_all})
            queue.run(connection, {"before": before})
        count -= size
