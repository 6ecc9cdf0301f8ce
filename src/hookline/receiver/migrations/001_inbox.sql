-- The inbox: every verified request, kept as its bytes; a small queue beside it; what was refused, counted.

-- event_id is the event's own id, or 'sha256:<hex>' of the signed bytes where it has none or is no event.
-- reason marks what is already known at the door: encoding, not_json, not_event. A row is never rewritten.
create table hookline_inbox (
    seq integer primary key autoincrement,
    source text not null,
    event_id text not null,
    sha256 blob not null,
    type text,
    body blob,
    signed_ms integer,
    received_ms integer not null,
    reason text,
    unique (source, event_id)
);

-- What still has to be applied. Claimed and settled by one delete in the transaction that applies it.
create table hookline_inbox_queue (
    seq integer primary key,
    due_ms integer not null,
    attempt integer not null default 0
);
create index hookline_inbox_queue_due on hookline_inbox_queue (due_ms, seq);

-- One row per entry that was worked on: applied, stale, noop, fact, ignored, dead; reason says why.
create table hookline_inbox_outcomes (
    seq integer primary key,
    outcome text not null,
    reason text,
    finished_ms integer not null
);

-- How often an id came again: the same bytes (duplicate), or other bytes under a known id (conflict: flagged, never applied).
create table hookline_inbox_repeats (
    source text not null,
    event_id text not null,
    sha256 blob not null,
    kind text not null,
    times integer not null,
    last_ms integer not null,
    primary key (source, event_id, sha256)
);

-- Refusals per source, reason and minute, with one sample that holds no body, no digest and no token.
create table hookline_rejections (
    source text not null,
    reason text not null,
    minute_ms integer not null,
    times integer not null,
    sample text not null,
    primary key (source, reason, minute_ms)
);
