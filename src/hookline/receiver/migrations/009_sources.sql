-- source: the one source a handler is to hear of; null for all.
alter table hookline_handlers add column source text;
