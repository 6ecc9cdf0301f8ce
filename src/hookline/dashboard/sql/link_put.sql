-- Makes a link that is good once.
insert into hookline_dashboard_links (token_hash, kind, user_row, created_ms, expires_ms)
values (:token_hash, :kind, :user_row, :now_ms, :expires_ms)
