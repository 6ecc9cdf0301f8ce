-- The runs whose lease has passed: whoever had them is gone.
select row_id, handler, object_key, inbox_seq, change_seq, attempt, attempt - uncounted, replay_id from hookline_runs
where state = 'running' and leased_until_ms < :now_ms
order by leased_until_ms limit :limit
