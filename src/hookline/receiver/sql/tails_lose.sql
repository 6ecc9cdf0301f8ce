-- Leaves a place whose events the source no longer keeps for one of today; a pass is to stand in for what lies between.
update hookline_tails set state = 'snapshot', lost_us = coalesce(lost_us, cursor_us), pass_id = null, cursor = null,
    cursor_us = :cursor_us
where source = :source
