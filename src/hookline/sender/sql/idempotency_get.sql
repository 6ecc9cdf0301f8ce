-- Reads what an idempotency key was used for.
select operation, body_sha256, result_ids
from hookline_sender_idempotency
where environment = :environment and idempotency_key = :idempotency_key
