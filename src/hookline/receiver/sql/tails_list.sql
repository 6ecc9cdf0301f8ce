-- How far each source's feed is read, and how that goes.
select source, state, cursor, cursor_us, lost_us, pass_id, read, kept, late, read_ms, failed_ms, error
from hookline_tails where cast(:source as text) is null or source = :source order by source
