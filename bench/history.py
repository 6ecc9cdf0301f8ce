"""A history to look at: events and what became of them, an inbox, a mirror, runs, drift, trails; by plain SQL.

Of each event there are two deliveries: half of all events go to one busy endpoint, all go to one of the many. Nine in
ten deliveries took one attempt and the others six, of which half were in vain, so that there are three attempts to an
event; a few are held, canceled or still waiting. Everything is spread over thirty days.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from bench.backlog import add_endpoints
from hookline.sender.replays import Selection
from hookline.storage import Connection, Database
from hookline.storage.migrate import migrate
from hookline.storage.verbs import compile_verb

DAYS: Final = 30
DAY_MS: Final = 86_400_000
ENDPOINTS: Final = 40
# Events to a commit.
AT_ONCE: Final = 50_000
# So many of the newest events are still under way, and entries of the inbox wait.
WAITING: Final = 2_000

_COUNTED: Final = """
with recursive n (number) as (select cast(:first as bigint) union all select number + 1 from n where number < :last)
"""
_ID: Final = "substr(cast(100000000000000 + number as text), 2)"
_OBJECT: Final = "'directory_user_' || substr(cast(100000000000000 + number * 7919 % :objects as text), 2)"
_TYPE: Final = """case
        when number % 20 < 12 then 'dsync.user.updated' when number % 20 < 15 then 'dsync.user.created'
        when number % 20 < 17 then 'dsync.group.user_added' when number % 20 < 19 then 'user.updated'
        when number % 1000 = 19 then 'dsync.deleted' else 'organization.updated'
    end"""
# An event's body, where NUMBER and OBJECT stand for its own.
BODY: Final = json.dumps(
    {
        "object": "event",
        "id": "event_01BENCHNUMBER",
        "event": "dsync.user.updated",
        "data": {
            "object": "directory_user",
            "id": "OBJECT",
            "directory_id": "directory_1",
            "organization_id": "org_1",
            "state": "active",
            "first_name": "Ada",
            "last_name": "Bench",
            "email": "ada@example.com",
            "custom_attributes": {"department": "Engineering", "note": "n" * 200},
            "created_at": "2026-01-01T00:00:00.000Z",
            "updated_at": "2026-01-01T00:00:00.000Z",
        },
        "created_at": "2026-01-01T00:00:00.000Z",
    },
    separators=(",", ":"),
)
_FILLED: Final = f"cast(replace(replace(:body, 'NUMBER', {_ID}), 'OBJECT', {_OBJECT}) as blob)"
# What is kept of an attempt, at its usual length.
EVIDENCE: Final = json.dumps(
    {
        "request": {
            "url": "https://consumer.example/webhooks",
            "endpoint_version": 1,
            "headers": [["content-type", "application/json"], ["workos-signature", "t=1, v1=0123abcd…"]],
        },
        "address": "203.0.113.7",
        "timings_ms": {"connect": 12.1, "tls": 20.4, "first_byte": 40.2},
        "response": {"headers": [["content-type", "text/plain"], ["x-request-id", "req_1"]], "body": "o" * 120},
    }
)

_EVENTS: Final = f"""-- Adds events.
insert into hookline_sender_events
    (row_id, id, environment, type, organization_id, object_id, body, created_ms, published_ms)
{_COUNTED}
select number, 'event_01BENCH' || {_ID}, 'production', {_TYPE}, 'org_' || cast(number % 500 as text), {_OBJECT},
    {_FILLED}, :since_ms + number * :span_ms / :whole, :since_ms + number * :span_ms / :whole
