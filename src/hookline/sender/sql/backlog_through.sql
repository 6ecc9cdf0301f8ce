-- Notes up to which delivery an opened endpoint's backlog is held before anything is claimed; null: claim at once.
update hookline_sender_endpoints set hold_through_row = :through_row where row_id = :row_id
