-- Reading at the source besides hearing from it: the tail of its event feed, refetches of what is in doubt, and passes over
-- what it lists.

-- via: how an entry came, webhook or tail. object_sequence: which event of its object it is, where the sender says so.
alter table hookline_inbox add column via text not null default 'webhook';
alter table hookline_inbox add column object_sequence integer;

-- Who does a source's tail, refetches or passes just now, so that one does. token grows with each holder: it fences off
-- one that was taken for dead.
create table hookline_leases (
    source text not null,
    name text not null,
    token integer not null,
    holder text not null,
    until_ms integer not null,
    primary key (source, name)
);

-- The place in a source's event feed up to which its events are in the inbox, and how reading went last. cursor is the
-- id of the last event read and cursor_us its time; before the first event cursor is null, and cursor_us where reading
-- begins. state: reading, or snapshot while a pass (pass_id, once it has begun) is to stand in for events from lost_us on,
-- which the source no longer kept. late: events that were found by reading once more what had been read.
create table hookline_tails (
    source text primary key,
    state text not null,
    cursor text,
    cursor_us integer not null,
    lost_us integer,
    pass_id integer,
    read integer not null default 0,
    kept integer not null default 0,
    late integer not null default 0,
    read_ms integer,
    failed_ms integer,
    error text
);

-- The time before which whatever a complete listing did not show is dead (rule D4), by what was listed: resource and the
-- id of what it is in ('' for all of the source's). floor_us is -1 until a listing was complete.
create table hookline_floors (
    source text not null,
    resource text not null,
    scope_id text not null,
    floor_us integer not null,
    primary key (source, resource, scope_id)
);

-- What the source is to be asked about an object, since events leave it open. An edge's object_id is its ends' ids with a
-- slash between; where one of the two is empty, all edges of the other are meant. reasons are space separated; told_by is
-- the event that says that another is missing. An answer settles it that counts as of later than after_us, the source's
-- time. lower_us: the updated_at of an answer that lay below what is known, lower_read_us what that counts as of: a second
-- one that agrees is believed.
create table hookline_refetches (
    source text not null,
    resource text not null,
    object_id text not null,
    reasons text not null,
    told_by text,
    after_us integer not null,
    noticed_ms integer not null,
    due_ms integer not null,
    tries integer not null default 0,
    error text,
    lower_us integer,
    lower_read_us integer,
    primary key (source, resource, object_id)
);
create index hookline_refetches_due on hookline_refetches (source, due_ms);

-- The highest number seen of an object's events, and the numbers below it that are missing (JSON list).
create table hookline_sequences (
    source text not null,
    resource text not null,
    object_id text not null,
    highest integer not null,
    missing text not null default '[]',
    primary key (source, resource, object_id)
);

-- A reading of all that a source lists, or of one directory. kind: backfill, reconcile. mode: dry_run, apply.
-- state: running, stopped (a reason says why; it can be resumed), completed, canceled. While it runs, tries and reason say
-- how often in a row the source did not answer, and why. started_us: the source's time at its first request. counts is
-- JSON.
create table hookline_passes (
    row_id integer primary key autoincrement,
    source text not null,
    kind text not null,
    mode text not null,
    directory_id text,
    allow_mass_delete integer not null default 0,
    state text not null,
    reason text,
    counts text not null default '{}',
    asked_by text not null,
    created_ms integer not null,
    started_us integer,
    updated_ms integer not null,
    finished_ms integer,
    due_ms integer not null,
    tries integer not null default 0
);
create index hookline_passes_open on hookline_passes (source, due_ms) where state = 'running';

-- The listings a pass consists of, in the order of rank and scope_id, and after them what it does with what they left.
-- state: waiting, listing, confirming, closing, completed, dropped (what it is in is gone). cursor is where it stands: the
-- last page's last id. started_us is the request time of the listing's first page; seen how many it listed; live how many
-- the mirror had of it at the listing's end, died how many of those were found to be gone.
create table hookline_pass_scopes (
    pass_id integer not null,
    resource text not null,
    scope_id text not null,
    rank integer not null,
    directory_id text,
    state text not null,
    cursor text,
    started_us integer,
    seen integer not null default 0,
    live integer,
    died integer not null default 0,
    primary key (pass_id, resource, scope_id)
);
create index hookline_pass_scopes_open on hookline_pass_scopes (pass_id, rank, scope_id)
    where state in ('waiting', 'listing', 'confirming', 'closing');

-- What a listing showed, as long as its pass needs it.
create table hookline_pass_seen (
    pass_id integer not null,
    resource text not null,
    scope_id text not null,
    object_id text not null,
    primary key (pass_id, resource, scope_id, object_id)
);

-- Where mirror and source differ. kind: missing, extra, differs, uncertain. fields: JSON names of those that differ.
-- cause: never_received, rejected, dead_lettered, stale, changed_locally, unknown; evidence: JSON, what says so.
-- state: candidate (to be looked at once more), checked (its cause is not known yet), open, healed, ignored (note says why).
create table hookline_drift (
    row_id integer primary key autoincrement,
    pass_id integer not null,
    source text not null,
    resource text not null,
    object_id text not null,
    scope_id text not null,
    kind text not null,
    fields text not null default '[]',
    cause text not null default 'unknown',
    evidence text not null default '{}',
    state text not null,
    note text,
    found_ms integer not null,
    settled_ms integer
);
create unique index hookline_drift_object on hookline_drift (pass_id, resource, object_id);
create index hookline_drift_state on hookline_drift (pass_id, state, row_id);
create index hookline_drift_ignored on hookline_drift (source, resource, object_id) where state = 'ignored';
