-- The items of a pass in numbers.
select state, kind, cause, count(*) from hookline_drift where pass_id = :pass_id group by state, kind, cause
