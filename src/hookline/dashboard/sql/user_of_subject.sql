-- Reads the user whom a provider knows as this subject.
select row_id, id, name, role, password_hash, issuer, subject, theme, created_ms, signed_in_ms, disabled_ms
from hookline_dashboard_users
where issuer = :issuer and subject = :subject
