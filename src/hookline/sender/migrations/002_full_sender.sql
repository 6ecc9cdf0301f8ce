-- What a sender in production needs: limits and headers per endpoint, rotation, health, versions; replays; event types
-- of one's own; keys with names; an audit trail.

-- timeout_ms: the whole exchange; null takes the default. rate_limit_per_min: attempts a minute; null is unlimited.
-- headers_enc: sealed JSON, a list of [name, value, is_sensitive]; null where there are none.
alter table hookline_sender_endpoints add column timeout_ms integer;
alter table hookline_sender_endpoints add column rate_limit_per_min integer;
alter table hookline_sender_endpoints add column headers_enc text;
-- 1: Standard Webhooks headers are sent beside WorkOS's.
alter table hookline_sender_endpoints add column standard_webhooks integer not null default 0;
-- Rotation: secret_enc is the newest. Until old_secret_until_ms the one before is kept in old_secret_enc;
-- signs_with_old says which key verified last and so goes first. probe_failures counts probes in a row in which both
-- keys failed; the next probe is not made before probe_after_ms.
alter table hookline_sender_endpoints add column old_secret_enc text;
alter table hookline_sender_endpoints add column old_secret_until_ms integer;
alter table hookline_sender_endpoints add column signs_with_old integer not null default 0;
alter table hookline_sender_endpoints add column probe_failures integer not null default 0;
alter table hookline_sender_endpoints add column probe_after_ms integer;
-- Health: failing_since_ms is the first failed attempt since the last success, failing_attempts how many since then,
-- failing_warned the highest warning given (0, 50, 80 or 100 %). is_half_open: resumed after we disabled it; one
-- delivery goes first, the others are held until it succeeds.
alter table hookline_sender_endpoints add column failing_since_ms integer;
alter table hookline_sender_endpoints add column failing_attempts integer not null default 0;
alter table hookline_sender_endpoints add column failing_warned integer not null default 0;
alter table hookline_sender_endpoints add column is_half_open integer not null default 0;
-- Until then the one delivery that goes first to a half-open endpoint is in somebody's hands.
alter table hookline_sender_endpoints add column trial_until_ms integer;
create index hookline_sender_endpoints_overlap on hookline_sender_endpoints (old_secret_until_ms)
    where old_secret_enc is not null;

-- Every version of an endpoint from when it held, so that "why was this not sent" has an answer for the past. events
-- is the JSON list of what it asked for; deleted_ms is set in the last version of one that was deleted.
create table hookline_sender_endpoint_versions (
    endpoint_row integer not null,
    version integer not null,
    from_ms integer not null,
    url text not null,
    status text not null,
    disabled_reason text,
    paused_ms integer,
    deleted_ms integer,
    events text not null,
    primary key (endpoint_row, version)
);
-- Of what is there already the version in force is kept. Its list is put together name by name (no function that
-- makes one is known to every database).
insert into hookline_sender_endpoint_versions
    (endpoint_row, version, from_ms, url, status, disabled_reason, paused_ms, deleted_ms, events)
with recursive listed (endpoint_row, last_name, names) as (
    select row_id, cast('' as text), cast('' as text) from hookline_sender_endpoints
    union all
    select l.endpoint_row, s.event_type, l.names || case when l.names = '' then '"' else ', "' end || s.event_type || '"'
    from listed l
    join hookline_sender_subscriptions s on s.endpoint_row = l.endpoint_row and s.event_type = (
        select min(n.event_type)
        from hookline_sender_subscriptions n
        where n.endpoint_row = l.endpoint_row and n.event_type > l.last_name
    )
)
select p.row_id, p.version, p.updated_ms, p.url, p.status, p.disabled_reason, p.paused_ms, p.deleted_ms,
    '[' || (select l.names from listed l where l.endpoint_row = p.row_id order by length(l.names) desc limit 1) || ']'
from hookline_sender_endpoints p;

-- The token bucket of each endpoint with a rate limit, as one number: the time at which its bucket is full again.
create table hookline_sender_buckets (
    endpoint_row integer primary key,
    full_us integer not null
);

