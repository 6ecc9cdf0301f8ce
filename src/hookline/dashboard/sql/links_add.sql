-- A link that lets somebody in once.
insert into hookline_dashboard_links (token_sha256, kind, user_name, created_ms, expires_ms)
values (:token_sha256, :kind, :user_name, :now_ms, :expires_ms)
