-- Ends the state snapshot once that pass, or a later one that puts all of the source right, was completed; then the source
-- comes back.
update hookline_tails set state = 'reading', lost_us = null, pass_id = null
where source = :source and state = 'snapshot' and exists (
    select 1 from hookline_passes p
    where p.source = hookline_tails.source and p.row_id >= hookline_tails.pass_id and p.state = 'completed'
        and p.mode = 'apply' and p.directory_id is null
)
returning source
