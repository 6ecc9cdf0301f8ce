-- When the newest whole pass that puts things right began.
select max(created_ms) from hookline_passes where source = :source and mode = 'apply' and directory_id is null
