-- Adds a user, unless the name or the subject is taken; gives its row where it did.
insert into hookline_dashboard_users
    (id, name, name_key, role, password_hash, issuer, subject, theme, created_ms)
values (:id, :name, :name_key, :role, :password_hash, :issuer, :subject, 'system', :now_ms)
on conflict do nothing
returning row_id