from n
"""
_FEED: Final = """-- Lists them.
insert into hookline_sender_feed (environment, event_row)
select environment, row_id from hookline_sender_events where row_id between :first and :last order by row_id
"""
_DELIVERIES: Final = f"""-- Adds two deliveries of each.
insert into hookline_sender_deliveries
    (row_id, id, environment, event_row, endpoint_row, origin, state, due_ms, attempt, slots_used, first_ms, reason,
    created_ms, updated_ms)
{_COUNTED},
pairs (number, at_ms, event_row, many) as (
    select number * 2 + p.value, :since_ms + number * :span_ms / :whole, number, cast(p.value as bigint)
    from n cross join (select 0 as value union all select 1) p
),
stated (number, at_ms, event_row, endpoint, state, attempts) as (
    select number, at_ms, event_row,
        case when many = 1 then 20 + event_row % 20 when event_row % 2 = 0 then 0 else event_row % 20 end,
        case
            when event_row > :whole - :waiting then 'pending'
            when number % 1000 = 1 then 'held' when number % 1000 = 2 then 'canceled'
            when number % 20 = 0 then 'failed' else 'succeeded'
        end,
        case
            when number % 1000 = 1 and event_row <= :whole - :waiting then 0
            when number % 10 = 0 and event_row <= :whole - :waiting or number % 500 = 7 then 6
            else 1
        end
    from pairs
)
select number, 'delivery_01BENCH' || {_ID}, 'production', event_row, :first_endpoint + endpoint, 'published', state,
    case when state = 'pending' then :now_ms + 60000 + number % 1000 end, attempts, attempts, at_ms,
    case state when 'failed' then 'exhausted' when 'canceled' then 'person' end, at_ms, at_ms + attempts * 1000
from stated
"""
_ATTEMPTS: Final = """-- Adds the attempts of each.
insert into hookline_sender_attempts
    (delivery_row, number, kind, outcome, reason, status, started_ms, duration_ms, evidence)
select d.row_id, t.value, 'scheduled',
    case when d.state = 'succeeded' and t.value = d.attempt then 'succeeded' else 'failed' end,
    case when d.state = 'succeeded' and t.value = d.attempt then null else 'status' end,
    case
        when d.state = 'succeeded' and t.value = d.attempt then 200
        when d.row_id % 7 = 0 then 404 when d.row_id % 3 = 0 then 503 else 500
    end,
    d.created_ms + t.value * 1000, 40 + d.row_id % 100, :evidence
from hookline_sender_deliveries d
join (
    select 1 as value union all select 2 union all select 3 union all select 4 union all select 5 union all select 6
) t on t.value <= d.attempt
where d.event_row between :first and :last
"""
_ENTRIES: Final = f"""-- Adds entries to the inbox.
insert into hookline_inbox (seq, source, event_id, sha256, type, body, signed_ms, received_ms, via)
{_COUNTED}
select number, 'default', 'event_01BENCH' || {_ID}, cast({_ID} as blob), {_TYPE}, {_FILLED},
    :since_ms + number * :span_ms / :whole, :since_ms + number * :span_ms / :whole,
    case when number % 50 = 0 then 'tail' else 'webhook' end
from n
"""
_OUTCOMES: Final = f"""-- Says what became of them.
insert into hookline_inbox_outcomes (seq, outcome, reason, finished_ms)
{_COUNTED}
select number,
    case
        when number % 5000 = 3 then 'dead' when number % 100 = 4 then 'stale' when number % 100 = 5 then 'ignored'
        when number % 100 = 6 then 'noop' else 'applied'
    end,
    case when number % 5000 = 3 then 'handler' when number % 100 = 4 then 'older' end,
    :since_ms + number * :span_ms / :whole + 50
from n
where number <= :whole - :waiting
"""
_QUEUE: Final = """-- Has the newest still to be applied.
insert into hookline_inbox_queue (seq, due_ms)
select seq, received_ms from hookline_inbox where seq > :whole - :waiting and seq between :first and :last
"""
_RUNS: Final = f"""-- Adds a run of a handler for each.
insert into hookline_runs
    (row_id, handler, object_key, inbox_seq, state, due_ms, attempt, error, created_ms, finished_ms)
{_COUNTED}
select number, 'app:welcome', null, number,
    case when number % 5000 = 3 then 'failed' else 'succeeded' end, :since_ms + number * :span_ms / :whole,
    case when number % 5000 = 3 then 8 else 1 end, case when number % 5000 = 3 then 'RuntimeError: it is down' end,
    :since_ms + number * :span_ms / :whole, :since_ms + number * :span_ms / :whole + 60
from n
"""
_CHANGES: Final = f"""-- Adds a change for each.
insert into hookline_changes
    (seq, source, resource, object_id, kind, is_live, before, after, cause_seq, cause, changed_ms)
{_COUNTED}
select number, 'default', 'directory_user', {_OBJECT}, 'updated', 1, '{{}}', '{{}}', number, 'event_01BENCH' || {_ID},
    :since_ms + number * :span_ms / :whole + 50
