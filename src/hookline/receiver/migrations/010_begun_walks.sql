-- A walk that ends its worker is found: how many have taken it up where it stands and not come back, or not yet.
alter table hookline_cascades add column begun integer not null default 0;
