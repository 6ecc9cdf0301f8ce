-- Takes back the links of a kind, of one user or of nobody yet.
delete from hookline_dashboard_links
where kind = :kind and used_ms is null and coalesce(user_row, 0) = coalesce(cast(:user_row as integer), 0)
