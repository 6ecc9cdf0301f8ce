-- Drops the listings of a directory that are not at their end.
update hookline_pass_scopes set state = 'dropped'
where pass_id = :pass_id and directory_id = :directory_id and state in ('waiting', 'listing', 'confirming', 'closing')
