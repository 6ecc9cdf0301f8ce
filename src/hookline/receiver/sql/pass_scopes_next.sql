-- The listing that a pass is at.
select resource, scope_id, rank, directory_id, state, cursor, started_us, seen, live, died
from hookline_pass_scopes
where pass_id = :pass_id and state in ('waiting', 'listing', 'confirming', 'closing')
order by rank, scope_id limit 1
