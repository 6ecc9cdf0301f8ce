-- A walk that fails waits longer and longer, and the others go on: how often it has, until when, and why.
alter table hookline_cascades add column tries integer not null default 0;
alter table hookline_cascades add column due_ms integer not null default 0;
alter table hookline_cascades add column error text;
