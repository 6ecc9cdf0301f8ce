-- Endpoints of all environments that fail, or that were disabled for it, those that have been failing longest first.
select id, environment, disabled_reason, failing_since_ms, failing_attempts
from hookline_sender_endpoints
where deleted_ms is null and (failing_since_ms is not null or disabled_reason in ('failing', 'gone'))
order by failing_since_ms, id
limit :limit