from n
"""
_USERS: Final = f"""-- Adds users to the mirror, one in a hundred of them dead, one in a thousand uncertain.
insert into hookline_directory_users
    (source, id, directory_id, organization_id, email, first_name, last_name, username, job_title, state, is_active,
    created_at, updated_at, payload, content_updated_us, content_us, content_event_id, life_us, life_event_id, death_us,
    death_event_id, stub_us, stub_event_id, reduced_updated_us, reduced_us, reduced_event_id, flags, announced_live,
    deleted_at)
{_COUNTED}
select 'default', 'directory_user_' || {_ID}, 'directory_' || cast(number % 20 as text),
    'org_' || cast(number % 20 as text), 'u' || cast(number as text) || '@example.com', 'Ada', 'Bench' || {_ID}, 'ada',
    'Engineer', 'active', 1, '2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.000Z', :body,
    1000, 1000, 'event_01BENCH' || {_ID}, 1000, 'event_01BENCH' || {_ID},
    case when number % 100 = 1 then 2000 else -1 end, case when number % 100 = 1 then 'event_2' else '' end,
    -1, '', -1, -1, '', case when number % 1000 = 2 then 'uncertain' else '' end,
    case when number % 100 = 1 then 0 else 1 end, case when number % 100 = 1 then '2026-01-02T00:00:00.000Z' end
from n
"""
# Parents of rows, all alive: the clock columns are everybody's.
_CLOCKS: Final = """content_updated_us, content_us, content_event_id, life_us, life_event_id, death_us, death_event_id,
    stub_us, stub_event_id, reduced_updated_us, reduced_us, reduced_event_id, announced_live"""
_ALIVE: Final = "1000, 1000, 'event_1', 1000, 'event_1', -1, '', -1, '', -1, -1, '', 1"
_ORGANIZATIONS: Final = f"""-- Adds organizations to the mirror.
insert into hookline_organizations (source, id, name, {_CLOCKS})
{_COUNTED}
select 'default', 'org_' || cast(number - 1 as text), 'Organization', {_ALIVE} from n
"""
_DIRECTORIES: Final = f"""-- Adds their directories.
insert into hookline_directories (source, id, organization_id, name, {_CLOCKS})
{_COUNTED}
select 'default', 'directory_' || cast(number - 1 as text), 'org_' || cast(number - 1 as text), 'Directory', {_ALIVE}
from n
"""
_GROUPS: Final = f"""-- Adds groups to the directories.
insert into hookline_directory_groups (source, id, directory_id, organization_id, name, {_CLOCKS})
{_COUNTED}
select 'default', 'directory_group_' || cast(number - 1 as text), 'directory_' || cast(number % 20 as text),
    'org_' || cast(number % 20 as text), 'Group', {_ALIVE}
from n
"""
_MEMBERSHIPS: Final = f"""-- Adds two memberships of each user.
insert into hookline_directory_memberships
    (source, group_id, user_id, directory_id, add_us, add_event_id, remove_us, remove_event_id, announced_live)
{_COUNTED}
select 'default', 'directory_group_' || cast(number % 1000 + g.value as text), 'directory_user_' || {_ID},
    'directory_' || cast(number % 20 as text), 1000, 'event_01BENCH' || {_ID}, -1, '', 1
from n cross join (select 0 as value union all select 1000) g
"""
_MINUTES: Final = f"""-- Adds what the sender counted by minute.
insert into hookline_sender_minutes
    (environment, minute_ms, published, succeeded, failed, delivered, given_up,
    b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11)
{_COUNTED}
select 'production', :since_ms / 60000 * 60000 + number * 60000, 23, 44, 25, 44, 2,
    1, 2, 3, 20, 10, 3, 2, 1, 1, 1, 0, 0
from n
"""
_HOURS: Final = f"""-- Adds what the sender counted by endpoint and hour.
insert into hookline_sender_endpoint_hours
    (endpoint_row, hour_ms, succeeded, failed, delivered, given_up, last_ms,
    b0, b1, b2, b3, b4, b5, b6, b7, b8, b9, b10, b11)
{_COUNTED}
select p.row_id, :since_ms / 3600000 * 3600000 + number * 3600000, 60, 30, 60, 3, :now_ms,
    1, 2, 3, 20, 20, 7, 2, 2, 1, 1, 1, 0
