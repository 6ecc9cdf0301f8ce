-- Takes idempotency keys; gives back only those that were free. Two callers with one key: the second waits for the
-- first. In order of the keys, so that two batches with the same ones do not wait for each other.
insert into hookline_sender_idempotency
    (environment, idempotency_key, operation, body_sha256, result_ids, created_ms)
select *
from unnest /*columns*/ (
    cast(:environment as text[]), cast(:idempotency_key as text[]), cast(:operation as text[]),
    cast(:body_sha256 as text[]), cast(:result_ids as text[]), cast(:now_ms as bigint[])
) as r (environment, idempotency_key, operation, body_sha256, result_ids, created_ms)
order by r.environment, r.idempotency_key
on conflict (environment, idempotency_key) do nothing
returning environment, idempotency_key
