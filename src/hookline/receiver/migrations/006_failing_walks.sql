-- A walk that fails waits longer and longer, and the others go on: how often it has, until when, and why. child: JSON
-- [table, its key], where it is over this one child alone, set apart so that the walk could go on behind it.
alter table hookline_cascades add column tries integer not null default 0;
alter table hookline_cascades add column due_ms integer not null default 0;
alter table hookline_cascades add column error text;
alter table hookline_cascades add column child text;