from n cross join hookline_sender_endpoints p
"""
_TYPE_HOURS: Final = f"""-- Adds what the sender counted by type and hour.
insert into hookline_sender_type_hours (environment, hour_ms, event_type, published)
{_COUNTED}
select 'production', :since_ms / 3600000 * 3600000 + number * 3600000, t.value, 500
from n cross join (
    select 'dsync.user.updated' as value union all select 'dsync.user.created' union all select 'user.updated'
    union all select 'dsync.group.user_added' union all select 'organization.updated'
) t
"""
_DOORS: Final = f"""-- Adds what the doors counted by minute.
insert into hookline_inbox_minutes (minute_ms, source, kind, times)
{_COUNTED}
select :since_ms / 60000 * 60000 + number * 60000, 'default', k.value, 20
from n cross join (select 'accepted' as value union all select 'duplicate') k
"""
_REJECTIONS: Final = f"""-- Adds refusals by minute.
insert into hookline_rejections (source, reason, minute_ms, times, sample)
{_COUNTED}
select 'default', r.value, :since_ms / 60000 * 60000 + number * 60000, 3, '401 to 203.0.113.9: the signature'
from n cross join (select 'mismatch' as value union all select 'expired') r
"""
_PASSES: Final = f"""-- Adds passes over the source.
insert into hookline_passes
    (row_id, source, kind, mode, state, counts, asked_by, created_ms, updated_ms, finished_ms, due_ms)
{_COUNTED}
select number, 'default', 'reconcile', 'dry_run', 'completed', '{{"requests": 200, "objects": 20000}}', 'schedule',
    :since_ms + number * :span_ms / :whole, :since_ms + number * :span_ms / :whole + 5000,
    :since_ms + number * :span_ms / :whole + 5000, :since_ms + number * :span_ms / :whole
from n
"""
_DRIFT: Final = f"""-- Adds differences, half of them of the newest pass.
insert into hookline_drift
    (pass_id, source, resource, object_id, scope_id, kind, fields, cause, evidence, state, found_ms)
{_COUNTED}
select case when number % 2 = 0 then :passes else 1 + number % :passes end, 'default', 'directory_user',
    'directory_user_' || {_ID}, 'directory_1',
    case number % 3 when 0 then 'missing' when 1 then 'extra' else 'differs' end, '["email"]',
    case when number % 2 = 0 then 'stale' else 'unknown' end, '{{}}', 'open', :now_ms
from n
"""
_TRAIL: Final = f"""-- Adds acts to the sender's trail.
insert into hookline_sender_audit (environment, at_ms, actor, action, object_id, detail)
{_COUNTED}
select 'production', :since_ms + number * :span_ms / :whole, 'user:ada', 'delivery.retried',
    'delivery_01BENCH' || {_ID}, '{{}}'
from n
"""
_DASHBOARD_TRAIL: Final = f"""-- Adds acts to the dashboard's trail.
insert into hookline_dashboard_audit (at_ms, actor, action, object_id, detail, address)
{_COUNTED}
select :since_ms + number * :span_ms / :whole, 'user:ada', 'payload.revealed', 'event_01BENCH' || {_ID}, '{{}}',
    '203.0.113.8'
from n
"""
_REPLAYS: Final = f"""-- Adds replays that have ended.
insert into hookline_sender_replays
    (id, environment, filter, state, total, made, skipped, position, last_event_row, created_ms, updated_ms,
    finished_ms)
{_COUNTED}
select 'replay_01BENCH' || {_ID}, 'production', :filter, 'succeeded', 100, 100, '{{}}', 100, 100,
    :since_ms + number * :span_ms / :whole, :now_ms, :now_ms