-- origin: published; test (sent to one endpoint alone, in no feed); operational (about endpoints and deliveries).
-- pruned_ms: its body was removed by retention; body then is empty. traceparent: W3C trace context of its publisher.
alter table hookline_sender_events add column origin text not null default 'published';
alter table hookline_sender_events add column pruned_ms integer;
alter table hookline_sender_events add column traceparent text;
-- Retention takes events in the order in which they were published, and their rows out of the feed: a pruned event's
-- place in it is then pruned_seq, so that a cursor that points there still has an answer.
alter table hookline_sender_events add column pruned_seq integer;
create index hookline_sender_events_kept on hookline_sender_events (environment, published_ms, row_id)
    where pruned_ms is null;
create index hookline_sender_events_pruned on hookline_sender_events (environment, pruned_seq)
    where pruned_seq is not null;
create index hookline_sender_idempotency_created on hookline_sender_idempotency (created_ms);

-- replay_row: the job that made it, where origin is replay.
alter table hookline_sender_deliveries add column replay_row integer;
create index hookline_sender_deliveries_replay on hookline_sender_deliveries (replay_row, state, due_ms)
    where replay_row is not null;
-- What a replay asks of an event and an endpoint: how an earlier replay ended. Published ones have their own index.
create index hookline_sender_deliveries_replayed on hookline_sender_deliveries (event_row, endpoint_row)
    where origin = 'replay';

-- Work that is done in parts and outlives its process: replays, releases of what was held, retention. A row is there
-- while there is work; a part and the row's next time are one commit, and whoever does it holds the row until then.
-- subject: a replay's id, an endpoint's row, an environment. detail: JSON, how far it came. failures: in a row.
create table hookline_sender_jobs (
    row_id integer primary key,
    kind text not null,
    subject text not null,
    detail text not null,
    due_ms integer not null,
    failures integer not null default 0,
    unique (kind, subject)
);
create index hookline_sender_jobs_due on hookline_sender_jobs (due_ms);

-- Objects whose newest held event a release has met: their older ones are not sent. version is the endpoint's when the
-- release began; what an interrupted one has met means nothing to the next.
create table hookline_sender_release_objects (
    endpoint_row integer not null,
    version integer not null,
    object_sha256 text not null,
    primary key (endpoint_row, version, object_sha256)
);
-- A release takes what is held in the order of events.
drop index hookline_sender_deliveries_held;
create index hookline_sender_deliveries_held on hookline_sender_deliveries (endpoint_row, event_row, row_id)
    where state = 'held';

-- A replay walks events by row_id up to last_event_row and makes new deliveries; position is the last row done.
-- filter is JSON; state is pending while its job is there, then succeeded, canceled or failed. total was counted when
-- it was made; made and skipped are so far, skipped as JSON: how many by reason.
create table hookline_sender_replays (
    row_id integer primary key,
    id text not null unique,
    environment text not null,
    filter text not null,
    state text not null,
    reason text,
    total integer not null,
    made integer not null default 0,
    skipped text not null,
    position integer not null,
    last_event_row integer not null,
    rate_per_s integer,
    created_ms integer not null,
    updated_ms integer not null,
    finished_ms integer
);
create index hookline_sender_replays_open on hookline_sender_replays (row_id) where state = 'pending';
create index hookline_sender_replays_listed on hookline_sender_replays (environment, row_id);

-- Event types of one's own. schema is JSON Schema; mode says what it does when an event is published.
create table hookline_sender_event_types (
    environment text not null,
    name text not null,
    description text,
    schema text,
    mode text not null,
    sample text,
    created_ms integer not null,
    updated_ms integer not null,
    primary key (environment, name)
);

-- Keys have ids to be revoked by and names to be told apart by. hint is their last four characters; key_enc the sealed
-- key, kept of staging keys alone, which may be shown again.
alter table hookline_sender_keys add column id text;
alter table hookline_sender_keys add column name text;
alter table hookline_sender_keys add column hint text;
alter table hookline_sender_keys add column key_enc text;
alter table hookline_sender_keys add column last_used_ms integer;
create index hookline_sender_keys_listed on hookline_sender_keys (environment, created_ms, id);
update hookline_sender_keys set id = 'api_key_' || upper(substr(key_hash, 1, 26));

-- Who did what: actor is a key's id or hint, or "command"; detail is JSON without secrets and payloads.
create table hookline_sender_audit (
    row_id integer primary key,
    environment text not null,
    at_ms integer not null,
    actor text not null,
    action text not null,
    object_id text,
    detail text not null
);
create index hookline_sender_audit_at on hookline_sender_audit (at_ms);
create index hookline_sender_audit_listed on hookline_sender_audit (environment, row_id);
