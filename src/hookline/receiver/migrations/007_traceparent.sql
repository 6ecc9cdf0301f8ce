-- traceparent: W3C trace context under which it was kept, by a door that traces; null of any other.
alter table hookline_inbox add column traceparent text;
