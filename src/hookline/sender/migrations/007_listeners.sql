-- Who listens from a developer's machine (`hookline listen`), each under a name of its own that keeps its secret and its
-- place. events: JSON list of the names and patterns it asked for last. place: up to there in the feed everything was
-- answered; null before it first began. session names the connection it has; null after one that ended. seen_ms: when
-- a process last had that connection.
create table hookline_sender_listeners (
    row_id integer primary key,
    environment text not null,
    name text not null,
    secret_enc text not null,
    events text not null,
    place integer,
    session text,
    seen_ms integer,
    answered integer not null default 0,
    succeeded integer not null default 0,
    answered_ms integer,
    created_ms integer not null,
    unique (environment, name)
);

-- Events of the past that go to a listener once more; a row goes with its answer, and its number never comes again:
-- sessions go by it.
create table hookline_sender_listener_resends (
    row_id integer primary key autoincrement,
    listener_row integer not null,
    event_row integer not null,
    created_ms integer not null
);
create index hookline_sender_listener_resends_of on hookline_sender_listener_resends (listener_row, row_id);
