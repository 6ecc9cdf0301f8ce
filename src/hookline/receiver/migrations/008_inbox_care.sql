-- What of an entry is kept, and until when.

-- What was cut out of the body: 'secrets' at the door, 'people' after a time; null: the bytes as they were signed. Then
-- the body goes, and at last the row.
alter table hookline_inbox add column redacted text;

-- How many entries of a replay were no longer whole.
alter table hookline_replays add column gone integer not null default 0;

-- How far each walk over the inbox, or over the change feed, has come, and when it goes on.
create table hookline_retention (
    source text not null,
    walk text not null,
    seq integer not null default 0,
    due_ms integer not null,
    primary key (source, walk)
);
