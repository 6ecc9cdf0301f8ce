-- Begins a session.
insert into hookline_dashboard_sessions
    (token_hash, id, user_row, method, address, agent, created_ms, used_ms, expires_ms)
values (:token_hash, :id, :user_row, :method, :address, :agent, :now_ms, :now_ms, :expires_ms)
