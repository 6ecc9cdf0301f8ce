-- When the last whole pass that puts things right began; no row where there never was one.
select created_ms from hookline_passes where source = :source and mode = 'apply' and directory_id is null
order by row_id desc limit 1
