-- The next objects that live by evidence no older than a listing, which did not show them.
select t.id from {table} t
where t.source = :source and {within} and t.id > :after
    and (t.proof_us, t.proof_event_id) > (t.death_us, t.death_event_id)
    and (t.proof_us, t.proof_event_id) >= (:floor_us, :floor_event_id)
    and not exists (
        select 1 from hookline_pass_seen s
        where s.pass_id = :pass_id and s.resource = :resource and s.scope_id = :scope_id and s.object_id = t.id
    )
order by t.id limit :limit
