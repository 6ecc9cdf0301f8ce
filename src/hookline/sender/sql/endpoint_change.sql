-- Changes a live endpoint and counts its version up; a parameter that is null leaves its column alone.
-- Turning it on by hand forgets why it was off; one that we disabled for failing is then half open.
update hookline_sender_endpoints
set url = coalesce(cast(:url as text), url),
    disabled_reason = case
        when cast(:status as text) is null then disabled_reason
        when :status = 'enabled' then null
        else 'by_person'
    end,
    is_half_open = case when :status = 'enabled' and disabled_reason = 'failing' then 1 else is_half_open end,
    status = coalesce(cast(:status as text), status),
    description = coalesce(cast(:description as text), description),
    version = version + 1,
    updated_ms = case when :now_ms > updated_ms then :now_ms else updated_ms end
where row_id = :row_id and deleted_ms is null
returning row_id
