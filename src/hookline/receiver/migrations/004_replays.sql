-- Replays as durable work, the mark of a replay on a run, and the pausing of handlers that fail on everything.

-- One row per replay. entry_seq and change_seq are how far it has come; a worker that finds one unfinished goes on.
create table hookline_replays (
    row_id integer primary key autoincrement,
    source text not null,
    mode text not null,
    handler text,
    selection text not null,
    last_entry_seq integer not null,
    last_change_seq integer,
    entry_seq integer not null default 0,
    change_seq integer not null default 0,
    entries integer not null default 0,
    runs integer not null default 0,
    failed integer not null default 0,
    created_ms integer not null,
    finished_ms integer
);
create index hookline_replays_open on hookline_replays (row_id) where finished_ms is null;

-- The last replay that made or re-armed this run.
alter table hookline_runs add column replay_id integer;

-- Runs of a pair go in the order of the change feed; a replay may make the run of an older change later.
drop index hookline_runs_object;
create index hookline_runs_object on hookline_runs (handler, object_key, change_seq)
    where state in ('pending', 'running');
create index hookline_runs_dead on hookline_runs (row_id) where state = 'failed';

-- probe_ms: when a handler that was paused for failing is tried with one run; null where a person paused it.
alter table hookline_handlers add column probe_ms integer;
alter table hookline_handlers add column probes integer not null default 0;

-- The objects (for facts: the entries) on which a handler failed since it last succeeded.
create table hookline_failing (
    handler text not null,
    object_key text not null,
    failed_ms integer not null,
    primary key (handler, object_key)
);