from n
"""
# Written in parts, as many rows as there are events.
_LARGE: Final = (_EVENTS, _FEED, _DELIVERIES, _ATTEMPTS, _ENTRIES, _OUTCOMES, _QUEUE, _RUNS, _CHANGES)
# Tables that PostgreSQL counts for itself where rows come with numbers.
_NUMBERED: Final = (
    ("hookline_sender_events", "row_id"),
    ("hookline_sender_deliveries", "row_id"),
    ("hookline_inbox", "seq"),
    ("hookline_runs", "row_id"),
    ("hookline_changes", "seq"),
    ("hookline_passes", "row_id"),
)


def add_history(database: Database, events: int, *, now_ms: int, seal: Callable[[str], str]) -> None:
    """The tables of all three parts, and a history of so many events in them, which ends at `now_ms`.

    `seal` seals the secrets of its endpoints.
    """
    for tables in ("sender", "receiver", "dashboard"):
        migrate(database, tables, f"hookline.{tables}")
    add_endpoints(database, ENDPOINTS, lambda number: f"https://consumer-{number}.example/webhooks", seal=seal)
    with database.read() as connection:
        first_endpoint = _rows(connection, "select min(row_id) from hookline_sender_endpoints")[0][0]
    objects = max(1, events // 10)
    named: dict[str, Any] = {
        "since_ms": now_ms - DAYS * DAY_MS,
        "span_ms": DAYS * DAY_MS,
        "now_ms": now_ms,
        "whole": events,
        "waiting": min(WAITING, events // 10),
        "first_endpoint": first_endpoint,
        "objects": objects,
        "body": BODY,
        "evidence": EVIDENCE,
        "filter": Selection().to_json(),
    }
    for first in range(1, events + 1, AT_ONCE):
        part = {**named, "first": first, "last": min(events, first + AT_ONCE - 1)}
        with database.transaction() as connection:
            for sql in _LARGE:
                _write(database, connection, sql, part)
    # What does not grow with the traffic, or by days alone; less of it where little will do.
    days, few = min(DAYS, max(1, events // 1_000)), max(20, events // 50)
    passes = max(2, min(500, events // 100))
    smaller: tuple[tuple[str, int, Mapping[str, Any]], ...] = (
        (_ORGANIZATIONS, 21, {}),
        (_DIRECTORIES, 21, {}),
        (_GROUPS, 2_001, {}),
        (_USERS, objects, {}),
        (_MEMBERSHIPS, objects, {}),
        (_MINUTES, days * 1_440, {"since_ms": now_ms - days * DAY_MS}),
        (_HOURS, days * 24, {"since_ms": now_ms - days * DAY_MS}),
        (_TYPE_HOURS, days * 24, {"since_ms": now_ms - days * DAY_MS}),
        (_DOORS, days * 1_440, {"since_ms": now_ms - days * DAY_MS}),
        (_REJECTIONS, days * 1_440, {"since_ms": now_ms - days * DAY_MS}),
        (_PASSES, passes, {}),
        (_DRIFT, few, {"passes": passes}),
        (_TRAIL, few, {}),
        (_DASHBOARD_TRAIL, few, {}),
        (_REPLAYS, max(2, min(1_000, events // 100)), {}),
    )
    for statement, count, others in smaller:
        given: dict[str, Any] = {**named, "whole": count, **others, "first": 1, "last": count - 1}
        with database.transaction() as connection:
            _write(database, connection, statement, given)
    with database.transaction() as connection:
        if database.dialect == "postgres":
            for table, column in _NUMBERED:
                serial = f"pg_get_serial_sequence('{table}', '{column}')"
                _rows(connection, f"select setval({serial}, (select max({column}) from {table}))")


def analyze(database: Database) -> None:
    """PostgreSQL's statistics, as its autovacuum keeps them on a server that runs for long."""
    if database.dialect == "postgres":
        with database.read() as connection:
            connection.cursor().execute("vacuum analyze")


def counted(database: Database) -> dict[str, int]:
    """How many rows each table of ours has."""
    listed = {
        "sqlite": "select name from sqlite_master where type = 'table'",
        "postgres": "select tablename from pg_tables where schemaname = current_schema()",
    }[database.dialect]
    with database.read() as connection:
        tables = [row[0] for row in _rows(connection, f"{listed} order by 1") if row[0].startswith("hookline_")]
        return {table: int(_rows(connection, f"select count(*) from {table}")[0][0]) for table in tables}


def _write(database: Database, connection: Connection, sql: str, named: Mapping[str, Any]) -> None:
    compile_verb("fill", sql, database.dialect).run(connection, named)


def _rows(connection: Connection, sql: str) -> list[Any]:
    cursor = connection.cursor()
    cursor.execute(sql)
    rows: list[Any] = cursor.fetchall()
    cursor.close()
    return rows
