-- Takes idempotency keys; gives back only those that were free. Two callers with one key: one wins.
insert into hookline_sender_idempotency
    (environment, idempotency_key, operation, body_sha256, result_ids, created_ms)
values /*rows*/ (:environment, :idempotency_key, :operation, :body_sha256, :result_ids, :now_ms)
on conflict (environment, idempotency_key) do nothing
returning environment, idempotency_key
