-- Notes where a listing stands.
update hookline_pass_scopes
set state = :state, cursor = :cursor, started_us = :started_us, seen = :seen, live = :live, died = :died
where pass_id = :pass_id and resource = :resource and scope_id = :scope_id
