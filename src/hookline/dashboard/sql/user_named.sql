-- Reads a user by the name as it is compared.
select row_id, id, name, role, password_hash, issuer, subject, theme, created_ms, signed_in_ms, disabled_ms
from hookline_dashboard_users
where name_key = :name_key
