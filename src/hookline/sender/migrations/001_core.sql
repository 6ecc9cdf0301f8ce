-- The sender's core: settings and keys, endpoints and what they ask for, events and their feed, deliveries and attempts.

-- name 'encryption_check' holds a known text encrypted with the key in force, so that a wrong key is found at start.
create table hookline_sender_settings (
    name text primary key,
    value text not null
);

-- API keys made by Hookline itself (keys from the environment are never stored). key_hash is SHA-256 in hex.
create table hookline_sender_keys (
    key_hash text primary key,
    environment text not null,
    created_ms integer not null,
    revoked_ms integer
);

-- version counts changes of url, status, secret or subscriptions. status is WorkOS's: enabled or disabled, by a person.
-- paused_ms and failing_ms are ours: deliveries of a paused endpoint are held.
create table hookline_sender_endpoints (
    row_id integer primary key,
    id text not null unique,
    environment text not null,
    url text not null,
    status text not null,
    disabled_reason text,
    paused_ms integer,
    description text,
    secret_enc text not null,
    version integer not null,
    schedule text,
    created_ms integer not null,
    updated_ms integer not null,
    deleted_ms integer
);
create unique index hookline_sender_endpoints_url on hookline_sender_endpoints (environment, url) where deleted_ms is null;
create index hookline_sender_endpoints_listed on hookline_sender_endpoints (environment, row_id) where deleted_ms is null;

-- event_type is an exact name or a pattern (dsync.*, *); only Hookline's own API makes patterns.
create table hookline_sender_subscriptions (
    event_type text not null,
    endpoint_row integer not null,
    primary key (event_type, endpoint_row)
);
create index hookline_sender_subscriptions_endpoint on hookline_sender_subscriptions (endpoint_row, event_type);

-- result_ids is a JSON list of what the call made; the answer is rendered again from the rows, never kept.
create table hookline_sender_idempotency (
    environment text not null,
    idempotency_key text not null,
    operation text not null,
    body_sha256 text not null,
    result_ids text not null,
    created_ms integer not null,
    primary key (environment, idempotency_key)
);

-- body holds the canonical bytes of the whole event as sent on every attempt.
create table hookline_sender_events (
    row_id integer primary key,
    id text not null unique,
    environment text not null,
    type text not null,
    organization_id text,
    body blob not null,
    created_ms integer not null,
    published_ms integer not null
);

-- The order in which GET /events lists: by seq, not by id (DESIGN 4, The feed).
create table hookline_sender_feed (
    seq integer primary key autoincrement,
    environment text not null,
    event_row integer not null unique
);
-- Events published on an app's own connection: the delivery loop gives them their place in the feed before their
-- first claim, so that no cursor passes an event whose transaction is still open.
create table hookline_sender_unfed (
    event_row integer primary key
);
create index hookline_sender_feed_environment on hookline_sender_feed (environment, seq);

-- attempt counts tries begun; slots_used counts the schedule's slots spent; next_kind says what the next try is.
-- first_ms is when the first try began: the schedule counts from there. reason says why a state is what it is.
create table hookline_sender_deliveries (
    row_id integer primary key,
    id text not null unique,
    environment text not null,
    event_row integer not null,
    endpoint_row integer not null,
    origin text not null,
    state text not null,
    due_ms integer,
    leased_until_ms integer,
    attempt integer not null default 0,
    slots_used integer not null default 0,
    unknown_attempts integer not null default 0,
    next_kind text not null default 'scheduled',
    planned_ms integer,
    first_ms integer,
    reason text,
    created_ms integer not null,
    updated_ms integer not null
);
create index hookline_sender_deliveries_due on hookline_sender_deliveries (endpoint_row, due_ms) where state = 'pending';
create index hookline_sender_deliveries_leased on hookline_sender_deliveries (leased_until_ms) where state = 'running';
create index hookline_sender_deliveries_event on hookline_sender_deliveries (event_row);
create index hookline_sender_deliveries_endpoint on hookline_sender_deliveries (endpoint_row);
create index hookline_sender_deliveries_held on hookline_sender_deliveries (endpoint_row) where state = 'held';
create index hookline_sender_deliveries_listed on hookline_sender_deliveries (environment, row_id);
create unique index hookline_sender_deliveries_published on hookline_sender_deliveries (event_row, endpoint_row) where origin = 'published';

-- outcome: succeeded, failed, gone, unknown. evidence is JSON: request as sent (masked), answer, address, timings.
create table hookline_sender_attempts (
    delivery_row integer not null,
    number integer not null,
    kind text not null,
    outcome text not null,
    reason text,
    status integer,
    started_ms integer not null,
    duration_ms integer,
    evidence text not null,
    primary key (delivery_row, number)
);
