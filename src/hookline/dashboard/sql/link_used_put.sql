-- Marks a token as used that is good once; counts nothing where it was.
insert into hookline_dashboard_links (token_hash, kind, created_ms, expires_ms, used_ms)
values (:token_hash, :kind, :now_ms, :expires_ms, :now_ms)
on conflict do nothing
