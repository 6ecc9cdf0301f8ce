-- The next users that are in a group by evidence no older than a listing, which did not show them.
select t.user_id from {table} t
where t.source = :source and t.group_id = :scope_id and t.user_id > :after
    and (t.add_us, t.add_event_id) > (t.remove_us, t.remove_event_id)
    and (t.add_us, t.add_event_id) >= (:floor_us, :floor_event_id)
    and not exists (
        select 1 from hookline_pass_seen s
        where s.pass_id = :pass_id and s.resource = :resource and s.scope_id = :scope_id and s.object_id = t.user_id
    )
order by t.user_id limit :limit
