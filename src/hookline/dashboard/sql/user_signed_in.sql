-- Notes that a user signs in, who may, with the password that was compared; they stay so until the commit.
update hookline_dashboard_users
set signed_in_ms = :now_ms
where row_id = :row_id and disabled_ms is null
    and (cast(:password_hash as text) is null or password_hash = :password_hash)
