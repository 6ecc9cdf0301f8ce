-- Endpoints whose old secret ends before a time, those that end first.
select id, environment, old_secret_until_ms
from hookline_sender_endpoints
where old_secret_enc is not null and old_secret_until_ms < :before_ms and deleted_ms is null
order by old_secret_until_ms
limit 20
