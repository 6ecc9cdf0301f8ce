-- A new session.
insert into hookline_dashboard_sessions
    (token_sha256, id, user_name, created_ms, seen_ms, expires_ms, address, agent)
values (:token_sha256, :id, :user_name, :now_ms, :now_ms, :expires_ms, :address, :agent)
