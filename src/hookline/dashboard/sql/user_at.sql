-- Reads a user by row.
select row_id, id, name, role, password_hash, issuer, subject, theme, created_ms, signed_in_ms, disabled_ms
from hookline_dashboard_users
where row_id = :row_id
