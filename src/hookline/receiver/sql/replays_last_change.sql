-- Where the change feed ends now.
select coalesce(max(seq), 0) from hookline_changes
