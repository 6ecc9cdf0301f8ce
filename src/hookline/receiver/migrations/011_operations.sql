-- Workers as others see them. handlers is a JSON list of names; seen_ms is renewed about once a minute by each that
-- runs, stopped_ms is set by those that end in an orderly way.
create table hookline_workers (
    name text primary key,
    handlers text not null,
    started_ms integer not null,
    seen_ms integer not null,
    stopped_ms integer
);

-- The last good copy of each list of addresses that a provider publishes, and how reading it went last.
create table hookline_address_lists (
    url text primary key,
    document blob,
    fetched_ms integer,
    failed_ms integer,
    error text
);

create index hookline_inbox_outcomes_dead on hookline_inbox_outcomes (seq) where outcome = 'dead';
