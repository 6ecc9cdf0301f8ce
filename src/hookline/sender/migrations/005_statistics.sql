-- How much is sent and how it goes, counted in memory by who delivers and publishes and added here every few seconds:
-- what a process had not added when it was killed is not in it. Tests and probes never count. b0 to b11: how many
-- attempts were answered 2xx within 10, 25, 50, 100, 250, 500 ms, 1, 2.5, 5, 10, 30 s, and later.

create table hookline_sender_minutes (
    environment text not null,
    minute_ms integer not null,
    published integer not null,
    succeeded integer not null,
    failed integer not null,
    delivered integer not null,
    given_up integer not null,
    b0 integer not null, b1 integer not null, b2 integer not null, b3 integer not null,
    b4 integer not null, b5 integer not null, b6 integer not null, b7 integer not null,
    b8 integer not null, b9 integer not null, b10 integer not null, b11 integer not null,
    primary key (environment, minute_ms)
);

create table hookline_sender_endpoint_hours (
    endpoint_row integer not null,
    hour_ms integer not null,
    succeeded integer not null,
    failed integer not null,
    delivered integer not null,
    given_up integer not null,
    last_ms integer not null,
    b0 integer not null, b1 integer not null, b2 integer not null, b3 integer not null,
    b4 integer not null, b5 integer not null, b6 integer not null, b7 integer not null,
    b8 integer not null, b9 integer not null, b10 integer not null, b11 integer not null,
    primary key (endpoint_row, hour_ms)
);
create index hookline_sender_endpoint_hours_at on hookline_sender_endpoint_hours (hour_ms);

create table hookline_sender_type_hours (
    environment text not null,
    hour_ms integer not null,
    event_type text not null,
    published integer not null,
    primary key (environment, hour_ms, event_type)
);
